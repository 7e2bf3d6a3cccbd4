"""What is read of the header of one DICOM file: geometry and encoding, and of the patient only a key for grouping.

Everything else stays in the file: only the tags that are listed here are read, private ones never. A header is
untrusted: values of the wrong kind become None, and what cannot be parsed at all is said without quoting it, for a
parser's message may hold what the file holds.
"""

import logging
import math
import mmap
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.config import disable_value_validation
from pydicom.errors import BytesLengthException, InvalidDicomError

PREAMBLE, MAGIC = 128, b"DICM"
PARSER_FAULTS = (
    BytesLengthException,
    InvalidDicomError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom raises on damaged files."""
_TAGS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientID",
    "ImageType",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "BitsAllocated",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "PixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "KVP",
    "ConvolutionKernel",
    "LossyImageCompression",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceHeader:
    """One file of a series. World coordinates are DICOM's: (x, y, z) towards left, posterior, superior, in mm."""

    path: Path
    """The file; never shown."""
    series_uid: str
    """Series Instance UID; shown only as a hash."""
    instance_uid: str
    """SOP Instance UID; never shown."""
    patient: str
    """What the series of one patient have in common; never shown."""
    sop_class: str
    """Kind of object."""
    transfer_syntax: str
    """How the pixels are encoded."""
    image_type: tuple[str, ...]
    """Such as ORIGINAL, PRIMARY, AXIAL."""
    shape: tuple[int, int]
    """Rows and columns; 0 where the file does not say."""
    samples_per_pixel: int
    """1 for a CT."""
    bits_allocated: int
    """Bits a stored value takes."""
    photometric: str
    """MONOCHROME2 for a CT."""
    num_frames: int
    """1 in a file of one slice."""
    orientation: tuple[float, ...] | None
    """World direction of a row (towards higher columns), then of a column: six numbers."""
    position_mm: tuple[float, ...] | None
    """World position of the centre of the first voxel: three numbers."""
    pixel_spacing_mm: tuple[float, ...] | None
    """Distance between rows, then between columns."""
    rescale: tuple[float, float] | None
    """Slope and intercept from stored values to HU."""
    rescale_type: str
    """Unit after the rescaling, where the file says it."""
    settings: tuple[str, ...]
    """Tube voltage and kernel: the same all over one scan."""
    lossy: bool
    """Whether the pixels were once compressed with loss."""


def is_dicom(path: Path) -> bool:
    """Whether a file says that it is DICOM; the index of a medium (DICOMDIR) does not count."""
    if path.name.upper() == "DICOMDIR":
        return False
    with path.open("rb") as file:
        return file.read(PREAMBLE + len(MAGIC))[PREAMBLE:] == MAGIC


def read_header(path: Path) -> SliceHeader | None:
    """The header of a DICOM file; None where it cannot be parsed, or names no series."""
    try:
        with quiet_libraries():
            header = _header(path, read_tags(path, _TAGS))
    except PARSER_FAULTS:
        return None
    return header if header.series_uid else None


def read_tags(path: Path, tags: Sequence[str] | None, *, stop_before_pixels: bool = True) -> pydicom.Dataset:
    """The named elements of a file (None: all), read through a memory map: no more is allocated than the file holds.

    To be called, and its result to be used, within `quiet_libraries`. Raises one of `PARSER_FAULTS`.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return pydicom.dcmread(
            mapped,  # type: ignore[arg-type]  # a file for all that is asked of it here
            stop_before_pixels=stop_before_pixels,
            specific_tags=None if tags is None else list(tags),
        )


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Let pydicom and highdicom say nothing: their warnings and log lines quote values of the file, names included."""
    with ExitStack() as stack:
        for name in ("pydicom", "highdicom"):
            logger = logging.getLogger(name)
            stack.callback(setattr, logger, "propagate", logger.propagate)
            logger.propagate = False
            handler = logging.NullHandler()
            logger.addHandler(handler)  # without any handler, Python prints warnings itself
            stack.callback(logger.removeHandler, handler)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(disable_value_validation())
        yield


def _header(path: Path, dataset: pydicom.Dataset) -> SliceHeader:
    text = _reader(dataset, lambda value: str(value).strip(), default="")
    number = _reader(dataset, int, default=0)
    slope, intercept = _numbers(dataset, "RescaleSlope", 1), _numbers(dataset, "RescaleIntercept", 1)
    return SliceHeader(
        path=path,
        series_uid=text("SeriesInstanceUID"),
        instance_uid=text("SOPInstanceUID"),
        patient=text("PatientID") or text("StudyInstanceUID"),
        sop_class=text("SOPClassUID"),
        transfer_syntax=str(dataset.file_meta.get("TransferSyntaxUID", "")),
        image_type=tuple(str(item) for item in _several(dataset.get("ImageType"))),
        shape=(number("Rows"), number("Columns")),
        samples_per_pixel=number("SamplesPerPixel") or 1,
        bits_allocated=number("BitsAllocated"),
        photometric=text("PhotometricInterpretation"),
        num_frames=number("NumberOfFrames") or 1,
        orientation=_numbers(dataset, "ImageOrientationPatient", 6),
        position_mm=_numbers(dataset, "ImagePositionPatient", 3),
        pixel_spacing_mm=_numbers(dataset, "PixelSpacing", 2),
        rescale=None if slope is None or intercept is None else (slope[0], intercept[0]),
        rescale_type=text("RescaleType").upper(),
        settings=(text("KVP"), text("ConvolutionKernel")),
        lossy=text("LossyImageCompression") == "01",
    )


def _reader(dataset: pydicom.Dataset, convert: Callable[[Any], Any], *, default: Any) -> Callable[[str], Any]:
    """A function from a keyword to its converted value, or to the default where there is none of that kind."""

    def read(keyword: str) -> Any:
        value = dataset.get(keyword)
        try:
            return default if value is None or value == "" else convert(value)
        except (TypeError, ValueError, ArithmeticError):
            return default

    return read


def _numbers(dataset: pydicom.Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """That many finite numbers, or None."""
    try:
        values = tuple(float(value) for value in _several(dataset.get(keyword)))
    except (TypeError, ValueError, ArithmeticError):
        return None
    return values if len(values) == count and all(math.isfinite(value) for value in values) else None


def _several(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, (list, tuple, pydicom.multival.MultiValue)) else [value]
