"""Predictions back to DICOM, read again with pydicom and highdicom: same voxels in the same place."""

import errno
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest

from nnanomaly import cli
from nnanomaly.dicom import export_case
from nnanomaly.dicom.headers import read_header
from nnanomaly.dicom.series import made_up
from nnanomaly.dicom.stack_geometry import stack_geometry
from nnanomaly.imageio.nifti import write_like, write_volume
from nnanomaly.volume import Volume

Make = Callable[..., Any]


class Predicted:
    """A series, its image, and a prediction that was made of it."""

    def __init__(self, series: Any) -> None:
        self.series = series
        paths = series.write(Path("in") / made_up(series.uid))
        self.grid = stack_geometry([read_header(path) for path in paths]).grid
        self.case = f"ct_{made_up(series.uid)}"
        self.image = Path("imagesTs") / f"{self.case}_0000.nii.gz"

    def predict(self, *, empty: bool = False, organs: dict[str, str] | None = None) -> None:
        shape = self.grid.shape
        if not self.image.exists():
            write_volume(self.image, Volume(np.zeros((1, *shape), np.int16), self.grid))
        self.mask = np.zeros(shape, np.uint8)
        self.scores = np.zeros(shape, np.float32)
        if not empty:
            self.mask[4:7, 2:6, 3:9] = 2  # the lesion's value may be any
            self.scores[3:9] = np.random.default_rng(0).gamma(2, 1, (6, *shape[1:]))
        write_like(Path("preds") / f"{self.case}.nii.gz", self.mask, self.image)
        write_like(Path("preds/anomaly_maps") / f"{self.case}.nii.gz", self.scores, self.image)
        if organs is not None:
            path = Path("preds/detections") / f"{self.case}_boxes.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps({"organs": organs}))


