import gzip
import json

import numpy as np
import pytest

from nnanomaly.dataset.integrity import find_faults, verify_dataset_integrity
from nnanomaly.imageio.nifti import write_volume
from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Grid, Volume

GRID = Grid((10, 12, 14), (3.0, 2.0, 2.0), (-5.0, 10.0, 20.0))
SHIFTED = Grid((10, 12, 14), (3.0, 2.0, 2.0), (-5.0, 10.0, 25.0))
NEARLY = Grid((10, 12, 14), (3.0, 2.0, 2.0), (-5.0, 10.0, 20.0001))
MIRRORED = Grid((10, 12, 14), (3.0, 2.0, 2.0), (-5.0, 10.0, 20.0), ((1, 0, 0), (0, 1, 0), (0, 0, -1)))
MASK = "organMasksTr/case_a/kidney_left.nii.gz"


def put(path, grid=GRID):
    write_volume(path, Volume(np.zeros((1, *grid.shape), np.uint8), grid))


def edit(folder, **changes):
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def codes(folder):
    return [(finding.level, finding.code) for finding in find_faults(folder)]


def test_a_sound_dataset_has_no_faults(raw_folder):
    assert verify_dataset_integrity(raw_folder) == []


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda f: edit(f, numTraining=3), "DATA-COUNT"),
        (lambda f: put(f / "imagesTr" / "case_c_0000.nii"), "DATA-NAME"),
        (lambda f: put(f / "imagesTr" / "case_a_0001.nii.gz"), "DATA-NAME"),
        (lambda f: (f / MASK).unlink(), "ROI-MISSING"),
        (lambda f: put(f / MASK, SHIFTED), "GEO-PAIR"),
        (lambda f: put(f / MASK, MIRRORED), "GEO-PAIR"),
        (lambda f: put(f / MASK, Grid((10, 12, 15), (3.0, 2.0, 2.0), (-5.0, 10.0, 20.0))), "GEO-PAIR"),
        (lambda f: put(f / "labelsTr" / "case_a.nii.gz", SHIFTED), "GEO-PAIR"),
        (lambda f: (f / MASK).write_bytes(b""), "IO-EMPTY"),
        (lambda f: (f / MASK).write_bytes(gzip.compress(b"text")), "IO-FORMAT"),
        (lambda f: (f / "organ_labels.csv").unlink(), "LABELS-HEALTHY"),
        (
            lambda f: (f / "organ_labels.csv").write_text("case,organ,label\ncase_x,kidney_left,healthy\n"),
            "LABELS-ROWS",
        ),
        (lambda f: edit(f, channel_names={"0": "CT", "1": "late"}), "DATA-CHANNEL"),
    ],
)
def test_faults_are_found_and_verification_stops(raw_folder, spoil, code):
    spoil(raw_folder)
    assert ("ERROR", code) in codes(raw_folder)
    with pytest.raises(DataError, match=code):
        verify_dataset_integrity(raw_folder)


def test_thin_volumes_are_errors(raw_folder):
    thin = Grid((10, 12, 14), (1.5, 2.0, 2.0), (-5.0, 10.0, 20.0))  # 10 slices, but 15 mm
    put(raw_folder / "imagesTr" / "case_a_0000.nii.gz", thin)
    assert ("ERROR", "GEO-THIN") in codes(raw_folder)


def test_header_rounding_is_no_fault(raw_folder):
    put(raw_folder / MASK, NEARLY)
    assert codes(raw_folder) == []


def test_an_excluded_organ_needs_no_mask(raw_folder):
    (raw_folder / MASK).unlink()
    table = raw_folder / "organ_labels.csv"
    table.write_text(table.read_text().replace("case_a,kidney_left,healthy", "case_a,kidney_left,excluded"))
    assert codes(raw_folder) == []


