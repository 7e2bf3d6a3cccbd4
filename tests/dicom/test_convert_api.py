"""A folder with all that may be wrong with DICOM series, converted once: each series taken, or skipped and why."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from pydicom.uid import JPEGLSLossless, RLELossless, generate_uid

from nnanomaly import cli
from nnanomaly.dicom import convert_api
from nnanomaly.dicom.report import report_paths
from nnanomaly.dicom.series import made_up
from nnanomaly.utilities.case_faults import KILLED

Fault = Callable[..., Any]
OTHER = [1, 0, 0, 0, 0, -1]


def whole(series: Any) -> None:
    """Nothing is wrong."""


def missing(series: Any) -> None:
    del series.datasets[7]


def identical_copy(series: Any) -> None:
    copy = deepcopy(series.datasets[5])
    copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    series.datasets.append(copy)


def differing_copy(series: Any) -> None:
    identical_copy(series)
    series.datasets[-1].PixelData = series.datasets[6].PixelData


def increment(series: Any) -> None:
    for number, dataset in enumerate(series.datasets):
        dataset.ImagePositionPatient[2] += 0.7 * (number % 2)


def tilt(series: Any) -> None:
    for number, dataset in enumerate(series.datasets):
        dataset.ImagePositionPatient[1] += 0.4 * number


def orientation(series: Any) -> None:
    series.datasets[7].ImageOrientationPatient = OTHER


def orientation_of_the_last(series: Any) -> None:
    series.datasets[-1].ImageOrientationPatient = OTHER


def one_position(series: Any) -> None:
    for dataset in series.datasets:
        dataset.ImagePositionPatient = series.datasets[0].ImagePositionPatient


def no_pixel_spacing(series: Any) -> None:
    for dataset in series.datasets:
        del dataset.PixelSpacing


def no_rescale(series: Any) -> None:
    for dataset in series.datasets:
        del dataset.RescaleSlope, dataset.RescaleIntercept


def no_rescale_but_hu(series: Any) -> None:
    for dataset, plane in zip(series.datasets, series.hu, strict=True):
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 1, 16, 15
        dataset.PixelData = plane.astype(np.int16).tobytes()
    no_rescale(series)


def other_matrix(series: Any) -> None:
    dataset = series.datasets[7]
    dataset.Rows, dataset.Columns = dataset.Columns, dataset.Rows


def multi_frame(series: Any) -> None:
    first = series.datasets[0]
    first.SOPClassUID = first.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    first.NumberOfFrames = len(series.datasets)
    first.PixelData = b"".join(dataset.PixelData for dataset in series.datasets)
    del series.datasets[1:]


def magnetic_resonance(series: Any) -> None:
    for dataset in series.datasets:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"


def localiser(series: Any) -> None:
    for dataset in series.datasets:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


def iodine_map(series: Any) -> None:
    for dataset in series.datasets:
        dataset.RescaleType = "MGML"


def unknown_compression(series: Any) -> None:
    for dataset in series.datasets:
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.201"
        dataset["PixelData"].is_undefined_length = True
        dataset.PixelData = (
            b"\xfe\xff\x00\xe0\0\0\0\0" + b"\xfe\xff\x00\xe0\x04\0\0\0abcd" + b"\xfe\xff\xdd\xe0\0\0\0\0"
        )


def run_lengths(series: Any) -> None:
    for dataset in series.datasets:
        dataset.compress(RLELossless, generate_instance_uid=False)


def jpeg_ls(series: Any) -> None:
    for dataset in series.datasets:
        dataset.compress(JPEGLSLossless, generate_instance_uid=False)


def two_kernels(series: Any) -> None:
    series.datasets[3].ConvolutionKernel = "B60f"


def slopes(series: Any) -> None:
    for number, dataset in enumerate(series.datasets):
        dataset.RescaleSlope = 0.5 + 0.125 * (number % 3)
        series.hu[number] = (series.hu[number] + 1024) * float(dataset.RescaleSlope) - 1024


def coronal(series: Any) -> None:
    """From back to front: rows towards left, columns towards inferior."""
    for number, dataset in enumerate(series.datasets):
        dataset.ImageOrientationPatient = OTHER
        dataset.ImagePositionPatient = [-30.5, 20.25 + 2.0 * number, -700.0]


def few(series: Any) -> None:
    del series.datasets[15:]


TAKEN = {
    "whole": whole,
    "identical_copy": identical_copy,
    "no_rescale_but_hu": no_rescale_but_hu,
    "run_lengths": run_lengths,
    "jpeg_ls": jpeg_ls,
    "two_kernels": two_kernels,
    "slopes": slopes,
    "coronal": coronal,
}
"""Taken as if nothing were."""
SKIPPED: dict[str, tuple[Fault, str]] = {
    "missing": (missing, "DCM-MISSING"),
    "differing_copy": (differing_copy, "DCM-DUPLICATE"),
    "increment": (increment, "DCM-INCREMENT"),
    "tilt": (tilt, "DCM-TILT"),
    "orientation": (orientation, "DCM-MISSING"),
    "one_position": (one_position, "DCM-POSITION"),
    "no_pixel_spacing": (no_pixel_spacing, "DCM-SPACING"),
    "no_rescale": (no_rescale, "DCM-RESCALE"),
    "other_matrix": (other_matrix, "DCM-MISSING"),
    "multi_frame": (multi_frame, "DCM-MULTIFRAME"),
    "magnetic_resonance": (magnetic_resonance, "DCM-KIND"),
    "localiser": (localiser, "DCM-LOCALIZER"),
    "iodine_map": (iodine_map, "DCM-UNITS"),
    "unknown_compression": (unknown_compression, "DCM-SYNTAX"),
    "few": (few, "DCM-SHORT"),
    "truncated": (whole, "DCM-TRUNCATED"),  # cut after it is written
    "truncated_run_lengths": (run_lengths, "DCM-TRUNCATED"),
}
"""What is skipped, with its code."""


class Converted:
    """What one run over all series left."""

    def __init__(self, root: Path, new_series: Fault, capfd_text: str = "") -> None:
        self.root, self.log = root, capfd_text
        self.images = root / "out" / "imagesTr"
        self.series: dict[str, Any] = {}
        source = root / "in" / "DOE^JANE"
        faults = {**TAKEN, **{name: fault for name, (fault, _) in SKIPPED.items()}}
        faults["orientation_of_the_last"] = orientation_of_the_last
        for number, (name, fault) in enumerate(faults.items()):
            series = new_series(name=name, seed=number)
            fault(series)
            paths = series.write(source / (name if number > 1 else "two series in one folder"), f"IM{number}_")
            if name.startswith("truncated"):
                paths[4].write_bytes(paths[4].read_bytes()[:-60])
            self.series[name] = series
        (source / "README.txt").write_text("not DICOM")
        (source / "broken").write_bytes(b"\0" * 128 + b"DICM" + b"\2\0\0\0UL\4\0" + b"\xff" * 40)

    def case(self, name: str) -> str:
        return f"ct_{made_up(self.series[name].uid)}"

    def rows(self) -> list[dict[str, Any]]:
        return list(json.loads(report_paths(self.images)[0].read_text())["series"])

    def row(self, name: str) -> dict[str, Any]:
        (row,) = [row for row in self.rows() if row["case"] == self.case(name)]
        return row

    def path(self, name: str) -> Path:
        return self.images / f"{self.case(name)}_0000.nii.gz"


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory, new_series: Fault) -> Converted:
    import subprocess
    import sys

    result = Converted(tmp_path_factory.mktemp("dicom"), new_series)
    code = "import sys; from nnanomaly.cli import convert_dicom; sys.exit(convert_dicom(sys.argv[1:]))"
    arguments = ["in", "-o", "out/imagesTr", "-np", "2", "--verbose"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=result.root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 4, done.stderr
    result.log = done.stdout + done.stderr
    return result


@pytest.mark.parametrize("name", TAKEN)
def test_a_series_that_can_be_trusted_is_taken_with_its_values_and_its_geometry(
    converted: Converted, lps_affine: Fault, name: str
) -> None:
    row = converted.row(name)
    assert (row["status"], row["code"]) == ("taken", "")
    image, series = nibabel.load(converted.path(name)), converted.series[name]
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, series.hu)
    assert image.get_data_dtype() == (np.float32 if name == "slopes" else np.int16)
    first, second = series.datasets[:2]
    x, y = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    start, step = np.array(first.ImagePositionPatient, float), np.array(second.ImagePositionPatient, float)
    expected = np.column_stack([0.7 * x, 0.8 * y, step - start, start])
    np.testing.assert_allclose(lps_affine(converted.path(name))[:3], expected, atol=1e-4)


@pytest.mark.parametrize("name", SKIPPED)
def test_a_series_that_cannot_is_skipped_with_its_reason_and_leaves_no_image(converted: Converted, name: str) -> None:
    row = converted.row(name)
    assert (row["status"], row["code"]) == ("skipped", SKIPPED[name][1])
    assert len(row["reason"]) > 20
    assert not converted.path(name).exists()
    assert f"[NNA-{row['code']}] {row['series']}" in converted.log


def test_a_last_slice_of_another_orientation_is_judged_by_itself(converted: Converted) -> None:
    assert converted.row("orientation_of_the_last")["status"] == "taken"
    assert converted.row("orientation_of_the_last")["shape"] == [17, 12, 10]
    odd = [row for row in converted.rows() if row["case"] == converted.case("orientation_of_the_last") + "_2"]
    assert [(row["status"], row["code"], row["num_files"]) for row in odd] == [("skipped", "DCM-SHORT", 1)]


def test_what_was_noticed_about_a_series_that_is_taken_stands_in_the_report(converted: Converted) -> None:
    assert converted.row("whole")["warnings"] == []
    assert "identical copies of slices: 1" in converted.row("identical_copy")["warnings"][0]
    assert "look like HU" in converted.row("no_rescale_but_hu")["warnings"][0]
    assert "kernel" in converted.row("two_kernels")["warnings"][0]


def test_files_that_cannot_be_read_are_counted(converted: Converted) -> None:
    document = json.loads(report_paths(converted.images)[0].read_text())
    assert document["files_that_are_no_dicom"] == 1
    (row,) = [row for row in document["series"] if row["series"] == ""]
    assert (row["status"], row["code"], row["num_files"]) == ("skipped", "DCM-HEADER", 1)
    assert document["taken"] == len(TAKEN) + 1
    assert document["taken"] + document["skipped"] == len(document["series"])


def test_the_table_has_a_row_for_every_series_of_the_document(converted: Converted) -> None:
    lines = report_paths(converted.images)[1].read_text().splitlines()
    assert lines[0] == ("series,case,patient,status,code,reason,warnings,num_files,shape,spacing_mm,tilt_degrees")
    assert len(lines) == 1 + len(converted.rows())


def test_nothing_of_the_patient_is_in_any_output(
    converted: Converted, secrets_in: Fault, planted: tuple[str, ...]
) -> None:
    uids = [series.uid for series in converted.series.values()]
    assert len(list((converted.root / "out").rglob("*.nii.gz"))) == len(TAKEN) + 1
    assert secrets_in(converted.root / "in", planted), "the search finds what is there"
    assert secrets_in(converted.root / "out", [*planted, *uids]) == []
    shown = converted.log.lower()
    assert [secret for secret in (*planted, *uids) if secret.lower() in shown] == []


def test_series_of_one_patient_share_a_name_that_is_not_made_of_the_patients_number(converted: Converted) -> None:
    patients = {row["patient"] for row in converted.rows() if row["series"]}
    assert len(patients) == 1
    assert made_up("MRN-4711-0815") not in patients.pop()


@pytest.fixture
def shell(
    inline_workers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Fault:
    """`shell(command, arguments...)`: exit status and what was printed, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(command: str, *arguments: str) -> tuple[int, str]:
        status = getattr(cli, command)(list(arguments))
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


