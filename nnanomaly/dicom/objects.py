"""The DICOM objects of a prediction: a segmentation of the lesions and a parametric map of the anomaly.

Both refer to the slices they were made from and carry the patient and study of these, so that a viewer lays them over
the scan. Their UIDs are made from content: the same prediction gives the same UIDs, another one gives others.
"""

import hashlib
import uuid
from collections.abc import Sequence
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes

from nnanomaly import __version__
from nnanomaly.utilities.errors import DataError

NAME = "nnanomaly"
SEGMENTATION_SERIES, MAP_SERIES = 9001, 9002
"""Series numbers, above those a scanner gives."""
MAP_UNIT = codes.UCUM.NoUnits


REQUIRED = ("StudyInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
"""Attributes of a slice without which an object cannot refer to it; nothing may be put in their place."""
MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
"""Attributes that must be there and may be empty (type 2): anonymisers delete them."""
UNICODE = "ISO_IR 192"


def complete_sources(sources: Sequence[Dataset]) -> list[Dataset]:
    """The slices, with what may be empty put in empty. Raises `DataError` (DCM-ATTRIBUTES) with what is missing."""
    missing = [name for name in REQUIRED if any(not source.get(name) for source in sources)]
    if any(source.get("LossyImageCompression") == "01" for source in sources):
        lossy = ("LossyImageCompressionRatio", "LossyImageCompressionMethod")
        missing += [name for name in lossy if any(not source.get(name) for source in sources)]
    if missing:
        raise DataError(
            "DCM-ATTRIBUTES",
            f"the slices have no {', '.join(missing)}, which an object on them needs. Export them again with it; an "
            "anonymiser must replace UIDs, not delete them.",
        )
    for source in sources:
        source.decode()
        source.SpecificCharacterSet = UNICODE  # highdicom refuses encodings that it does not know
        for name in MAY_BE_EMPTY:
            if name not in source:
                setattr(source, name, "")
        if not source.get("Modality"):
            source.Modality = "CT"  # as the class of the object says
    return list(sources)


def lesion_segmentation(sources: Sequence[Dataset], mask: NDArray[np.bool_], *, description: str) -> Dataset:
    """Binary segmentation of `mask` `[Z, Y, X]`, one slice per source; empty slices are left out, as usual.

    A mask without any lesion keeps all its slices, as a segmentation without slices does not exist.
    """
    lesion = hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="Lesion",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Lesion,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=NAME, family=codes.DCM.ArtificialIntelligence, version=__version__
        ),
    )
    segmentation = hd.seg.Segmentation(
        source_images=sources,
        pixel_array=mask.astype(np.uint8),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[lesion],
        omit_empty_frames=bool(mask.any()),
        content_label="LESIONS",
        **_identity(sources, mask, SEGMENTATION_SERIES, description),
    )
    return _finished(segmentation, description)


def anomaly_parametric_map(sources: Sequence[Dataset], scores: NDArray[np.float32], *, description: str) -> Dataset:
    """Parametric map of `scores` `[Z, Y, X]` (0 = as expected, no unit), one slice per source, as 32-bit floats."""
    largest = float(scores.max(initial=0.0)) or 1.0
    mapping = hd.pm.RealWorldValueMapping(
        lut_label="ANOMALY",
        lut_explanation="anomaly score",
        unit=MAP_UNIT,
        value_range=(float(scores.min(initial=0.0)), largest),
        slope=1.0,
        intercept=0.0,
    )
    parametric_map = hd.pm.ParametricMap(
        source_images=sources,
        pixel_array=scores.astype(np.float32),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        window_center=largest / 2,
        window_width=largest,
        content_label="ANOMALY_MAP",
        **_identity(sources, scores, MAP_SERIES, description),
    )
    return _finished(parametric_map, description)


def _finished(image: hd.seg.Segmentation | hd.pm.ParametricMap, description: str) -> Dataset:
    """The object with its description, its text as Unicode, and without highdicom's table of frames.

    That table is a database in memory which highdicom never closes, and has no public way to close; only its readers
    need it. Text is decoded by then: a file of an unknown encoding could not be written in its own.
    """
    image._db_con.close()
    image.SeriesDescription = description
    image.SpecificCharacterSet = UNICODE
    return image


def _identity(
    sources: Sequence[Dataset], array: NDArray[np.generic], series_number: int, description: str
) -> dict[str, Any]:
    """What says who made the object, and its UIDs: of all that is in it, the slices it lies on included."""
    slices = " ".join(f"{source.SOPInstanceUID} {source.ImagePositionPatient}" for source in sources)
    made_from = f"{NAME} {__version__} {sources[0].SeriesInstanceUID} {series_number} {description} {slices}".encode()
    content = made_from + hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()
    return {
        "series_instance_uid": _uid(content + b"series"),
        "sop_instance_uid": _uid(content + b"instance"),
        "series_number": series_number,
        "instance_number": 1,
        "manufacturer": NAME,
        "manufacturer_model_name": NAME,
        "software_versions": __version__,
        "device_serial_number": "0",
    }


def _uid(content: bytes) -> str:
    """A UID of the form that DICOM reserves for UUIDs (2.25.), made from content alone."""
    return f"2.25.{uuid.UUID(bytes=hashlib.sha256(content).digest()[:16], version=5).int}"
