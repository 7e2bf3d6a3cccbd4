"""Scans that are there twice under different names: a scan is its voxels, not its name. Pure.

One patient under two names in training and validation, or in training and test, makes every figure too good; twice on
one side, a scan counts double. A scan is told by the hash of its values and of its grid in one storage order.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from nnanomaly.dataset.splits import SIDES, Split
from nnanomaly.reordering import reordering_onto_axes
from nnanomaly.utilities.voxel_hash import voxel_hash
from nnanomaly.volume import Volume

Remark = tuple[str, str]
"""Code and message."""
REMEDY = "Delete one of them"


def scan_hash(image: Volume) -> str:
    """The name of a scan `[1, Z, Y, X]` by its values, whatever order they are stored in."""
    return voxel_hash(np.asarray(reordering_onto_axes(image.grid).array(image.array), dtype=np.float32))


def same_scans(hashes: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Cases that hold one scan, in the order of their names; scans that are there once are left out."""
    cases: dict[str, list[str]] = {}
    for case in sorted(hashes):
        cases.setdefault(hashes[case], []).append(case)
    return [tuple(of_scan) for of_scan in cases.values() if len(of_scan) > 1]


def leaks(
    training: Mapping[str, str], test: Mapping[str, str], splits: Sequence[Split]
) -> tuple[list[Remark], list[Remark]]:
    """Errors and warnings about scans that are there twice, by hash of each training and test case.

    An error (SPLIT-LEAK) is a scan that a fold trains and validates on, or that is among the training and the test
    cases; any other one is a warning (DATA-TWICE).
    """
    errors: list[Remark] = []
    warnings: list[Remark] = []
    for twins in same_scans(training):
        names = " and ".join(twins)
        folds = [n for n, split in enumerate(splits) if all(set(twins) & set(split[side]) for side in SIDES)]
        if folds:
            where = f"fold {folds[0]} trains on one and validates on another"
            errors.append(("SPLIT-LEAK", f"{names} are one scan, and {where}. {REMEDY}, or give them one patient."))
        else:
            warnings.append(("DATA-TWICE", f"{names} are one scan, which counts {len(twins)} times. {REMEDY}."))
    for hashed in sorted(set(training.values()) & set(test.values())):
        both = [" and ".join(sorted(case for case in of if of[case] == hashed)) for of in (training, test)]
        errors.append(("SPLIT-LEAK", f"training case {both[0]} and test case {both[1]} are one scan. {REMEDY}."))
    warnings += [
        ("DATA-TWICE", f"test cases {' and '.join(twins)} are one scan. {REMEDY}.") for twins in same_scans(test)
    ]
    return errors, warnings
