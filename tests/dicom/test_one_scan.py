"""What is one scan: series that mix several, that hide what they hold, or that store it in an unusual way."""

import csv
import gzip
import io
import zipfile
from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    generate_uid,
)

from nnanomaly import cli
from nnanomaly.dicom.padding import PADDING_HU

Make = Callable[..., Any]


class Conversion:
    """What `nnanomaly_convert_dicom` left of the folder `in`."""

    def __init__(self, status: int, text: str) -> None:
        self.status, self.text = status, text
        with Path("out_convert_report.csv").open(newline="") as file:
            self.rows = list(csv.DictReader(file))

    @property
    def codes(self) -> list[str]:
        return [row["code"] or row["status"] for row in self.rows]

    def images(self) -> list[Any]:
        """HU `[Z, Y, X]` of the cases that were taken, in the order of the rows."""
        paths = [Path("out") / f"{row['case']}_0000.nii.gz" for row in self.rows if row["status"] == "taken"]
        return [np.asarray(nibabel.load(path).dataobj).T for path in paths]


@pytest.fixture
def convert(
    inline_workers: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Make:
    """`convert(series, ..., flags=())`: writes each into a folder of its own below `in` and converts."""
    monkeypatch.chdir(tmp_path)

    def run(*series: Any, flags: Sequence[str] = ()) -> Conversion:
        for number, one in enumerate(series):
            one.write(Path("in") / str(number))
        status = cli.convert_dicom(["in", "-o", "out", "-np", "1", *flags])
        printed = capsys.readouterr()
        return Conversion(status, printed.out + printed.err + caplog.text)

    return run


def two_in_one(new_series: Make, *, offset: float = 0.0, **second: Any) -> tuple[Any, Any]:
    """Two scans of one series, the second `offset` mm further, with what is the same all over a scan taken away."""
    one, two = new_series(name="one", seed=1), new_series(name="two", seed=2, origin=(-30.5, 20.25, -700.0 + offset))
    for number, (first, other) in enumerate(zip(one.datasets, two.datasets, strict=True)):
        for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
            setattr(other, keyword, getattr(first, keyword))
        for keyword, value in second.items():
            setattr(other, keyword, value(number) if callable(value) else value)
    return one, two


def time_of(start: int) -> Callable[[int], str]:
    return lambda number: f"10{start:02d}{number:02d}"


@pytest.mark.parametrize("offset", [0.0, 1.0], ids=["at the same places", "half a slice further"])
@pytest.mark.parametrize(
    ("second", "trait"),
    [
        ({"AcquisitionNumber": 2}, "acquisition number"),
        ({"TemporalPositionIdentifier": 2}, "temporal position"),
        ({"ContrastBolusAgent": "Iodine of Mrs Doe"}, "contrast"),
        ({"SeriesDescription": "venous phase of Mrs Doe"}, "description"),
        ({"ConvolutionKernel": "B60f"}, "kernel"),
        ({"KVP": "80"}, "tube voltage"),
        ({"SliceThickness": 1.0}, "reconstruction"),
        ({"SeriesNumber": 2}, "series number"),
        ({"StudyInstanceUID": "1.2.3"}, "study"),
        ({"FrameOfReferenceUID": "1.2.3"}, "frame of reference"),
        ({"PatientID": "another"}, "patient"),
        ({"PatientName": "DOE^JOHN"}, "patient"),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]}, "image type"),
        ({"PixelSpacing": [0.4, 0.35]}, "pixel spacing"),
        ({"AcquisitionTime": time_of(5)}, "time"),
        ({"InstanceNumber": lambda number: number + 19}, "instance number"),
    ],
)
def test_two_scans_of_one_series_are_two_cases_and_the_report_says_by_what(
    convert: Make, new_series: Make, offset: float, second: dict[str, Any], trait: str, planted: tuple[str, ...]
) -> None:
    one, two = two_in_one(new_series, offset=offset, **second)
    if trait == "time":
        for number, dataset in enumerate(one.datasets):
            dataset.AcquisitionTime = time_of(1)(number)
    if trait != "instance number":
        for dataset in (*one.datasets, *two.datasets):
            del dataset.InstanceNumber
    done = convert(one, two)
    assert (done.status, done.codes) == (0, ["taken", "taken"]), done.text
    assert all(f"whose slices differ in {trait}" in row["warnings"] for row in done.rows)
    images = done.images()
    assert {image.tobytes() for image in images} == {series.hu.astype(np.int16).tobytes() for series in (one, two)}, (
        "no slice of the other scan"
    )
    assert len({row["case"] for row in done.rows}) == 2
    assert (len({row["patient"] for row in done.rows}) == 2) == ("PatientID" in second)
    assert not [secret for secret in planted if secret.lower() in (done.text + str(done.rows)).lower()]


