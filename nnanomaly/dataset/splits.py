"""Cross-validation splits: which cases of a dataset train and which validate.

Without patient groups the folds are the default folds of nnU-Net and nnDetection, `KFold(5, shuffle, seed 12345)` over
the sorted case ids, so that fold k means the same cases in all three. With groups all cases of a patient stay on one
side and the folds are stratified. A `splits_final.json` that exists wins over the recipe.
"""

import os
import warnings
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from sklearn.model_selection import KFold, StratifiedGroupKFold

from nnanomaly.paths import ALL_FOLDS, SPLITS_JSON, check_fold
from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.utilities.json_io import read_json, write_json
from nnanomaly.utilities.matching import one_a_line, partners, some_of

SEED = 12345
SIDES = ("train", "val")

Split = dict[str, list[str]]
"""`{"train": [case, ...], "val": [case, ...]}`."""


def make_splits(
    cases: Sequence[str],
    *,
    groups: Mapping[str, str] | None = None,
    strata: Mapping[str, bool] | None = None,
    num_folds: int = 5,
) -> list[Split]:
    """Folds over the sorted cases.

    `groups`: patient per case; a case without one is a patient of its own. `strata`: whether a case has an unhealthy
    organ, used together with groups only. Fewer cases (or patients) than folds raise `DataError`.
    """
    ordered = np.array(sorted(cases))
    units = _units(ordered.tolist(), groups)
    distinct, patient = np.unique(units, axis=0, return_inverse=True)
    if len(distinct) < num_folds:
        raise DataError(
            "SPLIT-FEW", f"{len(distinct)} patients with {len(ordered)} cases do not fill {num_folds} folds. Add cases."
        )
    if not groups:
        folds = KFold(num_folds, shuffle=True, random_state=SEED).split(ordered)
        return [_split(ordered[train], ordered[val]) for train, val in folds]
    classes = np.array([(strata or {}).get(case, False) for case in ordered])
    if max(Counter(classes.tolist()).values()) < num_folds:  # scikit-learn refuses; grouping matters more than balance
        classes = np.zeros(len(ordered), dtype=bool)
    # Shuffled here: scikit-learn below 1.8 shuffles the patients' counts without the patients, which loses balance.
    shuffled = np.argsort(np.random.RandomState(SEED).permutation(len(distinct)))[patient]
    splitter = StratifiedGroupKFold(num_folds)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # rare classes cannot reach every fold
        return [_split(ordered[train], ordered[val]) for train, val in splitter.split(ordered, classes, shuffled)]


def fold_split(splits: Sequence[Split], fold: int | str, cases: Sequence[str]) -> Split:
    """The cases of one fold; "all" trains and validates on everything.

    Raises ConfigurationError (CFG-FOLD) for a fold that is not in the list: nnU-Net would draw a split for it, and a
    mistyped number would train for days on folds that nobody else has.
    """
    if check_fold(fold) == ALL_FOLDS:
        return _split(sorted(cases), sorted(cases))
    if int(fold) >= len(splits):
        raise ConfigurationError(
            "CFG-FOLD",
            f"there is no fold {fold}: {SPLITS_JSON} has the folds 0 ... {len(splits) - 1}. "
            f"Choose one of them or {ALL_FOLDS!r}, or add a fold to the file.",
        )
    return splits[int(fold)]


def validate_splits(
    splits: Sequence[Split], cases: Collection[str], *, groups: Mapping[str, str] | None = None, source: Path
) -> None:
    """Refuse splits with unknown cases, with a case twice, and with a case or a patient on both sides of a fold."""
    for number, split in enumerate(splits):
        twice = sorted({case for side in SIDES for case in partners(cases, split[side]).twice})
        if twice:
            raise DataError(
                "SPLIT-TWICE", f"{source}: fold {number} lists {some_of(twice)} twice. Leave each in the list once."
            )
        unknown = sorted({case for side in SIDES for case in split[side]} - set(cases))
        if unknown:
            raise DataError(
                "SPLIT-CASES",
                f"{source}: fold {number} names {len(unknown)} cases without images: {some_of(unknown)}. "
                "Correct the file.",
            )
        both = sorted(set(_units(split["train"], groups)) & set(_units(split["val"], groups)))
        if both:
            shared = [name for _, name in both]
            raise DataError(
                "SPLIT-LEAK", f"{source}: fold {number} trains and validates on {shared}. Put each on one side."
            )


