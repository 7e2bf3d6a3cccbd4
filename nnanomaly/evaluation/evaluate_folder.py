"""A folder of predictions against a folder of references: pair files, run the cases in parallel, write the summaries.

Nothing is dropped silently. A missing prediction is an error, or counts as empty where that is asked for; a prediction
without a reference is an error. A case that cannot be read is named and left out of every number, the others are
evaluated.
"""

import functools
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NoReturn

from nnanomaly.dataset.image_folder import misnamed_images
from nnanomaly.dataset.prediction_run import unfinished
from nnanomaly.evaluation.evaluate_case import CaseFiles, CaseResult, evaluate_case
from nnanomaly.evaluation.lesion_labels import LesionLabels
from nnanomaly.evaluation.lesion_matching import MatchRule
from nnanomaly.evaluation.summary import LESION_LEVEL, PER_CASE, Evaluation, detection_document, summary_document
from nnanomaly.imageio.reader_writer import READER_WRITERS
from nnanomaly.paths import BOXES_ENDING, DETECTION_SUMMARY_JSON, DETECTIONS, SUMMARY_JSON
from nnanomaly.utilities.case_faults import CaseFault
from nnanomaly.utilities.case_runner import Progress, run_cases
from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.utilities.json_io import read_json, write_json
from nnanomaly.utilities.matching import partners, some_of
from nnanomaly.utilities.replacement import replaced_as_one