def test_two_scans_that_nothing_tells_apart_are_refused(convert: Make, new_series: Make) -> None:
    one, two = two_in_one(new_series, offset=1.0)
    for number, (first, other) in enumerate(zip(one.datasets, two.datasets, strict=True)):
        first.PixelData = np.full((12, 10), 1000 + number, np.uint16).tobytes()
        other.PixelData = np.full((12, 10), 1100 + number, np.uint16).tobytes()
        del first.InstanceNumber, other.InstanceNumber
    done = convert(one, two)
    assert (done.status, done.codes) == (3, ["DCM-MIXED"])
    assert "slices of two scans" in done.rows[0]["reason"]


def test_a_scan_whose_acquisitions_follow_each_other_stays_one(convert: Make, new_series: Make) -> None:
    series = new_series()
    for number, dataset in enumerate(series.datasets):  # a sequence: every rotation is an acquisition
        dataset.AcquisitionNumber, dataset.AcquisitionTime = number // 3, f"1010{number:02d}"
        dataset.FrameOfReferenceUID = generate_uid()
    done = convert(series)
    assert done.codes == ["taken"]
    np.testing.assert_array_equal(done.images()[0], series.hu)
    assert "different acquisition number" in done.rows[0]["warnings"]
    assert "every slice has another frame of reference" in done.rows[0]["warnings"]


def test_the_reason_of_a_part_says_why_it_is_one(convert: Make, new_series: Make) -> None:
    series = new_series()
    series.datasets[7].ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    done = convert(series)
    assert done.codes == ["DCM-MISSING", "DCM-SHORT"]
    assert all(
        row["reason"].endswith("(a part of its series, whose slices differ in orientation)") for row in done.rows
    )


def no_syntax(series: Any) -> None:
    for dataset in series.datasets:
        del dataset.file_meta.TransferSyntaxUID


def high_bits(series: Any) -> None:
    """An overlay in the four bits that mean nothing."""
    for number, dataset in enumerate(series.datasets):
        stored = np.frombuffer(dataset.PixelData, np.uint16) | np.uint16((number % 16) << 12)
        dataset.PixelData = stored.tobytes()


def signed_of_12_bits(series: Any) -> None:
    for dataset, plane in zip(series.datasets, series.hu, strict=True):
        dataset.PixelRepresentation, dataset.RescaleIntercept = 1, 0
        dataset.PixelData = (plane.astype(np.int16) & 0x0FFF).astype(np.uint16).tobytes()


def two_signs(series: Any) -> None:
    for dataset, plane in list(zip(series.datasets, series.hu, strict=True))[::2]:
        dataset.PixelRepresentation, dataset.RescaleIntercept = 1, 0
        dataset.BitsStored, dataset.HighBit = 16, 15
        dataset.PixelData = plane.astype(np.int16).tobytes()


def several_windows(series: Any) -> None:
    for dataset in series.datasets:
        dataset.WindowCenter, dataset.WindowWidth = [40, 400], [400, 2000]


def downwards(series: Any) -> None:
    for number, dataset in enumerate(series.datasets):
        dataset.InstanceNumber, dataset.SpacingBetweenSlices = 100 - number, -2.0


