import numpy as np
import pytest

from nnanomaly.dataset_conversion.phantom_shapes import Canvas, Ellipsoid, Tube, draw_waves
from nnanomaly.volume import canonical_grid


def points(*rows: tuple[float, float, float]) -> np.ndarray:
    return np.array(rows, np.float32).T


def test_distance_to_a_sphere_is_exact() -> None:
    sphere = Ellipsoid(center_mm=(1, 2, 3), semi_axes_mm=(10, 10, 10))
    distances = sphere.distance(points((14, 2, 3), (1, 8, 3), (1, 2, -7)))
    np.testing.assert_allclose(distances, [3, -4, 0], atol=1e-5)


def test_distance_to_an_ellipsoid_is_right_near_its_surface_along_its_own_axes() -> None:
    turned = Ellipsoid(center_mm=(0, 0, 0), semi_axes_mm=(30, 10, 20), axes=((0, 1, 0), (0, 0, 1), (1, 0, 0)))
    distances = turned.distance(points((21, 0, 0), (0, 29, 0), (0, 0, 10.5)))
    np.testing.assert_allclose(distances, [1, -1, 0.5], rtol=0.06)


def test_an_endless_semi_axis_makes_a_cylinder() -> None:
    cylinder = Ellipsoid(center_mm=(0, 0, 0), semi_axes_mm=(float("inf"), 5, 5))
    np.testing.assert_allclose(cylinder.distance(points((900, 7, 0), (-900, 0, 5))), [2, 0], atol=1e-5)


def test_distance_to_a_tube_has_rounded_ends() -> None:
    tube = Tube(start_mm=(0, 0, 0), stop_mm=(10, 0, 0), radius_mm=2)
    np.testing.assert_allclose(tube.distance(points((5, 3, 0), (13, 4, 0), (5, 0, 0))), [1, 3, -2], atol=1e-5)


def test_a_random_field_has_mean_0_and_variance_1() -> None:
    far_apart = np.random.default_rng(0).uniform(-5000, 5000, (3, 40_000)).astype(np.float32)
    values = draw_waves(np.random.default_rng(1), (20.0, 40.0))(far_apart)
    assert abs(values.mean()) < 0.02
    assert values.std() == pytest.approx(1, abs=0.02)


def test_a_painted_sphere_has_the_volume_of_a_sphere() -> None:
    canvas = Canvas(canonical_grid((0, 0, 0), (30, 30, 30), (2, 2, 2)), background=0)
    canvas.paint_ellipsoid(Ellipsoid(center_mm=(0.7, -0.4, 1.1), semi_axes_mm=(15, 15, 15)), 1)
    assert canvas.image.sum() * 8 == pytest.approx(4 / 3 * np.pi * 15**3, rel=0.01)


def test_painting_in_a_window_equals_painting_everywhere() -> None:
    canvas = Canvas(canonical_grid((0, 0, 0), (24, 26, 28), (2, 3, 2.5)), background=-100)
    whole = Canvas(canvas.grid, background=-100)
    tube = Tube(start_mm=(-10, 3, 5), stop_mm=(12, -8, 40), radius_mm=4)  # leaves the grid
    canvas.paint_tube(tube, 50)
    whole.paint(whole.everywhere, whole.occupancy(tube.distance(whole.points)), 50)
    np.testing.assert_array_equal(canvas.image, whole.image)
    assert canvas.image.max() > 40
