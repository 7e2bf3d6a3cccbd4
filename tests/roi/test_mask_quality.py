"""Oddities of masks: blocks with known volume, pieces, contacts and sides; then real masks and the dev pack."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nnanomaly.dataset.organ_mask_files import find_organ_mask
from nnanomaly.dataset.raw_dataset import load_description
from nnanomaly.imageio.nifti import read_grid
from nnanomaly.roi.mask_quality import MaskQuality, measure_mask, suspicions
from nnanomaly.roi.organ_masks import load_organ_mask
from nnanomaly.volume import Grid, Volume

GRID = Grid((40, 40, 80), (4.0, 4.0, 4.0), (0.0, 0.0, -158.0))
"""160 x 160 x 320 mm; its middle lies at x = 0."""
MIRRORED = Grid((40, 40, 80), (4.0, 4.0, 4.0), (0.0, 0.0, 158.0), ((1, 0, 0), (0, 1, 0), (0, 0, -1)))


def block(*corners: tuple[slice, slice, slice], grid: Grid = GRID) -> Volume:
    mask = np.zeros((1, *grid.shape), np.uint8)
    for corner in corners:
        mask[(0, *corner)] = 1
    return Volume(mask, grid)


LEFT = (slice(10, 22), slice(10, 22), slice(55, 67))
RIGHT = (slice(10, 22), slice(10, 22), slice(13, 25))


def measure(mask: Volume, organ: str = "kidney_left", case: str = "a") -> MaskQuality:
    return measure_mask(mask, case=case, organ=organ)


def codes(*masks: MaskQuality) -> dict[str, list[str]]:
    return {organ: [code for code, _ in odd] for (_, organ), odd in suspicions(masks).items()}


def test_the_facts_of_a_block() -> None:
    found = measure(block(LEFT))
    assert found.volume_ml == pytest.approx(12**3 * 0.064)
    assert (found.num_fragments, found.largest_fraction, found.second_fraction) == (1, 1.0, 0.0)
    assert (found.stray_mm, found.touches_border) == (0.0, ())
    assert found.off_centre_mm == pytest.approx(84.0)
    assert codes(found) == {}


def test_the_side_is_that_of_the_world_not_of_the_array() -> None:
    assert measure(block(LEFT, grid=MIRRORED)).off_centre_mm == pytest.approx(-84.0)
    assert codes(measure(block(LEFT, grid=MIRRORED))) == {"kidney_left": ["ROI-SIDES"]}
    assert codes(measure(block(RIGHT, grid=MIRRORED))) == {}


def test_an_empty_mask_is_named() -> None:
    assert codes(measure(block())) == {"kidney_left": ["ROI-ABSENT"]}


def test_swapped_sides_are_seen_by_both_organs_even_beside_the_middle_of_the_scan() -> None:
    far_left = (LEFT[0], LEFT[1], slice(42, 54))
    swapped = measure(block(far_left), "kidney_left"), measure(block(LEFT), "kidney_right")
    assert codes(*swapped) == {"kidney_left": ["ROI-SIDES"], "kidney_right": ["ROI-SIDES"]}
    straight = measure(block(LEFT), "kidney_left"), measure(block(far_left), "kidney_right")
    assert codes(*straight) == {}


def test_the_same_mask_on_both_sides_is_seen() -> None:
    twice = measure(block(LEFT), "kidney_left"), measure(block(LEFT), "kidney_right")
    assert codes(*twice) == {"kidney_left": ["ROI-SIDES"], "kidney_right": ["ROI-SIDES"]}


def test_partners_of_other_cases_do_not_count() -> None:
    masks = measure(block(LEFT), "kidney_left", case="a"), measure(block(LEFT), "lung_right", case="b")
    assert codes(*masks) == {"lung_right": ["ROI-SIDES"]}


def test_a_cut_organ_names_the_side() -> None:
    found = measure(block((slice(28, 40), LEFT[1], LEFT[2])))
    assert found.touches_border == ("superior",)
    assert codes(found) == {"kidney_left": ["ROI-CUT"]}


def test_a_stray_voxel_far_away_is_seen_and_one_nearby_is_not() -> None:
    near, far = (slice(22, 23), slice(23, 24), slice(60, 61)), (slice(35, 36), slice(35, 36), slice(60, 61))
    assert codes(measure(block(LEFT, near))) == {}
    found = measure(block(LEFT, far))
    # The box of the organ ends half a voxel beyond index 21; the voxel lies 13.5 voxels above and behind it.
    assert found.stray_mm == pytest.approx(13.5 * 4 * np.sqrt(2))
    assert found.num_fragments == 2
    assert codes(found) == {"kidney_left": ["ROI-STRAY"]}


def test_many_or_large_fragments_are_seen() -> None:
    specks = [(slice(10 + 2 * k, 11 + 2 * k), slice(24, 25), slice(60, 61)) for k in range(5)]
    found = measure(block(LEFT, *specks))
    assert found.num_fragments == 6
    assert codes(found) == {"kidney_left": ["ROI-FRAGMENTS"]}
    halves = measure(block((slice(10, 15), *LEFT[1:]), (slice(17, 22), *LEFT[1:])))
    assert halves.second_fraction == 0.5
    assert codes(halves) == {"kidney_left": ["ROI-FRAGMENTS"]}


@pytest.mark.parametrize("volume_ml", [2.0, 3000.0])
def test_a_kidney_of_an_impossible_volume_is_seen(volume_ml: float) -> None:
    assert codes(replace(measure(block(LEFT)), volume_ml=volume_ml)) == {"kidney_left": ["ROI-VOLUME"]}


def test_another_organ_is_compared_with_those_of_the_dataset() -> None:
    spleens = [replace(measure(block(LEFT), "spleen", case=str(k)), volume_ml=200.0) for k in range(5)]
    small = replace(spleens[0], case="small", volume_ml=49.0)
    assert list(suspicions([*spleens, small])) == [("small", "spleen")]
    assert suspicions([*spleens[:3], small]) == {}, "too few to compare with"


@pytest.fixture(scope="module")
def real_pack(shared: Path) -> Path:
    folder = shared / "data" / "real_pack"
    if not folder.is_dir():
        pytest.skip(f"no real scans at {folder}")
    return folder


def real(folder: Path, organ: str, *, path: Path | None = None, label: int | None = None) -> MaskQuality:
    image = folder / "ct.nii.gz"
    mask = load_organ_mask(path or folder / f"{organ}.nii.gz", label, grid=read_grid(image), image=image)
    return measure_mask(mask, case=folder.name, organ=organ)


def test_real_kidneys_are_unsuspicious_and_the_same_in_both_layouts(real_pack: Path) -> None:
    folder = real_pack / "ts_example_full"
    kidneys = [real(folder, f"kidney_{side}") for side in ("left", "right")]
    labels = folder / "totalsegmentator_fast_labels.nii.gz"
    assert kidneys == [real(folder, f"kidney_{side}", path=labels, label=n) for side, n in (("left", 3), ("right", 2))]
    assert [kidney.volume_ml for kidney in kidneys] == pytest.approx([5090 * 0.027, 7134 * 0.027])
    assert suspicions(kidneys) == {}
    swapped = [replace(kidneys[0], organ="kidney_right"), replace(kidneys[1], organ="kidney_left")]
    assert {code for odd in suspicions(swapped).values() for code, _ in odd} == {"ROI-SIDES"}


def test_kidneys_of_the_cropped_real_scan_are_cut(real_pack: Path) -> None:
    folder = real_pack / "ts_example_cropped"
    kidneys = [real(folder, f"kidney_{side}") for side in ("left", "right")]
    assert {side for kidney in kidneys for side in kidney.touches_border} <= {"superior", "inferior"}
    assert all("ROI-CUT" in [code for code, _ in odd] for odd in suspicions(kidneys).values())
    assert suspicions(kidneys)


def test_the_oddities_of_the_dev_pack_are_found_and_nothing_is_found_in_plain_cases(shared: Path) -> None:
    root = shared / "data" / "dev_pack" / "Dataset501_KidneyPhantom"
    if not root.is_dir():
        pytest.skip(f"no development data at {root}")
    description = load_description(root)
    numbers = ("00129", "00170", "00503", "00444", "00262", "00121", "00203", "00234", "00546", "00248")
    masks = []
    for case in (f"case_{number}" for number in numbers):
        part = next(part for part in ("Tr", "Ts") if (root / f"images{part}" / f"{case}_0000.nii.gz").exists())
        image = root / f"images{part}" / f"{case}_0000.nii.gz"
        for organ in description.organs:
            file = find_organ_mask(root / f"organMasks{part}", case, organ, description=description)
            assert file is not None
            mask = load_organ_mask(file.path, file.label, grid=read_grid(image), image=image)
            masks.append(measure_mask(mask, case=case, organ=organ))
    found = {(case[-5:], organ[7:], code) for (case, organ), odd in suspicions(masks).items() for code, _ in odd}
    assert found == {
        ("00129", "left", "ROI-CUT"),
        ("00129", "right", "ROI-CUT"),
        ("00170", "right", "ROI-CUT"),
        ("00248", "left", "ROI-CUT"),
        ("00248", "right", "ROI-CUT"),
        ("00503", "left", "ROI-ABSENT"),
        ("00444", "left", "ROI-ABSENT"),
        ("00234", "right", "ROI-ABSENT"),
        ("00546", "right", "ROI-ABSENT"),
        ("00262", "left", "ROI-FRAGMENTS"),
    }