def unordered(series: Any) -> None:
    rng = np.random.default_rng(0)
    for dataset, number in zip(series.datasets, rng.permutation(18), strict=True):
        dataset.InstanceNumber = int(number)


@pytest.mark.parametrize(
    "change",
    [no_syntax, high_bits, signed_of_12_bits, two_signs, several_windows, downwards, unordered],
    ids=lambda change: change.__name__,
)
def test_a_series_that_is_stored_in_an_unusual_way_is_taken_whole(
    convert: Make, new_series: Make, change: Callable[[Any], None]
) -> None:
    series = new_series()
    change(series)
    folder = Path("in/x")
    folder.mkdir(parents=True)
    for number, dataset in enumerate(series.datasets):
        dataset.save_as(folder / str(number), implicit_vr=False, little_endian=True, enforce_file_format=False)
    done = convert()
    assert done.codes == ["taken"], done.text
    np.testing.assert_array_equal(done.images()[0], series.hu)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_every_encoding_without_compression_gives_the_same_voxels(convert: Make, new_series: Make, syntax: str) -> None:
    series = new_series()
    Path("in").mkdir()
    for number, dataset in enumerate(series.datasets):
        copy, copy_meta = pydicom.Dataset(dataset), dataset.file_meta
        copy_meta.TransferSyntaxUID = syntax
        copy.file_meta = copy_meta
        if syntax == ExplicitVRBigEndian:
            copy.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
            copy["PixelData"].VR = "OW"
        copy.save_as(Path("in") / str(number), enforce_file_format=True)
    done = convert()
    assert done.codes == ["taken"], done.text
    np.testing.assert_array_equal(done.images()[0], series.hu)


@pytest.mark.parametrize(
    "charset", [b"ISO_IR 471", b"\\ISO 2022 ", b"ISO_IR\\192", b"\xff\xfe\x1b$B\\\\ \\", b"ISO_IR 192"]
)
def test_text_in_any_encoding_is_no_fault_and_does_not_get_out(
    convert: Make, new_series: Make, planted: tuple[str, ...], charset: bytes
) -> None:
    series = new_series()
    for dataset in series.datasets:
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.PatientName = "DOE^JANE=D\u00f6e^J\u00fcrgen=^^"
        dataset.PatientID = "=1+1 MRN-4711-0815"
        dataset.ImageComments = "Doe\x1b$B\x1b]0;Doe\x07 \udcff".encode("utf-8", "replace").decode()
    for path in series.write(Path("in")):
        path.write_bytes(path.read_bytes().replace(b"ISO_IR 100", charset.ljust(10)[:10]))
    done = convert(flags=["--verbose"])
    assert done.codes == ["taken"], done.text
    np.testing.assert_array_equal(done.images()[0], series.hu)
    shown = (done.text + str(done.rows)).lower()
    assert not [secret for secret in (*planted, "d\u00f6e", "1+1") if secret.lower() in shown]


def test_files_without_a_preamble_are_read(convert: Make, new_series: Make) -> None:
    series = new_series()
    for path in series.write(Path("in")):
        path.write_bytes(path.read_bytes()[132:])
    bare = new_series(name="bare", seed=1)
    folder = Path("in/bare")
    folder.mkdir()
    for number, dataset in enumerate(bare.datasets):
        del dataset.file_meta
        dataset.preamble = None
        dataset.save_as(folder / str(number), implicit_vr=True, little_endian=True)
    done = convert()
    assert done.codes == ["taken", "taken"]
    assert {image.tobytes() for image in done.images()} == {one.hu.astype(np.int16).tobytes() for one in (series, bare)}


def no_series_uid(series: Any) -> None:
    for dataset in series.datasets:
        del dataset.SeriesInstanceUID


def inverted(series: Any) -> None:
    series.datasets[3].PhotometricInterpretation = "MONOCHROME1"


def screen(series: Any) -> None:
    for dataset in series.datasets:
        dataset.ConversionType = "WSD"


