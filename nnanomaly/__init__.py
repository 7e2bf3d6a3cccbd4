"""nnanomaly: self-configuring, weakly supervised lesion detection in CT by latent diffusion.

`from nnanomaly import Predictor` is prediction from Python; it is loaded at its first use, for torch takes seconds.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnanomaly.inference.predictor import Prediction as Prediction
    from nnanomaly.inference.predictor import Predictor as Predictor

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`Predictor`, and `Prediction`, its result."""
    if name not in ("Prediction", "Predictor"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nnanomaly.inference import predictor as python_api

    return getattr(python_api, name)
