"""A checkpoint as two files without pickles, its averaged weights and its plain facts, and back.

What training needs to go on (optimisers, discriminators, raw weights) stays behind, and so does everything that is
not on the short list of facts.
"""

import math
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from nnanomaly.checkpoint import checkpoint_weights
from nnanomaly.utilities.errors import DataError, IntegrityError
from nnanomaly.utilities.json_io import read_document, write_json
from nnanomaly.utilities.system_errors import naming

FACTS = ("plans_identity", "stage", "version", "codec", "iteration")
"""What an exported stage says of itself, besides the finite numbers of its validation."""


class _Identity(TypedDict):
    plans_identity: str


class Facts(_Identity, total=False):
    """What an exported stage says of itself."""

    stage: str
    """Its name."""
    version: str
    """Version that trained it."""
    codec: str
    """Of the autoencoder."""
    iteration: int
    """Steps of its training."""
    validation: dict[str, float]
    """Finite numbers of its validation."""


def export_weights(state: dict[str, Any], stem: Path) -> int:
    """Write `{stem}.safetensors` and `{stem}.json` of a checkpoint; returns the number of parameters and buffers."""
    weights = checkpoint_weights(state, path=stem)
    stem.parent.mkdir(parents=True, exist_ok=True)
    content = save({name: value.detach().clone().contiguous() for name, value in weights.items()})
    with naming(_weights(stem)):
        _weights(stem).write_bytes(content)  # its own writer hides what the disk says
    numbers = {name: value for name, value in state.get("validation", {}).items() if is_finite(value)}
    facts = {name: state[name] for name in FACTS if name in state}
    write_json(_facts(stem), {**facts, "validation": numbers})
    return sum(value.numel() for value in weights.values())


def import_weights(stem: Path) -> dict[str, Any]:
    """The state of a checkpoint from its two files.

    Raises IntegrityError (MODEL-CONTENT) for weights that are none, or not finite, and for facts that are none.
    """
    try:
        weights = load_file(_weights(stem))
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise IntegrityError("MODEL-CONTENT", f"{_weights(stem).name} holds no weights ({error}).") from error
    broken = [name for name, value in weights.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if broken:
        raise IntegrityError("MODEL-CONTENT", f"{_weights(stem).name}: {broken[0]} has values that are not finite.")
    try:
        facts = read_document(_facts(stem), Facts, remedy="Get it anew.")
    except DataError as error:
        raise IntegrityError("MODEL-CONTENT", error.message) from error
    if not set(facts) <= {*FACTS, "validation"}:
        raise IntegrityError("MODEL-CONTENT", f"{_facts(stem).name} does not say what the weights are.")
    return {**facts, "averaged_weights": weights}


def is_finite(value: object) -> bool:
    """Whether something is a number that JSON can hold."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _weights(stem: Path) -> Path:
    return stem.with_name(f"{stem.name}.safetensors")


def _facts(stem: Path) -> Path:
    return stem.with_name(f"{stem.name}.json")
