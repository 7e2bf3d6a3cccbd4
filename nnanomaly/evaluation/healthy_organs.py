"""How many candidates lie in organs that are labelled healthy: each of them is a false one, without any drawing.

Reads the candidates files of a prediction folder. A candidate belongs to the organ whose patches' middle is nearest.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from nnanomaly.paths import BOXES_ENDING, DETECTIONS
from nnanomaly.roi.candidates_file import REMEDY, CandidatesDocument, patch_grid, read_candidates_file
from nnanomaly.roi.nearest_organ import nearest_organ, patch_centers
from nnanomaly.utilities.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthyOrgans:
    """Counts over a prediction folder."""

    num_organs: int
    """Healthy organs that were looked at."""
    num_candidates: int
    """Candidates in them."""

    @property
    def per_organ(self) -> float | None:
        """False candidates per healthy organ; None without one."""
        return self.num_candidates / self.num_organs if self.num_organs else None


def count_in_healthy_organs(predictions: Path, healthy: Collection[tuple[str, str]]) -> HealthyOrgans:
    """Candidates of a prediction folder in the organs `healthy`, pairs of case and organ; no patch, not looked at."""
    organs = candidates = 0
    for path in sorted((predictions / DETECTIONS).glob(f"*{BOXES_ENDING}")):
        wanted = ("case", "candidates", "patches")
        document = read_candidates_file(path, required=wanted, of_candidates=("center_mm",))
        centers = organ_centers(document)
        if document["candidates"] and not centers:
            raise DataError("JSON", f"{path} has candidates, but no patches. {REMEDY}")
        well = {organ for organ in centers if (document["case"], organ) in healthy}
        organs += len(well)
        candidates += sum(nearest_organ(item["center_mm"], centers) in well for item in document["candidates"])
    return HealthyOrgans(num_organs=organs, num_candidates=candidates)


def organ_centers(document: CandidatesDocument) -> dict[str, tuple[float, ...]]:
    """World position (z, y, x) of the middle of each organ's patches, from a candidates document."""
    grids = []
    for patch in document["patches"]:
        grids.append((patch["organ"], patch_grid(patch)))
    return patch_centers(grids)
