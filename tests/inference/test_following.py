"""Lesions that reach beyond their patch: where the next patch goes, and that the whole lesion is found with it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from nnanomaly.experiment_planning.presets import DEFAULT
from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.calibration import Calibration
from nnanomaly.inference.case_prediction import CasePrediction, predict_case
from nnanomaly.inference.detectors import residual_detector
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.following import further_grid
from nnanomaly.inference.reconstruct import Reconstruction
from nnanomaly.plans import Plans
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.volume import Box, Grid, Volume

PATCH = Grid((16, 16, 16), (2.0, 2.0, 2.0), (40.0, 40.0, 40.0))
SCAN = Grid((60, 60, 60), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
INFERENCE = replace(
    DEFAULT.inference,
    guidance="none",
    anomaly_map="absolute",
    smoothing_mm=0.0,
    organ_gate_mm=4.0,
    hysteresis=1.0,
    precision="fp32",
)


@pytest.mark.parametrize(
    ("box", "origin"),
    [
        (Box((4, 4, 10), (9, 9, 16)), (40.0, 40.0, 56.0)),  # ends at the high border of the last axis
        (Box((0, 4, 10), (9, 9, 16)), (24.0, 40.0, 56.0)),  # at two borders
        (Box((4, 4, 4), (9, 9, 9)), None),  # at none
        (Box((4, 4, 0), (9, 9, 16)), None),  # at both of one axis: no direction
    ],
)
def test_the_next_patch_lies_half_a_patch_out_where_the_candidate_is_cut(
    box: Box, origin: tuple[float, float, float] | None
) -> None:
    grid = further_grid(PATCH, box, SCAN)
    assert (None if grid is None else grid.origin_mm) == origin


def test_no_patch_follows_where_the_scan_ends() -> None:
    scan = Grid((60, 60, 36), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))  # its last centres are those of the patch
    assert further_grid(PATCH, Box((4, 4, 10), (9, 9, 16)), scan) is None
    both = further_grid(PATCH, Box((0, 4, 10), (9, 9, 16)), scan)
    assert both is not None
    assert both.origin_mm == (24.0, 40.0, 40.0)


def predict(follow: bool, tiny_plans: Callable[..., Plans]) -> tuple[CasePrediction, np.ndarray]:
    """A lesion that grows out of a small organ, far beyond the one patch around it."""
    plans = tiny_plans("default", dataset="Dataset501_Kidney")
    preprocessing = replace(plans.preprocessing, spacing_mm=(2.0, 2.0, 2.0), patch_size=(16, 16, 16), tiling=False)
    plans = replace(
        plans,
        organs=("kidney_left",),
        preprocessing=replace(preprocessing, mirrored_organs=()),
        inference=replace(INFERENCE, follow_lesions=follow),
    )
    z, y, x = np.indices(SCAN.shape)
    organ = (z - 30) ** 2 + (y - 30) ** 2 + (x - 20) ** 2 <= 5**2
    lesion = ((z - 30) ** 2 + (y - 30) ** 2 <= 5**2) & (x > 24) & (x < 46)
    image = Volume(np.where(lesion, 100.0, 50.0)[None].astype(np.float32), SCAN)

    def reconstruct(patches: Sequence[np.ndarray], names: Sequence[str]) -> Reconstruction:
        healthy = torch.zeros(len(patches), 1, *patches[0].shape)  # 50 HU in the window -200 .. 300
        return Reconstruction(healthy, healthy)

    calibration = Calibration(
        statistics=ResidualStatistics(edges_mm=(), mean_hu=(0.0,), std_hu=(1.0,)),
        threshold=25.0,
        false_candidates_per_organ=0.0,
        num_organs=1,
        guidance=False,
        guidance_reason="",
        checkpoints={},
    )
    model = Fold(reconstruct=reconstruct, detect=residual_detector(plans.inference), measured=calibration)
    masks = {"kidney_left": Volume(organ[None].astype(np.uint8), SCAN)}
    return predict_case(image, masks, case="case", plans=plans, models=[model]), lesion


def test_a_followed_lesion_is_found_whole_and_as_one(tiny_plans: Callable[..., Plans]) -> None:
    result, lesion = predict(False, tiny_plans)
    assert (result.mask & lesion).sum() < 0.4 * lesion.sum()
    result, lesion = predict(True, tiny_plans)
    assert (result.mask & lesion).sum() > 0.85 * lesion.sum()  # its corners are rounded by the opening
    assert (result.mask & ~lesion).sum() < 0.1 * lesion.sum()
    assert len(result.candidates) == 1
    assert [patch.tile for patch in result.patches] == list(range(len(result.patches)))
    assert 2 <= len(result.patches) <= 4


def test_an_otsu_threshold_of_the_scan_cannot_follow() -> None:
    with pytest.raises(ConfigurationError, match="follow_lesions"):
        replace(INFERENCE, follow_lesions=True, threshold="otsu")
