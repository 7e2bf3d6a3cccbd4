"""What the networks make of a patch: its reconstructions at all noise levels, and how they differ from the scan.

Everything returned is `[Z, Y, X]` on the patch.
"""

from dataclasses import dataclass, replace

import numpy as np

from nnanomaly.arrays import FloatArray
from nnanomaly.inference.anomaly_map import Residual, absolute_residual, dissimilarity, smooth
from nnanomaly.inference.reconstruct import Reconstruction, Reconstructor
from nnanomaly.patch import IMAGE, Patch
from nnanomaly.plans import InferencePlan, Plans
from nnanomaly.preprocessing.normalization import denormalise
from nnanomaly.utilities.voxel_hash import voxel_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchReconstruction:
    """A patch in HU, seen three ways."""

    image_hu: FloatArray
    """The scan."""
    healthy_hu: FloatArray
    """Its healthy reconstruction."""
    autoencoded_hu: FloatArray
    """The scan through the autoencoder alone."""
    unguided_hu: FloatArray | None = None
    """Its reconstruction from the same noise without guidance, where the plan compares with it."""
    extra: "tuple[PatchReconstruction, ...]" = ()
    """The same at the extra noise levels."""
    samples: "tuple[PatchReconstruction, ...]" = ()
    """The reconstruction of every sample of the noise alone, where it is the mean of several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A patch and what the networks make of it."""

    patch: Patch
    """The patch."""
    reconstruction: PatchReconstruction
    """Its reconstructions."""
    residual: Residual
    """How they differ from the plan's reference."""


def look(patch: Patch, reconstruct: Reconstructor, plans: Plans) -> Look:
    """Reconstruct a patch at all noise levels and compare; the only way from a patch to its residual."""
    return compared(patch, reconstructed(patch, reconstruct, plans), plans.inference)


def noise_key(patch: Patch) -> str:
    """What keys the noise of a patch: its voxels as they are stored, and the name of its organ.

    No name of a case or file, so that a scan that is renamed, or goes into another part, is predicted alike.
    """
    return voxel_hash(np.asarray(patch.array, dtype=np.float16), patch.organ)


def reconstructed(patch: Patch, reconstruct: Reconstructor, plans: Plans) -> PatchReconstruction:
    """The reconstructions of a patch; its voxels key the noise."""
    window = plans.preprocessing.window_hu
    image_hu = denormalise(patch.image, window)

    def in_hu(result: Reconstruction) -> PatchReconstruction:
        return PatchReconstruction(
            image_hu=image_hu,
            healthy_hu=denormalise(result.healthy[0, 0].numpy(), window),
            autoencoded_hu=denormalise(result.autoencoded[0, 0].numpy(), window),
            unguided_hu=None if result.unguided is None else denormalise(result.unguided[0, 0].numpy(), window),
            extra=tuple(in_hu(level) for level in result.extra),
            samples=tuple(in_hu(sample) for sample in result.samples),
        )

    return in_hu(reconstruct([patch.array[IMAGE]], [noise_key(patch)]))


def without_samples(seen: Look) -> Look:
    """The look without the samples of the noise, which would fill the memory where many are kept."""
    return replace(seen, reconstruction=replace(seen.reconstruction, samples=()))


def compared(patch: Patch, reconstruction: PatchReconstruction, plan: InferencePlan) -> Look:
    """A patch with reconstructions that are there already, beside the plan's reference."""
    z, y, x = (plan.smoothing_mm / spacing for spacing in patch.grid.spacing_mm)
    compare = dissimilarity if plan.anomaly_map == "ssim" else absolute_residual

    def of_level(level: PatchReconstruction) -> Residual:
        references = {"input": level.image_hu, "autoencoded": level.autoencoded_hu, "unguided": level.unguided_hu}
        reference = references[plan.residual_of]
        assert reference is not None  # the reconstructor makes what the plan compares with
        return Residual(
            value_hu=compare(reference, level.healthy_hu, sigma_voxels=(z, y, x)),
            distance_mm=patch.distance_mm,
            intensity_hu=smooth(level.healthy_hu, (z, y, x)),
            covered=patch.covered,
            extra=tuple(of_level(other) for other in level.extra),
        )

    return Look(patch=patch, reconstruction=reconstruction, residual=of_level(reconstruction))
