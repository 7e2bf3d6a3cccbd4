"""Files, headers and geometry (F01 to F33): one check and one prediction of a folder with every fault at once.

The check names each fault with its case and ends with status 3. The prediction gives every faulty case its reason,
predicts the others, and ends with status 4.
"""

import contextlib
import csv
import gzip
import importlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnanomaly import cli
from nnanomaly.imageio.nifti import write_volume
from nnanomaly.paths import Paths
from nnanomaly.volume import Grid, Volume

commands = importlib.import_module("tests.cli.conftest")
GRID, DATASET = commands.GRID, commands.DATASET
NAN = float("nan")
DIM, DATATYPE, PIXDIM, SLOPE, UNITS, QFORM_CODE, QOFFSET, SROW_X = 40, 70, 76, 112, 123, 252, 268, 280
SOUND = "ok"


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_trailer(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-6])


def flipped(path: Path) -> None:
    stored = bytearray(gzip.compress(gzip.decompress(path.read_bytes()), 0))  # stored bytes: every flip still decodes
    stored[len(stored) // 2] ^= 0x10
    path.write_bytes(stored)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nothing.nii.gz"))


def bomb(path: Path) -> None:
    header = bytearray(gzip.decompress(path.read_bytes())[:352])
    header[DIM + 2 : DIM + 8] = np.array([1100, 1100, 1000], "<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(header) + bytes(1 << 20), 9))


def as_type(dtype: str, value: float) -> Callable[[Path], None]:
    """The image in another type, with the value of one voxel changed."""

    def change(path: Path) -> None:
        stored = nibabel.load(path)
        array = np.asarray(stored.dataobj).astype(dtype)
        array[3, 3, 3] = value
        image = nibabel.Nifti1Image(array, None, stored.header)
        image.set_data_dtype(dtype)
        nibabel.save(image, path)

    return change


def big_endian(path: Path) -> None:
    stored = nibabel.load(path)
    image = nibabel.Nifti1Image(np.asarray(stored.dataobj), stored.affine, nibabel.Nifti1Header(endianness=">"))
    image.header.set_xyzt_units("mm")
    image.set_data_dtype(np.int16)
    nibabel.save(image, path)


def constant(hu: int) -> Callable[[Path], None]:
    return lambda path: write_volume(path, Volume(np.full((1, *GRID.shape), hu, np.int16), GRID))


def on_grid(grid: Grid) -> Callable[[Path], None]:
    ramp = np.arange(np.prod(grid.shape), dtype=np.int64).reshape(1, *grid.shape) % 90
    return lambda path: write_volume(path, Volume(ramp.astype(np.int16), grid))


def shifted_grid(mm: float) -> Grid:
    return Grid(GRID.shape, GRID.spacing_mm, (0.0, 0.0, mm))


MIRRORED = Grid(GRID.shape, GRID.spacing_mm, (0.0, 0.0, 0.0), ((1, 0, 0), (0, 1, 0), (0, 0, -1)))

Header = tuple[tuple[int, str, object], ...]


@dataclass(frozen=True)
class Fault:
    """How it is made, on a file of the case, and the codes that the user may get."""

    make: Callable[[Path], None] | Header
    codes: str
    mask: bool = False
    """Whether a mask is spoilt, not the image."""


FAULTS = {
    "F01": Fault(half, "IO-TRUNCATED"),
    "F02": Fault(without_trailer, "IO-CRC"),
    "F03": Fault(flipped, "IO-CRC"),
    "F04": Fault(lambda path: path.write_bytes(b"") and None, "IO-EMPTY"),
    "F05": Fault(lambda path: path.write_text("a letter\n" * 100) and None, "IO-FORMAT"),
    "F06": Fault(lambda path: path.write_bytes(gzip.decompress(path.read_bytes())) and None, SOUND),
    "F07": Fault(a_folder, "IO-ISDIR"),
    "F08": Fault(dangling, "IO-MISSING"),
    "F09": Fault(((DIM + 2, "h", 2000),), "IO-LENGTH"),
    "F10": Fault(((DIM + 2, "3h", (32000, 32000, 32000)),), "IO-TOOBIG"),
    "F11": Fault(bomb, "IO-BOMB IO-TOOBIG"),  # whichever limit of this machine comes first
    "F12.zero": Fault(((DIM + 4, "h", 0),), "IO-SHAPE"),
    "F12.negative": Fault(((DIM + 2, "h", -32),), "IO-SHAPE"),
    "F13": Fault(((DIM, "5h", (4, 32, 24, 20, 2)),), "GEO-4D"),
    "F14": Fault(((DIM, "5h", (4, 32, 24, 20, 1)),), SOUND),
    "F15.flat": Fault(((DIM, "h", 2),), "GEO-THIN"),
    "F15.slices": Fault(on_grid(Grid((3, 24, 32), (6.0, 4.0, 4.0), (0.0, 0.0, 0.0))), "GEO-THIN"),
    "F16.rgb": Fault(((DATATYPE, "h", 128),), "IO-DTYPE"),
    "F16.complex": Fault(((DATATYPE, "h", 32),), "IO-DTYPE"),
    "F16.longdouble": Fault(((DATATYPE, "h", 1536),), "IO-DTYPE"),
    "F17.nan": Fault(as_type("float32", NAN), "INT-NONFINITE"),
    "F17.inf": Fault(as_type("float32", float("inf")), "INT-NONFINITE"),
    "F18.constant": Fault(constant(40), "INT-CONSTANT"),
    "F18.air": Fault(constant(-1024), "INT-CONSTANT"),
    "F22": Fault(as_type("float64", 1e300), "INT-RANGE"),
    "F23.zero": Fault(((SLOPE, "2f", (0.0, 0.0)),), SOUND),
    "F23.nan": Fault(((SLOPE, "2f", (NAN, NAN)),), SOUND),
    "F24": Fault(big_endian, SOUND),
    "F25": Fault(((SROW_X + 4, "f", 1.2),), "GEO-SHEAR GEO-FORMS"),  # the two forms disagree then as well
    "F27": Fault(((QOFFSET, "f", 10.0),), "GEO-FORMS"),
    "F28.forms": Fault(((QFORM_CODE, "2h", (0, 0)),), "GEO-SPACING"),
    "F28.zero": Fault(((PIXDIM + 4, "f", 0.0),), "GEO-SPACING"),
    "F28.nan": Fault(((SROW_X + 12, "f", NAN),), "GEO-SPACING"),
    "F29": Fault(((UNITS, "B", 1),), "GEO-UNITS GEO-SPACING"),  # 4 m
    "F31": Fault(on_grid(Grid((20, 24, 33), (6.0, 4.0, 4.0), (0.0, 0.0, 0.0))), "GEO-PAIR", mask=True),
    "F32.shift": Fault(on_grid(shifted_grid(5.0)), "GEO-PAIR", mask=True),
    "F32.mirror": Fault(on_grid(MIRRORED), "GEO-PAIR", mask=True),
    "F49": Fault(on_grid(Grid((10, 12, 16), (12.0, 8.0, 8.0), (0.0, 0.0, 0.0))), "GEO-PAIR", mask=True),
}


def case_of(fault: str) -> str:
    return fault.lower().replace(".", "_")


def spoil(raw: Path, part: str, patch_header: Callable[..., None]) -> None:
    for number, (name, fault) in enumerate(FAULTS.items()):
        case = case_of(name)
        commands.Shell.write_case(raw, part, case, seed=number)
        mask = raw / f"organMasks{part}" / case / "kidney_left.nii.gz"
        path = mask if fault.mask else raw / f"images{part}" / f"{case}_0000.nii.gz"
        if callable(fault.make):
            fault.make(path)
        else:
            patch_header(path, *fault.make)


@dataclass(frozen=True)
class Run:
    """What a command left."""

    status: int
    error: str
    codes: dict[str, str]
    """Text about every case."""


@pytest.fixture(scope="module")
def spoilt(
    tmp_path_factory: pytest.TempPathFactory, write_raw: Callable[[Path], None], patch_header: Callable[..., None]
) -> Iterator[Paths]:
    """A raw dataset with one case per fault in both parts; the folder variables point there."""
    root = tmp_path_factory.mktemp("spoilt")
    raw = root / "raw" / DATASET
    write_raw(raw)
    for part in ("Tr", "Ts"):
        spoil(raw, part, patch_header)
    for number in range(2):
        commands.Shell.write_case(raw, "Ts", f"test_{number}", seed=10 + number)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("raw", "preprocessed", "results"):
            patch.setenv(f"nnanomaly_{name}", str(root / name))
        patch.setenv("nnanomaly_def_n_proc", "1")
        patch.chdir(root)
        yield Paths(root / "raw", root / "preprocessed", root / "results")


def run(command: str, *arguments: str) -> tuple[int, str]:
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors):
        status = getattr(cli, command)(list(arguments))
    lines = [line for line in errors.getvalue().splitlines() if line.startswith("error: ")]
    return status, "\n".join(lines)


@pytest.fixture(scope="module")
def checked(spoilt: Paths) -> Run:
    status, error = run("plan_and_preprocess", "-d", "501", "--verify_dataset_integrity")
    report = json.loads((spoilt.preprocessed(DATASET) / "verify_report.json").read_text())
    codes: dict[str, str] = {}
    for finding in report["findings"]:
        if finding["level"] == "ERROR":
            codes[finding["case"]] = f"{codes.get(finding['case'], '')} {finding['code']}"
    return Run(status, error, codes)


@pytest.fixture(scope="module")
def predicted(spoilt: Paths, template: Paths) -> Run:
    shutil.copytree(template.results_root, spoilt.results_root)
    status, error = run("predict", "-i", "imagesTs", "-o", "preds")
    codes: dict[str, str] = {}
    with Path("preds/detections/status.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            codes[row["case"]] = f"{codes.get(row['case'], '')} {row['status']} {row['reason']}"
    return Run(status, error, codes)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_check_names_every_faulty_case_with_its_code(fault: str, checked: Run) -> None:
    found = set(checked.codes.get(case_of(fault), "").split())
    expected = set(FAULTS[fault].codes.split())
    assert found == set() if expected == {SOUND} else found & expected


@pytest.mark.parametrize("fault", FAULTS)
def test_a_prediction_leaves_out_the_faulty_cases_alone_and_says_why(fault: str, predicted: Run) -> None:
    text = predicted.codes[case_of(fault)]
    if FAULTS[fault].codes == SOUND:
        assert text.split() == ["ok", "ok"]
        return
    assert text.split()[0] == "failed"
    assert any(f"[NNA-{code}]" in text for code in FAULTS[fault].codes.split())
    assert not list(Path("preds").rglob(f"{case_of(fault)}*"))


def test_the_check_ends_with_status_3_and_one_line(checked: Run) -> None:
    assert checked.status == 3
    assert checked.error.startswith("error: [NNA-VERIFY]") and "\n" not in checked.error
    assert not [case for case in checked.codes if case.startswith("case_")]


def test_the_prediction_ends_with_status_4_and_the_sound_cases(predicted: Run) -> None:
    assert (predicted.status, predicted.error) == (4, "")
    assert predicted.codes["test_0"].split() == predicted.codes["test_1"].split() == ["ok", "ok"]
