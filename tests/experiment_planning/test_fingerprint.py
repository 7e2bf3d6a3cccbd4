"""Fingerprint of cases that are written by hand: world axes, organ sizes, intensities, JSON."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nnanomaly.experiment_planning.fingerprint import (
    CaseFingerprint,
    OrganRecord,
    analyze_case,
    combine,
    load_fingerprint,
    save_fingerprint,
)
from nnanomaly.utilities.errors import DataError, IntegrityError
from nnanomaly.volume import Grid, Volume

SHAPE, SPACING_MM = (60, 50, 40), (1.0, 2.0, 3.0)
LEFT_POSTERIOR_SUPERIOR = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))  # array axes run along x, y, z
GRID = Grid(SHAPE, SPACING_MM, (-10.0, 20.0, 5.0), LEFT_POSTERIOR_SUPERIOR)


def mask_with(*boxes: tuple[slice, slice, slice]) -> Volume:
    array = np.zeros((1, *SHAPE), np.uint8)
    for box in boxes:
        array[0][box] = 1
    return Volume(array, GRID)


def image_of(value: float) -> Volume:
    return Volume(np.full((1, *SHAPE), value, np.float32), GRID)


ORGAN = np.s_[20:30, 20:26, 10:14]  # 10 mm along x, 12 mm along y, 12 mm along z


def analyze(image: Volume, masks: dict[str, Volume], *, num_samples: int = 10**6) -> CaseFingerprint:
    return analyze_case(
        image,
        masks,
        case="a",
        labels={"kidney": "healthy"},
        num_samples=num_samples,
        seed=0,
    )


def test_sizes_follow_the_world_axes_and_not_the_order_in_the_file() -> None:
    case = analyze(image_of(0), {"kidney": mask_with(ORGAN)})
    assert case.spacing_mm == (3.0, 2.0, 1.0)
    assert case.shape == (40, 50, 60)
    assert case.organs[0].extent_mm == pytest.approx((12.0, 12.0, 10.0))
    assert case.organs[0].volume_ml == pytest.approx(10 * 12 * 12 / 1000)


def test_largest_component_is_measured_and_stray_voxels_are_counted() -> None:
    case = analyze(image_of(0), {"kidney": mask_with(ORGAN, np.s_[50:51, 0:1, 0:1])})
    (organ,) = case.organs
    assert organ.extent_mm == pytest.approx((12.0, 12.0, 10.0))
    assert organ.num_components == 2
    assert organ.touches_border == ()


def test_organ_at_the_end_of_the_scan_touches_its_border() -> None:
    (organ,) = analyze(image_of(0), {"kidney": mask_with(np.s_[20:30, 20:26, 0:4])}).organs
    assert organ.touches_border == ("inferior",)


def test_organ_without_label_is_unlabelled_and_empty_mask_is_absent() -> None:
    case = analyze(image_of(0), {"spleen": mask_with(ORGAN), "kidney": mask_with()})
    assert [(organ.organ, organ.label) for organ in case.organs] == [("spleen", "unlabelled")]
    assert case.num_absent == 1


def test_intensities_come_from_20_mm_around_the_organ_and_not_from_padding() -> None:
    image = image_of(999)
    near = np.s_[0:50, 10:36, 3:21]  # voxel centres up to 20 mm from the faces of the organ: 20, 10 and 6 voxels
    image.array[0][near] = 50
    image.array[0][25, 22, :] = -2000
    samples = analyze(image, {"kidney": mask_with(ORGAN)}).intensities_hu
    assert set(np.unique(samples)) == {50.0}
    assert samples.size == 50 * 26 * 18 - 18


def test_number_of_intensities_is_bounded_and_drawn_from_the_generator() -> None:
    rng = np.random.default_rng(1)
    image = Volume(rng.normal(size=(1, *SHAPE)).astype(np.float32), GRID)
    first, second = (analyze(image, {"kidney": mask_with(ORGAN)}, num_samples=100).intensities_hu for _ in range(2))
    assert first.shape == (100,)
    np.testing.assert_array_equal(first, second)


def organ_record(case: str, label: str) -> OrganRecord:
    return OrganRecord(
        case=case,
        organ="kidney",
        label=label,
        extent_mm=(110.0, 60.0, 60.0),
        volume_ml=180.0,
        touches_border=(),
        num_components=1,
    )


def case_fingerprint(case: str, label: str, values: list[float]) -> CaseFingerprint:
    return CaseFingerprint(
        case=case,
        spacing_mm=(3.0, 0.8, 0.8),
        shape=(100, 512, 512),
        organs=(organ_record(case, label),),
        num_absent=0,
        intensities_hu=np.array(values, np.float32),
        scan_hash=case,
    )


def test_combination_counts_labels_and_pools_intensities() -> None:
    nobody = replace(case_fingerprint("c", "healthy", []), organs=(), num_absent=1)
    cases = [case_fingerprint("b", "unhealthy", [0, 10]), case_fingerprint("a", "healthy", [20, 50]), nobody]
    fingerprint = combine(cases)
    statistics = fingerprint.foreground_intensity_properties_per_channel["0"]
    assert (statistics.mean, statistics.median, statistics.min, statistics.max) == (20.0, 15.0, 0.0, 50.0)
    assert statistics.std == pytest.approx(np.sqrt((400 + 100 + 0 + 900) / 4))
    assert statistics.percentile_99_5 == pytest.approx(20 + 30 * 0.985)
    assert fingerprint.label_counts == {"absent": 1, "healthy": 1, "unhealthy": 1}
    assert [organ.case for organ in fingerprint.organs] == ["a", "b"]
    assert combine(cases[::-1]) == fingerprint


def test_dataset_without_any_organ_is_refused() -> None:
    with pytest.raises(DataError, match="ROI-EMPTY"):
        combine([replace(case_fingerprint("a", "healthy", [1.0]), organs=())])


def test_scan_that_is_all_padding_is_refused() -> None:
    with pytest.raises(DataError, match="DATA-PADDING"):
        combine([analyze(image_of(-2000), {"kidney": mask_with(ORGAN)})])


def test_fingerprint_file_has_the_keys_of_nnunet_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "dataset_fingerprint.json"
    fingerprint = combine([case_fingerprint("a", "healthy", [0, 1, 2])])
    save_fingerprint(path, fingerprint)
    document = json.loads(path.read_text())
    assert document["spacings"] == [[3.0, 0.8, 0.8]]
    assert document["shapes_after_crop"] == [[100, 512, 512]]
    assert document["median_relative_size_after_cropping"] == 1.0
    names = {"mean", "median", "std", "min", "max", "percentile_00_5", "percentile_99_5"}
    assert set(document["foreground_intensity_properties_per_channel"]["0"]) == names
    assert load_fingerprint(path) == fingerprint


def test_fingerprint_of_another_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dataset_fingerprint.json"
    path.write_text('{"spacings": [], "shapes_after_crop": [], "median_relative_size_after_cropping": 1.0}')
    with pytest.raises(IntegrityError, match="--clean"):
        load_fingerprint(path)
