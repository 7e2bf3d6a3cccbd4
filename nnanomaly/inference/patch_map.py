"""The anomaly map of one patch: reconstruct, take the residual, relate it to healthy residuals, fade it off the organ.

Calibration and prediction go through the same functions, so that a threshold is chosen on what is later thresholded.
Patch arrays are `[3, Z, Y, X]` (image in [-1, 1], organ, coverage); everything returned is `[Z, Y, X]`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnanomaly.inference.anomaly_map import (
    Residual,
    ResidualStatistics,
    absolute_residual,
    dissimilarity,
    mean_residual,
    measure_residuals,
    organ_gate,
    residual_zscore,
    smooth,
)
from nnanomaly.inference.reconstruct import Reconstruction, Reconstructor
from nnanomaly.plans import InferencePlan, Plans
from nnanomaly.preprocessing.normalization import denormalise
from nnanomaly.preprocessing.preprocessor import COVERAGE, IMAGE, ORGAN
from nnanomaly.roi.distance import signed_distance_mm
from nnanomaly.utilities.voxel_hash import voxel_hash
from nnanomaly.volume import Grid

FloatArray = NDArray[np.float32]
PatchArray = NDArray[np.floating]
DISTANCE_EDGES_MM = tuple(float(edge) for edge in range(-20, 31, 2))
INTENSITY_EDGES_HU = tuple(float(edge) for edge in range(-150, 251, 25))


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
    extra: tuple["PatchReconstruction", ...] = ()
    """The same at the extra noise levels."""
    samples: tuple["PatchReconstruction", ...] = ()
    """The reconstruction of every sample of the noise alone, where it is the mean of several."""


def noise_key(array: PatchArray, organ: str) -> str:
    """What keys the noise of a patch `[3, Z, Y, X]`: its voxels as they are stored, and the name of its organ.

    No name of a case or file, so that a scan that is renamed, or goes into another part, is predicted alike.
    """
    return voxel_hash(np.asarray(array, dtype=np.float16), organ)


def reconstruct_patch(
    array: PatchArray, organ: str, *, reconstruct: Reconstructor, plans: Plans
) -> PatchReconstruction:
    """Reconstruct a patch of an organ; the two key the noise."""
    window = plans.preprocessing.window_hu
    image_hu = denormalise(np.asarray(array[IMAGE], dtype=np.float32), window)

    def in_hu(result: Reconstruction) -> PatchReconstruction:
        return PatchReconstruction(
            image_hu=image_hu,
            healthy_hu=denormalise(result.healthy[0, 0].numpy(), window),
            autoencoded_hu=denormalise(result.autoencoded[0, 0].numpy(), window),
            unguided_hu=None if result.unguided is None else denormalise(result.unguided[0, 0].numpy(), window),
            extra=tuple(in_hu(level) for level in result.extra),
            samples=tuple(in_hu(sample) for sample in result.samples),
        )

    return in_hu(reconstruct([array[IMAGE]], [noise_key(array, organ)]))


def residual_of_patch(
    array: PatchArray, grid: Grid, reconstruction: PatchReconstruction, plan: InferencePlan
) -> Residual:
    """Residual of a patch against the plan's reference, with distance, intensity and coverage."""
    z, y, x = (plan.smoothing_mm / spacing for spacing in grid.spacing_mm)
    compare = dissimilarity if plan.anomaly_map == "ssim" else absolute_residual
    distance_mm = signed_distance_mm(np.asarray(array[ORGAN]) > 0.5, grid.spacing_mm)

    def of_level(level: PatchReconstruction) -> Residual:
        references = {"input": level.image_hu, "autoencoded": level.autoencoded_hu, "unguided": level.unguided_hu}
        reference = references[plan.residual_of]
        assert reference is not None  # the reconstructor makes what the plan compares with
        return Residual(
            value_hu=compare(reference, level.healthy_hu, sigma_voxels=(z, y, x)),
            distance_mm=distance_mm,
            intensity_hu=smooth(level.healthy_hu, (z, y, x)),
            covered=np.asarray(array[COVERAGE]) > 0.5,
            extra=tuple(of_level(other) for other in level.extra),
        )

    return of_level(reconstruction)


def healthy_statistics(residuals: list[Residual], plan: InferencePlan) -> ResidualStatistics:
    """What the residuals of healthy organs say of the bins that the plan's map asks for."""
    edges_hu = INTENSITY_EDGES_HU if plan.anomaly_map == "zscore_intensity" else ()
    return measure_residuals(residuals, edges_mm=DISTANCE_EDGES_MM, edges_hu=edges_hu)


def anomaly_map(residual: Residual, statistics: ResidualStatistics, plan: InferencePlan) -> FloatArray:
    """Residual in HU or as z-score, gated by the organ; 0 where the scan says nothing."""
    value = mean_residual(residual) if plan.anomaly_map == "absolute" else residual_zscore(residual, statistics)
    gated = value * organ_gate(residual.distance_mm, plan.organ_gate_mm)
    return np.where(residual.covered, gated, 0.0).astype(np.float32)
