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
    measure_residuals,
    organ_gate,
    residual_zscore,
    smooth,
)
from nnanomaly.inference.candidate_features import Scene
from nnanomaly.inference.reconstruct import Reconstructor
from nnanomaly.plans import InferencePlan, Plans
from nnanomaly.preprocessing.normalization import denormalise
from nnanomaly.preprocessing.preprocessor import COVERAGE, IMAGE, ORGAN
from nnanomaly.roi.distance import signed_distance_mm
from nnanomaly.volume import Grid, Triple

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


def reconstruct_patch(array: PatchArray, name: str, *, reconstruct: Reconstructor, plans: Plans) -> PatchReconstruction:
    """Reconstruct a patch; `name` keys the noise."""
    window = plans.preprocessing.window_hu
    result = reconstruct([array[IMAGE]], [name])
    return PatchReconstruction(
        image_hu=denormalise(np.asarray(array[IMAGE], dtype=np.float32), window),
        healthy_hu=denormalise(result.healthy[0, 0].numpy(), window),
        autoencoded_hu=denormalise(result.autoencoded[0, 0].numpy(), window),
    )


def scene_of_patch(
    reconstruction: PatchReconstruction, residual: Residual, anomaly: FloatArray, spacing_mm: Triple
) -> Scene:
    """What the candidates of a patch's map are described by."""
    return Scene(
        anomaly=anomaly,
        image_hu=reconstruction.image_hu,
        healthy_hu=reconstruction.healthy_hu,
        distance_mm=residual.distance_mm,
        covered=residual.covered,
        spacing_mm=spacing_mm,
    )


def residual_of_patch(
    array: PatchArray, grid: Grid, reconstruction: PatchReconstruction, plan: InferencePlan
) -> Residual:
    """Absolute residual of a patch against the plan's reference, with distance, intensity and coverage."""
    z, y, x = (plan.smoothing_mm / spacing for spacing in grid.spacing_mm)
    reference = {"input": reconstruction.image_hu, "autoencoded": reconstruction.autoencoded_hu}[plan.residual_of]
    return Residual(
        value_hu=absolute_residual(reference, reconstruction.healthy_hu, sigma_voxels=(z, y, x)),
        distance_mm=signed_distance_mm(np.asarray(array[ORGAN]) > 0.5, grid.spacing_mm),
        intensity_hu=smooth(reconstruction.healthy_hu, (z, y, x)),
        covered=np.asarray(array[COVERAGE]) > 0.5,
    )


def healthy_statistics(residuals: list[Residual], plan: InferencePlan) -> ResidualStatistics:
    """What the residuals of healthy organs say of the bins that the plan's map asks for."""
    edges_hu = INTENSITY_EDGES_HU if plan.anomaly_map == "zscore_intensity" else ()
    return measure_residuals(residuals, edges_mm=DISTANCE_EDGES_MM, edges_hu=edges_hu)


def anomaly_map(residual: Residual, statistics: ResidualStatistics, plan: InferencePlan) -> FloatArray:
    """Residual in HU or as z-score, gated by the organ; 0 where the scan says nothing."""
    value = residual.value_hu if plan.anomaly_map == "absolute" else residual_zscore(residual, statistics)
    gated = value * organ_gate(residual.distance_mm, plan.organ_gate_mm)
    return np.where(residual.covered, gated, 0.0).astype(np.float32)
