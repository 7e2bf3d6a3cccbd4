"""Detectors: the residual as it was, and the head on exactly the channels it was trained on."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from nnanomaly.experiment_planning.presets import DEFAULT
from nnanomaly.inference.anomaly_map import Residual, ResidualStatistics
from nnanomaly.inference.detectors import attached, ensemble_detector, head_detector, residual_detector
from nnanomaly.inference.head_input import head_input
from nnanomaly.inference.look import Look, PatchReconstruction
from nnanomaly.inference.patch_map import anomaly_map
from nnanomaly.patch import Patch
from nnanomaly.plans import HEAD_INPUTS, HeadPlan, Plans
from nnanomaly.volume import Grid

SHAPE = (4, 4, 4)
WINDOW = (-200.0, 300.0)
STATISTICS = ResidualStatistics(edges_mm=(0.0,), mean_hu=(10.0, 20.0), std_hu=(5.0, 5.0))


def seen(value_hu: float, distance_mm: float) -> Look:
    image, healthy = np.full(SHAPE, 50.0, np.float32), np.full(SHAPE, 300.0, np.float32)
    covered = np.ones(SHAPE, bool)
    covered[0] = False
    residual = Residual(
        value_hu=np.full(SHAPE, value_hu, np.float32),
        distance_mm=np.full(SHAPE, distance_mm, np.float32),
        intensity_hu=healthy,
        covered=covered,
    )
    patch = Patch(name="a", case="a", organ="a", array=np.zeros((3, *SHAPE)), grid=Grid(SHAPE, (1.0,) * 3, (0.0,) * 3))
    reconstruction = PatchReconstruction(image_hu=image, healthy_hu=healthy, autoencoded_hu=image)
    return Look(patch=patch, reconstruction=reconstruction, residual=residual)


def test_the_channels_have_their_order_and_scale() -> None:
    look = seen(value_hu=35.0, distance_mm=-10.0)
    channels = head_input(look, STATISTICS, window_hu=WINDOW, inputs=HEAD_INPUTS)
    # z = (35 - 10) / (5 + 5) = 2.5, in units of 5; -10 mm in units of 20
    np.testing.assert_allclose(channels[:, 1, 1, 1], [0.0, 1.0, 0.5, -0.5], atol=1e-5)
    one = head_input(look, STATISTICS, window_hu=WINDOW, inputs=("distance",))
    np.testing.assert_array_equal(one[0], channels[3])


def test_extremes_are_clipped() -> None:
    channels = head_input(seen(1e4, 1e3), STATISTICS, window_hu=WINDOW, inputs=HEAD_INPUTS)
    np.testing.assert_allclose(channels[2:, 0, 0, 0], [3.0, 3.0])


class _SumOfChannels(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum(dim=1, keepdim=True)


def test_the_head_gives_a_probability_where_the_scan_says_something(tiny_plans: object) -> None:
    plans: Plans = tiny_plans("default", dataset="Dataset501_Kidney")  # type: ignore[operator]
    plans = replace(
        plans, head=HeadPlan(inputs=("zscore", "distance")), inference=replace(plans.inference, precision="fp32")
    )
    detect = head_detector(_SumOfChannels(), plans, torch.device("cpu"))
    probability = detect(seen(35.0, -10.0), STATISTICS)
    np.testing.assert_allclose(probability[1:], 0.5, atol=1e-6)  # 0.5 - 0.5 = 0
    np.testing.assert_array_equal(probability[0], 0)


class _FirstColumn(nn.Module):
    """Certain on the first plane of the last axis alone."""

    def forward(self, x: Tensor) -> Tensor:
        logits = torch.full_like(x[:, :1], -50.0)
        logits[..., 0] = 50.0
        return logits


def test_mirroring_is_the_mean_over_all_eight_mirrored_patches(tiny_plans: object) -> None:
    plans: Plans = tiny_plans("default", dataset="Dataset501_Kidney")  # type: ignore[operator]
    plans = replace(plans, inference=replace(plans.inference, precision="fp32", mirroring=True))
    probability = head_detector(_FirstColumn(), plans, torch.device("cpu"))(seen(35.0, -10.0), STATISTICS)
    np.testing.assert_allclose(probability[1:, :, 0], 0.5, atol=1e-6)  # half of the mirrors turn the last axis
    np.testing.assert_allclose(probability[1:, :, -1], 0.5, atol=1e-6)
    np.testing.assert_allclose(probability[1:, :, 1:-1], 0.0, atol=1e-6)


def test_lesions_that_begin_at_the_organ_stay_and_others_go() -> None:
    distance = np.broadcast_to(np.arange(30, dtype=np.float32)[:, None, None], (30, 5, 5))
    probability = np.full(distance.shape, 0.3, np.float32)
    probability[6:20, 1:3, 1:3] = 0.9  # reaches from 6 to 19 mm beyond the organ
    probability[22:28, 1:3, 1:3] = 0.99  # begins at 22 mm
    kept = attached(probability, distance, 8.0)
    np.testing.assert_array_equal(kept[6:20], probability[6:20])
    np.testing.assert_array_equal(kept[22:28, 1:3, 1:3], 0)
    np.testing.assert_array_equal(kept[22:28, 3:], np.float32(0.3))
    np.testing.assert_array_equal(attached(probability, distance, -1.0), probability)


def test_the_residual_detector_is_the_anomaly_map() -> None:
    look = seen(35.0, 12.0)
    expected = anomaly_map(look.residual, STATISTICS, DEFAULT.inference)
    np.testing.assert_array_equal(residual_detector(DEFAULT.inference)(look, STATISTICS), expected)


def test_an_ensemble_is_the_mean_of_probability_and_squashed_score() -> None:
    plan = replace(DEFAULT.inference, anomaly_map="absolute", organ_gate_mm=8.0)
    detect = ensemble_detector(lambda *_: np.full(SHAPE, 0.5, np.float32), plan)
    # z = (40 - 10) / (5 + 5) = 3, which counts as much as one half
    np.testing.assert_allclose(detect(seen(40.0, -10.0), STATISTICS)[1:], 0.5, atol=1e-6)
    # 10 HU below the mean outside: no negative score; what the scan does not cover scores 0
    np.testing.assert_allclose(detect(seen(10.0, 5.0), STATISTICS), 0.25, atol=1e-6)
    np.testing.assert_allclose(detect(seen(40.0, -10.0), STATISTICS)[0], 0.25, atol=1e-6)
