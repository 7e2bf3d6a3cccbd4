"""What the page of a case shows of one organ: pictures, volumes for the viewer, findings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnanomaly.report.case_files import CaseVolumes
from nnanomaly.report.crops import organ_box
from nnanomaly.report.embedding import Embedded, OrganVolumes, embed_under
from nnanomaly.report.findings import ShownRegion, codes, place_mm
from nnanomaly.report.orientation import to_nearest_canonical
from nnanomaly.report.pictures import Voxel, draw_organ
from nnanomaly.volume import Box, Grid, Triple, Volume

TRUNCATED = "truncated_roi"
LOOKED_AT = ("ok", TRUNCATED)
"""Words of the predictor for organs of which it says something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganView:
    """One organ of one case."""

    organ: str
    """Name."""
    status: str
    """Word of the predictor."""
    findings: list[ShownRegion]
    """Candidates and lesions that belong to it."""
    largest_map_value: float | None
    """Of the anomaly map, in the part that is shown; None where nothing is shown."""
    pictures: dict[str, str]
    """PNG pictures as base64; empty where nothing is shown."""
    embedded: Embedded | None
    """Volumes for the viewer; None where they are left out."""

    @property
    def candidates(self) -> list[ShownRegion]:
        """What was marked."""
        return [finding for finding in self.findings if finding.is_candidate]

    @property
    def score(self) -> float | None:
        """Largest score of a candidate."""
        return max((item.region.score for item in self.candidates if item.region.score is not None), default=None)


def view_organ(
    organ: str,
    status: str,
    patches: Sequence[Grid],
    volumes: CaseVolumes,
    findings: list[ShownRegion],
    *,
    threshold: float | None,
    max_bytes: int,
) -> OrganView:
    """Cut an organ out of a case, draw it, and embed it in what the pictures leave of `max_bytes` characters."""
    box = organ_box(patches, volumes.image.grid) if patches else None
    if box is None:
        return OrganView(
            organ=organ, status=status, findings=findings, largest_map_value=None, pictures={}, embedded=None
        )
    cut, grid = _cut(volumes, findings, box)
    largest = float(cut.anomaly.max(initial=0))
    low = threshold if threshold is not None else largest / 2
    at = _focus([place_mm(finding, volumes.image.grid) for finding in findings], cut, grid)
    pictures = draw_organ(cut, grid.spacing_mm, at, map_range=(low / 2, max(2 * low, largest)))
    rest = max_bytes - sum(map(len, pictures.values()))
    return OrganView(
        organ=organ,
        status=status,
        findings=findings,
        largest_map_value=largest,
        pictures=pictures,
        embedded=embed_under(cut, grid, max_bytes=rest),
    )


def viewer_document(view: OrganView, grid: Grid, *, threshold: float | None) -> dict[str, Any]:
    """What the viewer is told of an organ, as plain types.

    Positions in mm as NIfTI has them: (x, y, z) towards right, anterior, superior.
    """
    largest = view.largest_map_value or 0.0
    low = threshold if threshold is not None else largest / 2
    return {
        "volumes": view.embedded.texts if view.embedded else None,
        "map_range": [low / 2, max(2 * low, largest)],
        "places": [_ras(place_mm(finding, grid)) for finding in view.findings],
    }


def _cut(volumes: CaseVolumes, findings: Sequence[ShownRegion], box: Box) -> tuple[OrganVolumes, Grid]:
    """The part of a case in a box with canonical axes, and its grid."""
    grid = volumes.image.grid.crop(box)

    def turned(array: NDArray[np.generic]) -> NDArray[np.generic]:
        return to_nearest_canonical(Volume(array[None], grid)).array[0]

    cut = OrganVolumes(
        image=turned(volumes.image.array[0][box.slices]),
        reconstruction=turned(volumes.reconstruction.array[0][box.slices]),
        autoencoded=None if volumes.autoencoded is None else turned(volumes.autoencoded.array[0][box.slices]),
        anomaly=turned(volumes.anomaly.array[0][box.slices]),
        candidates=turned(codes(findings, box, candidates=True)),
        reference=None if volumes.reference is None else turned(codes(findings, box, candidates=False)),
    )
    return cut, to_nearest_canonical(Volume(volumes.image.array[(slice(None), *box.slices)], grid)).grid


def _focus(places_mm: Sequence[Triple], cut: OrganVolumes, grid: Grid) -> Voxel:
    """Where the pictures are cut: the first place that is shown, else the largest value of the map, else the middle."""
    for place_in_world in places_mm:
        index = np.rint(grid.to_index(np.asarray(place_in_world))).astype(int)
        if np.all((index >= 0) & (index < grid.shape)):
            return int(index[0]), int(index[1]), int(index[2])
    if cut.anomaly.max(initial=0) > 0:
        k, j, i = np.unravel_index(int(np.argmax(cut.anomaly)), grid.shape)
        return int(k), int(j), int(i)
    return grid.shape[0] // 2, grid.shape[1] // 2, grid.shape[2] // 2


def _ras(place: Triple) -> list[float]:
    z, y, x = place
    return [-x, -y, z]