def signs(series: Any) -> None:
    for dataset, plane in zip(series.datasets, series.hu, strict=True):
        dataset.PixelData, dataset.RescaleIntercept = plane.astype(np.int16).tobytes(), 0
        dataset.BitsStored, dataset.HighBit = 16, 15


def one_without_rescale(series: Any) -> None:
    del series.datasets[3].RescaleSlope, series.datasets[3].RescaleIntercept


def two_slopes(series: Any) -> None:
    series.datasets[3].RescaleSlope = [1, 2]


def slope_alone(series: Any) -> None:
    for dataset in series.datasets:
        del dataset.RescaleIntercept


def slope_of_0(series: Any) -> None:
    for dataset in series.datasets:
        dataset.RescaleSlope = 0


def no_pixels(series: Any) -> None:
    for dataset in series.datasets:
        del dataset.PixelData


def no_bits(series: Any) -> None:
    for dataset in series.datasets:
        del dataset.BitsAllocated


def too_many_pixels(series: Any) -> None:
    series.datasets[3].PixelData *= 2


def compressed_without_a_name(series: Any) -> None:
    for dataset in series.datasets:
        dataset.compress(JPEGLSLossless, generate_instance_uid=False)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
        dataset["PixelData"].is_undefined_length = True


def nothing_but_padding(series: Any) -> None:
    for dataset in series.datasets:
        dataset.RescaleIntercept = -4000


