"""The page of one case: read its files, judge and draw it, write the page, and tell the overview what it holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nnanomaly
from nnanomaly.evaluation.evaluate_case import read_scores
from nnanomaly.evaluation.evaluate_folder import candidates_file
from nnanomaly.evaluation.lesion_matching import MatchRule
from nnanomaly.report.case_files import Folders, read_volumes
from nnanomaly.report.findings import KINDS, ShownRegion, counts, judge
from nnanomaly.report.organ_view import LOOKED_AT, TRUNCATED, OrganView, view_organ, viewer_document
from nnanomaly.report.pages import render
from nnanomaly.report.predictions import PredictedCase, read_case
from nnanomaly.utilities.files import write_text

RULE = MatchRule()
PICTURES = (
    ("image", "image"),
    ("autoencoded", "encoded and decoded alone"),
    ("reconstruction", "healthy reconstruction"),
    ("residual", "residual: image minus reconstruction"),
    ("anomaly", "anomaly map"),
    ("findings", "candidates and reference"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseTask:
    """What is to be done."""

    case: str
    """Case id."""
    folders: Folders
    """Where its files lie."""
    page: Path
    """Where its page goes."""
    previous: str | None
    """File name of the page before."""
    following: str | None
    """File name of the page after."""
    max_bytes: int
    """Most characters for pictures and volumes of an organ; 0: pictures only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganRow:
    """A row of the overview."""

    organ: str
    status: str
    warnings: tuple[str, ...]
    """What the predictor said about it."""
    score: float | None
    """Largest score of a candidate."""
    largest_map_value: float | None
    num_candidates: int
    axial_diameter_mm: float | None
    """Largest axial diameter of a candidate."""
    volume_ml: float
    """Volume of all candidates."""
    counts: dict[str, int]
    """Findings by the word of their kind."""
    num_bytes: int
    """Characters of pictures and volumes."""
    viewer: str
    """`full`, `coarse` (larger voxels, to stay under the cap) or `none`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseOutcome:
    """What the overview shows of a case."""

    case: str
    page: str
    """Name of the page's file."""
    has_reference: bool = False
    rows: tuple[OrganRow, ...] = ()
    fault: str | None = None
    """Why the case has no page."""


def write_case_page(task: CaseTask) -> CaseOutcome:
    """Do one case."""
    predicted = read_case(task.folders.predictions, task.case)
    volumes = read_volumes(task.folders, task.case)
    score = read_scores(candidates_file(task.folders.predictions, task.case), volumes.order)
    findings = judge(volumes.candidates, volumes.reference, rule=RULE, score=score)
    views = [
        view_organ(
            organ,
            status,
            predicted.patches.get(organ, []),
            volumes,
            [finding for finding in findings if predicted.organ_at(finding.region.center_mm) == organ],
            threshold=predicted.threshold,
            max_bytes=task.max_bytes,
        )
        for organ, status in predicted.organs.items()
    ]
    grid = volumes.image.grid
    has_reference = volumes.reference is not None
    page = render(
        "case.html",
        root="../",
        version=nnanomaly.__version__,
        task=task,
        threshold=predicted.threshold,
        rule=RULE,
        views=views,
        warnings=predicted.warnings,
        homeless=_without_organ(findings, predicted),
        pictures=PICTURES,
        kinds=KINDS,
        has_reference=has_reference,
        has_autoencoded=volumes.autoencoded is not None,
        looked_at=LOOKED_AT,
        truncated=TRUNCATED,
        viewer={
            "organs": [viewer_document(view, grid, threshold=predicted.threshold) for view in views],
            "kinds": [{"code": kind.code, "color": kind.color, "word": kind.word} for kind in KINDS],
        },
    )
    write_text(task.page, page)
    rows = tuple(_row(view, predicted.warnings.get(view.organ, [])) for view in views)
    return CaseOutcome(case=task.case, page=task.page.name, has_reference=has_reference, rows=rows)


def _without_organ(findings: list[ShownRegion], predicted: PredictedCase) -> list[ShownRegion]:
    """Findings of a case in which no organ was looked at."""
    return [finding for finding in findings if predicted.organ_at(finding.region.center_mm) is None]


def _row(view: OrganView, warnings: Sequence[str]) -> OrganRow:
    regions = [finding.region for finding in view.candidates]
    volumes = view.embedded.texts if view.embedded else {}
    return OrganRow(
        organ=view.organ,
        status=view.status,
        warnings=tuple(warnings),
        score=view.score,
        largest_map_value=view.largest_map_value,
        num_candidates=len(regions),
        axial_diameter_mm=max((region.axial_diameter_mm for region in regions), default=None),
        volume_ml=sum(region.volume_mm3 for region in regions) / 1000,
        counts=dict(counts(view.findings)),
        num_bytes=sum(map(len, [*view.pictures.values(), *volumes.values()])),
        viewer="none" if view.embedded is None else "coarse" if view.embedded.coarsened else "full",
    )
