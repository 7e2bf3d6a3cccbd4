"""Residuals, distances, gates and healthy statistics on arrays one can check by hand."""

import numpy as np
import pytest

from nnanomaly.inference.anomaly_map import (
    ResidualStatistics,
    absolute_residual,
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


def test_statistics_are_taken_per_distance_bin_over_covered_voxels_only() -> None:
    residual = np.array([[[1.0, 3.0, 10.0, 99.0]]], dtype=np.float32)
    distance = np.array([[[-5.0, -5.0, 5.0, 5.0]]], dtype=np.float32)
    covered = np.array([[[True, True, True, False]]])
    statistics = measure_residuals([residual], [distance], [covered], edges_mm=(0.0,))
    assert statistics.mean_hu == (2.0, 10.0)
    assert statistics.std_hu == (1.0, 0.0)


def test_an_empty_bin_takes_the_statistics_of_the_whole() -> None:
    residual = np.array([[[1.0, 3.0]]], dtype=np.float32)
    inside = np.full((1, 1, 2), -5.0, dtype=np.float32)
    statistics = measure_residuals([residual], [inside], [np.ones((1, 1, 2), bool)], edges_mm=(0.0,))
    assert statistics.mean_hu[1] == 2.0
    assert statistics.std_hu[1] == 1.0


def test_the_zscore_uses_the_bin_of_each_voxel_and_the_median_deviation_as_a_floor() -> None:
    statistics = ResidualStatistics(edges_mm=(0.0,), mean_hu=(2.0, 10.0), std_hu=(1.0, 3.0))
    z = residual_zscore(np.array([8.0, 15.0]), np.array([-1.0, 1.0]), statistics)
    assert z == pytest.approx([(8 - 2) / (1 + 2), (15 - 10) / (3 + 2)], rel=1e-5)
