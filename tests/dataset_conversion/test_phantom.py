from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, label

from nnanomaly.dataset_conversion.phantom import LABELS, PhantomCase, PhantomSettings, render_case
from nnanomaly.dataset_conversion.phantom_anatomy import ORGANS
from nnanomaly.dataset_conversion.phantom_dataset import oriented_grid

SETTINGS = PhantomSettings()
BOTH = {"kidney_left": (30.0, 12.0), "kidney_right": (18.0,)}


def render(
    seed: int,
    diameters_mm: Mapping[str, Sequence[float]],
    *,
    settings: PhantomSettings = SETTINGS,
    orientation: str = "LPS",
) -> PhantomCase:
    grid = oriented_grid(settings, orientation)
    return render_case(np.random.default_rng(seed), settings, grid=grid, diameters_mm=diameters_mm)


@pytest.fixture(scope="module")
def cases() -> list[PhantomCase]:
    return [render(seed, BOTH) for seed in range(5)]


def test_same_seed_gives_the_same_voxels_and_another_seed_another_patient() -> None:
    first, again, other = render(3, BOTH), render(3, BOTH), render(4, BOTH)
    np.testing.assert_array_equal(first.image.array, again.image.array)
    np.testing.assert_array_equal(first.labels.array, again.labels.array)
    assert (first.image.array != other.image.array).mean() > 0.5


def test_organ_labels_follow_the_lesions() -> None:
    assert render(0, {}).organ_labels == {"kidney_left": "healthy", "kidney_right": "healthy"}
    assert render(0, {"kidney_right": (12.0,)}).organ_labels == {"kidney_left": "healthy", "kidney_right": "unhealthy"}


def test_every_lesion_touches_its_own_kidney(cases: list[PhantomCase]) -> None:
    for case in cases:
        labels = case.labels.array[0]
        left = np.moveaxis(case.labels.grid.to_world(np.moveaxis(np.indices(labels.shape), 0, -1)), -1, 0)[2] > 0
        lesions, count = label(labels >= LABELS["tumor"], np.ones((3, 3, 3)))
        assert 1 <= count <= 3
        for number in range(1, count + 1):
            lesion = lesions == number
            touched = binary_dilation(lesion) & (labels == LABELS["kidney"])
            assert touched.any()
            assert left[touched].all() or not left[touched].any()
        for lesion in case.lesions:
            assert (lesion.shape.center_mm[2] > 0) == (lesion.organ == "kidney_left")


def test_lesions_of_one_kidney_are_apart(cases: list[PhantomCase]) -> None:
    for case in cases:
        large, small = (lesion for lesion in case.lesions if lesion.organ == "kidney_left")
        distance = np.linalg.norm(np.subtract(large.shape.center_mm, small.shape.center_mm))
        assert distance >= (large.diameter_mm + small.diameter_mm) / 2


def test_lesions_have_the_size_that_was_asked_for(cases: list[PhantomCase]) -> None:
    for case in cases:
        assert sorted(lesion.diameter_mm for lesion in case.lesions) == [12, 18, 30]
        voxel_ml = case.labels.grid.voxel_volume_mm3 / 1000
        expected = sum(4 / 3 * np.pi * np.prod(lesion.shape.semi_axes_mm) / 1000 for lesion in case.lesions)
        drawn = (case.labels.array >= LABELS["tumor"]).sum() * voxel_ml
        assert drawn == pytest.approx(expected, rel=0.2)


def test_healthy_and_unhealthy_cases_have_the_same_anatomy() -> None:
    healthy, unhealthy = render(5, {}), render(5, {"kidney_left": (20.0,)})
    assert healthy.patient.body == unhealthy.patient.body
    noiseless = replace(SETTINGS, noise_hu=0.0)
    with_lesion = render(5, {"kidney_left": (20.0,)}, settings=noiseless)
    lesion = with_lesion.lesions[0]
    index = np.moveaxis(np.indices(with_lesion.image.grid.shape), 0, -1)
    world = with_lesion.image.grid.to_world(index.astype(float))
    far = np.linalg.norm(world - np.array(lesion.shape.center_mm), axis=-1) > 30
    assert far.mean() > 0.9
    without = render(5, {}, settings=noiseless)
    np.testing.assert_array_equal(with_lesion.image.array[0][far], without.image.array[0][far])
    assert (with_lesion.image.array != without.image.array).any()


