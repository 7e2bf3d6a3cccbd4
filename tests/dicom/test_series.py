"""Names of cases and patients."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nnanomaly.dicom.headers import read_header
from nnanomaly.dicom.series import find_stacks, made_up


def headers(series: Any, folder: Path) -> list[Any]:
    return [read_header(path) for path in series.write(folder)]


def test_names_depend_on_uids_alone_not_on_paths_or_order(tmp_path: Path, new_series: Callable[..., Any]) -> None:
    series = new_series()
    one, two = headers(series, tmp_path / "one"), headers(series, tmp_path / "two")[::-1]
    named = [[(stack.series, stack.case, stack.patient) for stack in find_stacks(each, {})] for each in (one, two)]
    assert named[0] == named[1] == [(made_up(series.uid), f"ct_{made_up(series.uid)}", f"pt_{made_up(series.uid)}")]


def test_patients_are_told_apart_and_their_series_kept_together(tmp_path: Path, new_series: Callable[..., Any]) -> None:
    found = []
    for name, patient in (("a", "1"), ("b", "2"), ("c", "1")):
        found += headers(new_series(name=name, patient=patient), tmp_path / name)
    patients = {stack.headers[0].patient: stack.patient for stack in find_stacks(found, {})}
    assert len(set(patients.values())) == 2
    assert len(find_stacks(found, {})) == 3


def test_orientations_that_differ_by_rounding_stay_together(tmp_path: Path, new_series: Callable[..., Any]) -> None:
    series = new_series()
    for number, dataset in enumerate(series.datasets):
        dataset.ImageOrientationPatient = [1, 1e-4 * (number % 2), 0, 0, 1, 0]
    (stack,) = find_stacks(headers(series, tmp_path), {})
    assert len(stack.headers) == 18
