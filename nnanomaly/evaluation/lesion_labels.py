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

from nnanomaly.dataset.nnunet_labels import Labels, ignore_value, labels_as_predicted, read_labels
from nnanomaly.imageio.reader_writer import READER_WRITERS
from nnanomaly.paths import DATASET_JSON
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.utilities.json_io import read_json, shown

REFERENCE_FLAG = "with -l, such as -l 2 3"
PREDICTION_FLAG = "with -pred_labels, such as -pred_labels 1 (nnanomaly_compare: -pred_labels NAME=1)"


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionLabels:
    """Values that are lesions."""

    reference: tuple[int, ...]
    """In the reference label maps, ascending."""
    prediction: tuple[int, ...]
    """In the predicted label maps, ascending."""
    largest_prediction_label: int | None = None
    """Largest value a predicted label map may hold, if it is known."""
    ignored: int | None = None
    """Value of nnU-Net's label "ignore" in the reference: voxels that are masked in both label maps."""

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
    are the reference's; regions count as nnU-Net writes them. Raises `ConfigurationError` (CFG-LABELS) where that
    leaves a choice or where a value is no label of the reference, and `FileNotFoundError` for a `dataset_json` that
    does not exist.
    """
    source = dataset_json or _first_file(reference_folder / DATASET_JSON, reference_folder.parent / DATASET_JSON)
    document = None if source is None else read_json(source)
    labels, ignored = read_labels(document), ignore_value(document)
    values = tuple(sorted(set(reference))) or _lesions_of(source, labels, reference_folder, REFERENCE_FLAG)
    if source is not None and labels:
        _require_known(values, labels, source)
    if prediction:
        return LesionLabels(reference=values, prediction=tuple(sorted(set(prediction))), ignored=ignored)
    own_source = _first_file(prediction_folder / DATASET_JSON)
    own_document = document if own_source is None else read_json(own_source)
    own_labels = labels_as_predicted(own_document)
    if own_labels == labels:
        own_values = values
    else:
        named = _named_lesions(own_document, own_labels) or _named_lesions(document, own_labels)
        own_values = named or _lesions_of(own_source, own_labels, prediction_folder, PREDICTION_FLAG)
    in_maps = [*own_labels.values(), *read_labels(own_document).values(), (ignore_value(own_document) or 0,)]
    largest = max((value for item in in_maps for value in item), default=0) or None
    return LesionLabels(reference=values, prediction=own_values, largest_prediction_label=largest, ignored=ignored)


def labels_ending(reference_folder: Path, dataset_json: Path | None = None) -> str:
    """The ending of label maps: `file_ending` of their `dataset.json`, found as above; else that of most of them."""
    source = dataset_json or _first_file(reference_folder / DATASET_JSON, reference_folder.parent / DATASET_JSON)
    document = None if source is None else read_json(source)
    ending = document.get("file_ending") if isinstance(document, dict) else None
    if isinstance(ending, str) and ending in READER_WRITERS:
        return ending
    names = [path.name for path in reference_folder.iterdir()] if reference_folder.is_dir() else []
    return max(READER_WRITERS, key=lambda known: sum(name.endswith(known) for name in names))


def _first_file(*paths: Path) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def _require_known(values: tuple[int, ...], labels: Labels, source: Path) -> None:
    """Refuse values that no label has: every lesion would be missing, and nothing would look wrong."""
    known = {value for of_label in labels.values() for value in of_label}
    if unknown := sorted(set(values) - known):
        raise ConfigurationError(
            "CFG-LABELS",
            f"{', '.join(map(str, unknown))} is no value of a label in {source}, which has "
            f"{shown({name: list(of_label) for name, of_label in labels.items()})}. "
            f"Give values of these {REFERENCE_FLAG}.",
        )


def _named_lesions(document: Any, labels: Labels) -> tuple[int, ...]:
    """Values of the lesion labels that a document names, or of the only label; empty where that leaves a choice."""
    ours = document.get("nnanomaly") if isinstance(document, dict) else None
    names = ours.get("lesion_labels") if isinstance(ours, dict) else None
    if names is None and len(labels) == 1:
        names = list(labels)
    if not isinstance(names, list) or not names or not all(name in labels for name in names if isinstance(name, str)):
        return ()
    if not all(isinstance(name, str) for name in names):
        return ()
    return tuple(sorted({value for name in names for value in labels[name]}))


def _lesions_of(source: Path | None, labels: Labels, folder: Path, flag: str) -> tuple[int, ...]:
    """Lesion values of a `dataset.json`: the named ones, or the only foreground label; `flag` is the other way out."""
    if source is None:
        raise ConfigurationError(
            "CFG-LABELS",
            f"there is no {DATASET_JSON} in or beside {folder} that says which labels are lesions. Give the file "
            f"with -djfile (nnanomaly_evaluate_folder), or the values {flag}.",
        )
    document = read_json(source)
    values = _named_lesions(document, labels)
    if not values:
        ours = document.get("nnanomaly") if isinstance(document, dict) else None
        named = ours.get("lesion_labels") if isinstance(ours, dict) else None
        fault = "does not say which are lesions" if named is None else f"calls {shown(named)} lesions"
        raise ConfigurationError(
            "CFG-LABELS",
            f"{source} has the labels {shown(sorted(labels))} and {fault}. Write "
            f'"nnanomaly": {{"lesion_labels": ["NAME"]}} with names of these, or give the values {flag}.',
        )
    return values
