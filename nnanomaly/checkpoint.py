"""Checkpoints: dictionaries of tensors and plain types, written atomically and opened without executing anything.

The only module that calls `torch.load`, always with `weights_only=True`.
"""

import pickle
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from nnanomaly.paths import FOLD_PATTERN, fold_order
from nnanomaly.plans import fits, shortened
from nnanomaly.utilities.errors import ConfigurationError, DataError, EnvironmentFault, IntegrityError
from nnanomaly.utilities.files import file_hash, write_atomically
from nnanomaly.utilities.json_io import typed

T = TypeVar("T")

LATEST, PREVIOUS, BEST, FINAL = (f"checkpoint_{name}.pth" for name in ("latest", "previous", "best", "final"))
_MALFORMED = (LookupError, AttributeError, TypeError, AssertionError, struct.error)  # what random bytes provoke
UNREADABLE = (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, *_MALFORMED)
"""What torch.load raises for files that are damaged, unsafe or something else altogether."""


GO_ON = "then continue with --c; the checkpoint before it is intact."
"""What a training does after the disk was full."""


def save_checkpoint(path: Path, state: dict[str, Any], *, remedy: str = GO_ON) -> None:
    """Write nested dictionaries of tensors, numbers, strings and lists to `path`, complete or not at all.

    Raises EnvironmentFault (CKPT-WRITE) when the disk is full or refuses; what stood at `path` before is still there.
    Its message ends with `remedy`, which says how to go on.
    """
    try:
        write_atomically(path, lambda temporary: _save(temporary, state))
    except (OSError, RuntimeError) as error:
        reason = _refusal_of_the_disk(error)
        if reason is None:
            raise
        raise EnvironmentFault(
            "CKPT-WRITE",
            f"{path} could not be written: {reason.strerror} ({_free_gb(path.parent)} GB are free). Make room or mend "
            f"the folder, {remedy}",
        ) from error


def _save(path: Path, state: dict[str, Any]) -> None:
    # Given a name, torch writes it into the archive, so that equal states would differ by the name of a temporary file,
    # and hides what the disk said behind the state of its C++ stream.
    with path.open("wb") as file:
        torch.save(state, file)


def _refusal_of_the_disk(error: BaseException | None) -> OSError | None:
    """The OSError that an exception is or came from: torch's zip writer fails again when it closes, and hides it."""
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    return error


def _free_gb(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / 2**30:.1f}"
    except OSError:
        return "an unknown number of"


def load_checkpoint(path: Path, *, identity: str | None = None) -> dict[str, Any]:
    """Read a checkpoint onto the CPU; with `identity`, only one that was trained with those plans.

    Raises FileNotFoundError, or IntegrityError for a damaged or foreign file and for other plans.
    """
    if not path.is_file():
        raise FileNotFoundError(f"[NNA-CKPT-MISSING] {path} does not exist. Train this stage first.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise IntegrityError(
            "CKPT-DAMAGED", f"{path} cannot be opened safely ({first_line}). Train this stage anew with --force."
        ) from error
    if not isinstance(state, dict) or "plans_identity" not in state:
        raise IntegrityError("CKPT-FOREIGN", f"{path} is not a checkpoint of this program.")
    trained_with = checkpoint_field(state, "plans_identity", str, path=path)
    if identity is not None and not fits(trained_with, identity):
        raise IntegrityError(
            "CKPT-PLANS",
            f"{path} was trained with plans {shortened(trained_with)}, the plans file now is {shortened(identity)}. "
            "Restore that plans file, or train this stage anew with --force.",
        )
    return state


def checkpoint_field(state: Mapping[str, Any], name: str, kind: type[T], *, path: Path) -> T:
    """A field of a checkpoint of `path` as the annotated type (`json_io.typed`).

    Raises IntegrityError (CKPT-FIELD) where it is missing or of another type.
    """
    try:
        if name not in state:
            raise DataError("JSON", f"{path} lacks the field {name!r}")
        return typed(kind, state[name], source=f"{path}: {name}", remedy="")
    except DataError as error:
        raise IntegrityError("CKPT-FIELD", f"{error.message.rstrip('. ')}. Train this stage again.") from error


def checkpoint_weights(state: Mapping[str, Any], *, path: Path) -> dict[str, Tensor]:
    """The averaged weights of a checkpoint. Raises IntegrityError (CKPT-FIELD) where there are none."""
    weights = state.get("averaged_weights")
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()
    ):
        raise IntegrityError(
            "CKPT-FIELD", f"{path}: averaged_weights are no tensors with names. Train this stage again."
        )
    return weights


def newest_checkpoint(fold_folder: Path) -> Path | None:
    """The checkpoint to continue from: final, else latest, else previous; None if there is none."""
    for name in (FINAL, LATEST, PREVIOUS):
        if (fold_folder / name).is_file():
            return fold_folder / name
    return None


def find_folds(model_folder: Path, checkpoint_name: str = FINAL) -> list[str]:
    """Names of the folds of a trained stage that hold the checkpoint: by number, `all` last.

    Folders of another form, such as a copy `fold_0_old`, are no folds.
    """
    names = (path.parent.name.removeprefix("fold_") for path in model_folder.glob(f"fold_*/{checkpoint_name}"))
    return sorted(filter(FOLD_PATTERN.fullmatch, names), key=fold_order)


def checkpoint_hash(path: Path) -> str:
    """SHA-256 of a checkpoint file."""
    if not path.is_file():
        raise ConfigurationError("CKPT-MISSING", f"{path} does not exist. Train this stage first.")
    return file_hash(path)
