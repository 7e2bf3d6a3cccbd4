"""What the lesion head sees of a patch, the same in training and prediction. Channels `[C, Z, Y, X]` of unit range."""

from collections.abc import Sequence

import numpy as np

from nnanomaly.arrays import FloatArray
from nnanomaly.inference.anomaly_map import ResidualStatistics, residual_zscore
from nnanomaly.inference.look import Look
from nnanomaly.preprocessing.normalization import normalise

ZSCORE_SCALE, ZSCORE_RANGE = 5.0, (-1.0, 3.0)
DISTANCE_SCALE_MM, DISTANCE_RANGE = 20.0, (-2.0, 3.0)


def head_input(
    seen: Look,
    statistics: ResidualStatistics,
    *,
    window_hu: tuple[float, float],
    inputs: Sequence[str],
) -> FloatArray:
    """The channels of `inputs` in that order.

    `image` and `reconstruction` in [-1, 1]; `zscore` of the residual in units of 5, clipped to [-1, 3]; signed
    `distance` to the organ's surface in units of 20 mm, clipped to [-2, 3].
    """
    channels = {
        "image": normalise(seen.reconstruction.image_hu, window_hu),
        "reconstruction": normalise(seen.reconstruction.healthy_hu, window_hu),
        "zscore": np.clip(residual_zscore(seen.residual, statistics) / ZSCORE_SCALE, *ZSCORE_RANGE),
        "distance": np.clip(seen.residual.distance_mm / DISTANCE_SCALE_MM, *DISTANCE_RANGE),
    }
    return np.stack([channels[name] for name in inputs]).astype(np.float32)
