"""The outputs of networks that are numbers, or a refusal: weights may be finite and yet drive every voxel to NaN."""

import torch
from torch import Tensor

from nnanomaly.utilities.errors import DataError


def finite(values: Tensor, what: str) -> Tensor:
    """The values themselves; `DataError` (NET-NONFINITE) if one of them is NaN or infinite, `what` names them."""
    if not bool(torch.isfinite(values).all()):
        share = float((~torch.isfinite(values)).float().mean())
        raise DataError(
            "NET-NONFINITE",
            f"{what} is not finite in {share:.1%} of its values, so that nothing can be said. Check the scan; if other "
            "scans end so too, train the model anew, or install it again.",
        )
    return values
