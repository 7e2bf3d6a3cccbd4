"""Training-time variation of patches: small rotations and scalings, HU drift. A thin use of batchgenerators.

Patches are `[C, Z, Y, X]` float32 with the image in channel 0, in [-1, 1].
"""

import random

import numpy as np
from batchgenerators.augmentations.spatial_transformations import augment_spatial_2

from nnanomaly.arrays import FloatArray
from nnanomaly.volume import Triple

MAX_ANGLE = np.deg2rad(12.0)
SCALES = (0.9, 1.1)
SHARE = 0.8
"""Patches that are rotated; that are scaled."""
MAX_DRIFT = 0.08  # 20 HU in a window of 500
CONTRAST = (0.92, 1.08)


def augment_patch(patch: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Rotate, scale and drift one patch; organ and coverage channels move with the image.

    What enters from outside the patch is window minimum and uncovered.
    """
    shifted = patch.copy()
    shifted[0] += 1.0  # the border value of the transform is 0, which must mean air
    result, _ = turn_and_scale(
        shifted, None, rng, max_angles=(MAX_ANGLE, MAX_ANGLE / 2, MAX_ANGLE / 2), scales=SCALES, share=SHARE
    )
    image = (result[0] - 1.0) * rng.uniform(*CONTRAST) + rng.uniform(-MAX_DRIFT, MAX_DRIFT)
    covered = result[-1] > 0.5
    result[0] = np.clip(np.where(covered, image, -1.0), -1.0, 1.0)
    result[1:] = result[1:] > 0.5
    return result


def turn_and_scale(
    seen: FloatArray,
    known: FloatArray | None,
    rng: np.random.Generator,
    *,
    max_angles: Triple,
    scales: tuple[float, float],
    share: float,
    border: str = "constant",
) -> tuple[FloatArray, FloatArray | None]:
    """Rotate and scale channels `[C, Z, Y, X]`, each with probability `share`, in voxels about the middle.

    `seen` is interpolated, and continues beyond its `border` as 0 (`constant`) or as its outermost voxels (`nearest`);
    `known` takes the value of the nearest voxel, and 0 beyond. `max_angles`: radians about each axis.
    """
    # batchgenerators draws from the global generators, which are therefore seeded first.
    np.random.seed(int(rng.integers(2**32)))
    random.seed(int(rng.integers(2**32)))
    x, y, z = ((-angle, angle) for angle in max_angles)
    moved, labels = augment_spatial_2(
        seen[None],
        None if known is None else known[None],
        patch_size=seen.shape[1:],
        do_elastic_deform=False,
        do_rotation=True,
        angle_x=x,
        angle_y=y,
        angle_z=z,
        do_scale=True,
        scale=scales,
        border_mode_data=border,
        order_data=1,
        border_mode_seg="constant",
        border_cval_seg=0,
        order_seg=0,
        random_crop=False,
        p_rot_per_sample=share,
        p_scale_per_sample=share,
    )
    return moved[0].astype(np.float32), None if labels is None else labels[0].astype(np.float32)
