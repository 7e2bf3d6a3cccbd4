"""Distance of every voxel to the surface of an organ. Masks are `[Z, Y, X]`, distances in mm, negative inside."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnanomaly.volume import Triple


def signed_distance_mm(mask: NDArray[np.bool_], spacing_mm: Triple) -> NDArray[np.float32]:
    """Distance to the surface of a mask: positive outside, negative inside; a large constant without a mask."""
    if not mask.any():
        return np.full(mask.shape, 1e3, dtype=np.float32)
    outside = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    inside = ndimage.distance_transform_edt(mask, sampling=spacing_mm)
    return np.asarray(outside - inside, dtype=np.float32)
