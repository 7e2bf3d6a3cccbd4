"""The file of a reducer, and to which networks and settings it belongs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nnanomaly.inference.reducer import Reducer
from nnanomaly.plans import InferencePlan, Plans, training_command
from nnanomaly.stages import REDUCTION
from nnanomaly.utilities.errors import ConfigurationError, IntegrityError
from nnanomaly.utilities.json_io import read_document, to_document, write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedReducer:
    """Content of reducer.json."""

    reducer: Reducer
    """The model."""
    checkpoints: dict[str, str]
    """SHA-256 of the checkpoint of every stage whose maps it was trained on."""
    inference: InferencePlan
    """The plan those maps were made with."""
    num_candidates: dict[str, int]
    """What it was trained on: `negatives`, `positives`, `bags`, and candidates `in_bags`."""


def save_reducer(path: Path, trained: TrainedReducer) -> None:
    """Write reducer.json."""
    write_json(path, to_document(trained))


def read_reducer(path: Path, *, remedy: str = "Get it anew.") -> TrainedReducer:
    """Read reducer.json, whatever it belongs to; raises what `read_document` raises."""
    return read_document(path, TrainedReducer, remedy=remedy)


def load_reducer(path: Path, plans: Plans, checkpoints: Mapping[str, str], *, fold: int | str) -> Reducer:
    """Read reducer.json; ConfigurationError without one, IntegrityError if it belongs to other networks or plans."""
    remedy = f"Run: {training_command(plans.dataset_name, REDUCTION, fold, plans_name=plans.plans_name)}"
    if not path.is_file():
        raise ConfigurationError("CKPT-MISSING", f"{path} does not exist. {remedy}")
    trained = read_reducer(path, remedy=remedy)
    if trained.checkpoints != dict(checkpoints) or _what_counts(trained.inference) != _what_counts(plans.inference):
        raise IntegrityError(
            "CKPT-REDUCTION",
            f"{path} was trained on the maps of other checkpoints or inference settings than those that are there "
            f"now. {remedy} --force",
        )
    return trained.reducer


def _what_counts(plan: InferencePlan) -> InferencePlan:
    """A plan without the fields that may change without a new reducer, since the calibration follows them."""
    return replace(plan, reduction="none", false_candidates_per_organ=0.0)
