"""Features of candidates against closed forms, and between grids."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from nnanomaly.arrays import Floats
from nnanomaly.distance import signed_distance_mm
from nnanomaly.inference.candidate_features import FEATURES, Mapped, candidate_features

SIZE_MM = 60.0


def positions_mm(spacing_mm: tuple[float, float, float]) -> list[Floats]:
    """World coordinates of the voxel centres of a cube of 60 mm around the origin."""
    axes = [np.arange(-SIZE_MM / 2 + s / 2, SIZE_MM / 2, s) for s in spacing_mm]
    return list(np.meshgrid(*axes, indexing="ij"))


def scene_and_ball(spacing_mm: tuple[float, float, float], radius_mm: float = 8.0) -> tuple[Mapped, NDArray[np.bool_]]:
    """An organ of 40 HU and radius 20 mm in fat, a ball of 10 HU within it that the reconstruction lacks."""
    z, y, x = positions_mm(spacing_mm)
    organ = z**2 + y**2 + x**2 < 20.0**2
    ball = z**2 + y**2 + (x - 5) ** 2 < radius_mm**2
    healthy = np.where(organ, 40.0, -100.0).astype(np.float32)
    image = np.where(ball, 10.0, healthy).astype(np.float32)
    scene = Mapped(
        anomaly=(np.abs(image - healthy) / 10 + x / 100).astype(np.float32),
        image_hu=image,
        healthy_hu=healthy,
        distance_mm=signed_distance_mm(organ, spacing_mm),
        covered=np.ones(organ.shape, dtype=bool),
        spacing_mm=spacing_mm,
    )
    return scene, ball


def named(mask: NDArray[np.bool_], scene: Mapped) -> dict[str, float]:
    return dict(zip(FEATURES, candidate_features(mask, scene).tolist(), strict=True))


def test_a_ball_in_an_organ_has_the_features_of_its_making() -> None:
    scene, ball = scene_and_ball((1.0, 1.0, 1.0))
    found = named(ball, scene)
    assert found["log_volume"] == pytest.approx(np.log(4 / 3 * np.pi * 8**3), abs=0.02)
    assert found["mean_hu"] == pytest.approx(10)
    assert found["std_hu"] == pytest.approx(0, abs=1e-4)
    assert found["contrast_hu"] == pytest.approx(-30)
    assert found["absolute_contrast_hu"] == pytest.approx(30)
    assert found["difference_hu"] == pytest.approx(-30)
    assert found["absolute_difference_hu"] == pytest.approx(30)
    assert found["organ_share"] == 1
    assert found["min_distance_mm"] == pytest.approx(-20, abs=1.5)
    assert found["max_distance_mm"] == pytest.approx(-7, abs=1.5)
    assert found["map_mean"] == pytest.approx(3.05, abs=0.01)
    assert found["map_max"] == pytest.approx(3.125, abs=0.01)
    assert [found[name] for name in ("compactness", "elongation", "flatness")] == pytest.approx([1, 1, 1], abs=0.02)
    assert found["touches_border"] == 0


def test_an_ellipsoid_is_as_long_and_as_flat_as_its_axes_and_less_compact_than_a_ball() -> None:
    scene, _ = scene_and_ball((1.0, 1.0, 1.0))
    z, y, x = positions_mm((1.0, 1.0, 1.0))
    found = named((z / 20) ** 2 + (y / 10) ** 2 + (x / 5) ** 2 < 1, scene)
    assert found["elongation"] == pytest.approx(10 / 20, abs=0.02)
    assert found["flatness"] == pytest.approx(5 / 20, abs=0.02)
    expected = 3 * (20 * 10 * 5) ** (2 / 3) / (20**2 + 10**2 + 5**2)
    assert found["compactness"] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("spacing_mm", [(2.4, 2.4, 2.4), (3.0, 0.8, 0.8)])
def test_grids_of_other_spacing_agree(spacing_mm: tuple[float, float, float]) -> None:
    fine, coarse = (named(ball, scene) for scene, ball in map(scene_and_ball, ((1.0, 1.0, 1.0), spacing_mm)))
    tolerance = {"log_volume": 0.1, "min_distance_mm": 3.0, "max_distance_mm": 3.0}
    for name in FEATURES:
        assert coarse[name] == pytest.approx(fine[name], abs=tolerance.get(name, 0.06)), name


def test_the_shell_leaves_the_organ_only_where_none_of_the_organ_is_near() -> None:
    scene, _ = scene_and_ball((1.0, 1.0, 1.0))
    z, y, x = positions_mm((1.0, 1.0, 1.0))
    outside = (np.abs(z) < 2) & (np.abs(y) < 2) & (x > 26) & (x < 29)
    assert named(outside, scene)["contrast_hu"] == pytest.approx(0)
    at_edge = (np.abs(z) < 2) & (np.abs(y) < 2) & (x > 20) & (x < 23)
    assert named(at_edge, scene)["contrast_hu"] < -100


def test_a_candidate_touches_the_border_at_the_end_of_the_grid_and_beside_what_is_not_covered() -> None:
    scene, ball = scene_and_ball((1.0, 1.0, 1.0))
    assert named(np.roll(ball, 17, axis=2), scene)["touches_border"] == 1
    covered = scene.covered.copy()
    covered[:, :, 43:] = False
    assert named(ball, replace(scene, covered=covered))["touches_border"] == 1


def test_one_voxel_has_features() -> None:
    scene, ball = scene_and_ball((2.0, 2.0, 2.0))
    mask = np.zeros_like(ball)
    mask[15, 15, 15] = True
    assert np.isfinite(candidate_features(mask, scene)).all()
