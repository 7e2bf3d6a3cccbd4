"""The anomaly map of one patch: its residual, related to healthy residuals and faded off the organ.

Everything is `[Z, Y, X]` on the patch.
"""

import numpy as np

from nnanomaly.arrays import FloatArray
from nnanomaly.inference.anomaly_map import (
    Residual,
    ResidualStatistics,
    mean_residual,
    measure_residuals,
    organ_gate,
    residual_zscore,
)
from nnanomaly.plans import InferencePlan

DISTANCE_EDGES_MM = tuple(float(edge) for edge in range(-20, 31, 2))
INTENSITY_EDGES_HU = tuple(float(edge) for edge in range(-150, 251, 25))


def healthy_statistics(residuals: list[Residual], plan: InferencePlan) -> ResidualStatistics:
    """What the residuals of healthy organs say of the bins that the plan's map asks for."""
    edges_hu = INTENSITY_EDGES_HU if plan.anomaly_map == "zscore_intensity" else ()
    return measure_residuals(residuals, edges_mm=DISTANCE_EDGES_MM, edges_hu=edges_hu)


def anomaly_map(residual: Residual, statistics: ResidualStatistics, plan: InferencePlan) -> FloatArray:
    """Residual in HU or as z-score, gated by the organ; 0 where the scan says nothing."""
    value = mean_residual(residual) if plan.anomaly_map == "absolute" else residual_zscore(residual, statistics)
    gated = value * organ_gate(residual.distance_mm, plan.organ_gate_mm)
    return np.where(residual.covered, gated, 0.0).astype(np.float32)
