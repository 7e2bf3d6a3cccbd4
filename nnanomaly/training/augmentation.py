"""Training-time variation of patches: small rotations and scalings, HU drift. A thin use of batchgenerators.

Patches are `[C, Z, Y, X]` float32 with the image in channel 0, in [-1, 1].
"""

import random

import numpy as np
from batchgenerators.augmentations.spatial_transformations import augment_spatial_2
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
MAX_ANGLE = np.deg2rad(12.0)
SCALES = (0.9, 1.1)
MAX_DRIFT = 0.08  # 20 HU in a window of 500
CONTRAST = (0.92, 1.08)


def augment_patch(patch: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Rotate, scale and drift one patch; organ and coverage channels move with the image.

    What enters from outside the patch is window minimum and uncovered. batchgenerators draws from the global
    generators, which are therefore seeded from `rng` first.
    """
    np.random.seed(int(rng.integers(2**32)))
    random.seed(int(rng.integers(2**32)))
    shifted = patch.copy()
    shifted[0] += 1.0  # the border value of the transform is 0, which must mean air
    moved, _ = augment_spatial_2(
        shifted[None],
        None,
        patch_size=patch.shape[1:],
        do_elastic_deform=False,
        do_rotation=True,
        angle_x=(-MAX_ANGLE, MAX_ANGLE),
        angle_y=(-MAX_ANGLE / 2, MAX_ANGLE / 2),
        angle_z=(-MAX_ANGLE / 2, MAX_ANGLE / 2),
        do_scale=True,
        scale=SCALES,
        border_mode_data="constant",
        order_data=1,
        random_crop=False,
        p_rot_per_sample=0.8,
        p_scale_per_sample=0.8,
    )
    result: FloatArray = moved[0].astype(np.float32)
    image = (result[0] - 1.0) * rng.uniform(*CONTRAST) + rng.uniform(-MAX_DRIFT, MAX_DRIFT)
    covered = result[-1] > 0.5
    result[0] = np.clip(np.where(covered, image, -1.0), -1.0, 1.0)
    result[1:] = result[1:] > 0.5
    return result
