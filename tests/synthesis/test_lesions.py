"""Spheres in a ball of an organ, whose volumes, distances and intensities are known."""

import numpy as np
import pytest

from nnanomaly.distance import signed_distance_mm
from nnanomaly.synthesis.lesions import EDGE_MM, Inserted, draw_insertions, insert, insert_sphere
from nnanomaly.synthesis.placement import PLACES, draw_center

SIZE, RADIUS_MM = 48, 20.0
POINTS = np.indices((SIZE, SIZE, SIZE)) - (SIZE - 1) / 2
ORGAN = np.sqrt((POINTS**2).sum(axis=0)) <= RADIUS_MM
IMAGE = np.where(ORGAN, 150.0, -80.0).astype(np.float32)
UNIT = (1.0, 1.0, 1.0)


def sphere(seed: int = 0, **changes: object) -> Inserted:
    values = {"spacing_mm": UNIT, "diameter_mm": 10.0, "contrast_hu": -60.0, "rng": np.random.default_rng(seed)}
    return insert_sphere(IMAGE, ORGAN, **{**values, **changes})


@pytest.mark.parametrize("diameter", [5.0, 10.0, 20.0])
@pytest.mark.parametrize("contrast", [-60.0, 40.0])
def test_a_sphere_has_the_volume_and_the_contrast_that_were_asked_for(diameter: float, contrast: float) -> None:
    lesion = sphere(diameter_mm=diameter, contrast_hu=contrast)
    added = lesion.image_hu - IMAGE
    volume = np.pi * diameter**3 / 6
    assert lesion.mask.sum() == pytest.approx(volume, rel=0.25 if diameter < 10 else 0.05)
    assert added.sum() / contrast == pytest.approx(volume, rel=0.1 if diameter < 10 else 0.02)  # partial volumes too
    assert added[lesion.center] == contrast
    assert set(np.sign(added).ravel()) == {0.0, np.sign(contrast)}


def test_nothing_changes_beyond_half_an_edge_outside_the_sphere() -> None:
    lesion = sphere(edge_mm=2.0)
    distance = np.sqrt(sum((np.indices(ORGAN.shape)[axis] - lesion.center[axis]) ** 2 for axis in range(3)))
    changed = lesion.image_hu != IMAGE
    assert not changed[distance >= 6].any()
    assert (lesion.image_hu == IMAGE - 60)[distance <= 4].all()
    assert np.array_equal(lesion.mask, distance <= 5)


def test_the_edge_is_half_way_at_the_surface_and_never_sharper_than_a_voxel() -> None:
    for edge in (0.5, 2.0):
        lesion = sphere(edge_mm=edge)
        z, y, x = lesion.center
        assert lesion.image_hu[z, y, x + 5] == pytest.approx(150 - 30)
    sharp, soft = sphere(edge_mm=0.5), sphere(edge_mm=2.0)
    assert (sharp.image_hu != soft.image_hu).any()
    assert np.array_equal(sharp.image_hu, sphere(edge_mm=1.0).image_hu)


def test_the_sphere_is_round_in_millimetres_not_in_voxels() -> None:
    lesion = sphere(spacing_mm=(2.0, 1.0, 1.0))
    extents = [np.ptp(np.nonzero(lesion.mask)[axis]) for axis in range(3)]
    assert extents == [4, 10, 10]


@pytest.mark.parametrize("seed", range(20))
def test_an_endophytic_sphere_lies_whole_in_the_organ_and_a_straddling_one_does_not(seed: int) -> None:
    inside = sphere(seed, place="endophytic")
    assert ORGAN[inside.mask].all()
    across = sphere(seed, place="straddling")
    assert ORGAN[across.center]
    assert not ORGAN[across.mask].all()


def test_places_vary_with_the_generator_and_are_the_same_for_the_same_seed() -> None:
    centers = {sphere(seed).center for seed in range(10)}
    assert len(centers) == 10
    assert np.array_equal(sphere(3).image_hu, sphere(3).image_hu)


def test_in_an_organ_too_thin_for_it_a_lesion_lies_as_deep_as_it_can() -> None:
    thin = np.zeros((9, 9, 9), dtype=bool)
    thin[3:6] = True  # three layers: only the middle one is two voxels deep
    distance = signed_distance_mm(thin, UNIT)
    rng = np.random.default_rng(0)
    assert {draw_center(distance, radius_mm=10.0, place="endophytic", rng=rng)[0] for _ in range(20)} == {4}
    outermost = {draw_center(distance, radius_mm=0.5, place="straddling", rng=rng)[0] for _ in range(20)}
    assert outermost == {3, 5}


def test_insertions_take_all_pairs_equally_often_in_an_order_of_their_own() -> None:
    def drawn(seed: int) -> list[object]:
        rng = np.random.default_rng(seed)
        return list(draw_insertions(12, diameters_mm=(5.0, 10.0, 20.0), contrasts_hu=(-60.0, 60.0), rng=rng))

    lesions = drawn(0)
    pairs = [(lesion.diameter_mm, lesion.contrast_hu) for lesion in lesions]
    assert sorted(pairs) == sorted([(d, c) for d in (5.0, 10.0, 20.0) for c in (-60.0, 60.0)] * 2)
    assert all(EDGE_MM[0] <= lesion.edge_mm <= EDGE_MM[1] for lesion in lesions)
    assert {lesion.place for lesion in lesions} == set(PLACES[:2])
    assert drawn(0) == lesions
    assert drawn(1) != lesions
    many = [insert(IMAGE, ORGAN, lesion, spacing_mm=UNIT, rng=np.random.default_rng(0)) for lesion in lesions[:2]]
    assert [many[k].image_hu[many[k].center] - 150 for k in range(2)] == [pair[1] for pair in pairs[:2]]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"diameter_mm": 0.0}, "diameter_mm is 0.0"),
        ({"edge_mm": -1.0}, "edge_mm -1.0"),
        ({"place": "elsewhere"}, "elsewhere"),
    ],
)
def test_an_impossible_lesion_is_refused_with_the_value(changes: dict[str, object], part: str) -> None:
    with pytest.raises(ValueError, match=part):
        sphere(**changes)


def test_an_empty_organ_another_grid_and_an_empty_choice_are_refused() -> None:
    values = {"spacing_mm": UNIT, "diameter_mm": 10.0, "contrast_hu": 1.0, "rng": np.random.default_rng(0)}
    with pytest.raises(ValueError, match="empty"):
        insert_sphere(IMAGE, np.zeros_like(ORGAN), **values)
    with pytest.raises(ValueError, match="share a grid"):
        insert_sphere(IMAGE[1:], ORGAN, **values)
    with pytest.raises(ValueError, match="no diameters"):
        draw_insertions(3, diameters_mm=(), contrasts_hu=(1.0,), rng=np.random.default_rng(0))