@pytest.fixture
def shell(
    inline_workers: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Make:
    monkeypatch.chdir(tmp_path)

    def run(command: str, *arguments: str) -> tuple[int, str]:
        caplog.clear()
        status = getattr(cli, command)([*arguments, "-np", "1"])
        printed = capsys.readouterr()
        return status, printed.out + printed.err + caplog.text

    return run


@pytest.fixture
def opened() -> Iterator[Make]:
    """`opened(image)`: an image of highdicom whose table of frames is closed in the end; the library never does it."""
    with ExitStack() as stack:

        def remember(image: Any) -> Any:
            stack.callback(image._db_con.close)
            return image

        yield remember


EXPORT = ("export_dicom", "-i", "preds", "-dicom", "in", "-o", "out")


@pytest.mark.parametrize(
    "orientation", [(1, 0, 0, 0, 1, 0), (1, 0, 0, 0, np.cos(0.3), np.sin(0.3))], ids=["axial", "oblique"]
)
def test_mask_and_map_read_back_have_the_same_voxels_in_the_same_place(
    shell: Make,
    new_series: Make,
    opened: Make,
    caplog: pytest.LogCaptureFixture,
    orientation: tuple[float, ...],
) -> None:
    normal = np.cross(orientation[:3], orientation[3:])
    case = Predicted(new_series(orientation=orientation, step=2.0 * normal))
    assert shell("convert_dicom", "in", "-o", "imagesTs")[0] == 0
    case.predict(organs={"kidney_left": "ok", "kidney_right": "no_roi"})
    with caplog.at_level("INFO"):
        status, text = shell(*EXPORT)
    assert status == 0, text
    assert caplog.messages[-1] == "1 exported, 0 not: out"
    assert {path.name for path in Path("out").iterdir()} == {f"{case.case}_seg.dcm", f"{case.case}_anomaly_map.dcm"}

    segmentation = opened(highdicom.seg.segread(f"out/{case.case}_seg.dcm"))
    mask = segmentation.get_volume(combine_segments=True)
    _check(mask, (case.mask != 0).astype(int), case, first=4, last=6)
    parametric_map = opened(highdicom.imread(f"out/{case.case}_anomaly_map.dcm"))
    _check(parametric_map.get_volume(), case.scores, case, first=3, last=8)

    source = case.series.datasets[0]
    for made in (segmentation, parametric_map):
        assert made.PatientID == source.PatientID
        assert made.StudyInstanceUID == source.StudyInstanceUID
        assert made.FrameOfReferenceUID == source.FrameOfReferenceUID
        assert made.SeriesDescription.endswith("in kidney_left")
    (segment,) = segmentation.SegmentSequence
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Lesion"
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    (value,) = {
        float(item.RealWorldValueSlope)
        for item in parametric_map.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    }
    assert value == 1.0


def _check(read: Any, expected: Any, case: Predicted, *, first: int, last: int) -> None:
    """The object holds slices `first` ... `last`, each with the values and at the place of its source."""
    geometry, values = read.get_geometry(), read.array
    affine = np.asarray(geometry.affine)
    step = np.sign(np.dot(affine[:3, 0], np.subtract(*_positions(case, 1, 0))))
    assert values.shape == (last - first + 1, *expected.shape[1:])
    numbers = range(first, last + 1) if step > 0 else range(last, first - 1, -1)
    for plane, number in enumerate(numbers):
        np.testing.assert_allclose(affine @ [plane, 0, 0, 1], [*_positions(case, number)[0], 1], atol=1e-4)
        np.testing.assert_array_equal(values[plane], expected[number])
    np.testing.assert_allclose(affine[:3, 2], 0.7 * np.array(case.series.datasets[0].ImageOrientationPatient[:3]))
    np.testing.assert_allclose(affine[:3, 1], 0.8 * np.array(case.series.datasets[0].ImageOrientationPatient[3:]))
    rest = np.ones(len(expected), bool)
    rest[first : last + 1] = False
    assert not expected[rest].any(), "what is left out is zero"


def _positions(case: Predicted, *numbers: int) -> list[Any]:
    return [np.array(case.series.datasets[number].ImagePositionPatient, float) for number in numbers]


def test_the_same_prediction_gives_the_same_uids_and_another_one_others(
    shell: Make, new_series: Make, opened: Make
) -> None:
    case = Predicted(new_series())
    uids = []
    for empty in (False, False, True):
        case.predict(empty=empty)
        assert shell(*EXPORT, "--overwrite")[0] == 0
        uids.append(str(pydicom.dcmread(f"out/{case.case}_seg.dcm").SOPInstanceUID))
    assert uids[0] == uids[1] != uids[2]
    empty = opened(highdicom.seg.segread(f"out/{case.case}_seg.dcm")).get_volume(combine_segments=True).array
    assert empty.shape == case.mask.shape
    assert not empty.any()


def test_a_scan_that_nobody_looked_at_gets_no_object_that_would_read_as_healthy(shell: Make, new_series: Make) -> None:
    seen, unseen = Predicted(new_series(name="seen")), Predicted(new_series(name="unseen"))
    seen.predict(empty=True, organs={"kidney_left": "ok"})
    unseen.predict(empty=True, organs={"kidney_left": "no_roi", "kidney_right": "no_roi"})
    status, text = shell(*EXPORT)
    assert (status, f"{unseen.case}: [NNA-DCM-NOROI]" in text) == (4, True)
    assert {path.name.split("_seg")[0].split("_anomaly")[0] for path in Path("out").iterdir()} == {seen.case}


def test_a_prediction_without_its_series_or_on_another_grid_is_named_and_the_others_are_exported(
    shell: Make, new_series: Make
) -> None:
    good, moved = Predicted(new_series(name="good")), Predicted(new_series(name="moved"))
    good.predict()
    moved.predict()
    write_like(Path("preds/case_7.nii.gz"), good.mask, good.image)
    for dataset in moved.series.datasets:
        dataset.ImagePositionPatient[0] += 0.1
    moved.series.write(Path("in") / made_up(moved.series.uid))
    status, text = shell(*EXPORT)
    assert status == 4
    assert f"{moved.case}: [NNA-GEO-PAIR]" in text
    assert "case_7: [NNA-DCM-UNMATCHED]" in text
    assert {path.name for path in Path("out").glob("*_seg.dcm")} == {f"{good.case}_seg.dcm"}


def test_case_ids_that_were_chosen_lead_back_to_their_series(shell: Make, new_series: Make) -> None:
    case = Predicted(new_series())
    Path("table.csv").write_text(f"series_uid,case\n{case.series.uid},kidney_1\n")
    case.case, case.image = "kidney_1", Path("imagesTs/kidney_1_0000.nii.gz")
    case.predict()
    assert shell(*EXPORT, "-t", "table.csv")[0] == 0
    assert Path("out/kidney_1_seg.dcm").is_file()


def test_folders_that_cannot_be_meant_are_refused(shell: Make, new_series: Make) -> None:
    new_series().write(Path("in"))
    status, text = shell("export_dicom", "-i", "preds", "-dicom", "in", "-o", "out")
    assert (status, "NNA-DATA-CASES" in text) == (3, True)
    status, text = shell("export_dicom", "-i", "preds", "-dicom", "in", "-o", "in")
    assert (status, "NNA-CFG-OUTPUT" in text) == (2, True)


def test_a_full_disk_ends_the_export_and_is_no_fault_of_the_case(
    shell: Make, new_series: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, write: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    Predicted(new_series()).predict()
    monkeypatch.setattr(export_case, "write_atomically", fail)
    status, text = shell(*EXPORT)
    assert (status, "[NNA-IO-WRITE] out/" in text) == (5, True)


def test_the_log_of_an_export_names_no_patient(
    shell: Make, new_series: Make, planted: tuple[str, ...], recwarn: pytest.WarningsRecorder
) -> None:
    series = new_series()
    for dataset in series.datasets:
        del dataset.FrameOfReferenceUID, dataset.StudyInstanceUID
    case = Predicted(series)
    case.predict()
    status, text = shell(*EXPORT, "--verbose")
    assert (status, "the slices have no StudyInstanceUID, FrameOfReferenceUID" in text) == (4, True)
    assert [secret for secret in planted if secret.lower() in text.lower()] == []
    assert not recwarn.list


def hashes() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("out").iterdir()}


def test_an_object_of_another_prediction_is_replaced_on_request_alone(shell: Make, new_series: Make) -> None:
    case = Predicted(new_series())
    case.predict()
    assert shell(*EXPORT)[0] == 0
    before = hashes()
    assert shell(*EXPORT)[0] == 0
    assert hashes() == before, "the same prediction again"
    (Path("out") / f"{case.case}_anomaly_map.dcm").unlink()  # as if killed between the two
    assert shell(*EXPORT)[0] == 0
    assert hashes().keys() == before.keys()
    case.predict(empty=True)
    status, text = shell(*EXPORT)
    assert (status, "NNA-DCM-EXISTS" in text, "--overwrite" in text) == (4, True, True)
    assert hashes()[f"{case.case}_seg.dcm"] == before[f"{case.case}_seg.dcm"]
    assert shell(*EXPORT, "--overwrite")[0] == 0
    assert hashes()[f"{case.case}_seg.dcm"] != before[f"{case.case}_seg.dcm"]


def test_what_is_in_the_way_and_is_no_object_of_ours_is_kept(shell: Make, new_series: Make) -> None:
    case = Predicted(new_series())
    case.predict()
    Path("out").mkdir()
    Path("thesis.txt").write_text("years of work")
    (Path("out") / f"{case.case}_seg.dcm").symlink_to(Path("thesis.txt").resolve())
    assert shell(*EXPORT)[0] == 4
    assert shell(*EXPORT, "--overwrite")[0] == 0
    assert Path("thesis.txt").read_text() == "years of work"


def test_a_case_that_fails_keeps_its_earlier_objects_and_names_them(shell: Make, new_series: Make) -> None:
    case = Predicted(new_series())
    case.predict(organs={"kidney_left": "ok"})
    assert shell(*EXPORT)[0] == 0
    before = hashes()
    case.predict(empty=True, organs={"kidney_left": "no_roi"})
    status, text = shell(*EXPORT, "--overwrite")
    assert (status, "NNA-DCM-NOROI" in text) == (4, True)
    assert f"Still there, of an earlier export: {case.case}_seg.dcm, {case.case}_anomaly_map.dcm" in text
    assert hashes() == before


def test_both_directions_are_said(shell: Make, new_series: Make) -> None:
    good, failed = Predicted(new_series(name="good")), Predicted(new_series(name="failed"))
    alone = Predicted(new_series(name="alone"))
    good.predict(organs={"kidney_left": "ok"})
    failed.predict()
    Path("preds/detections/status.csv").write_text(
        f"case,organ,status,reason\n{good.case},kidney_left,ok,\n{failed.case},,failed,x\ncase_9,,failed,x\n"
    )
    status, text = shell(*EXPORT)
    assert status == 4
    assert f"{failed.case}: [NNA-DCM-NOMASK] its prediction failed" in text
    assert "case_9: [NNA-DCM-NOMASK]" in text
    assert f"1 series of the DICOM folder have no prediction: {alone.case}" in text
    assert {path.name for path in Path("out").glob("*_seg.dcm")} == {f"{good.case}_seg.dcm"}


def test_status_csv_alone_says_that_no_organ_was_found(shell: Make, new_series: Make) -> None:
    case = Predicted(new_series())
    case.predict(empty=True)
    Path("preds/detections").mkdir()
    Path("preds/detections/status.csv").write_text(f"case,organ,status,reason\n{case.case},kidney_left,no_roi,\n")
    status, text = shell(*EXPORT)
    assert (status, "NNA-DCM-NOROI" in text) == (4, True)


def test_an_organ_is_never_exported_as_a_lesion(shell: Make, new_series: Make, opened: Make) -> None:
    case = Predicted(new_series())
    case.predict()
    organ = np.where(case.mask, 2, np.uint8(1)).astype(np.uint8)  # lesion 2 in organ 1, as nnU-Net writes them
    write_like(Path("preds") / f"{case.case}.nii.gz", organ, case.image)
    status, text = shell(*EXPORT)
    assert (status, "NNA-DCM-LABELS" in text, "-l" in text) == (4, True, True)
    labels: dict[str, int] = {"background": 0, "kidney": 1, "tumor": 2}
    Path("preds/dataset.json").write_text(json.dumps({"labels": labels}))
    assert "NNA-CFG-LABELS" in shell(*EXPORT)[1]
    Path("preds/dataset.json").write_text(json.dumps({"labels": {"background": 0, "lesion": 2}}))
    assert "values that its dataset.json does not name: [1]" in shell(*EXPORT)[1]
    assert shell(*EXPORT, "-l", "2")[0] == 0
    made = opened(highdicom.seg.segread(f"out/{case.case}_seg.dcm")).get_volume(combine_segments=True).array
    assert made.sum() == (case.mask != 0).sum()


def test_what_an_anonymiser_deletes_is_written_empty_and_what_is_needed_is_named(shell: Make, new_series: Make) -> None:
    series = new_series()
    for dataset in series.datasets:
        for name in ("AccessionNumber", "StudyID", "PatientBirthDate", "PatientName", "ReferringPhysicianName"):
            delattr(dataset, name)
    case = Predicted(series)
    case.predict()
    assert shell(*EXPORT)[0] == 0
    made = pydicom.dcmread(f"out/{case.case}_seg.dcm")
    assert (made.AccessionNumber, made.PatientBirthDate, made.PatientID) == ("", "", "MRN-4711-0815")
    for dataset in series.datasets:
        del dataset.FrameOfReferenceUID
    series.write(Path("in") / made_up(series.uid))
    status, text = shell(*EXPORT, "--overwrite")
    assert (status, "[NNA-DCM-ATTRIBUTES] the slices have no FrameOfReferenceUID" in text) == (4, True)


def test_names_in_any_alphabet_come_back_and_an_unknown_encoding_is_no_fault(shell: Make, new_series: Make) -> None:
    series = new_series()
    for dataset in series.datasets:
        dataset.SpecificCharacterSet, dataset.PatientName = "ISO_IR 100", "M\u00fcller^J\u00f6rg"
    case = Predicted(series)
    case.predict()
    assert shell(*EXPORT)[0] == 0
    assert str(pydicom.dcmread(f"out/{case.case}_seg.dcm").PatientName) == "M\u00fcller^J\u00f6rg"
    for path in (Path("in") / made_up(series.uid)).iterdir():
        path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", b"ISO_IR 471"))
    status, text = shell(*EXPORT, "--overwrite")
    assert status == 0, text


@pytest.mark.parametrize("name", ["=cmd()", "a\nb", "a..b", "a b", "\x1b[31m"])
def test_a_mask_with_a_hostile_name_is_refused_and_shown_harmless(shell: Make, new_series: Make, name: str) -> None:
    case = Predicted(new_series())
    case.predict()
    (Path("preds") / f"{name}.nii.gz").write_bytes(b"")
    status, text = shell(*EXPORT)
    assert (status, "NNA-CASE-ID" in text) == (4, True)
    assert "\x1b" not in text
    assert (Path("out") / f"{case.case}_seg.dcm").is_file()


def test_a_series_with_missing_slices_gets_nothing(shell: Make, new_series: Make) -> None:
    case = Predicted(new_series())
    case.predict()
    paths = sorted((Path("in") / made_up(case.series.uid)).iterdir())
    paths[5].unlink()  # the last slice
    status, text = shell(*EXPORT)
    assert (status, "NNA-GEO-PAIR" in text) == (4, True)
    paths[4].unlink()
    status, text = shell(*EXPORT)
    assert (status, "NNA-DCM-MISSING" in text) == (4, True)
    assert list(Path("out").iterdir()) == []


def test_places_that_cannot_be_written_are_refused_before_anything_is_read(shell: Make, new_series: Make) -> None:
    case = Predicted(new_series())
    case.predict()
    status, text = shell("export_dicom", "-i", "preds", "-dicom", "in", "-o", "in/seg")
    assert (status, "NNA-CFG-OUTPUT" in text) == (2, True)
    Path("file").write_text("")
    status, text = shell("export_dicom", "-i", "preds", "-dicom", "in", "-o", "file/out")
    assert (status, "NNA-IO-WRITE" in text) == (5, True)
    Path("linked").symlink_to("in")
    status, text = shell("export_dicom", "-i", "preds", "-dicom", "in", "-o", "linked")
    assert (status, "NNA-CFG-OUTPUT" in text) == (2, True)
