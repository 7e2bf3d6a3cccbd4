"""What a prediction folder says of its cases: the candidates files, and the cases that failed.

The files are those of the predictor. What is missing from them is a fault of the case, not of the report.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnanomaly.evaluation.healthy_organs import organ_centers
from nnanomaly.paths import ARGUMENTS_JSON, BOXES_ENDING, DATASET_JSON, DETECTIONS
from nnanomaly.roi.nearest_organ import nearest_organ
from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.utilities.json_io import from_document, read_json
from nnanomaly.volume import Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedCase:
    """The candidates file of a case."""

    case: str
    """Case id, from the name of the file."""
    organs: dict[str, str]
    """Status of each organ."""
    patches: dict[str, list[Grid]]
    """Patches of each organ that was looked at."""
    threshold: float | None
    """Value of the anomaly map from which voxels were marked, if there was one."""
    centers: dict[str, tuple[float, ...]]
    """Middle of each organ's patches."""

    def organ_at(self, position_mm: tuple[float, float, float]) -> str | None:
        """The organ that a world position belongs to, as the evaluation assigns it; None without patches."""
        return nearest_organ(list(position_mm), self.centers) if self.centers else None


def predicted_cases(folder: Path) -> list[str]:
    """Ids of all cases with a candidates file, sorted; a folder without one raises ConfigurationError (CFG-PREDS)."""
    paths = (folder / DETECTIONS).glob(f"*{BOXES_ENDING}")
    cases = sorted(path.name.removesuffix(BOXES_ENDING) for path in paths if not path.name.startswith("."))
    if not cases:
        raise ConfigurationError(
            "CFG-PREDS", f"{folder} has no {DETECTIONS}/*{BOXES_ENDING}. Name a folder that nnanomaly_predict wrote."
        )
    return cases


def read_case(folder: Path, case: str) -> PredictedCase:
    """One candidates file; `DataError` (JSON) for one that the predictor did not write."""
    path = folder / DETECTIONS / f"{case}{BOXES_ENDING}"
    document = read_json(path)
    try:
        patches: dict[str, list[Grid]] = {}
        for patch in document["patches"]:
            fields = {key: patch[key] for key in ("shape", "spacing_mm", "origin_mm", "direction")}
            patches.setdefault(patch["organ"], []).append(from_document(Grid, fields, source=str(path)))
        return PredictedCase(
            case=case,
            organs=dict(document["organs"]),
            patches=patches,
            threshold=document["threshold"],
            centers=organ_centers(document, str(path)),
        )
    except (KeyError, TypeError) as error:
        raise DataError("JSON", f"{path} lacks {error} of a candidates file. Predict the case again.") from error


def failed_cases(folder: Path) -> dict[str, str]:
    """Case -> reason for the cases that the predictor could not do, from its status tables."""
    failed: dict[str, str] = {}
    for path in sorted((folder / DETECTIONS).glob("status*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            failed |= {row["case"]: row["reason"] for row in csv.DictReader(file) if row.get("status") == "failed"}
    return failed


def read_arguments(folder: Path) -> dict[str, Any]:
    """How the predictions were made; empty where the file is missing."""
    path = folder / ARGUMENTS_JSON
    document = read_json(path) if path.is_file() else {}
    return document if isinstance(document, dict) else {}


def file_ending(folder: Path) -> str:
    """Ending of the predicted masks."""
    document = read_json(folder / DATASET_JSON)
    ending = document.get("file_ending") if isinstance(document, dict) else None
    if not isinstance(ending, str):
        raise DataError("JSON", f"{folder / DATASET_JSON} has no file_ending. Predict again.")
    return ending


def images_folder(folder: Path, given: Path | None) -> Path:
    """Where the images of a prediction lie: as given, else as the prediction wrote down.

    Raises `ConfigurationError` (CFG-INPUT) where that is no folder.
    """
    images = given or Path(str(read_arguments(folder).get("images", "")))
    if images == Path() or not images.is_dir():
        raise ConfigurationError("CFG-INPUT", f"the images of {folder} are not at {images}. Name their folder with -i.")
    return images
