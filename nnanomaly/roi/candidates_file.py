"""Candidates files, `detections/{case}_boxes.json`, as everybody reads them: typed, so that nothing later meets a text
where a number belongs. Keys that are not listed here are tolerated; which of the listed ones must be there is the
reader's matter.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, TypedDict

from nnanomaly.roi.scan_domain import CaseWarning
from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.json_io import Between, read_document
from nnanomaly.volume import Grid, GridDirection, GridOrigin, GridShape, GridSpacing

REMEDY = "Predict the case again."
Edge = Annotated[int, Between(0, 100_000)]
"""A voxel index: boxes lie in their scan."""


class CandidateDocument(TypedDict, total=False):
    """One candidate."""

    start: tuple[Edge, Edge, Edge]
    """First voxel of its box."""
    stop: tuple[Edge, Edge, Edge]
    """One behind the last voxel."""
    score: Annotated[float, Between(-1e6, 1e6)]
    """What it is ranked by."""
    center_mm: GridOrigin
    """World position (z, y, x)."""


class _PatchGrid(TypedDict):
    organ: str
    shape: GridShape
    spacing_mm: GridSpacing
    origin_mm: GridOrigin


class PatchDocument(_PatchGrid, total=False):
    """One patch: the organ it belongs to, and its grid."""

    direction: GridDirection
    """Rows of the matrix; the world axes where it is not there."""


class CandidatesDocument(TypedDict, total=False):
    """The file of a case."""

    case: str
    """Case id."""
    threshold: Annotated[float, Between(0, 1e6)] | None
    """Threshold on the anomaly map."""
    organs: dict[str, str]
    """Status of every organ."""
    candidates: list[CandidateDocument]
    """The candidates."""
    patches: list[PatchDocument]
    """The organ patches that were predicted."""
    warnings: list[CaseWarning]
    """What its reader must know of the case."""


def read_candidates_file(
    path: Path, *, required: Collection[str] = (), of_candidates: Collection[str] = ()
) -> CandidatesDocument:
    """Read a candidates file.

    `DataError` (JSON) where it is none, lacks one of the keys `required`, or has a candidate without one of the keys
    `of_candidates`.
    """
    document = read_document(path, CandidatesDocument, remedy=REMEDY)
    missing = [key for key in required if key not in document]
    for number, candidate in enumerate(document.get("candidates", [])):
        missing += [f"{key} of candidate {number}" for key in of_candidates if key not in candidate]
    if missing:
        raise DataError("JSON", f"{path} lacks {', '.join(missing[:5])} of a candidates file. {REMEDY}")
    return document


def patch_grid(patch: PatchDocument) -> Grid:
    """The grid of a patch."""
    given = {"direction": patch["direction"]} if "direction" in patch else {}
    return Grid(patch["shape"], patch["spacing_mm"], patch["origin_mm"], **given)
