"""The bar below: no network, only how far a voxel's HU lies from the parenchyma of its own organ.

The map is the distance from the median HU of the organ in the patch, in robust standard deviations (1.4826 x median
absolute deviation), smoothed as the plans smooth a residual. Six folders of predictions: `below_*` counts what is
darker alone, `beyond_*` what is darker or brighter. `*_gate` looks in and around the organ, where the soft gate of the
plans fades it; `*_organ` within the organ mask alone, `*_depth` likewise, but related to healthy organs at the same
depth under the surface, as the z-score of a residual is. The threshold (how many deviations) is chosen on the healthy
validation organs.

Usage: `python benchmarks/intensity.py 501 -p PLANS -f 0 -o FOLDER`, with the three `nnanomaly_*` variables set, after
`nnanomaly_plan_and_preprocess`. Takes about a minute.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from references import NO_STATISTICS, Reference, arguments_of, calibrate, itself, plans_of, predict

from nnanomaly.arrays import BoolArray, FloatArray
from nnanomaly.inference.anomaly_map import (
    Residual,
    ResidualStatistics,
    measure_residuals,
    organ_gate,
    residual_zscore,
    smooth,
)
from nnanomaly.inference.calibrate_api import healthy_validation_patches
from nnanomaly.inference.detectors import Detector
from nnanomaly.inference.look import Look, look
from nnanomaly.inference.patch_map import DISTANCE_EDGES_MM
from nnanomaly.paths import Paths
from nnanomaly.plans import Plans
from nnanomaly.volume import Triple

Sign = Callable[[FloatArray], FloatArray]
logger = logging.getLogger("nnanomaly.intensity")
SIGNS: dict[str, Sign] = {"below": lambda value: np.maximum(-value, 0), "beyond": np.abs}
PLACES = ("gate", "organ", "depth")
DEPTH_EDGES_MM = tuple(edge for edge in DISTANCE_EDGES_MM if edge < 0)
MAD_TO_SIGMA = 1.4826


def main() -> None:
    """Calibrate and predict all maps."""
    arguments = arguments_of(__doc__.splitlines()[0]).parse_args()
    paths = Paths.from_env()
    plans = plans_of(paths, arguments)
    for side in SIGNS:
        for place in PLACES:
            name, start = f"{side}_{place}", time.process_time()
            reference = Reference(
                paths=paths,
                plans=plans,
                fold=arguments.f,
                detect=detector_of(side, place, paths, plans, arguments.f),
                reconstruct=itself,
                made_of={"intensity": name},
            )
            predict(reference, calibrate(reference), arguments.o / name)
            logger.info("%s: %.0f CPU seconds", name, time.process_time() - start)


def detector_of(side: str, place: str, paths: Paths, plans: Plans, fold: int | str) -> Detector:
    """The detector of a folder; `depth` first looks at the healthy validation organs, as calibration does."""
    z, y, x = (plans.inference.smoothing_mm / spacing for spacing in plans.preprocessing.spacing_mm)
    if place == "gate":
        return gate_detector(SIGNS[side], sigma_voxels=(z, y, x), gate_mm=plans.inference.organ_gate_mm)
    detect = organ_detector(SIGNS[side], sigma_voxels=(z, y, x))
    if place == "organ":
        return detect
    residuals = []
    for patch in healthy_validation_patches(paths.preprocessed(plans.dataset_name), plans, fold).values():
        seen = look(patch, itself, plans)
        value = detect(seen, NO_STATISTICS)
        residuals.append(replace(seen.residual, value_hu=value, covered=organ_of(seen.residual)))
    return depth_detector(detect, measure_residuals(residuals, edges_mm=DEPTH_EDGES_MM))


def gate_detector(sign: Sign, *, sigma_voxels: Triple, gate_mm: float) -> Detector:
    """Deviations in and around the organ, faded off it."""

    def detect(seen: Look, _: ResidualStatistics) -> FloatArray:
        residual = seen.residual
        deviation = robust_deviation(seen.reconstruction.image_hu, organ_of(residual))
        gated = sign(smooth(deviation, sigma_voxels)) * organ_gate(residual.distance_mm, gate_mm)
        return np.where(residual.covered, gated, 0.0).astype(np.float32)

    return detect


def organ_detector(sign: Sign, *, sigma_voxels: Triple) -> Detector:
    """Deviations within the organ mask; what lies beside it is not smoothed into it."""

    def detect(seen: Look, _: ResidualStatistics) -> FloatArray:
        inside = organ_of(seen.residual)
        organ = inside.astype(np.float32)
        deviation = robust_deviation(seen.reconstruction.image_hu, inside) * organ
        share: FloatArray = np.maximum(smooth(organ, sigma_voxels), np.float32(1e-3))
        return sign(smooth(deviation, sigma_voxels) / share) * organ

    return detect


def depth_detector(detect: Detector, statistics: ResidualStatistics) -> Detector:
    """The z-score of what a detector says within the organ among what it says of healthy organs at that depth."""

    def relate(seen: Look, _: ResidualStatistics) -> FloatArray:
        value = detect(seen, statistics)
        zscore = residual_zscore(replace(seen.residual, value_hu=value), statistics)
        return np.where(organ_of(seen.residual), zscore, 0.0).astype(np.float32)

    return relate


def organ_of(residual: Residual) -> BoolArray:
    """The organ, where the scan shows it."""
    return (residual.distance_mm <= 0) & residual.covered


def robust_deviation(image_hu: FloatArray, organ: BoolArray) -> FloatArray:
    """(HU - median of the organ) / (1.4826 MAD of the organ, at least 1 HU); 0 everywhere without a voxel of it."""
    values = image_hu[organ]
    if values.size == 0:
        return np.zeros_like(image_hu)
    median = np.median(values)
    spread = MAD_TO_SIGMA * np.median(np.abs(values - median))
    return np.asarray((image_hu - median) / max(spread, 1.0), dtype=np.float32)


if __name__ == "__main__":
    main()