def test_chosen_case_ids_are_used_and_the_way_back_is_written_on_request_alone(shell: Fault, new_series: Fault) -> None:
    one, two = new_series(name="one", patient="1"), new_series(name="two", patient="2")
    one.write(Path("in/one"))
    two.write(Path("in/two"))
    Path("cases.csv").write_text(f"series_uid,case\n{one.uid},kidney_001\n")
    status, _ = shell("convert_dicom", "in", "-o", "imagesTr", "-t", "cases.csv", "-write_table", "secret/table.csv")
    assert status == 0
    names = {path.name for path in Path("imagesTr").iterdir()}
    assert names == {"kidney_001_0000.nii.gz", f"ct_{made_up(two.uid)}_0000.nii.gz"}
    table = Path("secret/table.csv")
    assert {f"{one.uid},kidney_001,", f"{two.uid},ct_{made_up(two.uid)},"} <= {
        line[: line.index(",", line.index(",") + 1) + 1] for line in table.read_text().splitlines()
    }
    assert table.stat().st_mode & 0o077 == 0
    rows = json.loads(Path("imagesTr_convert_report.json").read_text())["series"]
    assert len({row["patient"] for row in rows}) == 2


def test_the_way_back_is_not_written_among_the_images(shell: Fault, new_series: Fault) -> None:
    new_series().write(Path("in"))
    for images, table in (("imagesTr", "imagesTr/t.csv"), ("Dataset501_X/imagesTr", "Dataset501_X/t.csv")):
        status, text = shell("convert_dicom", "in", "-o", images, "-write_table", table)
        assert (status, "NNA-CFG-OUTPUT" in text) == (2, True)
        assert not Path(images).exists()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("uid,name\n1.2,a\n", "DCM-CASES"),
        ("series_uid,case\n1.2,a\n1.2,b\n", "DCM-CASES"),
        ("series_uid,case\n1.2,../a\n", "CASE-ID"),
        ("\xff", "DCM-CASES"),
    ],
)
def test_a_table_of_cases_that_cannot_be_used_is_refused(
    shell: Fault, new_series: Fault, content: str, code: str
) -> None:
    new_series().write(Path("in"))
    Path("cases.csv").write_bytes(content.encode("latin-1"))
    status, text = shell("convert_dicom", "in", "-o", "imagesTr", "-t", "cases.csv")
    assert (status, f"NNA-{code}]" in text) == (3, True)
    assert not Path("imagesTr").exists()


