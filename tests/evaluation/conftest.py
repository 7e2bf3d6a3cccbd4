"""Helpers of the evaluation tests: masks drawn as text, and records written by hand."""

from collections.abc import Callable

import numpy as np
import pytest

from nnanomaly.evaluation.lesion_matching import LesionRecord, MatchRule
from nnanomaly.evaluation.regions import Region, SizeFloor
from nnanomaly.volume import Grid, Volume


@pytest.fixture
def no_floor() -> MatchRule:
    """The default rule, but nothing is too small: for cases drawn with a few voxels."""
    everything = SizeFloor(min_voxels=0, min_diameter_mm=0.0)
    return MatchRule(reference_floor=everything, candidate_floor=everything)


@pytest.fixture
def row() -> Callable[[str], Volume]:
    """Function from "..##.#" to a volume of one row of voxels of 1 mm."""

    def draw(text: str) -> Volume:
        array = np.array([[[[character == "#" for character in text]]]])
        return Volume(array, Grid((1, 1, len(text)), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))

    return draw


@pytest.fixture
def region() -> Callable[..., Region]:
    """Function that makes a region of a diameter."""

    def make(number: int, diameter_mm: float, num_voxels: int = 100, **others: float) -> Region:
        center = (0.0, 0.0, 0.0)
        fields = {"volume_mm3": float(num_voxels), "center_mm": center, **others}
        return Region(id=number, num_voxels=num_voxels, axial_diameter_mm=diameter_mm, **fields)

    return make


@pytest.fixture
def found(region: Callable[..., Region]) -> Callable[..., LesionRecord]:
    """Function that makes the record of a lesion and its candidate, of one size, 50 of 100 voxels in common."""

    def make(number: int, diameter_mm: float, candidate_mm: float | None = None, **others: float) -> LesionRecord:
        lesion = region(number, diameter_mm, **others)
        candidate = region(number, candidate_mm or diameter_mm)
        return LesionRecord(case="", kind="TP", lesion=lesion, candidate=candidate, iou=1 / 3, overlaps=((number, 50),))

    return make


@pytest.fixture
def missed(region: Callable[..., Region]) -> Callable[..., LesionRecord]:
    """Function that makes the record of a lesion nobody found."""
    return lambda number, diameter_mm, **others: LesionRecord(
        case="", kind="FN", lesion=region(number, diameter_mm, **others)
    )


@pytest.fixture
def false_alarm(region: Callable[..., Region]) -> Callable[..., LesionRecord]:
    """Function that makes the record of a candidate without a lesion."""
    return lambda number, diameter_mm: LesionRecord(case="", kind="FP", candidate=region(number, diameter_mm))