def evaluate_folder(
    reference_folder: Path,
    prediction_folder: Path,
    *,
    labels: LesionLabels,
    rule: MatchRule | None = None,
    allow_missing: bool = False,
    output_folder: Path | None = None,
    file_ending: str = ".nii.gz",
    num_processes: int = 1,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate every reference `{case}{file_ending}` and write both summaries (default: beside the predictions).

    `allow_missing` counts a missing prediction as empty. Cases that fail are in `failures` of the result; the
    caller decides about the exit status. Raises `DataError`: EVAL-FOLDER, EVAL-MISSING, EVAL-EXTRA, EVAL-LABELS,
    and EVAL-FAILED if not a single case could be evaluated; then nothing is written.
    """
    files = pair_files(reference_folder, prediction_folder, file_ending=file_ending, allow_missing=allow_missing)
    return evaluate_files(
        files,
        labels=labels,
        rule=rule,
        output_folder=output_folder or prediction_folder,
        lacking=unfinished(prediction_folder),
        num_processes=num_processes,
        progress=progress,
    )


def evaluate_files(
    files: list[CaseFiles],
    *,
    labels: LesionLabels,
    output_folder: Path,
    rule: MatchRule | None = None,
    num_processes: int = 1,
    progress: Progress | None = None,
    lacking: str | None = None,
) -> Evaluation:
    """Evaluate cases wherever their files lie and write both summaries.

    `lacking`: what is known to be missing of the predictions (`dataset.prediction_run.unfinished`), which is recorded.
    Raises EVAL-LABELS, EVAL-FAILED as above, and `ConfigurationError` (CFG-OUTPUT) where the folder holds a summary
    that is not ours.
    """
    _refuse_other_summary(output_folder)
    rule = rule or MatchRule()
    work = functools.partial(evaluate_case, labels=labels, rule=rule)
    outcomes = run_cases(work, files, num_processes=num_processes, progress=progress)
    results, failures = [], {}
    for case_files, outcome in zip(files, outcomes, strict=True):
        if isinstance(outcome, CaseFault):
            failures[case_files.case] = outcome.reason
        else:
            results.append(outcome)
    if not results:
        case, reason = next(iter(failures.items()))
        raise DataError("EVAL-FAILED", f"none of {len(files)} cases could be evaluated; the first, {case}: {reason}")
    _check_labels_occur(results, labels)
    evaluation = Evaluation(labels=labels, rule=rule, results=results, failures=failures, unfinished=lacking)
    with replaced_as_one(output_folder) as new:
        write_json(new / DETECTION_SUMMARY_JSON, detection_document(evaluation))
        write_json(new / SUMMARY_JSON, summary_document(evaluation))
    return evaluation


def _refuse_other_summary(folder: Path) -> None:
    """The summary of a fold, by which nnU-Net chooses configurations, has the name of ours and all keys but one."""
    path = folder / SUMMARY_JSON
    document = read_json(path) if os.path.lexists(path) else {}
    if isinstance(document, dict) and PER_CASE in document and LESION_LEVEL not in document:
        raise ConfigurationError(
            "CFG-OUTPUT", f"{path} is nnU-Net's own summary. Move it away, or name another folder for ours with -o."
        )


def pair_files(
    reference_folder: Path, prediction_folder: Path, *, file_ending: str, allow_missing: bool
) -> list[CaseFiles]:
    """Files of every case of the reference folder, sorted by case. Raises as `evaluate_folder`."""
    references, predictions = (files_by_case(f, file_ending) for f in (reference_folder, prediction_folder))
    if not references:
        raise DataError(
            "EVAL-FOLDER", f"{reference_folder} has no files that end in {file_ending}. Name another folder."
        )
    check_complete(
        predictions, references, folder=prediction_folder, source=reference_folder, allow_missing=allow_missing
    )
    return [
        CaseFiles(
            case=case,
            reference=reference,
            prediction=predictions.get(case),
            boxes=candidates_file(prediction_folder, case),
        )
        for case, reference in references.items()
    ]


def candidates_file(folder: Path, case: str) -> Path | None:
    """The candidates of a case in a prediction folder, if the predictor wrote them."""
    path = folder / DETECTIONS / f"{case}{BOXES_ENDING}"
    return path if path.is_file() else None


def check_complete(
    predicted: Collection[str], cases: Collection[str], *, folder: Path, source: Path, allow_missing: bool
) -> None:
    """Refuse missing and surplus predictions: `DataError` EVAL-MISSING, EVAL-EXTRA. `source`: what names the cases."""
    beside = partners(cases, predicted)
    lacks = f"{folder} lacks {len(beside.missing)} of {len(cases)} predictions: {some_of(beside.missing)}"
    extra = f"{folder} has {len(beside.surplus)} predictions without a reference in {source}: {some_of(beside.surplus)}"
    if beside.missing and not allow_missing:
        also = f"; {extra}. Are these the same cases under other names?" if beside.surplus else "."
        raise DataError(
            "EVAL-MISSING", f"{lacks}{also} Predict them, or add --allow_missing, which counts them as empty."
        )
    if beside.surplus:
        raise DataError("EVAL-EXTRA", f"{extra}. Add the references or move the predictions away.")


def files_by_case(folder: Path, file_ending: str) -> Mapping[str, Path]:
    """Visible files of a folder by case, sorted; no such folder raises `DataError` (EVAL-FOLDER).

    So do label maps of another ending (EVAL-NAMES), which would be left out.
    """
    if not folder.is_dir():
        raise DataError("EVAL-FOLDER", f"{folder} is not a folder. Name the folder of the label maps.")
    names = sorted(path.name for path in folder.iterdir() if not path.is_dir() and not path.name.startswith("."))
    expected = (name for name in names if name.endswith(file_ending))
    others = misnamed_images(folder, expected) if file_ending in READER_WRITERS else []
    if others:
        raise DataError(
            "EVAL-NAMES",
            f"{folder} holds {len(others)} images that do not end in {file_ending}: {some_of(others)}. Convert and "
            "rename them, or move them away.",
        )
    return {name.removesuffix(file_ending): folder / name for name in names if name.endswith(file_ending)}


def _check_labels_occur(results: list[CaseResult], labels: LesionLabels) -> None:
    num_lesion_voxels = sum(result.voxels["TP"] + result.voxels["FP"] for result in results)
    if num_lesion_voxels == 0 and any(result.has_other_labels for result in results):
        refuse_labels(str(results[0].files.prediction), labels)


def refuse_labels(example: str, labels: LesionLabels) -> NoReturn:
    """Predictions full of labels, none of them a lesion, are more likely misread than lesion-free: EVAL-LABELS."""
    raise DataError(
        "EVAL-LABELS",
        f"no prediction has a lesion label {labels.prediction}, but some, like {example}, have other labels. Say which "
        "values of the predictions are lesions: -pred_labels 1 (nnanomaly_compare: -pred_labels NAME=1).",
    )