def test_values_are_those_of_an_enhanced_ct(cases: list[PhantomCase]) -> None:
    for case in cases:
        image, labels = case.image.array[0].astype(float), case.labels.array[0]
        assert -1030 <= image.min() < -950
        assert image.max() < 600
        assert image[0, 0, 0] == pytest.approx(-1000, abs=60)
        parenchyma = image[labels == LABELS["kidney"]]
        assert 110 < np.median(parenchyma) < 200
        cysts = [lesion for lesion in case.lesions if lesion.kind == "cyst" and lesion.diameter_mm >= 18]
        for lesion in cysts:
            center = np.rint(case.image.grid.to_index(np.array(lesion.shape.center_mm))).astype(int)
            around = image[tuple(slice(middle - 1, middle + 2) for middle in center)]
            assert around.mean() == pytest.approx(lesion.hu, abs=12)


def test_noise_has_the_standard_deviation_that_was_asked_for() -> None:
    noiseless, noisy = (render(1, {}, settings=replace(SETTINGS, noise_hu=noise)) for noise in (0.0, 12.0))
    inside = noiseless.image.array > -900
    assert np.std((noisy.image.array - noiseless.image.array)[inside]) == pytest.approx(12, rel=0.05)


def test_healthy_kidneys_hold_dark_fat_and_urine_too() -> None:
    for seed in range(2):
        case = render(seed, {})
        image = case.image.array[0]
        for kidney in case.patient.kidneys:
            world = case.image.grid.to_world(np.moveaxis(np.indices(image.shape), 0, -1).astype(float))
            inside = kidney.envelope_distance(np.moveaxis(world, -1, 0).astype(np.float32)) < -4
            assert (image[inside] < -20).sum() > 20  # fat
            assert ((image[inside] > -20) & (image[inside] < 60)).sum() > 20  # urine, vessels and mixed voxels


@pytest.mark.parametrize("orientation", ["RAS", "LAS", "IPL", "PIR"])
def test_orientation_changes_the_array_but_not_the_world(orientation: str) -> None:
    settings = replace(SETTINGS, spacing_mm=(4.0, 3.0, 3.0), noise_hu=0.0)
    plain, turned = (render(2, BOTH, settings=settings, orientation=name) for name in ("LPS", orientation))
    index = np.moveaxis(np.indices(turned.image.grid.shape), 0, -1)
    other = plain.image.grid.to_index(turned.image.grid.to_world(index.astype(float)))
    assert np.abs(other - np.rint(other)).max() < 1e-6
    z, y, x = np.moveaxis(np.rint(other).astype(int), -1, 0)
    assert not np.array_equal(np.stack([z, y, x], axis=-1), index)
    difference = plain.image.array[0][z, y, x].astype(int) - turned.image.array[0]
    assert np.abs(difference).max() <= 1
    assert (plain.labels.array[0][z, y, x] != turned.labels.array[0]).mean() < 1e-5
    for organ in ORGANS:
        assert (plain.organ_masks[organ].array[0][z, y, x] != turned.organ_masks[organ].array[0]).mean() < 1e-5


def test_masks_cover_the_parenchyma_but_leave_out_most_of_a_large_lesion(cases: list[PhantomCase]) -> None:
    for case in cases:
        labels = case.labels.array[0]
        mask = np.maximum(*(case.organ_masks[organ].array[0] for organ in ORGANS)) > 0
        assert mask[labels == LABELS["kidney"]].mean() > 0.85
        assert mask[labels == LABELS["background"]].mean() < 0.02
        large = [lesion for lesion in case.lesions if lesion.diameter_mm > 25]
        world = case.labels.grid.to_world(np.moveaxis(np.indices(labels.shape), 0, -1).astype(float))
        for lesion in large:
            inside = lesion.distance(np.moveaxis(world, -1, 0).astype(np.float32)) < 0
            assert mask[inside].mean() < 0.4


def test_masks_of_fine_scans_consist_of_blocks_of_3_mm() -> None:
    settings = replace(SETTINGS, spacing_mm=(1.5, 3.0, 3.0))
    mask = render(0, {}, settings=settings).organ_masks["kidney_left"].array[0]
    np.testing.assert_array_equal(mask[0::2], mask[1::2])
    assert mask.any()


def test_kidneys_lie_as_in_a_person(cases: list[PhantomCase]) -> None:
    for case in cases:
        for kidney in case.patient.kidneys:
            length = kidney.frame.semi_axes_mm[0]
            upper, lower = kidney.to_world((length, 0, 0)), kidney.to_world((-length, 0, 0))
            assert upper[0] > lower[0]
            assert abs(upper[2]) < abs(lower[2])  # upper pole medial
            assert abs(kidney.hilum_mm()[2]) < abs(kidney.frame.center_mm[2])  # hilum medial
            assert kidney.hilum_mm()[1] < kidney.frame.center_mm[1]  # and anterior
            assert (kidney.frame.center_mm[2] > 0) == (kidney.organ == "kidney_left")
