"""By what the slices of one series may differ, so that they are no longer one scan.

A trait is a name that may be shown, and for every slice a hash of what its file says, which may not. Slices whose
`SEPARATING` traits differ never lie in one scan. The `MIXING` traits may change along a scan (a sequence counts every
rotation as an acquisition); they separate only where slices of different values lie among each other.
"""

import hashlib
from collections.abc import Callable
from typing import Any

HASH_LENGTH = 12
SEPARATING = {
    "patient": ("PatientID", "PatientName", "PatientBirthDate"),
    "study": ("StudyInstanceUID",),
    "frame of reference": ("FrameOfReferenceUID",),
    "series number": ("SeriesNumber",),
}
"""Attributes of every trait that separates wherever it differs."""
MEANINGLESS_IF_OWN = ("study", "frame of reference", "series number")
"""Traits that some anonymisers make anew for every file."""
MIXING = {
    "acquisition number": ("AcquisitionNumber",),
    "temporal position": ("TemporalPositionIdentifier", "TemporalPositionIndex"),
    "cardiac phase": ("NominalPercentageOfCardiacPhase", "NominalCardiacTriggerDelayTime"),
    "contrast": ("ContrastBolusAgent", "ContrastBolusStartTime", "ContrastBolusIngredient"),
    "tube voltage": ("KVP",),
    "kernel": ("ConvolutionKernel",),
    "reconstruction": ("ReconstructionDiameter", "SliceThickness", "FilterType"),
    "rescale type": ("RescaleType",),
    "echo": ("EchoNumbers", "EchoTime"),
    "description": ("SeriesDescription", "ImageComments", "ProtocolName"),
}
"""Attributes of every trait that separates where its values mix, in the order in which they are tried."""
SHOWN_IF_MIXED = ("acquisition number", "temporal position", "contrast", "tube voltage", "kernel", "reconstruction")
"""Traits whose change within a scan that stays one is worth a warning."""
KEYWORDS = tuple(keyword for table in (SEPARATING, MIXING) for keywords in table.values() for keyword in keywords)


def made_up(text: str) -> str:
    """A name that tells nothing of the text it is made from: the first digits of its SHA-256."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:HASH_LENGTH]


def read_traits(text: Callable[[str], Any]) -> dict[str, str]:
    """Hash of every trait, from a function that gives the text of an attribute; empty where the file says nothing."""
    found = {}
    for name, keywords in (*SEPARATING.items(), *MIXING.items()):
        values = [text(keyword) for keyword in keywords]
        found[name] = made_up("\0".join(values)) if any(values) else ""
    return found
