"""Residuals, distances, gates and healthy statistics on arrays one can check by hand."""

from dataclasses import replace

import numpy as np
import pytest

from nnanomaly.inference.anomaly_map import (
    Residual,
    ResidualStatistics,
    absolute_residual,
    dissimilarity,
    mean_residual,
    measure_residuals,
    organ_gate,
    residual_zscore,
)


def test_without_smoothing_the_residual_is_the_absolute_difference() -> None:
    image = np.array([[[10.0, -5.0, 3.0]]], dtype=np.float32)
    healthy = np.array([[[4.0, 5.0, 3.0]]], dtype=np.float32)
    assert absolute_residual(image, healthy, sigma_voxels=(0, 0, 0)).tolist() == [[[6.0, 10.0, 0.0]]]


def test_smoothing_comes_before_the_absolute_value_so_that_noise_cancels() -> None:
    noise = np.random.default_rng(0).normal(0, 10, (24, 24, 24)).astype(np.float32)
    smoothed = absolute_residual(noise, np.zeros_like(noise), sigma_voxels=(1.5, 1.5, 1.5))
    assert smoothed.mean() < 0.2 * np.abs(noise).mean()


def test_the_gate_is_open_near_the_organ_and_falls_by_e_within_ten_millimetres() -> None:
    gate = organ_gate(np.array([-30.0, 8.0, 18.0]), 8.0)
    assert gate == pytest.approx([1.0, 1.0, np.exp(-1)])
    assert (organ_gate(np.array([500.0]), -1.0) == 1).all()


def residual(
    value: list[float], distance: list[float], intensity: list[float] | None = None, covered: list[bool] | None = None
) -> Residual:
    """One row of voxels."""
    row = lambda values, kind: np.array([[values]], dtype=kind)  # noqa: E731
    return Residual(
        value_hu=row(value, np.float32),
        distance_mm=row(distance, np.float32),
        intensity_hu=row(intensity or [0.0] * len(value), np.float32),
        covered=row(covered or [True] * len(value), bool),
    )


def test_statistics_are_taken_per_distance_bin_over_covered_voxels_only() -> None:
    # 1000 voxels a bin and 50 of the mean of all (6 and 20) in each: (1000 * 2 + 50 * 6) / 1050.
    row = residual([2.0] * 1000 + [10.0] * 1000 + [99.0], [-5.0] * 1000 + [5.0] * 1001, None, [True] * 2000 + [False])
    statistics = measure_residuals([row], edges_mm=(0.0,))
    assert statistics.mean_hu == pytest.approx([2300 / 1050, 10300 / 1050])
    assert statistics.std_hu[0] == pytest.approx(np.sqrt((4000 + 50 * 52) / 1050 - (2300 / 1050) ** 2))


def test_an_empty_bin_takes_the_statistics_of_the_whole() -> None:
    statistics = measure_residuals([residual([1.0, 3.0], [-5.0, -5.0])], edges_mm=(0.0,))
    assert statistics.mean_hu[1] == 2.0
    assert statistics.std_hu[1] == 1.0


def test_a_bin_of_one_voxel_is_drawn_to_the_whole_so_that_the_ordinary_is_not_rare() -> None:
    row = residual([0.0, 10.0] * 500 + [5.0], [-5.0] * 1000 + [5.0])
    assert measure_residuals([row], edges_mm=(0.0,)).std_hu[1] > 4.9


def test_intensity_divides_every_distance_bin_again() -> None:
    row = residual([1.0, 2.0, 3.0, 4.0] * 10**4, [-5.0, -5.0, 5.0, 5.0] * 10**4, [-80.0, 90.0, -80.0, 90.0] * 10**4)
    statistics = measure_residuals([row], edges_mm=(0.0,), edges_hu=(0.0,))
    assert statistics.mean_hu == pytest.approx([1.0, 2.0, 3.0, 4.0], abs=0.02)
    z = residual_zscore(residual([3.0], [5.0], [-10.0]), statistics)
    assert z.item() == pytest.approx(0.0, abs=0.2)
    assert residual_zscore(residual([3.0], [-5.0], [-10.0]), statistics).item() > 5


def test_the_zscore_uses_the_bin_of_each_voxel_and_the_median_deviation_as_a_floor() -> None:
    statistics = ResidualStatistics(edges_mm=(0.0,), mean_hu=(2.0, 10.0), std_hu=(1.0, 3.0))
    z = residual_zscore(residual([8.0, 15.0], [-1.0, 1.0]), statistics)
    assert z.ravel() == pytest.approx([(8 - 2) / (1 + 2), (15 - 10) / (3 + 2)], rel=1e-5)


def test_the_zscore_of_an_ensemble_is_the_mean_over_levels_of_statistics_of_their_own() -> None:
    healthy = replace(residual([1.0, 3.0], [5.0, 5.0]), extra=(residual([10.0, 30.0], [5.0, 5.0]),))
    statistics = measure_residuals([healthy, healthy], edges_mm=())
    assert (statistics.mean_hu, statistics.extra[0].mean_hu) == ((2.0,), (20.0,))
    assert (statistics.std_hu, statistics.extra[0].std_hu) == ((1.0,), (10.0,))
    new = replace(residual([4.0], [5.0]), extra=(residual([80.0], [5.0]),))
    assert residual_zscore(new, statistics).item() == pytest.approx(((4 - 2) / 2 + (80 - 20) / 20) / 2)
    assert mean_residual(new).item() == pytest.approx(42.0)


@pytest.mark.parametrize("contrast", [20.0, 200.0])
def test_the_dissimilarity_of_flat_images_is_what_their_means_say(contrast: float) -> None:
    first, second = (np.full((16, 16, 16), value, np.float32) for value in (100.0, 100.0 + contrast))
    constant = (0.01 * 500) ** 2
    expected = 1 - (2 * 100 * (100 + contrast) + constant) / (100**2 + (100 + contrast) ** 2 + constant)
    assert dissimilarity(first, second, sigma_voxels=(0, 0, 0)) == pytest.approx(expected, abs=1e-5)


def test_the_dissimilarity_sees_a_lost_structure_and_ranges_from_nought_to_two() -> None:
    texture = np.random.default_rng(0).normal(0, 100, (16, 16, 16)).astype(np.float32)
    assert dissimilarity(texture, texture, sigma_voxels=(0, 0, 0)).max() == pytest.approx(0.0, abs=1e-5)
    opposite = dissimilarity(1000 + texture, 1000 - texture, sigma_voxels=(0, 0, 0))
    assert 1.9 < opposite.mean() < opposite.max() <= 2.0
    lost = texture.copy()
    lost[8:] = 0.0
    seen = dissimilarity(texture, lost, sigma_voxels=(0, 0, 0))
    assert seen[-1].mean() > 0.8
    assert seen[0].mean() < 0.1


def test_windows_that_do_not_fit_are_left_out_and_a_patch_smaller_than_all_is_refused() -> None:
    assert dissimilarity(np.ones((6, 9, 9)), np.ones((6, 9, 9)), sigma_voxels=(0, 0, 0)).shape == (6, 9, 9)
    with pytest.raises(ValueError, match="smallest window, 5"):
        dissimilarity(np.ones((4, 9, 9)), np.ones((4, 9, 9)), sigma_voxels=(0, 0, 0))
