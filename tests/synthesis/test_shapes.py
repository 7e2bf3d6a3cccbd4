"""Shapes, noise and displacement against closed forms."""

import numpy as np
import pytest

from nnanomaly.synthesis.displacement import push_aside
from nnanomaly.synthesis.noise import like_noise, measure_noise
from nnanomaly.synthesis.shapes import blob_field, distance_from, smooth_noise

SHAPE, CENTER, SPACING = (40, 44, 48), (20, 22, 24), (2.0, 1.5, 1.5)
RADIUS_MM = 12.0


@pytest.mark.parametrize("sigma", [0.0, 1.0, 6.0])
def test_smooth_noise_has_unit_variance_and_no_mean(sigma: float) -> None:
    noise = smooth_noise(SHAPE, (sigma,) * 3, np.random.default_rng(0))
    assert noise.shape == SHAPE
    assert float(noise.mean()) == pytest.approx(0, abs=1e-4)
    assert float(noise.std()) == pytest.approx(1, abs=1e-3)


def test_strongly_smoothed_noise_is_smooth() -> None:
    noise = smooth_noise(SHAPE, (6.0,) * 3, np.random.default_rng(0))
    assert np.abs(np.diff(noise, axis=2)).max() < 0.6


def test_blobs_have_about_the_volume_of_their_sphere_and_hold_their_centre() -> None:
    sphere = 4 / 3 * np.pi * RADIUS_MM**3
    ratios = []
    for seed in range(12):
        field = blob_field(CENTER, SHAPE, SPACING, radius_mm=RADIUS_MM, roughness=0.05, rng=np.random.default_rng(seed))
        assert field[CENTER] < 0
        ratios.append((field <= 0).sum() * np.prod(SPACING) / sphere)
    assert 0.9 < np.mean(ratios) < 1.35  # exponents above 2 are boxier, and so larger, than the ellipsoid
    assert np.std(ratios) > 0.02


def test_a_blob_follows_from_its_generator() -> None:
    first, again, other = (
        blob_field(CENTER, SHAPE, SPACING, radius_mm=RADIUS_MM, roughness=0.1, rng=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_a_push_shows_what_lay_nearer_to_the_centre(share: float) -> None:
    r = distance_from(CENTER, SHAPE, SPACING)
    moved, (organ,) = push_aside(r, [r < 20], CENTER, radius_mm=RADIUS_MM, share=share, spacing_mm=SPACING)
    beyond = np.maximum(r - RADIUS_MM, 0)
    expected = r - share * np.minimum(r, RADIUS_MM) * np.exp(-beyond / RADIUS_MM)
    inside = (expected > 5) & (r < 28)  # the cone that is interpolated has a tip at the centre
    np.testing.assert_allclose(moved[inside], expected[inside], atol=0.15)
    np.testing.assert_array_equal(organ[expected < 19], True)
    np.testing.assert_array_equal(organ[expected > 22], False)


@pytest.mark.parametrize("deviation", [5.0, 20.0])
def test_noise_is_measured_under_a_smooth_organ_with_an_edge(deviation: float) -> None:
    r = distance_from(CENTER, SHAPE, SPACING)
    image = np.where(r < 25, 150.0, -80.0) + deviation * np.random.default_rng(0).standard_normal(SHAPE)
    measured, correlation = measure_noise(image.astype(np.float32), r < 25)
    assert measured == pytest.approx(deviation, rel=0.15)
    assert correlation < 0.1


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.7])
def test_painted_noise_has_the_deviation_and_the_correlation_that_were_asked_for(correlation: float) -> None:
    noise = like_noise((60, 60, 60), 8.0, correlation, np.random.default_rng(0))
    assert float(noise.std()) == pytest.approx(8, rel=0.01)
    found = float(np.mean(noise[..., :-1] * noise[..., 1:]) / np.mean(noise**2))
    assert found == pytest.approx(correlation, abs=0.06)


def test_no_region_has_no_noise() -> None:
    assert measure_noise(np.zeros(SHAPE, np.float32), np.zeros(SHAPE, bool)) == (0.0, 0.0)