def test_two_series_cannot_become_one_case(shell: Fault, new_series: Fault) -> None:
    one, two = new_series(name="one"), new_series(name="two")
    one.write(Path("in/one"))
    two.write(Path("in/two"))
    Path("cases.csv").write_text(f"series_uid,case\n{one.uid},a\n{two.uid},a\n")
    status, text = shell("convert_dicom", "in", "-o", "imagesTr", "-t", "cases.csv")
    assert (status, "NNA-CASE-ID]" in text) == (3, True)


def test_a_folder_without_dicom_is_refused(shell: Fault) -> None:
    Path("in").mkdir()
    assert "NNA-DCM-EMPTY" in shell("convert_dicom", "in", "-o", "imagesTr")[1]
    Path("in/DICOMDIR").write_bytes(b"\0" * 128 + b"DICM")
    Path("in/empty").write_bytes(b"")
    status, text = shell("convert_dicom", "in", "-o", "imagesTr")
    assert (status, "2 files" in text) == (3, True)
    status, text = shell("convert_dicom", "elsewhere", "-o", "imagesTr")
    assert (status, "NNA-DATA-FOLDER" in text) == (3, True)
    status, text = shell("convert_dicom", "in")
    assert (status, "NNA-CFG-OUTPUT" in text) == (2, True)


