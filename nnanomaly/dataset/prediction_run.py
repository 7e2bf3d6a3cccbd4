"""Whether a folder of predictions is the whole of what was asked for: the state of the run, beside the candidates.

`detections/run.json` (with parts `run_part{k}.json` each) is written before the first case and once more after the last
one. A run that was killed, or stopped by a full disk, has not written the second: whoever reads the folder can say so.
Folders of versions without the file say nothing, and nothing is claimed of them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from nnanomaly.dataset.raw_dataset import CASE_PATTERN
from nnanomaly.paths import BOXES_ENDING, DETECTIONS
from nnanomaly.utilities.errors import DataError, UserError
from nnanomaly.utilities.json_io import Between, read_document, to_document, write_json

RUN_JSON = "run.json"
SCHEMA_VERSION = 1
REMEDY = "Predict again with --continue_prediction."
NUM_SHOWN = 5
"""Cases that a message names."""
_PART = re.compile(r"run_part([0-9]{1,6})\.json")


class _CaseId:
    """A case id as `raw_dataset` allows it: paths are made of it."""

    def fault(self, value: str) -> str | None:
        return None if CASE_PATTERN.fullmatch(value) and ".." not in value else "must be a case id"


_Parts = Annotated[int, Between(1, 1_000_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionRun:
    """Content of `detections/run.json`."""

    schema_version: int
    """1."""
    part: int | None
    """Number of the part, from 0; null where the cases are not split."""
    num_parts: _Parts
    """Parts that the cases are split into."""
    cases: tuple[Annotated[str, _CaseId()], ...]
    """Cases that were asked for."""
    finished: bool
    """Whether the run came to its end; what failed stands in the status table."""


def start_run(output: Path, cases: Sequence[str], *, part: int | None, num_parts: int, resume: bool) -> PredictionRun:
    """Write that a run has begun, before its first case; returns the state that `finish_run` takes.

    With `resume`, cases of the run before it stay asked for until they are predicted. Files of other numbers of parts
    are forgotten.
    """
    path = output / DETECTIONS / _file_name(part)
    left = [case for case in _earlier(path) if case not in cases and not _is_done(output, case)] if resume else []
    for other in _run_files(output):
        if (part is None) != (other.name == RUN_JSON) or (part is not None and _num_parts(other) != num_parts):
            other.unlink(missing_ok=True)
    run = PredictionRun(
        schema_version=SCHEMA_VERSION, part=part, num_parts=num_parts, cases=(*cases, *left), finished=False
    )
    write_json(path, to_document(run))
    return run


def finish_run(output: Path, run: PredictionRun, cases: Sequence[str]) -> None:
    """Write that a run has done its `cases`; others that an earlier run left undone keep it unfinished."""
    finished = set(run.cases) <= set(cases)
    write_json(output / DETECTIONS / _file_name(run.part), {**to_document(run), "finished": finished})


def unfinished(*folders: Path) -> str | None:
    """What folders of predictions lack of what was asked for, in one line; None: nothing that is known of."""
    return "; ".join(fault for folder in folders for fault in _faults(folder)) or None


def _faults(folder: Path) -> list[str]:
    files = _run_files(folder)
    try:
        runs = [read_document(path, PredictionRun, remedy=REMEDY) for path in files]
    except UserError as error:
        return [f"it is not known whether {folder} is finished: {error}"]
    if not runs:
        return []
    asked = [case for run in runs for case in run.cases]
    missing = [case for run in runs if not run.finished for case in run.cases if not _is_done(folder, case)]
    faults = []
    if not all(run.finished for run in runs):
        named = f" (missing: {_some(missing)})" if missing else ""
        faults.append(f"{folder} is unfinished: {len(asked) - len(missing)} of {len(asked)} cases{named}. {REMEDY}")
    num_parts = max(run.num_parts for run in runs)
    absent = num_parts - len(runs)
    if absent > 0:
        numbers = {run.part for run in runs}
        first = next(number for number in range(num_parts) if number not in numbers)
        faults.append(f"{folder} lacks {absent} of {num_parts} parts, such as -part_id {first}")
    return faults


def _some(cases: Sequence[str]) -> str:
    rest = f" and {len(cases) - NUM_SHOWN} more" if len(cases) > NUM_SHOWN else ""
    return ", ".join(cases[:NUM_SHOWN]) + rest


def _is_done(folder: Path, case: str) -> bool:
    return (folder / DETECTIONS / f"{case}{BOXES_ENDING}").is_file()


def _earlier(path: Path) -> tuple[str, ...]:
    try:
        return read_document(path, PredictionRun, remedy=REMEDY).cases if path.is_file() else ()
    except DataError:  # a state that cannot be read is made anew
        return ()


def _num_parts(path: Path) -> int | None:
    try:
        return read_document(path, PredictionRun, remedy=REMEDY).num_parts
    except DataError:
        return None


def _run_files(folder: Path) -> list[Path]:
    files = sorted((folder / DETECTIONS).glob("run*.json"))
    return [path for path in files if path.name == RUN_JSON or _PART.fullmatch(path.name)]


def _file_name(part: int | None) -> str:
    return RUN_JSON if part is None else f"run_part{part}.json"