def split_remarks(splits: Sequence[Split], cases: Collection[str], *, source: object) -> list[str]:
    """What is odd about splits that are allowed: cases in no fold, and cases that several folds validate."""
    remarks = []
    idle = partners(cases, {case for split in splits for side in SIDES for case in split[side]}).missing
    if idle:
        remarks.append(
            f"[NNA-SPLIT-UNUSED] {len(idle)} cases are in no fold of {source}, so that they neither train nor "
            f"validate: {some_of(idle)}. Add them to the folds, or delete every {SPLITS_JSON} of the dataset to have "
            "folds made anew (for models that are trained anew)."
        )
    twice = partners(cases, (case for split in splits for case in split["val"])).twice
    if twice:
        remarks.append(
            f"[NNA-SPLIT-TWICE] {source}: several folds validate {some_of(twice)}, so that these folds cannot be "
            "judged together."
        )
    return remarks


def validation_cases(splits: Sequence[Split], folds: Sequence[str], cases: Sequence[str]) -> dict[str, list[str]]:
    """Validation cases of each fold, to be judged together.

    Raises ConfigurationError (CFG-FOLD), and DataError (SPLIT-TWICE) for a case of two folds: which of its two
    predictions counts would depend on the order.
    """
    of_fold = {fold: fold_split(splits, fold, cases)["val"] for fold in folds}
    folds_of = {
        case: [fold for fold in of_fold if case in of_fold[fold]] for case in sorted(set().union(*of_fold.values()))
    }
    faults = [f"{case} is a validation case of folds {' and '.join(f)}" for case, f in folds_of.items() if len(f) > 1]
    if faults:
        raise DataError(
            "SPLIT-TWICE",
            f"{SPLITS_JSON}: {len(faults)} cases would be judged twice. Judge one fold at a time, or correct the "
            f"folds.{one_a_line(faults)}",
        )
    return of_fold


def prepare_splits(
    raw_folder: Path,
    preprocessed_folder: Path,
    *,
    cases: Sequence[str],
    groups: Mapping[str, str] | None = None,
    strata: Mapping[str, bool] | None = None,
) -> list[Split]:
    """The splits of `find_splits`, written to the preprocessed folder if there are none."""
    splits, _ = find_splits(raw_folder, preprocessed_folder, cases=cases, groups=groups, strata=strata)
    if not os.path.lexists(preprocessed_folder / SPLITS_JSON):
        save_splits(preprocessed_folder / SPLITS_JSON, splits)
    return splits


def find_splits(
    raw_folder: Path,
    preprocessed_folder: Path | None,
    *,
    cases: Sequence[str],
    groups: Mapping[str, str] | None = None,
    strata: Mapping[str, bool] | None = None,
) -> tuple[list[Split], Path | None]:
    """The splits of a dataset, validated, and the file they come from.

    Two files that differ raise `DataError` (SPLIT-CONFLICT); without a file the splits are made, and there is no path.
    """
    folders = [folder for folder in (preprocessed_folder, raw_folder) if folder is not None]
    files = [folder / SPLITS_JSON for folder in folders if os.path.lexists(folder / SPLITS_JSON)]
    if len(files) == 2 and load_splits(files[0]) != load_splits(files[1]):
        raise DataError("SPLIT-CONFLICT", f"{files[1]} and {files[0]} differ. Delete the one that is wrong.")
    source = files[0] if files else None
    splits = make_splits(cases, groups=groups, strata=strata) if source is None else load_splits(source)
    validate_splits(splits, cases, groups=groups, source=source or folders[0] / SPLITS_JSON)
    return splits, source


def load_splits(path: Path) -> list[Split]:
    """Read a splits file; another form than a list of `{"train": [...], "val": [...]}` raises `DataError`."""
    document = read_json(path)
    sound = isinstance(document, list) and len(document) > 0 and all(_is_split(item) for item in document)
    if not sound:
        raise DataError(
            "SPLIT-FORM", f'{path} must be a list of {{"train": [cases], "val": [cases]}}. Correct or delete it.'
        )
    return [_split(item["train"], item["val"]) for item in document]


def save_splits(path: Path, splits: Sequence[Split]) -> None:
    """Write a splits file that nnU-Net reads as well."""
    write_json(path, list(splits))


def _is_split(item: object) -> bool:
    return isinstance(item, dict) and all(
        isinstance(item.get(side), list) and all(isinstance(case, str) for case in item[side]) for side in SIDES
    )


def _split(train: Sequence[str], val: Sequence[str]) -> Split:
    return {"train": [str(case) for case in train], "val": [str(case) for case in val]}


def _units(cases: Sequence[str], groups: Mapping[str, str] | None) -> list[tuple[str, str]]:
    """What must stay together, per case: its patient, or the case alone (kept apart from a patient of that name)."""
    known = groups or {}
    return [("patient", known[case]) if case in known else ("case", case) for case in cases]