def test_all_faults_of_all_cases_are_collected_errors_first(raw_folder):
    edit(raw_folder, numTraining=7, nnanomaly={"organs": ["kidney_left", "kidney_right"], "lesionlabels": ["tumor"]})
    put(raw_folder / MASK, SHIFTED)
    (raw_folder / "organMasksTr/case_b/kidney_right.nii.gz").unlink()
    found = find_faults(raw_folder)
    assert [finding.level for finding in found] == ["ERROR"] * 3 + ["WARNING"]
    assert {finding.code for finding in found} == {"DATA-COUNT", "GEO-PAIR", "ROI-MISSING", "DATA-JSON"}
    with pytest.raises(DataError, match="(?s)3 errors.*\n  .*case_a.*\n  .*case_b"):
        verify_dataset_integrity(raw_folder)


def test_warnings_alone_are_returned(raw_folder):
    put(raw_folder / "labelsTr" / "case_z.nii.gz")
    table = raw_folder / "organ_labels.csv"
    table.write_text("\n".join(line for line in table.read_text().splitlines() if "case_b" not in line))
    found = verify_dataset_integrity(raw_folder)
    assert {finding.code for finding in found} == {"DATA-NAME", "LABELS-MISSING"}
    assert "case_b" in next(finding.message for finding in found if finding.code == "LABELS-MISSING")


def test_case_ids_that_differ_in_case_only_are_errors(raw_folder):
    put(raw_folder / "imagesTr" / "CASE_A_0000.nii.gz")
    assert ("ERROR", "CASE-ID") in codes(raw_folder)


def test_masks_in_one_map_are_checked_once(raw_folder):
    ours = {"organs": ["kidney_left", "kidney_right"], "organ_mask_labels": {"kidney_left": 3, "kidney_right": 2}}
    edit(raw_folder, nnanomaly={**ours, "lesion_labels": ["tumor"]})
    for organ in ours["organs"]:
        (raw_folder / "organMasksTr" / "case_a" / f"{organ}.nii.gz").unlink()
    put(raw_folder / "organMasksTr" / "case_a.nii.gz", SHIFTED)
    assert codes(raw_folder) == [("ERROR", "GEO-PAIR")]


@pytest.mark.parametrize(
    ("spoil", "code", "part"),
    [
        (lambda f: put(f / "organMasksTr" / "case_z" / "kidney_left.nii.gz"), "DATA-NAME", "case_z belongs to no case"),
        (lambda f: put(f / "organMasksTr" / "case_z_left.nii.gz"), "DATA-NAME", "case_z_left.nii.gz belongs to no"),
        (lambda f: put(f / "labelsTr" / "case_a.nii"), "DATA-NAME", "case_a.nii does not end in .nii.gz"),
        (lambda f: put(f / "labelsTr" / "case_z.nii.gz"), "DATA-NAME", "case_z.nii.gz has no case"),
        (lambda f: put(f / "imagesTs" / "b.nii.gz"), "DATA-NAME", "b.nii.gz fits neither"),
        (lambda f: put(f / "imagesTs" / "case_a_0000.nii.gz"), "CASE-ID", "case_a: in imagesTr and in imagesTs"),
        (
            lambda f: (f / "organ_labels.csv").write_text(
                (f / "organ_labels.csv").read_text() + "\ncase_a,kidney_left,healthy\n"
            ),
            "LABELS-ROWS",
            "case_a kidney_left stands in line",
        ),
        (
            lambda f: (f / "splits_final.json").write_text('[{"train": ["case_a"], "val": []}]'),
            "SPLIT-UNUSED",
            "case_b",
        ),
        (
            lambda f: (f / "splits_final.json").write_text('[{"train": ["case_x"], "val": []}]'),
            "SPLIT-CASES",
            "case_x",
        ),
    ],
)
def test_what_lacks_its_counterpart_is_named_by_the_full_check(raw_folder, spoil, code, part):
    spoil(raw_folder)
    found = find_faults(raw_folder, parts=("Tr", "Ts"))
    assert any(finding.code == code and part in finding.message for finding in found), found


def test_organs_without_a_row_are_named_beside_those_that_have_one(raw_folder):
    table = raw_folder / "organ_labels.csv"
    table.write_text("".join(line for line in table.read_text().splitlines(True) if "case_a,kidney_left" not in line))
    (finding,) = find_faults(raw_folder)
    assert (finding.level, finding.code) == ("WARNING", "LABELS-MISSING")
    assert "without: case_a kidney_left" in finding.message
