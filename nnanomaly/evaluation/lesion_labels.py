"""Which values of the label maps are lesions: from `dataset.json` files, or as the user says.

The reference may hold several labels (kidney 1, tumor 2, cyst 3); the lesion mask is the union of those named under
`nnanomaly.lesion_labels`. Predictions may use other values (ours: one mask of lesions), so they are asked for
their own `dataset.json`, which both nnU-Net and nnanomaly leave in a prediction folder. Nothing is guessed: where
a value 1 could be a kidney or a lesion, the user is asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnanomaly.paths import DATASET_JSON
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.utilities.json_io import read_json, shown

Labels = dict[str, tuple[int, ...]]
"""Values per label name, without the background."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionLabels:
    """Values that are lesions."""

    reference: tuple[int, ...]
    """In the reference label maps, ascending."""
    prediction: tuple[int, ...]
    """In the predicted label maps, ascending."""
    largest_prediction_label: int | None = None
    """Largest value a predicted label map may hold, if it is known."""

    def __post_init__(self) -> None:
        """Refuse an empty choice and the background."""
        for name, values in (("reference", self.reference), ("prediction", self.prediction)):
            if not values or min(values) < 1:
                raise ConfigurationError("CFG-LABELS", f"lesion labels of the {name} are {values}, must be 1 or more")

    @property
    def name(self) -> str:
        """Key in `summary.json`, as nnU-Net spells it: "2", or "(2, 3)" for a union."""
        return str(self.reference[0]) if len(self.reference) == 1 else str(self.reference)


def find_lesion_labels(
    reference_folder: Path,
    prediction_folder: Path,
    *,
    dataset_json: Path | None = None,
    reference: Sequence[int] = (),
    prediction: Sequence[int] = (),
) -> LesionLabels:
    """Lesion labels of the reference and of the predictions.

    Values given as `reference` or `prediction` win. Else the reference's are read from `dataset_json`, or from the
    `dataset.json` in the reference folder or beside it; the predictions' from the one in their folder, else they
    are the reference's. Raises `ConfigurationError` (CFG-LABELS) where that leaves a choice, and `FileNotFoundError`
    for a `dataset_json` that does not exist.
    """
    source = dataset_json or _first_file(reference_folder / DATASET_JSON, reference_folder.parent / DATASET_JSON)
    labels = {} if source is None else _labels(read_json(source))
    values = tuple(sorted(set(reference))) or _lesions_of(source, labels, reference_folder)
    if prediction:
        return LesionLabels(reference=values, prediction=tuple(sorted(set(prediction))))
    own_source = _first_file(prediction_folder / DATASET_JSON)
    own_document = None if own_source is None else read_json(own_source)
    own_labels = labels if own_source is None else _labels(own_document)
    if own_labels == labels:
        own_values = values
    else:
        own_labels = _as_predicted(own_labels, own_document)
        own_values = _lesions_of(own_source, own_labels, prediction_folder)
    largest = max((value for item in own_labels.values() for value in item), default=None)
    return LesionLabels(reference=values, prediction=own_values, largest_prediction_label=largest)


def _first_file(*paths: Path) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def _as_predicted(labels: Labels, document: Any) -> Labels:
    """Labels of predictions: a region is also written as its entry of nnU-Net's `regions_class_order`."""
    order = document.get("regions_class_order") if isinstance(document, dict) else None
    if not isinstance(order, list) or len(order) != len(labels) or any(type(value) is not int for value in order):
        return labels
    return {name: (*values, value) for (name, values), value in zip(labels.items(), order, strict=True)}


def _labels(document: Any) -> Labels:
    """Values per label name, background left out; a region of nnU-Net has several."""
    labels = document.get("labels", {}) if isinstance(document, dict) else {}
    if not isinstance(labels, dict):
        return {}
    values = {name: tuple(item) if isinstance(item, list) else (item,) for name, item in labels.items()}
    return {
        name: item
        for name, item in values.items()
        if name != "background" and item and all(type(v) is int for v in item)
    }


def _lesions_of(source: Path | None, labels: Labels, folder: Path) -> tuple[int, ...]:
    """Lesion values of a `dataset.json`: the named ones, or the only foreground label."""
    if source is None:
        raise ConfigurationError(
            "CFG-LABELS",
            f"no {DATASET_JSON} in or beside {folder} says which labels are lesions. Name the file or the labels.",
        )
    document = read_json(source)
    ours = document.get("nnanomaly") if isinstance(document, dict) else None
    names = ours.get("lesion_labels") if isinstance(ours, dict) else None
    if names is None and len(labels) == 1:
        names = list(labels)
    named = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not names or not named or not set(names) <= set(labels):
        raise ConfigurationError(
            "CFG-LABELS",
            f"{source} has the labels {sorted(labels)} and the lesion labels {shown(names)}. Add "
            '"nnanomaly": {"lesion_labels": [...]} with names from labels, or give the values of the lesions.',
        )
    return tuple(sorted({value for name in names for value in labels[name]}))
