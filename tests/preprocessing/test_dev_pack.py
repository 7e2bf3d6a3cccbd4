"""Kidneys of the shared development data: every axis order of its files, its oddities, and its truth tables."""

import csv
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from nnanomaly.dataset.integrity import find_faults
from nnanomaly.dataset.organ_labels import load_organ_labels, patient_groups
from nnanomaly.dataset.organ_mask_files import find_organ_mask
from nnanomaly.dataset.raw_dataset import image_files, load_description, training_cases
from nnanomaly.dataset.splits import make_splits
from nnanomaly.imageio.nifti import read_grid, read_volume
from nnanomaly.plans import PreprocessingPlan
from nnanomaly.preprocessing.preprocessor import preprocess_case
from nnanomaly.roi.organ_instances import locate_organ
from nnanomaly.roi.organ_masks import load_organ_mask

PACK = Path(__file__).resolve().parents[3] / "shared" / "data" / "dev_pack"
FOLDER = PACK / "Dataset501_KidneyPhantom"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the shared development data are not here")

CASES = {
    "case_00444": "IPL, one kidney",
    "case_00121": "RAS",
    "case_00169": "LAS",
    "case_00230": "LPS",
    "case_00246": "LPI",
    "case_00203": "tilted by 6 degrees",
    "case_00470": "full resolution KiTS grid, IPL, padded with -2000",
}


@cache
def kidney_table():
    rows = csv.DictReader((PACK / "truth" / "kidney_labels.csv").read_text().splitlines())
    return {(row["case_id"], f"kidney_{row['side']}"): row for row in rows}


def load_mask(case, organ):
    description = load_description(FOLDER)
    image = image_files(FOLDER / "imagesTr", case, description)[0]
    found = find_organ_mask(FOLDER / "organMasksTr", case, organ, description=description)
    return load_organ_mask(found.path, found.label, grid=read_grid(image), image=image)


@cache
def locate(case, organ):
    return locate_organ(load_mask(case, organ))


@pytest.mark.parametrize("case", CASES, ids=CASES.values())
def test_kidneys_have_human_size_and_the_volume_of_the_truth_table(case):
    for organ in ("kidney_left", "kidney_right"):
        kidney, truth = locate(case, organ), kidney_table()[case, organ]
        if truth["present"] == "0":
            assert kidney is None
            continue
        assert kidney.volume_total_ml == pytest.approx(float(truth["ts_mask_ml"]), rel=0.02)
        z, y, x = kidney.extent_mm
        assert 50 < z < 220
        assert 30 < y < 160
        assert 30 < x < 160
        assert kidney.touches_border == ()


@pytest.mark.parametrize("case", [case for case in CASES if case != "case_00444"])
def test_the_right_kidney_lies_to_the_right_of_the_left_one(case):
    left, right = locate(case, "kidney_left"), locate(case, "kidney_right")
    assert right.centre_mm[2] < left.centre_mm[2] - 60
    assert abs(right.centre_mm[0] - left.centre_mm[0]) < 80
    assert abs(right.centre_mm[1] - left.centre_mm[1]) < 60


def test_kidneys_lie_behind_the_middle_of_the_scan():
    for case in CASES:
        kidney = locate(case, "kidney_right")
        middle = load_mask(case, "kidney_right").grid.corners_mm().mean(axis=0)
        assert kidney.centre_mm[1] > middle[1]


@pytest.mark.parametrize(("case", "organ"), [("case_00121", "kidney_left"), ("case_00219", "kidney_right")])
def test_stray_parts_of_a_mask_do_not_move_the_box(case, organ):
    """A single voxel beside the kidney; eight specks up to 40 mm away."""
    kidney, mask = locate(case, organ), load_mask(case, organ)
    centres = mask.grid.to_world(np.argwhere(mask.array[0]).astype(float))
    low, high = np.asarray(kidney.low_mm), np.asarray(kidney.high_mm)
    inside = ((centres > low) & (centres < high)).all(axis=1)
    assert kidney.num_components > 1
    assert 0 < kidney.stray_ml < 1.5
    assert kidney.volume_ml + kidney.stray_ml == pytest.approx(
        float(kidney_table()[case, organ]["ts_mask_ml"]), abs=0.1
    )
    if case == "case_00219":
        assert (~inside).any()
        assert ((centres.max(axis=0) - centres.min(axis=0)) > np.asarray(kidney.extent_mm) + 20).any()


@pytest.mark.parametrize(("case", "num_pieces"), [("case_00262", 14), ("case_00543", 4)])
def test_a_kidney_in_pieces_lies_in_its_box(case, num_pieces):
    """Tumours of 13 cm push what is left of a kidney apart; the largest piece alone loses 28 and 8 % of it."""
    kidney, mask = locate(case, "kidney_left"), load_mask(case, "kidney_left")
    centres = mask.grid.to_world(np.argwhere(mask.array[0]).astype(float))
    inside = ((centres > kidney.low_mm) & (centres < kidney.high_mm)).all(axis=1)
    assert kidney.num_components == num_pieces
    assert inside.mean() > 0.998


@pytest.mark.parametrize(("case", "organ"), [("case_00503", "kidney_left"), ("case_00546", "kidney_right")])
def test_after_a_nephrectomy_there_is_no_organ(case, organ):
    assert locate(case, organ) is None


@pytest.mark.parametrize("case", ["case_00129", "case_00170", "case_00248"])
def test_kidneys_that_the_scan_cuts_touch_the_side_of_the_truth_table(case):
    sides = {"S": "superior", "I": "inferior"}
    for organ in ("kidney_left", "kidney_right"):
        expected = kidney_table()[case, organ]["touches_border"]
        assert locate(case, organ).touches_border == ((sides[expected],) if expected else ())


def test_a_patch_of_a_padded_scan_shows_the_kidney_and_no_padding():
    case, organ = "case_00470", "kidney_left"
    plan = PreprocessingPlan(spacing_mm=(4.0, 4.0, 4.0), patch_size=(40, 32, 32), margin_mm=10.0, tiling=False)
    image = read_volume(FOLDER / "imagesTr" / f"{case}_0000.nii.gz")
    (patch,) = preprocess_case(image, load_mask(case, organ), plan, case=case, organ=organ)
    intensity, mask, covered = np.asarray(patch.array, dtype=np.float32)
    kidney_hu = (intensity[mask > 0.9].mean() + 1) * 250 - 200
    assert 80 < kidney_hu < 300  # enhanced parenchyma
    assert mask.sum() * 0.064 == pytest.approx(float(kidney_table()[case, organ]["ts_mask_ml"]), rel=0.1)
    assert (intensity[covered < 0.5] == -1).all()
    assert patch.organ_fraction_outside == 0


def test_the_dataset_is_sound_and_its_splits_can_be_made():
    assert [finding for finding in find_faults(FOLDER) if finding.level == "ERROR"] == []
    cases, labels = training_cases(FOLDER), load_organ_labels(FOLDER)
    assert len(cases) == 85
    trained = [label for (case, _), label in labels.items() if case in set(cases)]
    assert (trained.count("healthy"), trained.count("unhealthy")) == (94, 60)
    assert patient_groups(FOLDER) == {}
    assert [len(split["val"]) for split in make_splits(cases)] == [17] * 5
