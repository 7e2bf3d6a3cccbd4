"""How many candidates lie in organs that are labelled healthy: each of them is a false one, without any drawing.

Reads the candidates files of a prediction folder. A candidate belongs to the organ whose patches' middle is nearest.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnanomaly.paths import BOXES_ENDING, DETECTIONS
from nnanomaly.roi.nearest_organ import nearest_organ, patch_centers
from nnanomaly.utilities.json_io import from_document, read_json
from nnanomaly.volume import Grid


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
        document = read_json(path)
        centers = organ_centers(document, str(path))
        well = {organ for organ in centers if (document["case"], organ) in healthy}
        organs += len(well)
        candidates += sum(nearest_organ(item["center_mm"], centers) in well for item in document["candidates"])
    return HealthyOrgans(num_organs=organs, num_candidates=candidates)


def organ_centers(document: dict[str, Any], source: str) -> dict[str, tuple[float, ...]]:
    """World position (z, y, x) of the middle of each organ's patches, from a candidates document."""
    grids = []
    for patch in document["patches"]:
        fields = {key: patch[key] for key in ("shape", "spacing_mm", "origin_mm", "direction")}
        grids.append((patch["organ"], from_document(Grid, fields, source=source)))
    return patch_centers(grids)
