"""Whether the scores of candidates tell diseased organs and patients from healthy ones: AUROC of a prediction folder.

The score of an organ is the largest score of the candidates in it, that of a patient the largest in the case; 0 without
a candidate. A candidate belongs to the organ whose patches' middle is nearest. The truth of an organ is its weak
label; a patient is positive whose reference has a lesion that counts. An organ that nobody looked at (`no_roi`) is left
out of the organs; the patient stays, as the lesions there count as missed too.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nnanomaly.dataset.organ_labels import HEALTHY, UNHEALTHY
from nnanomaly.evaluation.auroc import AUROC, Scored, auroc, undefined
from nnanomaly.evaluation.bootstrap import Bootstrap
from nnanomaly.evaluation.healthy_organs import organ_centers
from nnanomaly.paths import BOXES_ENDING, DETECTIONS
from nnanomaly.roi.nearest_organ import nearest_organ
from nnanomaly.utilities.json_io import read_json

NO_ROI = "no_roi"
NO_LABEL = "no label"
Document = dict[str, Any]
"""A candidates file, `detections/{case}_boxes.json`."""


def organ_auroc(
    predictions: Path, cases: Collection[str], labels: Mapping[tuple[str, str], str], *, bootstrap: Bootstrap
) -> AUROC:
    """AUROC of the organs of some cases; `labels` are the weak ones of (case, organ).

    Undefined, with the reason, where a case has no candidates file or one without scores, organs or patches.
    """
    documents = read_candidates(predictions, cases)
    reason = _lacking(documents, cases, ("candidates", "organs", "patches"))
    return undefined(reason) if reason else auroc(score_organs(documents.values(), labels), bootstrap)


def patient_auroc(predictions: Path, has_lesion: Mapping[str, bool], *, bootstrap: Bootstrap) -> AUROC:
    """AUROC of the cases of `has_lesion`; undefined, with the reason, where one has no candidates file or no scores."""
    documents = read_candidates(predictions, has_lesion)
    reason = _lacking(documents, has_lesion, ("candidates",))
    return undefined(reason) if reason else auroc(score_patients(documents, has_lesion), bootstrap)


def read_candidates(predictions: Path, cases: Iterable[str]) -> dict[str, Document]:
    """Candidates files of a prediction folder by case; a case without one is not in it."""
    paths = {case: predictions / DETECTIONS / f"{case}{BOXES_ENDING}" for case in cases}
    return {case: read_json(path) for case, path in paths.items() if path.is_file()}


def score_organs(documents: Iterable[Document], labels: Mapping[tuple[str, str], str]) -> Scored:
    """Organs labelled healthy or unhealthy that were looked at; the others are counted by what they are."""
    rows: list[tuple[str, float, bool]] = []
    left_out: Counter[str] = Counter()
    for document in documents:
        case, best = document["case"], largest_scores(document)
        for organ, status in document["organs"].items():
            label = labels.get((case, organ), NO_LABEL)
            if status == NO_ROI:
                left_out[NO_ROI] += 1
            elif label not in (HEALTHY, UNHEALTHY):
                left_out[label] += 1
            else:
                rows.append((case, best.get(organ, 0.0), label == UNHEALTHY))
    return _scored(rows, dict(left_out))


def score_patients(documents: Mapping[str, Document], has_lesion: Mapping[str, bool]) -> Scored:
    """Every case with its largest candidate score."""
    best = {case: max((float(c["score"]) for c in doc["candidates"]), default=0.0) for case, doc in documents.items()}
    return _scored([(case, best[case], positive) for case, positive in has_lesion.items()], {})


def largest_scores(document: Document) -> dict[str, float]:
    """Largest candidate score in each organ that has candidates."""
    centers = organ_centers(document, document["case"])
    best: dict[str, float] = {}
    for candidate in document["candidates"]:
        organ, score = nearest_organ(candidate["center_mm"], centers), float(candidate["score"])
        best[organ] = max(score, best.get(organ, score))
    return best


def _lacking(documents: Mapping[str, Document], cases: Collection[str], fields: tuple[str, ...]) -> str | None:
    """What the documents lack; None if nothing."""
    missing = [case for case in cases if case not in documents]
    if missing:
        return f"{len(missing)} of {len(cases)} cases have no candidates file, such as {missing[0]}"
    for case, document in documents.items():
        needed = bool(document.get("candidates"))  # without candidates there may be no organ and no patch
        absent = [field for field in fields if field not in document or (needed and not document[field])]
        if absent:
            return f"the candidates file of {case} has no {', '.join(absent)}"
        if any("score" not in candidate for candidate in document["candidates"]):
            return f"the candidates file of {case} has a candidate without a score"
    return None


def _scored(rows: list[tuple[str, float, bool]], left_out: dict[str, int]) -> Scored:
    return Scored(
        cases=tuple(case for case, _, _ in rows),
        scores=np.array([score for _, score, _ in rows], dtype=float),
        positive=np.array([positive for _, _, positive in rows], dtype=bool),
        left_out=left_out,
    )
