"""Which DICOM objects are slices of a CT that can be read, and what is wrong with the others."""

from collections.abc import Sequence

from nnanomaly.dicom.headers import SliceHeader
from nnanomaly.utilities.errors import DataError

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")
PLAIN_SYNTAXES = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
"""Implicit, explicit, big endian, deflated: the pixels themselves are not compressed."""
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


def check_kind(headers: Sequence[SliceHeader]) -> list[str]:
    """Warnings about slices that are usable; `DataError` with the code of the first thing that makes them not so.

    DCM-KIND (no CT, or not grey), DCM-MULTIFRAME, DCM-LOCALIZER, DCM-UNITS (not HU), DCM-SYNTAX.
    """
    first = headers[0]
    if first.sop_class in ENHANCED_CT or any(header.num_frames > 1 for header in headers):
        raise DataError(
            "DCM-MULTIFRAME", "all slices in one file (enhanced CT), which is not read. Export as single slices."
        )
    if first.sop_class != CT:
        raise DataError("DCM-KIND", "no CT image, but another kind of object (such as MR, SEG, RTSTRUCT, report).")
    if "LOCALIZER" in first.image_type:
        raise DataError("DCM-LOCALIZER", "a localiser, no slices of a scan.")
    if any(header.samples_per_pixel != 1 or header.photometric != "MONOCHROME2" for header in headers):
        raise DataError("DCM-KIND", "the pixels are no plain grey values (colour, or inverted).")
    if min(first.shape) < 1:
        raise DataError("DCM-KIND", "the slices do not say how many rows and columns they have.")
    units = {header.rescale_type for header in headers}
    if not units <= set(HOUNSFIELD):
        raise DataError("DCM-UNITS", "the values are no HU by their Rescale Type (such as a dual-energy map).")
    if any(header.transfer_syntax not in (*PLAIN_SYNTAXES, *COMPRESSED_SYNTAXES) for header in headers):
        raise DataError("DCM-SYNTAX", "the pixels are compressed in a way that is not read. Export uncompressed.")
    return _warnings(headers)


def _warnings(headers: Sequence[SliceHeader]) -> list[str]:
    found = []
    if len({header.settings for header in headers}) > 1:
        found.append("slices of different tube voltage or kernel")
    if any(header.lossy for header in headers):
        found.append("the pixels were compressed with loss")
    return found
