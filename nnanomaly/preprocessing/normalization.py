"""Between HU and the range [-1, 1] of the networks: a window, clipped and mapped linearly."""

import numpy as np
from numpy.typing import NDArray

Window = tuple[float, float]


def normalise(hu: NDArray[np.generic], window_hu: Window) -> NDArray[np.float32]:
    """HU of any shape -> float32 in [-1, 1]: `(clip(hu, low, high) - low) / ((high - low) / 2) - 1`."""
    low, high = window_hu
    clipped = np.clip(np.asarray(hu, dtype=np.float32), np.float32(low), np.float32(high))
    return (clipped - np.float32(low)) / np.float32((high - low) / 2) - np.float32(1)


def denormalise(values: NDArray[np.generic], window_hu: Window) -> NDArray[np.float32]:
    """The inverse of `normalise` within the window: `low + (values + 1) * (high - low) / 2`, float32, not clipped."""
    low, high = window_hu
    return (np.asarray(values, dtype=np.float32) + np.float32(1)) * np.float32((high - low) / 2) + np.float32(low)
