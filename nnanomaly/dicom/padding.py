"""What the scanner did not see: padding around the circular field of view, in whatever value a file stores it.

The one place that knows the convention of DICOM. Pixel Padding Value (0028,0120), with Pixel Padding Range Limit
(0028,0121), are stored values, before the rescaling; many files pad and do not say so. In our images padding is
`PADDING_HU`, whatever it was, which all that reads CT images takes for padding, as it lies far below air.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnanomaly.dicom.headers import SliceHeader
from nnanomaly.utilities.errors import DataError

PADDING_HU = -3024.0
"""-2000 stored with the usual intercept of -1024: what most files with padding hold already."""
LOWEST_HU, HIGHEST_HU = -1500.0, 32000.0
"""Beyond these no CT has values, so that there is padding, said or not."""
WIDEST_RANGE_HU = 100.0
TISSUE_HU = -850.0
IGNORED = "a declared range of padding that holds the values of tissue, not used"


def padding_mask(stored: NDArray[np.int64], hu: NDArray[np.float64], header: SliceHeader) -> NDArray[np.bool_]:
    """Which pixels `[Y, X]` are padding, from values as they are stored and in HU.

    A declared value that a scan may hold as well (0 stored is often air) counts only in pieces that touch the border.
    Raises `DataError` (DCM-SIGN) for several values above all of CT: then they are no padding.
    """
    declared = _declared(stored, header)
    impossible = (hu < LOWEST_HU) | (hu > HIGHEST_HU)
    high = hu[(hu > HIGHEST_HU) & ~declared]
    if high.size and not header.lossy and np.ptp(high) > 0:
        raise DataError(
            "DCM-SIGN", f"values up to {high.max():.6g} HU: signed numbers that are said to be unsigned? Export again."
        )
    return np.asarray(impossible | _touching_the_border(declared & ~impossible))


def is_usable(header: SliceHeader) -> bool:
    """Whether the declared padding, if any, leaves the values of tissue alone; a single value always does."""
    limits = _limits_hu(header)
    return limits is None or limits[1] - limits[0] <= WIDEST_RANGE_HU or limits[1] < TISSUE_HU


def _declared(stored: NDArray[np.int64], header: SliceHeader) -> NDArray[np.bool_]:
    if header.padding is None or not is_usable(header):
        return np.zeros(stored.shape, bool)
    low, high = header.padding
    return np.asarray((stored >= low) & (stored <= high))


def _limits_hu(header: SliceHeader) -> tuple[float, float] | None:
    """The declared range in HU, lower limit first."""
    if header.padding is None:
        return None
    slope, intercept = header.rescale or (1.0, 0.0)
    ends = sorted(slope * value + intercept for value in header.padding)
    return ends[0], ends[1]


def _touching_the_border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if not mask.any():
        return mask
    pieces, _ = ndimage.label(mask)
    border = np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]])
    return np.isin(pieces, border[border > 0])