def test_a_series_whose_reader_is_killed_is_skipped(
    shell: Fault, new_series: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_series().write(Path("in"))
    monkeypatch.setattr(convert_api, "run_isolated", lambda work, tasks, **settings: [KILLED for _ in tasks])
    status, text = shell("convert_dicom", "in", "-o", "imagesTr")
    assert (status, "DCM-NOTHING] no series could be taken (DCM-KILLED)" in text) == (3, True)


def test_where_every_series_is_skipped_only_the_report_is_written(shell: Fault, new_series: Fault) -> None:
    series = new_series(num_slices=3)
    series.write(Path("in"))
    Path("imagesTr").mkdir()
    stale = Path("imagesTr") / f"ct_{made_up(series.uid)}_0000.nii.gz"
    stale.write_bytes(b"of an earlier run")
    status, text = shell("convert_dicom", "in", "-o", "imagesTr")
    assert (status, "NNA-DCM-NOTHING" in text) == (3, True)
    assert list(Path("imagesTr").iterdir()) == []
    assert Path("imagesTr_convert_report.csv").is_file()


def test_images_go_into_a_raw_dataset(shell: Fault, new_series: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    new_series().write(Path("in"))
    Path("raw/Dataset501_X").mkdir(parents=True)
    monkeypatch.setenv("nnanomaly_raw", str(Path("raw").resolve()))
    assert shell("convert_dicom", "in", "-d", "501", "-np", "1")[0] == 0
    assert shell("convert_dicom", "in", "-d", "501", "-o", "imagesTs")[0] == 0
    for part in ("imagesTr", "imagesTs"):
        assert len(list(Path(f"raw/Dataset501_X/{part}").iterdir())) == 1
        assert Path(f"raw/Dataset501_X/{part}_convert_report.csv").is_file()


def test_a_tilted_series_is_straightened_on_request(shell: Fault, new_series: Fault, lps_affine: Fault) -> None:
    """HU = 10 x + 5 y + 2 z in world mm: the image that is straight must say the same of every voxel of the body."""
    series = new_series(step=(0, 0.4, 2.0))
    rows, columns = np.meshgrid(np.arange(12), np.arange(10), indexing="ij")
    for dataset in series.datasets:
        x0, y0, z0 = (float(value) for value in dataset.ImagePositionPatient)
        ramp = 10 * (x0 + 0.7 * columns) + 5 * (y0 + 0.8 * rows) + 2 * (z0 + 700)
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 1, 16, 15
        dataset.RescaleSlope, dataset.RescaleIntercept = 0.01, 0.0
        dataset.PixelData = np.rint(ramp * 100).astype("<i2").tobytes()
    series.write(Path("in"))
    assert shell("convert_dicom", "in", "-o", "imagesTr", "--correct_tilt", "-np", "1")[0] == 0
    (path,) = Path("imagesTr").iterdir()
    affine = lps_affine(path)
    image = np.asarray(nibabel.load(path).dataobj)
    assert image.shape == (10, 12 + 9, 18)
    np.testing.assert_allclose(affine[:3, :3], np.diag([0.7, 0.8, 2.0]), atol=1e-4)
    i, j, k = np.nonzero(image > -1000)
    x, y, z = (affine[:3, :3] @ [i, j, k]) + affine[:3, 3:]
    np.testing.assert_allclose(image[i, j, k], 10 * x + 5 * y + 2 * (z + 700), atol=0.02)
    assert i.size >= 18 * 11 * 10


def test_an_image_of_a_chosen_id_that_is_another_one_is_kept(shell: Fault, new_series: Fault) -> None:
    one, two = new_series(name="one", seed=1), new_series(name="two", seed=2)
    one.write(Path("in1"))
    two.write(Path("in2"))
    Path("cases.csv").write_text(f"series_uid,case\n{one.uid},kidney_1\n")
    convert = ("convert_dicom", "in1", "-o", "imagesTr", "-t", "cases.csv", "-write_table", "secret/table.csv")
    assert shell(*convert)[0] == 0
    path = Path("imagesTr/kidney_1_0000.nii.gz")
    before = path.read_bytes()
    status, text = shell(*convert)
    assert (status, "NNA-CFG-OUTPUT" in text, "--overwrite" in text) == (2, True, True)
    assert shell(*convert, "--overwrite")[0] == 0
    assert shell(*convert[:6])[0] == 0, "the same image again"
    Path("cases.csv").write_text(f"series_uid,case\n{two.uid},kidney_1\n1.2.3,kidney_7\n")
    status, text = shell("convert_dicom", "in2", "-o", "imagesTr", "-t", "cases.csv")
    assert (status, "(DCM-EXISTS)" in text) == (3, True)
    assert path.read_bytes() == before
    assert shell("convert_dicom", "in2", "-o", "imagesTr", "-t", "cases.csv", "--overwrite")[0] == 0
    assert path.read_bytes() != before


def test_the_table_that_is_read_is_not_written_over(shell: Fault, new_series: Fault) -> None:
    series = new_series()
    series.write(Path("in"))
    Path("cases.csv").write_text(f"series_uid,case\n{series.uid},kidney_1\n1.2.3,kidney_7\n")
    before = Path("cases.csv").read_text()
    status, text = shell(
        "convert_dicom", "in", "-o", "out", "-t", "cases.csv", "-write_table", "cases.csv", "--overwrite"
    )
    assert (status, "NNA-CFG-OUTPUT" in text) == (2, True)
    assert Path("cases.csv").read_text() == before


def test_series_of_the_table_that_are_not_there_are_named(
    shell: Fault, new_series: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    series = new_series()
    series.write(Path("in"))
    Path("cases.csv").write_text(f"series_uid,case\n{series.uid},kidney_1\n1.2.3,kidney_7\n")
    assert shell("convert_dicom", "in", "-o", "out", "-t", "cases.csv")[0] == 0
    assert "1 series of cases.csv are not in in: cases kidney_7" in caplog.text