def magnetic_resonance(series: Any) -> None:
    for dataset in series.datasets:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (no_series_uid, "DCM-SERIES", "Series Instance UID"),
        (inverted, "DCM-KIND", "MONOCHROME1"),
        (screen, "DCM-KIND", "picture of a screen"),
        (magnetic_resonance, "DCM-KIND", "MR Image Storage"),
        (signs, "DCM-SIGN", "unsigned"),
        (one_without_rescale, "DCM-RESCALE", "1 of 18 slices"),
        (two_slopes, "DCM-RESCALE", "RescaleSlope is not one number"),
        (slope_alone, "DCM-RESCALE", "RescaleIntercept is missing"),
        (slope_of_0, "DCM-RESCALE", "RescaleSlope is 0"),
        (no_pixels, "DCM-PIXELS", "Pixel Data"),
        (no_bits, "DCM-BITS", "Bits Allocated"),
        (too_many_pixels, "DCM-TRUNCATED", "480 bytes of pixels in place of 240"),
        (compressed_without_a_name, "DCM-SYNTAX", "Transfer Syntax"),
        (nothing_but_padding, "DCM-PADDING", "all voxels"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_series_that_cannot_be_taken_is_refused_for_the_cause_that_is_there(
    convert: Make, new_series: Make, change: Callable[[Any], None], code: str, said: str
) -> None:
    series = new_series()
    change(series)
    folder = Path("in/x")
    folder.mkdir(parents=True)
    for number, dataset in enumerate(series.datasets):
        with (folder / str(number)).open("wb") as file:
            dcmwrite(file, dataset, implicit_vr=False, little_endian=True, force_encoding=True)
    done = convert()
    assert (done.status, done.codes) == (3, [code]), done.text
    assert said in done.rows[0]["reason"]


ROUND = np.hypot(*np.meshgrid(np.linspace(-1, 1, 12), np.linspace(-1, 1, 10), indexing="ij")) > 1.05


@pytest.mark.parametrize(
    ("stored", "declared", "signed"),
    [
        (63536, 63536, False),  # -2000 as an unsigned number
        (63536, None, False),  # not declared
        (-2000, -2000, True),
        (-2000, 63536, True),  # declared as the other kind of number
        (-32768, None, True),
        (0, 0, False),  # air, but outside the field of view
    ],
)
@pytest.mark.parametrize("step", [(0, 0, 2.0), (0, 0.3, 2.0)], ids=["straight", "tilted"])
def test_padding_becomes_one_value_and_is_never_mixed_with_the_scan(
    convert: Make,
    new_series: Make,
    stored: int,
    declared: int | None,
    signed: bool,
    step: Sequence[float],
) -> None:
    """The scan is 500 HU everywhere: whatever lies between that and padding would be a mixture."""
    series = new_series(step=step)
    for dataset in series.datasets:
        values = np.full((12, 10), 1524, np.int64)
        values[5, 5] = max(stored, -1) if stored == 0 else 1524  # the same value within the body is no padding
        values[ROUND] = stored
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = int(signed), 16, 15
        dataset.PixelData = values.astype("<i2" if signed else "<u2").tobytes()
        if declared is not None:
            dataset.add_new(0x00280120, "US" if declared >= 0 else "SS", declared)
    done = convert(series, flags=["--correct_tilt"])
    assert done.codes == ["taken"], done.text
    (image,) = done.images()
    if step[1] == 0:
        assert (image == PADDING_HU).all(axis=0).tolist() == ROUND.tolist()
        assert image[0, 5, 5] == (-1024 if stored == 0 else 500)
    elif stored != 0:
        assert set(np.unique(image)) == {PADDING_HU, 500}
    assert "padding: " in done.rows[0]["warnings"]


def test_a_range_of_padding_that_holds_tissue_is_not_used(convert: Make, new_series: Make) -> None:
    series = new_series()
    for dataset in series.datasets:
        dataset.add_new(0x00280120, "US", 0)
        dataset.add_new(0x00280121, "US", 4095)
    done = convert(series)
    np.testing.assert_array_equal(done.images()[0], series.hu)
    assert "declared range of padding" in done.rows[0]["warnings"]


def test_folders_behind_links_are_entered_once_and_loops_end(convert: Make, new_series: Make) -> None:
    series = new_series()
    series.write(Path("elsewhere/a"))
    Path("in").mkdir()
    Path("in/linked").symlink_to(Path("elsewhere").resolve())
    Path("in/again").symlink_to(Path("elsewhere").resolve())
    Path("elsewhere/loop").symlink_to(Path("in").resolve())
    done = convert()
    assert (done.status, done.codes) == (0, ["taken"])
    assert done.rows[0]["num_files"] == "18"
    Path("in/nowhere").symlink_to(Path("missing"))
    Path("in/self").symlink_to("self")
    done = convert()
    assert (done.status, done.codes) == (4, ["taken", "DCM-DENIED"])
    assert "2 folders cannot be entered, or links lead nowhere" in done.rows[1]["reason"]


def test_a_series_in_two_folders_is_one_scan(convert: Make, new_series: Make) -> None:
    series = new_series()
    other = deepcopy(series)
    series.datasets, other.datasets = series.datasets[::2], other.datasets[1::2]
    done = convert(series, other)
    assert done.codes == ["taken"]
    np.testing.assert_array_equal(done.images()[0], series.hu)


def test_archives_with_dicom_are_named_and_others_are_not(convert: Make, new_series: Make) -> None:
    paths = new_series().write(Path("in"))
    content = paths[0].read_bytes()
    with zipfile.ZipFile("in/scans.zip", "w") as archive:
        archive.writestr("a/b.dcm", content)
    with zipfile.ZipFile("in/papers.zip", "w") as archive:
        archive.writestr("a.txt", "no scan")
    Path("in/scan.dcm.gz").write_bytes(gzip.compress(content))
    Path("in/text.gz").write_bytes(gzip.compress(b"no scan" * 100))
    done = convert()
    assert (done.status, done.codes) == (4, ["taken", "DCM-ARCHIVE"])
    assert done.rows[1]["reason"].startswith("2 archives hold DICOM files")


def test_an_index_alone_is_not_called_a_folder_without_dicom(
    convert: Make, new_series: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("in").mkdir()
    Path("in/DICOMDIR").write_bytes(io.BytesIO(b"\0" * 128 + b"DICM").getvalue())
    assert cli.convert_dicom(["in", "-o", "out"]) == 3
    assert "only the index of a medium (DICOMDIR)" in capsys.readouterr().err
