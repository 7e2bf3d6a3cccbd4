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

NAME = "nnanomaly"
SEGMENTATION_SERIES, MAP_SERIES = 9001, 9002
"""Series numbers, above those a scanner gives."""
MAP_UNIT = codes.UCUM.NoUnits


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
        **_identity(sources, mask, SEGMENTATION_SERIES),
    )
    segmentation.SeriesDescription = description
    return segmentation


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
        **_identity(sources, scores, MAP_SERIES),
    )
    parametric_map.SeriesDescription = description
    return parametric_map


def _identity(sources: Sequence[Dataset], array: NDArray[np.generic], series_number: int) -> dict[str, Any]:
    """What says who made the object, and its UIDs."""
    made_from = f"{NAME} {__version__} {sources[0].SeriesInstanceUID} {series_number}".encode()
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
