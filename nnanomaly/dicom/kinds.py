"""Which DICOM objects are slices of a CT that can be read, and what is wrong with the others."""

from collections.abc import Sequence

from pydicom.uid import UID

from nnanomaly.dicom.headers import SliceHeader
from nnanomaly.dicom.traits import MEANINGLESS_IF_OWN, SHOWN_IF_MIXED
from nnanomaly.utilities.errors import DataError

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
PLAIN_SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
"""Implicit, explicit, big endian, deflated: the pixels themselves are not compressed."""
BIG_ENDIAN = "1.2.840.10008.1.2.2"
COMPRESSED_SYNTAXES = (
    "1.2.840.10008.1.2.4.50",  # JPEG baseline
    "1.2.840.10008.1.2.4.51",  # JPEG extended
    "1.2.840.10008.1.2.4.57",  # JPEG lossless
    "1.2.840.10008.1.2.4.70",  # JPEG lossless, first order
    "1.2.840.10008.1.2.4.80",  # JPEG-LS
    "1.2.840.10008.1.2.4.81",  # JPEG-LS, near lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000, lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.5",  # run lengths
)
HOUNSFIELD = ("", "HU", "US")  # US: unspecified, as older scanners write
SCREEN_PICTURES = ("SCREEN SAVE", "SCREENSHOT", "SCREEN CAPTURE", "SCREEN")
GREY, INVERTED = "MONOCHROME2", "MONOCHROME1"
BITS = (8, 16, 32)


def check_kind(headers: Sequence[SliceHeader]) -> list[str]:
    """Warnings about slices that are usable; `DataError` with the code of the first thing that makes them not so.

    DCM-KIND (no CT, or not grey), DCM-MULTIFRAME, DCM-LOCALIZER, DCM-BITS, DCM-UNITS (not HU), DCM-SYNTAX.
    """
    first = headers[0]
    _check_object(headers)
    if any(header.samples_per_pixel != 1 for header in headers):
        raise DataError("DCM-KIND", "the pixels have colours, which those of a CT have not.")
    if any(header.photometric == INVERTED for header in headers):
        raise DataError("DCM-KIND", "the grey values are inverted (MONOCHROME1). Export the original.")
    if any(header.photometric != GREY for header in headers):
        raise DataError("DCM-KIND", "the pixels are no plain grey values (Photometric Interpretation).")
    if min(first.shape) < 1:
        raise DataError("DCM-KIND", "the slices do not say how many rows and columns they have.")
    if any(header.bits_allocated not in BITS for header in headers):
        raise DataError("DCM-BITS", "Bits Allocated is missing, or neither 8, 16 nor 32. Export again with 16.")
    if any(not 1 <= header.bits_stored <= header.bits_allocated for header in headers):
        raise DataError("DCM-BITS", "Bits Stored is more than Bits Allocated. Export again.")
    units = {header.rescale_type for header in headers}
    if not units <= set(HOUNSFIELD):
        raise DataError("DCM-UNITS", "the values are no HU by their Rescale Type (such as a dual-energy map).")
    for header in headers:
        if header.transfer_syntax not in (*PLAIN_SYNTAXES, *COMPRESSED_SYNTAXES):
            raise DataError(
                "DCM-SYNTAX",
                f"the pixels are compressed in a way that is not read ({_title(header.transfer_syntax)})."
                " Export uncompressed.",
            )
    return _warnings(headers)


def _check_object(headers: Sequence[SliceHeader]) -> None:
    first = headers[0]
    if first.sop_class in ENHANCED_CT or any(header.num_frames > 1 for header in headers):
        raise DataError(
            "DCM-MULTIFRAME", "all slices in one file (enhanced CT), which is not read. Export as single slices."
        )
    if not first.sop_class:
        raise DataError("DCM-KIND", "the files do not say what they are (no SOP Class UID). Export them again.")
    if first.sop_class != CT:
        raise DataError("DCM-KIND", f"no CT image, but another kind of object: {_title(first.sop_class)}.")
    if any("LOCALIZER" in header.image_type for header in headers):
        raise DataError("DCM-LOCALIZER", "a localiser, no slices of a scan.")
    if any(header.secondary or set(header.image_type) & set(SCREEN_PICTURES) for header in headers):
        raise DataError("DCM-KIND", "a picture of a screen (Conversion Type or Image Type), no slices of a scan.")


def _title(uid: str) -> str:
    """Name of a UID that DICOM itself gave; others are not quoted."""
    name = UID(uid).name
    return "of a maker's own" if name == uid else str(name)


def _warnings(headers: Sequence[SliceHeader]) -> list[str]:
    found = [
        f"slices of different {name}" for name in SHOWN_IF_MIXED if len({header.traits[name] for header in headers}) > 1
    ]
    found += [
        f"every slice has another {name}: taken as one scan"
        for name in MEANINGLESS_IF_OWN
        if len({header.traits[name] for header in headers}) > 1
    ]
    if any(header.lossy for header in headers):
        found.append("the pixels were compressed with loss")
    if any(header.burned_in for header in headers):
        found.append("text is burnt into the pixels, as the file says: look at it before passing the image on")
    if "DERIVED" in headers[0].image_type:
        found.append("derived from other images, such as a reformation")
    return found
