"""A trained model to one zip: safetensors, JSON built from known fields, a card, and a manifest of hashes.

Nothing is copied from the folders as it stands there. Every document is written anew from dataclasses, so that what
they do not know (case ids, folders, host names, free texts such as the planner's reasons) cannot come along.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnanomaly import __version__
from nnanomaly.checkpoint import FINAL, load_checkpoint
from nnanomaly.dataset.organ_labels import read_label_snapshot
from nnanomaly.dataset.raw_dataset import DatasetDescription
from nnanomaly.dataset.splits import load_splits
from nnanomaly.inference.loaded_model import LoadedModel, ModelRequest, load_model
from nnanomaly.inference.reducer_file import read_reducer, save_reducer
from nnanomaly.model_sharing.archive import describe_files, pack
from nnanomaly.model_sharing.disk_faults import disk_faults
from nnanomaly.model_sharing.manifest import FORMAT, FORMAT_VERSION, MANIFEST_JSON, MODEL_CARD, NAME_PATTERN, Manifest
from nnanomaly.model_sharing.model_card import CardFacts, model_card
from nnanomaly.model_sharing.weights import export_weights
from nnanomaly.paths import (
    CALIBRATION_JSON,
    DATASET_JSON,
    LATENT_SCALING_JSON,
    ORGAN_LABELS_CSV,
    PLANS_JSON,
    REDUCER_JSON,
    SPLITS_JSON,
    Paths,
)
from nnanomaly.plans import save_plans
from nnanomaly.stages import REDUCTION
from nnanomaly.trained_model import read_latent_scaling
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.utilities.files import write_atomically, write_text
from nnanomaly.utilities.json_io import to_document, write_json
from nnanomaly.utilities.leftovers import remove_leftovers, temporary_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What `nnanomaly_export_model_to_zip` may be told."""

    model: ModelRequest
    """Which model."""
    licence: str
    """What others may do with it; free text."""
    origin: str
    """Who made it; free text."""
    overwrite: bool
    """Whether an existing file is replaced."""


def export_model(paths: Paths, dataset: str, output: Path, options: ExportOptions) -> Manifest:
    """Write a model to the zip `output`; returns its manifest.

    Raises ConfigurationError (CFG-OUTPUT, and what prediction raises for a model that is not trained to its end) and
    IntegrityError for parts that do not belong together.
    """
    if output.is_dir() or (output.exists() and not options.overwrite):
        raise ConfigurationError("CFG-OUTPUT", f"-o {output} exists already. Name another file, or add --force.")
    for name in (dataset, options.model.plans_name):
        if not NAME_PATTERN.fullmatch(name):
            raise ConfigurationError(
                "CFG-OUTPUT", f"{name!r} cannot be exported: rename it, with letters, digits and _ - . +"
            )
    model = load_model(paths, dataset, replace(options.model, device="cpu"))  # refuses what could not predict
    stays = f"{output} is as it was." if output.exists() else f"There is no {output}."
    with disk_faults(output, stays):
        remove_leftovers(output.parent)
        with temporary_folder(output.with_suffix(".parts")) as folder:
            manifest = _collect(paths, model, folder, options)
            write_atomically(output, lambda path: pack(folder, path))
    return manifest


def _collect(paths: Paths, model: LoadedModel, folder: Path, options: ExportOptions) -> Manifest:
    """Write everything that an archive holds into a folder, the manifest last."""
    num_values = [_export_fold(paths, model, fold, folder, options) for fold in model.folds][0]
    save_plans(folder / PLANS_JSON, replace(model.plans, reasons={}))
    write_json(folder / DATASET_JSON, _description(model.description))
    calibrations = {fold: item.calibration for fold, item in model.folds.items()}
    facts = CardFacts(
        version=__version__,
        checkpoint=options.model.checkpoint,
        licence=options.licence,
        origin=options.origin,
        num_values=num_values,
        labels=_labels(paths, model.dataset),
    )
    card = model_card(model.plans, model.description, calibrations, facts)
    write_text(folder / MODEL_CARD, card)
    manifest = Manifest(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        nnanomaly_version=__version__,
        dataset=model.dataset,
        plans_name=model.plans.plans_name,
        folds=tuple(model.folds),
        checkpoint=options.model.checkpoint,
        licence=options.licence,
        origin=options.origin,
        files=describe_files(folder),
    )
    write_json(folder / MANIFEST_JSON, to_document(manifest))
    return manifest


def _export_fold(
    paths: Paths, model: LoadedModel, fold: str, folder: Path, options: ExportOptions
) -> Mapping[str, int]:
    """All stages of a fold that predict; returns how many numbers each has."""
    target, num_values = folder / f"fold_{fold}", {}
    for stage in model.folds[fold].calibration.checkpoints:
        source = paths.fold(model.dataset, model.plans.plans_name, stage, fold)
        if stage == REDUCTION:
            save_reducer(target / REDUCER_JSON, read_reducer(source / REDUCER_JSON))
            continue
        state = load_checkpoint(source / (options.model.checkpoint if stage == "ddpm" else FINAL))
        num_values[stage] = export_weights(state, target / stage)
    vqgan = paths.fold(model.dataset, model.plans.plans_name, "vqgan", fold)
    write_json(target / LATENT_SCALING_JSON, {"values": read_latent_scaling(vqgan / LATENT_SCALING_JSON, model.plans)})
    write_json(target / CALIBRATION_JSON, model.folds[fold].calibration.without_plans())
    return num_values


def _description(description: DatasetDescription) -> dict[str, Any]:
    """dataset.json from its known fields; names, links and descriptions that people add stay behind."""
    ours = {"organs": list(description.organs), "lesion_labels": list(description.lesion_labels)}
    values = {} if description.organ_mask_labels is None else {"organ_mask_labels": description.organ_mask_labels}
    labels = {name: found[0] if len(found) == 1 else list(found) for name, found in description.labels.items()}
    return {
        "channel_names": {str(number): name for number, name in enumerate(description.channel_names)},
        "labels": labels,
        "numTraining": description.num_training,
        "file_ending": description.file_ending,
        "nnanomaly": {**ours, **values},
    }


def _labels(paths: Paths, dataset: str) -> Mapping[tuple[str, str], str] | None:
    """The weak labels of the cases that train and validate, where they are still here; the card counts them.

    The table of a dataset holds test cases too.
    """
    if paths.preprocessed_root is None or not (paths.preprocessed(dataset) / ORGAN_LABELS_CSV).is_file():
        return None
    labels, splits = read_label_snapshot(paths.preprocessed(dataset)), paths.preprocessed(dataset) / SPLITS_JSON
    if not splits.is_file():
        return None
    trained = {case for split in load_splits(splits) for side in split.values() for case in side}
    return {(case, organ): label for (case, organ), label in labels.items() if case in trained}
