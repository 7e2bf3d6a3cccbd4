"""Tiny DICOM series of CTs, written with pydicom alone and full of things that must not get out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
NUM_SLICES, ROWS, COLUMNS = 18, 12, 10
STEP_MM = 2.0
SECRETS = (
    "DOE^JANE",
    "Doe",
    "19610203",
    "MRN-4711-0815",
    "Saint Elsewhere",
    "ACC-998877",
    "Dr^Strange",
    "planted private text",
    "kidney of Mrs Doe",
)
"""Planted in every file."""


@dataclass
class Series:
    """Slices in memory; tests change them before they are written."""

    datasets: list[FileDataset]
    hu: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """Values `[Z, Y, X]` that a reader must find."""

    @property
    def uid(self) -> str:
        return str(self.datasets[0].SeriesInstanceUID)

    def write(self, folder: Path, prefix: str = "IM") -> list[Path]:
        """Files in an order that has nothing to do with the place of the slices."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{prefix}{number * 7 % 101:04d}" for number in range(len(self.datasets))]
        for dataset, path in zip(self.datasets, paths, strict=True):
            dataset.save_as(path, enforce_file_format=True)
        return paths


def _plant(dataset: FileDataset, patient: str) -> None:
    dataset.PatientName = "DOE^JANE"
    dataset.PatientID = patient
    dataset.PatientBirthDate = "19610203"
    dataset.InstitutionName = "Saint Elsewhere"
    dataset.AccessionNumber = "ACC-998877"
    dataset.ReferringPhysicianName = "Dr^Strange"
    dataset.SeriesDescription = "kidney of Mrs Doe"
    dataset.private_block(0x0029, "NNA TEST", create=True).add_new(0x01, "LO", "planted private text")


def _geometry(
    dataset: FileDataset, number: int, orientation: Sequence[float], step: Sequence[float], origin: Sequence[float]
) -> None:
    dataset.ImageOrientationPatient = [float(value) for value in orientation]
    dataset.ImagePositionPatient = [float(o + number * s) for o, s in zip(origin, step, strict=True)]
    dataset.PixelSpacing = [0.8, 0.7]
    dataset.SliceThickness = STEP_MM


def make_series(
    *,
    name: str = "a",
    patient: str = "MRN-4711-0815",
    num_slices: int = NUM_SLICES,
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    step: Sequence[float] = (0, 0, STEP_MM),
    origin: Sequence[float] = (-30.5, 20.25, -700.0),
    slope: Callable[[int], float] = lambda number: 1.0,
    seed: int = 0,
) -> Series:
    """A series with random values between -1024 and 1000 HU, each slice with its own slope if wanted."""
    rng = np.random.default_rng(seed)
    stored = rng.integers(0, 2000, (num_slices, ROWS, COLUMNS)).astype(np.uint16)
    slopes = np.array([slope(number) for number in range(num_slices)])
    series_uid, study_uid = (generate_uid(entropy_srcs=[name, kind]) for kind in ("series", "study"))
    datasets = []
    for number in range(num_slices):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CT
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[name, str(number)])
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SOPClassUID, dataset.SOPInstanceUID = CT, meta.MediaStorageSOPInstanceUID
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series_uid, study_uid
        dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=[name, "frame"])
        dataset.Modality, dataset.StudyID, dataset.SeriesNumber = "CT", "1", 1
        dataset.InstanceNumber = number + 1
        dataset.StudyDate, dataset.StudyTime = "20200101", "101010"
        dataset.PatientSex, dataset.Manufacturer = "F", "Test"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        _plant(dataset, patient)
        _geometry(dataset, number, orientation, step, origin)
        dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = ROWS, COLUMNS, 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
        dataset.PixelRepresentation = 0
        dataset.RescaleSlope, dataset.RescaleIntercept = float(slopes[number]), -1024.0
        dataset.RescaleType = "HU"
        dataset.KVP, dataset.ConvolutionKernel = "120", "B30f"
        dataset.PixelData = stored[number].tobytes()
        datasets.append(dataset)
    return Series(datasets, stored * slopes[:, None, None] - 1024.0)


@pytest.fixture(scope="session")
def new_series() -> Callable[..., Series]:
    """`new_series(name=..., ...)`: see `make_series`."""
    return make_series


@pytest.fixture
def lps_affine() -> Callable[[Path], Any]:
    """Affine of a NIfTI file from (i, j, k) to DICOM's (x, y, z), read with nibabel alone."""
    import nibabel

    def read(path: Path) -> Any:
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ nibabel.load(path).affine

    return read


def found_secrets(folder: Path, secrets: Sequence[str]) -> list[str]:
    """Where one of the texts occurs: in a name, in the bytes of a file, or in what a gzip file unpacks to."""
    import gzip

    found = []
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        if path.suffix == ".gz":
            content += gzip.decompress(content)
        for secret in secrets:
            if secret.lower().encode() in content.lower() or secret.lower() in str(path.relative_to(folder)).lower():
                found.append(f"{path.name}: {secret}")
    return found


@pytest.fixture(scope="session")
def secrets_in() -> Callable[[Path, Sequence[str]], list[str]]:
    """See `found_secrets`."""
    return found_secrets


@pytest.fixture
def inline_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the worker processes' work be done in this one: starting them takes longer than all the rest."""
    from nnanomaly.dicom import convert_api, scan
    from nnanomaly.utilities.case_runner import run_cases

    def inline(work: Any, tasks: Any, *, num_processes: int, progress: Any = None, quote: bool = True) -> Any:
        return run_cases(work, tasks, num_processes=1, progress=progress, quote=quote)

    for module in (convert_api, scan):
        monkeypatch.setattr(module, "run_isolated", inline)


@pytest.fixture(scope="session")
def planted() -> tuple[str, ...]:
    """What every file of `new_series` says of the patient."""
    return SECRETS


@pytest.fixture(scope="session")
def read_dicom() -> Callable[[Path], pydicom.Dataset]:
    """pydicom's reader."""
    return pydicom.dcmread
