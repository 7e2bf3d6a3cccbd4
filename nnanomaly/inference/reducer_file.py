"""The file of a reducer, and to which networks and settings it belongs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnanomaly.inference.reducer import Reducer
from nnanomaly.plans import REDUCTION, Plans
from nnanomaly.utilities.errors import ConfigurationError, IntegrityError
from nnanomaly.utilities.json_io import from_document, read_json, to_document, write_json

CALIBRATED_LATER = ("reduction", "false_candidates_per_organ")
"""Fields of the inference that may change without a new reducer: the calibration follows them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedReducer:
    """Content of reducer.json."""

    reducer: Reducer
    """The model."""
    checkpoints: dict[str, str]
    """SHA-256 of the checkpoint of every stage whose maps it was trained on."""
    inference: dict[str, Any]
    """The inference plan those maps were made with."""
    num_candidates: dict[str, int]
    """What it was trained on: `negatives`, `positives`, `bags`, and candidates `in_bags`."""


def identity_of(plans: Plans) -> dict[str, Any]:
    """What of the inference plan a reducer depends on."""
    document: dict[str, Any] = to_document(plans.inference)
    return {key: value for key, value in document.items() if key not in CALIBRATED_LATER}


def save_reducer(path: Path, trained: TrainedReducer) -> None:
    """Write reducer.json."""
    write_json(path, to_document(trained))


def load_reducer(path: Path, plans: Plans, checkpoints: Mapping[str, str], *, fold: int | str) -> Reducer:
    """Read reducer.json; ConfigurationError without one, IntegrityError if it belongs to other networks or plans."""
    remedy = f"Run: nnanomaly_train {plans.dataset_name} {REDUCTION} {fold} -p {plans.plans_name}"
    if not path.is_file():
        raise ConfigurationError("CKPT-MISSING", f"{path} does not exist. {remedy}")
    trained = from_document(TrainedReducer, read_json(path), source=str(path))
    if trained.checkpoints != dict(checkpoints) or trained.inference != identity_of(plans):
        raise IntegrityError(
            "CKPT-REDUCTION",
            f"{path} was trained on the maps of other checkpoints or inference settings than those that are there "
            f"now. {remedy}",
        )
    return trained.reducer
