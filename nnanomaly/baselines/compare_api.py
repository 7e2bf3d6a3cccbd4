"""Compare methods on one dataset: find their predictions, measure every case once, choose thresholds, compute numbers.

The steps are those of the files: nothing is computed here that another module does not compute on arrays.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from nnanomaly.baselines.compare_case import ComparedCase, Key, MeasuredCase, MethodCase, measure_case
from nnanomaly.baselines.prediction_sources import (
    Kind,
    PredictionFiles,
    check_model_splits,
    find_predictions,
    predicted_folds,
    validation_folder,
)
from nnanomaly.dataset.prediction_run import unfinished
from nnanomaly.evaluation.bootstrap import Bootstrap
from nnanomaly.evaluation.case_pairs import CasePairs
from nnanomaly.evaluation.comparison import Compared, Comparison, compare
from nnanomaly.evaluation.evaluate_folder import refuse_labels
from nnanomaly.evaluation.lesion_labels import LesionLabels, find_lesion_labels
from nnanomaly.evaluation.lesion_matching import MatchRule
from nnanomaly.evaluation.reference_set import ReferenceSet, test_set, validation_set
from nnanomaly.evaluation.thresholds import ALL_CANDIDATES, Source, Threshold, best_threshold, otsu_of_cases
from nnanomaly.paths import Paths
from nnanomaly.utilities.case_faults import CaseFault
from nnanomaly.utilities.case_runner import Progress, run_cases
from nnanomaly.utilities.errors import ConfigurationError, DataError

VALIDATION, OTSU, NONE = "val", "otsu", "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method to compare."""

    name: str
    """Its name in the tables."""
    kind: Kind
    """Whether it predicts masks or boxes."""
    folder: Path
    """Its predictions."""
    validation: Path | None = None
    """Its predictions of validation cases, to choose the threshold on; those of nnDetection are found by themselves."""
    threshold: str | float | None = None
    """A score, `val`, `otsu` or `none`; None: `val` for boxes; for masks `val` where validation predictions are given,
    else none."""
    labels: tuple[int, ...] = ()
    """Values of lesions in its masks, where they are not those of the reference and no `dataset.json` says so; or the
    classes of its boxes that are lesions, where not all are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonOptions:
    """What holds for all methods."""

    folds: tuple[str, ...] | None = None
    """Validation cases of these folds; None: the test set."""
    lesion_labels: tuple[int, ...] = ()
    """Values of lesions in the reference, where `dataset.json` does not name them."""
    rule: MatchRule = field(default_factory=MatchRule)
    """Rule of masks; boxes have its IoU, connectivity and reference floor, and are matched best score first."""
    aggregate: str = "max"
    """How nnU-Net's probabilities in a component become its score."""
    bootstrap: Bootstrap = field(default_factory=Bootstrap)
    """How intervals are drawn."""
    allow_missing: bool = False
    """Whether a missing prediction counts as empty."""
    num_processes: int = 1
    """Worker processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """Pairs of all cases that could be read."""

    pairs: dict[Key, dict[str, CasePairs]]
    """By method and form, then by case."""
    left_out: dict[str, str]
    """Cases that could not be read, and why."""
    missing: dict[str, list[str]]
    """Missing predictions by method."""
    unfinished: dict[str, str]
    """What their folders lack of the cases that they were asked for, by method."""


def compare_methods(
    paths: Paths,
    dataset: str,
    methods: Sequence[Method],
    *,
    options: ComparisonOptions | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """All numbers of all methods on the same cases and references.

    A case that cannot be read, for any method, is named in `left_out` and is in no number of any method. Raises
    `ConfigurationError` (CFG-METHOD, CFG-LABELS, CFG-FOLD) and `DataError`: EVAL-FOLDER, EVAL-MISSING, EVAL-EXTRA,
    EVAL-THRESHOLD, EVAL-FAILED (not one case could be read), SPLIT-*.
    """
    options = options or ComparisonOptions()
    names = [method.name for method in methods]
    if not names or len(set(names)) < len(names):
        raise ConfigurationError("CFG-METHOD", f"the methods are {names}, but need names of their own: NAME=FOLDER")
    reference = test_set(paths, dataset) if options.folds is None else validation_set(paths, dataset, options.folds)
    measured = _measure({method: method.folder for method in methods}, reference, options, progress=progress)
    compared = []
    for method in methods:
        threshold = _threshold(paths, dataset, method, measured, options, reference=reference, progress=progress)
        compared += [
            Compared(
                method=name,
                form=form,
                native=form == method.kind,
                threshold=threshold,
                rule=_rule(options, form),
                pairs=pairs,
            )
            for (name, form), pairs in measured.pairs.items()
            if name == method.name
        ]
    rows, differences = compare(compared, options.bootstrap)
    return Comparison(
        dataset=dataset,
        cases_from="test set" if options.folds is None else f"validation cases of fold {', '.join(options.folds)}",
        rows=rows,
        differences=differences,
        bootstrap=options.bootstrap,
        left_out=measured.left_out,
        missing=measured.missing,
        unfinished=measured.unfinished,
    )


def _rule(options: ComparisonOptions, form: str) -> MatchRule:
    return options.rule if form == "masks" else box_rule(options.rule)


def box_rule(rule: MatchRule) -> MatchRule:
    """The rule of boxes that goes with a rule of masks: best score first."""
    return replace(rule, assignment="score")


def _measure(
    folders: Mapping[Method, Path], reference: ReferenceSet, options: ComparisonOptions, *, progress: Progress | None
) -> _Measured:
    files = {}
    for method, folder in folders.items():
        if method.kind == "boxes" and reference.folds:
            check_model_splits(folder, reference)
        found = find_predictions(folder, method.kind, reference, allow_missing=options.allow_missing)
        files[method] = found
    labels = {method: _labels(method, folder, reference, options) for method, folder in folders.items()}
    cases = [
        ComparedCase(
            case=case,
            reference=path,
            methods={
                method.name: MethodCase(
                    kind=method.kind,
                    files=files[method][case],
                    labels=labels[method],
                    classes=method.labels if method.kind == "boxes" else (),
                )
                for method in folders
            },
        )
        for case, path in reference.references.items()
    ]
    work = functools.partial(measure_case, rule=options.rule, aggregate=options.aggregate)
    outcomes = run_cases(work, cases, num_processes=options.num_processes, progress=progress)
    measured: dict[str, MeasuredCase] = {}
    left_out: dict[str, str] = {}
    for case, outcome in zip(cases, outcomes, strict=True):
        if isinstance(outcome, CaseFault):
            left_out[case.case] = outcome.reason
        else:
            measured[case.case] = outcome
    if not measured:
        case_id, reason = next(iter(left_out.items()))
        raise DataError("EVAL-FAILED", f"none of {len(cases)} cases could be read; the first, {case_id}: {reason}")
    _check_labels_occur(measured, labels, files)
    keys = next(iter(measured.values())).pairs
    pairs = {key: {case_id: of_case.pairs[key] for case_id, of_case in measured.items()} for key in keys}
    return _Measured(pairs=pairs, left_out=left_out, missing=_missing(files), unfinished=_unfinished(folders, files))


def _check_labels_occur(
    measured: Mapping[str, MeasuredCase],
    labels: Mapping[Method, LesionLabels],
    files: Mapping[Method, Mapping[str, PredictionFiles]],
) -> None:
    for method, of_method in labels.items():
        found = [case.labels_found.get(method.name, (True, False)) for case in measured.values()]
        if not any(lesions for lesions, _ in found) and any(others for _, others in found):
            refuse_labels(str(files[method][next(iter(measured))].prediction), of_method)


def _unfinished(
    folders: Mapping[Method, Path], files: Mapping[Method, Mapping[str, PredictionFiles]]
) -> dict[str, str]:
    faults: dict[str, str] = {}
    for method, folder in folders.items():
        places = {item.prediction.parent for item in files[method].values() if item.prediction is not None}
        lacking = unfinished(*(sorted(places) or [folder]))
        faults |= {method.name: lacking} if lacking else {}
    return faults


def _missing(files: Mapping[Method, Mapping[str, PredictionFiles]]) -> dict[str, list[str]]:
    missing = {
        method.name: [case for case, item in found.items() if item.prediction is None]
        for method, found in files.items()
    }
    return {name: cases for name, cases in missing.items() if cases}


def _labels(method: Method, folder: Path, reference: ReferenceSet, options: ComparisonOptions) -> LesionLabels:
    """Lesion values of the reference and of a method; boxes need those of the reference alone."""
    place, values = (reference.folder, ()) if method.kind == "boxes" else (folder, method.labels)
    return find_lesion_labels(reference.folder, place, reference=options.lesion_labels, prediction=values)


def _threshold(
    paths: Paths,
    dataset: str,
    method: Method,
    measured: _Measured,
    options: ComparisonOptions,
    *,
    reference: ReferenceSet,
    progress: Progress | None,
) -> Threshold:
    """The threshold of a method, chosen in the form in which it predicts."""
    validation = method.validation or (validation_folder(method.folder) if method.kind == "boxes" else None)
    how = method.threshold
    if how is None:
        how = VALIDATION if method.kind == "boxes" or method.validation is not None else NONE
    if how == NONE:
        return ALL_CANDIDATES
    key: Key = (method.name, method.kind)
    _check_scores(method, measured.pairs[key])
    if not isinstance(how, str):
        return Threshold(value=how, source="fixed")
    source: Source = "validation"
    if reference.folds and method.validation is None:
        source, pairs = "same_cases", measured.pairs[key]
    elif validation is None:
        raise DataError(
            "EVAL-THRESHOLD",
            f"{method.name}: no validation predictions to choose a threshold on lie beside {method.folder}. Name them "
            f"(--val {method.name}=FOLDER), or give a threshold (-threshold {method.name}=0.5, or none).",
        )
    else:
        pairs = _validation_pairs(paths, dataset, method, validation, options, progress=progress)
    return otsu_of_cases(pairs) if how == OTSU else best_threshold(pairs, _rule(options, method.kind), source=source)


def _check_scores(method: Method, pairs: Mapping[str, CasePairs]) -> None:
    """A threshold would drop candidates without a score in silence."""
    for case, of_case in pairs.items():
        if any(candidate.score is None for candidate in of_case.candidates):
            raise DataError(
                "EVAL-THRESHOLD",
                f"{method.name}: {case} has candidates without a score, to which no threshold can be applied. Predict "
                f"with scores, or leave the threshold out (-threshold {method.name}=none).",
            )


def _validation_pairs(
    paths: Paths,
    dataset: str,
    method: Method,
    folder: Path,
    options: ComparisonOptions,
    *,
    progress: Progress | None,
) -> dict[str, CasePairs]:
    """Pairs of the validation predictions of all folds that a method has predictions of."""
    everything = validation_set(paths, dataset)
    folds = predicted_folds(folder, method.kind, everything)
    if not folds:
        raise DataError("EVAL-THRESHOLD", f"{folder} has no predictions of validation cases of {dataset}. Name others.")
    reference = validation_set(paths, dataset, folds)
    measured = _measure({method: folder}, reference, options, progress=progress)
    if measured.left_out:
        case, reason = next(iter(measured.left_out.items()))
        raise DataError("EVAL-THRESHOLD", f"{method.name}: validation case {case} cannot be read: {reason}")
    return measured.pairs[method.name, method.kind]
