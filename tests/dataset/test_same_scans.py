"""A scan is its voxels: the same one under two names is found, and a leak is told from a scan that counts twice."""

from itertools import permutations, product

import numpy as np
import pytest

from nnanomaly.dataset.same_scans import leaks, same_scans, scan_hash
from nnanomaly.reordering import Reordering
from nnanomaly.volume import Grid, Volume

GRID = Grid((3, 4, 5), (3.0, 1.0, 2.0), (-10.0, 20.0, 35.0))
SCAN = np.arange(60, dtype=np.float32).reshape(1, 3, 4, 5)
FOLDS = [{"train": ["a", "b"], "val": ["c"]}, {"train": ["a", "c"], "val": ["b"]}]


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_a_scan_has_one_hash_in_every_storage_order(axes: tuple[int, int, int]) -> None:
    for flipped in product((False, True), repeat=3):
        order = Reordering(shape=GRID.shape, axes=axes, flipped=flipped)  # type: ignore[arg-type]
        assert scan_hash(Volume(order.array(SCAN), order.grid(GRID))) == scan_hash(Volume(SCAN, GRID))


def test_other_values_have_another_hash_and_another_number_type_or_place_has_not() -> None:
    changed = SCAN.copy()
    changed[0, 2, 3, 4] += 1
    assert scan_hash(Volume(changed, GRID)) != scan_hash(Volume(SCAN, GRID))
    moved = Grid(GRID.shape, GRID.spacing_mm, (0.0, 0.0, 0.0))
    assert scan_hash(Volume(SCAN.astype(np.int16), moved)) == scan_hash(Volume(SCAN, GRID))


def test_a_mirrored_patient_is_another_scan() -> None:
    assert scan_hash(Volume(SCAN[..., ::-1].copy(), GRID)) != scan_hash(Volume(SCAN, GRID))


def test_cases_of_one_scan_are_grouped_by_name() -> None:
    assert same_scans({"c": "1", "b": "2", "a": "1", "d": "3"}) == [("a", "c")]


def test_a_scan_on_both_sides_of_a_fold_is_a_leak_and_one_on_one_side_counts_twice() -> None:
    errors, warnings = leaks({"a": "1", "b": "1", "c": "2"}, {}, FOLDS)
    assert [code for code, _ in errors] == ["SPLIT-LEAK"] and "a and b" in errors[0][1] and "fold 1" in errors[0][1]
    assert warnings == []
    errors, warnings = leaks({"a": "1", "b": "1", "c": "2"}, {}, FOLDS[:1])
    assert errors == []
    assert [code for code, _ in warnings] == ["DATA-TWICE"] and "a and b" in warnings[0][1]


def test_a_scan_in_training_and_test_is_a_leak_and_one_twice_in_test_is_said() -> None:
    errors, warnings = leaks({"a": "1", "b": "2"}, {"t": "2", "u": "3", "v": "3"}, [])
    assert [code for code, _ in errors] == ["SPLIT-LEAK"]
    assert "training case b and test case t" in errors[0][1]
    assert [code for code, _ in warnings] == ["DATA-TWICE"] and "u and v" in warnings[0][1]


def test_scans_that_are_there_once_are_no_remark() -> None:
    assert leaks({"a": "1", "b": "2", "c": "3"}, {"t": "4"}, FOLDS) == ([], [])
