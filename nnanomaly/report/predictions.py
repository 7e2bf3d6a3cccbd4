"""What a prediction folder says of its cases: the candidates files, and the cases that failed.

The files are those of the predictor. What is missing from them is a fault of the case, not of the report.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from nnanomaly.dataset.nnunet_labels import labels_as_predicted
from nnanomaly.evaluation.healthy_organs import organ_centers
from nnanomaly.paths import ARGUMENTS_JSON, BOXES_ENDING, DATASET_JSON, DETECTIONS
from nnanomaly.roi.candidates_file import patch_grid, read_candidates_file
from nnanomaly.roi.nearest_organ import nearest_organ
from nnanomaly.roi.scan_domain import CaseWarning
from nnanomaly.utilities.csv_table import read_table
from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.utilities.json_io import read_document, read_json
from nnanomaly.volume import Grid

LONGEST_PATH, LONGEST_NAME = 4096, 255
STATUS_HEAD = "case,organ,status,reason"


class Endings(TypedDict):
    """What is read of the `dataset.json` of a prediction."""

    file_ending: str
    """Ending of the masks."""


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
    warnings: dict[str, list[str]]
    """What the predictor said about each organ; organs without a warning are left out."""

    def organ_at(self, position_mm: tuple[float, float, float]) -> str | None:
        """The organ that a world position belongs to, as the evaluation assigns it; None without patches."""
        return nearest_organ(position_mm, self.centers) if self.centers else None


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
    document = read_candidates_file(path, required=("organs", "patches", "threshold"))
    patches: dict[str, list[Grid]] = {}
    for patch in document["patches"]:
        patches.setdefault(patch["organ"], []).append(patch_grid(patch))
    return PredictedCase(
        case=case,
        organs=document["organs"],
        patches=patches,
        threshold=document["threshold"],
        centers=organ_centers(document),
        warnings=_warnings(document.get("warnings", [])),
    )


def _warnings(listed: list[CaseWarning]) -> dict[str, list[str]]:
    """Texts by organ, as in the status table."""
    texts: dict[str, list[str]] = {}
    for warning in listed:
        texts.setdefault(warning.organ, []).append(str(warning))
    return texts


def failed_cases(folder: Path) -> dict[str, str]:
    """Case -> reason for the cases that the predictor could not do, from its status tables.

    A table that cannot be read stands among them with its fault: what failed is then not known.
    """
    failed: dict[str, str] = {}
    for path in sorted((folder / DETECTIONS).glob("status*.csv")):
        try:
            rows = read_table(path, required=("case", "status", "reason"), codes=("JSON", "JSON"), example=STATUS_HEAD)
        except DataError as error:
            failed[path.name] = f"{error}"
            continue
        failed |= {
            row.values["case"]: f"prediction failed: {row.values['reason']}"
            for row in rows
            if row.values["status"] == "failed"
        }
    return failed


def read_arguments(folder: Path) -> dict[str, Any]:
    """How the predictions were made; empty where the file is missing."""
    path = folder / ARGUMENTS_JSON
    return read_document(path, dict[str, Any], remedy="Predict again.") if path.is_file() else {}


def file_ending(folder: Path) -> str:
    """Ending of the predicted masks."""
    return read_document(folder / DATASET_JSON, Endings, remedy="Predict again.")["file_ending"]


def lesion_value(folder: Path) -> int:
    """What a voxel of a lesion holds in the predicted masks; 1 where nothing says it."""
    return min(labels_as_predicted(read_json(folder / DATASET_JSON)).get("lesion", (1,)))


def images_folder(folder: Path, given: Path | None) -> Path:
    """Where the images of a prediction lie: as given, else as the prediction wrote down.

    Raises `ConfigurationError` (CFG-INPUT) where that is no folder.
    """
    images = given or _written_images(folder)
    if images is None or not images.is_dir():
        place = "a place that is known" if images is None else images
        raise ConfigurationError("CFG-INPUT", f"the images of {folder} are not at {place}. Name their folder with -i.")
    return images


def _written_images(folder: Path) -> Path | None:
    """The folder of the images as the prediction wrote it down, if that can be a folder at all."""
    written = read_arguments(folder).get("images")
    possible = isinstance(written, str) and written.isprintable() and 0 < len(written) < LONGEST_PATH
    if not possible or any(len(part) > LONGEST_NAME for part in Path(str(written)).parts):
        return None
    return Path(str(written))
