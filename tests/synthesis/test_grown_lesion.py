"""Lesions of a kind: what they look like, where they lie, what of the organ is left, and what is refused."""

import numpy as np
import pytest

from nnanomaly.distance import signed_distance_mm
from nnanomaly.synthesis.distractors import DISTRACTORS
from nnanomaly.synthesis.grown_lesion import LEAST_CONTRAST_HU, GrownLesion, grow_lesion
from nnanomaly.synthesis.kinds import KINDS
from nnanomaly.synthesis.placement import PLACES, draw_center
from nnanomaly.synthesis.shapes import distance_from

SHAPE, SPACING = (48, 48, 48), (2.0, 2.0, 2.0)
R = distance_from((24, 24, 24), SHAPE, SPACING)
ORGAN = R < 26
PARENCHYMA_HU, FAT_HU, NOISE_HU = 160.0, -90.0, 6.0
IMAGE = (np.where(ORGAN, PARENCHYMA_HU, FAT_HU) + NOISE_HU * np.random.default_rng(9).standard_normal(SHAPE)).astype(
    np.float32
)


def grown(seed: int, *, kind: str = "simple_cyst", radius_mm: float = 8.0, place: str = "endophytic") -> GrownLesion:
    rng = np.random.default_rng(seed)
    return grow_lesion(
        IMAGE,
        ORGAN,
        earlier=np.zeros(SHAPE, dtype=bool),
        spacing_mm=SPACING,
        kind=kind,
        radius_mm=radius_mm,
        place=place,
        rng=rng,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_seen_and_leaves_the_rest_as_it_was(kind: str) -> None:
    for seed in range(4):
        lesion = grown(seed, kind=kind, radius_mm=9.0)
        core = lesion.mask & (signed_distance_mm(lesion.mask, SPACING) < -3)
        assert abs(float(lesion.image_hu[core].mean()) - PARENCHYMA_HU) > 0.6 * LEAST_CONTRAST_HU
        far = signed_distance_mm(lesion.mask, SPACING) > 8
        np.testing.assert_allclose(lesion.image_hu[far], IMAGE[far], atol=1e-3)


def test_a_simple_cyst_is_fluid_at_full_opacity_and_as_noisy_as_the_organ() -> None:
    darkest = min((grown(seed, radius_mm=10.0) for seed in range(12)), key=lambda g: g.image_hu[g.mask].mean())
    core = darkest.mask & (signed_distance_mm(darkest.mask, SPACING) < -4)
    assert 0 <= float(darkest.image_hu[core].mean()) < 60
    assert float(darkest.image_hu[core].std()) == pytest.approx(NOISE_HU, rel=0.5)


@pytest.mark.parametrize("place", PLACES)
def test_centres_lie_where_their_place_says(place: str) -> None:
    distance = signed_distance_mm(ORGAN, SPACING)
    centres = [draw_center(distance, radius_mm=10.0, place=place, rng=np.random.default_rng(s)) for s in range(40)]
    depth = np.array([distance[c] for c in centres])
    low, high = {"endophytic": (-100, -10), "straddling": (-10, 0), "exophytic": (2.0, 7.5)}[place]
    assert np.all((depth >= low) & (depth <= high))


def test_a_large_lesion_pushes_and_is_often_left_out_of_the_organ() -> None:
    lesions = [grown(seed, radius_mm=22.0, place="straddling", kind="solid_dark") for seed in range(10)]
    left_out = [not np.any(lesion.organ & lesion.mask) for lesion in lesions]
    assert 3 < sum(left_out) < 11
    assert all(lesion.organ.any() for lesion in lesions)
    moved = [np.any(lesion.image_hu[R > 40] != IMAGE[R > 40]) for lesion in lesions]
    assert any(moved)


def test_the_mask_of_an_earlier_lesion_moves_with_what_it_shows() -> None:
    kept = []
    for seed in range(10):
        small = grown(seed, radius_mm=5.0)
        before = np.where(small.mask, 1000.0, IMAGE).astype(np.float32)  # nothing else is near 1000 HU
        rng = np.random.default_rng(100 + seed)
        both = grow_lesion(
            before,
            ORGAN,
            earlier=small.mask,
            spacing_mm=SPACING,
            kind="simple_cyst",
            radius_mm=22.0,
            place="endophytic",
            rng=rng,
        )
        beside = both.earlier & ~both.mask
        if beside.any():
            kept.append(float(np.mean(both.image_hu[beside] > 500)))
            bright = (both.image_hu > 700) & ~both.mask
            assert np.mean(both.earlier[bright]) > 0.95
    assert len(kept) > 5
    assert min(kept) > 0.8


def test_a_lesion_follows_from_its_generator() -> None:
    np.testing.assert_array_equal(grown(3).image_hu, grown(3).image_hu)
    assert np.any(grown(3).image_hu != grown(4).image_hu)


@pytest.mark.parametrize(
    ("changes", "part"), [({"kind": "wart"}, "wart"), ({"radius_mm": 0.0}, "radius_mm is 0.0"), ({"place": "x"}, "'x'")]
)
def test_an_impossible_lesion_is_refused_with_the_value(changes: dict[str, object], part: str) -> None:
    with pytest.raises(ValueError, match=part):
        grown(0, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", DISTRACTORS)
def test_distractors_change_the_image_but_keep_its_mean(name: str) -> None:
    edited = DISTRACTORS[name](IMAGE, ORGAN, SPACING, np.random.default_rng(0))
    assert np.any(edited != IMAGE)
    assert abs(float((edited - IMAGE).mean())) < 5


def test_a_vessel_is_thin() -> None:
    edited = DISTRACTORS["vessel_like_tube"](IMAGE, ORGAN, SPACING, np.random.default_rng(1))
    changed = np.abs(edited - IMAGE) > 1
    assert 0 < changed.mean() < 0.05
