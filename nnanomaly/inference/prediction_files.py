"""What a prediction folder holds: nnU-Net's masks and JSON files at the top, everything of ours in subfolders.

A case counts as complete when its candidates file exists: it is written last.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnanomaly.dataset.raw_dataset import DatasetDescription
from nnanomaly.imageio.reader_writer import write_like
from nnanomaly.inference.case_prediction import CasePrediction
from nnanomaly.inference.composition import autoencoded_over_scan, over_scan
from nnanomaly.inference.postprocessing import Candidate
from nnanomaly.inference.status_table import texts_by_organ
from nnanomaly.paths import (
    ARGUMENTS_JSON,
    AUTOENCODED,
    BOXES_ENDING,
    DATASET_JSON,
    DETECTIONS,
    MAPS,
    PLANS_JSON,
    RECONSTRUCTIONS,
)
from nnanomaly.plans import Plans, save_plans
from nnanomaly.roi.candidates_file import read_candidates_file
from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.utilities.json_io import read_document, to_document, write_json
from nnanomaly.utilities.leftovers import remove_leftovers
from nnanomaly.volume import Volume

ANOTHER_FOLDER = "Choose another folder."


def write_folder_documents(
    output: Path, description: DatasetDescription, plans: Plans, provenance: dict[str, Any], *, resume: bool
) -> None:
    """dataset.json, plans.json and the arguments; with `resume`, a folder of another model is refused."""
    arguments = output / ARGUMENTS_JSON
    remove_leftovers(*(output / name for name in ("", MAPS, RECONSTRUCTIONS, AUTOENCODED, DETECTIONS)))
    if resume and arguments.is_file():
        earlier = read_document(arguments, dict[str, Any], remedy=ANOTHER_FOLDER)
        _refuse_another_model(output, earlier, provenance)
    values = list(description.lesion_values) or [1]
    document: dict[str, Any] = {
        "channel_names": {str(number): name for number, name in enumerate(description.channel_names)},
        "labels": {"background": 0, "lesion": values[0] if len(values) == 1 else values},
        "numTraining": description.num_training,
        "file_ending": description.file_ending,
        "description": f"In the masks of this folder a voxel of a lesion holds {mask_value(description)}, every other "
        "one 0.",
    }
    if len(values) > 1:
        document["regions_class_order"] = [mask_value(description)]
    write_json(output / DATASET_JSON, document)
    save_plans(output / PLANS_JSON, plans)
    write_json(arguments, provenance)


def _refuse_another_model(output: Path, earlier: dict[str, Any], provenance: dict[str, Any]) -> None:
    """ConfigurationError (CFG-RESUME) where the cases in a folder would not be of one kind."""
    if earlier.get("folds") != provenance["folds"]:
        raise ConfigurationError("CFG-RESUME", f"{output} holds predictions of another model. Choose another folder.")
    before, now = (document.get("inference", {}).get("num_samples") for document in (earlier, provenance))
    if before != now:
        raise ConfigurationError(
            "CFG-RESUME",
            f"{output} holds predictions of {before} samples of the noise each, not {now}. Choose another folder, or "
            f"add -num_samples {before}.",
        )


def mask_value(description: DatasetDescription) -> int:
    """Value of lesion voxels in a predicted mask: the lowest lesion label of the dataset.

    nnU-Net compares a region by its label values on both sides, so a mask must use one of them.
    """
    return min(description.lesion_values, default=1)


def write_case(
    output: Path,
    case: str,
    image: Volume,
    image_path: Path,
    result: CasePrediction,
    *,
    description: DatasetDescription,
    save_autoencoded: bool = False,
) -> None:
    """Mask, anomaly map, healthy reconstruction and candidates of a case, with the grid and header of its image.

    `save_autoencoded` adds the image after encoding and decoding alone.
    """
    remove_case(output, case, file_ending=description.file_ending)
    anomaly, healthy = over_scan(result.composite, image)
    name = f"{case}{description.file_ending}"
    write_like(output / MAPS / name, anomaly, image_path)
    write_like(output / RECONSTRUCTIONS / name, _whole_hu(healthy), image_path)
    if save_autoencoded:
        write_like(output / AUTOENCODED / name, _whole_hu(autoencoded_over_scan(result.composite, image)), image_path)
    write_like(output / name, np.where(result.mask, mask_value(description), 0).astype(np.uint8), image_path)
    write_json(candidates_path(output, case), _document(case, result))


def remove_case(output: Path, case: str, *, file_ending: str) -> None:
    """Delete what an earlier run wrote of a case, so that nothing stale is evaluated when it fails now."""
    name = f"{case}{file_ending}"
    volumes = (output / folder / name for folder in ("", MAPS, RECONSTRUCTIONS, AUTOENCODED))
    for path in (candidates_path(output, case), *volumes):
        path.unlink(missing_ok=True)


def finished_status(output: Path, case: str, file_ending: str) -> tuple[dict[str, str], dict[str, list[str]]] | None:
    """Status and warnings per organ of a case that was written to its end; None for one to be predicted (again)."""
    path = candidates_path(output, case)
    if not path.is_file() or not (output / f"{case}{file_ending}").is_file():
        return None
    try:
        document = read_candidates_file(path, required=("organs",))
    except DataError:  # damaged: what cannot be read is not complete
        return None
    return document["organs"], texts_by_organ(document.get("warnings", []))


def candidates_path(output: Path, case: str) -> Path:
    """Candidates file of a case."""
    return output / DETECTIONS / f"{case}{BOXES_ENDING}"


def _whole_hu(values: NDArray[np.float32]) -> NDArray[np.int16]:
    return np.clip(np.rint(values), -32768, 32767).astype(np.int16)


WARNING_KEYS = ("organ", "code", "message")
BOXES_KEYS = {
    "case": "Case id.",
    "axes": "How voxel indices and world positions are ordered, in words.",
    "threshold": "Threshold on the anomaly map; null where Otsu finds none, since the map is the same everywhere.",
    "organs": "Status of every organ, as in `status.csv`.",
    "warnings": "What a reader must know about the scan and its masks: `organ`, `code` and `message`, as in "
    "`status.csv`; missing in files of earlier versions.",
    "candidates": "The candidates; `id`, `start` and `stop` of the box, and what the next table lists.",
    "patches": "The organ patches that were predicted: `organ`, `tile`, `organ_fraction_outside` (share of the "
    "organ mask outside all its patches), `covered_fraction` (share of the patch inside the scan), and their grid.",
}
"""Keys of the document of a case and what they hold, for its reference page."""


def _document(case: str, result: CasePrediction) -> dict[str, Any]:
    return {
        "case": case,
        "axes": "voxel indices in the order (k, j, i) of the NIfTI file; world positions in mm as (z, y, x) towards "
        "superior, posterior, left",
        "threshold": None if result.threshold == float("inf") else result.threshold,  # JSON knows no infinity
        "organs": result.status,
        "warnings": [to_document(warning) for warning in result.warnings],
        "candidates": [_candidate(number, item) for number, item in enumerate(result.candidates, start=1)],
        "patches": [
            {
                "organ": patch.organ,
                "tile": patch.tile,
                "organ_fraction_outside": patch.organ_fraction_outside,
                "covered_fraction": patch.covered_fraction,
                **to_document(patch.grid),
            }
            for patch in result.patches
        ],
    }


def _candidate(number: int, candidate: Candidate) -> dict[str, Any]:
    document = to_document(candidate)
    return {"id": number, **document.pop("box"), **document}
