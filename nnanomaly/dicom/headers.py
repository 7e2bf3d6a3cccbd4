"""What is read of the header of one DICOM file: geometry and encoding, and of the patient only a key for grouping.

Everything else stays in the file: only the tags that are listed here are read, private ones never. A header is
untrusted: values of the wrong kind become None, and what cannot be parsed at all is said without quoting it, for a
parser's message may hold what the file holds.
"""

import logging
import mmap
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.config import disable_value_validation
from pydicom.errors import BytesLengthException, InvalidDicomError

from nnanomaly.dicom.attributes import numbers, padding, reader, rescale, seconds, several, syntax
from nnanomaly.dicom.traits import KEYWORDS, read_traits

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
    "SeriesInstanceUID",
    "ImageType",
    "ConversionType",
    "InstanceNumber",
    "AcquisitionDateTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "ContentTime",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "PixelSpacing",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "ModalityLUTSequence",
    "SpacingBetweenSlices",
    "SliceThickness",
    "BurnedInAnnotation",
    "LossyImageCompression",
    *KEYWORDS,
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
    rescale_fault: str
    """What is wrong with the rescaling of this file, without its values; empty where nothing is, or there is none."""
    signed: bool
    """Whether stored values are signed."""
    bits_stored: int
    """Bits of a stored value that mean something, the lowest."""
    padding: tuple[int, int] | None
    """First and last stored value that are padding, where the file declares it."""
    secondary: bool
    """Whether the file says that its pixels are a picture of a screen."""
    burned_in: bool
    """Whether the file says that text is burnt into its pixels."""
    traits: Mapping[str, str]
    """Hashes of what must not, or should not, differ within a scan; see `traits.py`. Never shown."""
    instance_number: int | None
    """Number of the slice in its series."""
    seconds: float | None
    """When it was taken, in seconds of an unknown day."""
    step_mm: float | None
    """Spacing Between Slices, without its sign."""
    thickness_mm: float | None
    """Slice Thickness."""
    lossy: bool
    """Whether the pixels were once compressed with loss."""


def read_header(path: Path) -> SliceHeader | None:
    """The header of a DICOM file, whose series UID may be empty; None where nothing can be parsed."""
    try:
        with quiet_libraries():
            header = _header(path, read_tags(path, _TAGS))
    except PARSER_FAULTS:
        return None
    return header if header.series_uid or header.sop_class else None


def read_tags(path: Path, tags: Sequence[str] | None, *, stop_before_pixels: bool = True) -> pydicom.Dataset:
    """The named elements of a file (None: all), read through a memory map: no more is allocated than the file holds.

    To be called, and its result to be used, within `quiet_libraries`. Raises one of `PARSER_FAULTS`.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return pydicom.dcmread(
            mapped,  # type: ignore[arg-type]  # a file for all that is asked of it here
            force=True,  # files without a preamble are common; whoever calls has looked at the start of the file
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
    text = reader(dataset, lambda value: str(value).strip(), default="")
    number = reader(dataset, int, default=0)
    length = reader(dataset, lambda value: abs(float(value)), default=None)
    slope_and_intercept, rescale_fault = rescale(dataset)
    return SliceHeader(
        path=path,
        series_uid=text("SeriesInstanceUID"),
        instance_uid=text("SOPInstanceUID"),
        patient=text("PatientID") or text("StudyInstanceUID"),
        sop_class=text("SOPClassUID") or str(dataset.file_meta.get("MediaStorageSOPClassUID", "") or ""),
        transfer_syntax=syntax(dataset),
        image_type=tuple(str(item).strip().upper() for item in several(dataset.get("ImageType"))),
        shape=(number("Rows"), number("Columns")),
        samples_per_pixel=number("SamplesPerPixel") or 1,
        bits_allocated=number("BitsAllocated"),
        photometric=text("PhotometricInterpretation"),
        num_frames=number("NumberOfFrames") or 1,
        orientation=numbers(dataset, "ImageOrientationPatient", 6),
        position_mm=numbers(dataset, "ImagePositionPatient", 3),
        pixel_spacing_mm=numbers(dataset, "PixelSpacing", 2),
        rescale=slope_and_intercept,
        rescale_fault=rescale_fault,
        rescale_type=text("RescaleType").upper(),
        signed=number("PixelRepresentation") == 1,
        bits_stored=number("BitsStored") or number("BitsAllocated"),
        padding=padding(dataset, number("BitsAllocated"), signed=number("PixelRepresentation") == 1),
        secondary=bool(text("ConversionType")),
        burned_in=text("BurnedInAnnotation").upper() == "YES",
        traits=read_traits(text),
        instance_number=reader(dataset, int, default=None)("InstanceNumber"),
        seconds=seconds(text),
        step_mm=length("SpacingBetweenSlices"),
        thickness_mm=length("SliceThickness"),
        lossy=text("LossyImageCompression") == "01",
    )
