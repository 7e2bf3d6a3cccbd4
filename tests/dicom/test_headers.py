"""Headers from outside: read, or not, but never an exception, nor more memory than the file has bytes."""

import resource
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnanomaly.dicom.convert_stack import StackTask, convert_stack
from nnanomaly.dicom.folder_files import DICOM, kind_of_file
from nnanomaly.dicom.headers import SliceHeader, read_header
from nnanomaly.dicom.limits import bounded
from nnanomaly.dicom.report import SKIPPED, TAKEN
from nnanomaly.dicom.series import find_stacks
from nnanomaly.utilities.case_faults import KILLED, CaseFault
from nnanomaly.utilities.case_runner import run_isolated

NUM_PATCHED_HEADERS = 500
PIXEL_DATA = b"\xe0\x7f\x10\x00"


@pytest.fixture
def slice_file(tmp_path: Path, new_series: Callable[..., Any]) -> Path:
    return Path(new_series().write(tmp_path / "whole")[0])


def test_a_header_holds_geometry_and_encoding_and_nothing_that_names_the_patient(
    slice_file: Path, planted: tuple[str, ...]
) -> None:
    header = read_header(slice_file)
    assert header is not None
    assert header.position_mm == (-30.5, 20.25, -700.0)
    assert header.pixel_spacing_mm == (0.8, 0.7)
    assert header.rescale == (1.0, -1024.0)
    assert header.shape == (12, 10)
    held = {field.name: str(getattr(header, field.name)) for field in fields(SliceHeader)}
    assert held.pop("patient") == "MRN-4711-0815"  # the key of grouping
    assert not [secret for secret in planted for value in held.values() if secret in value]


def test_what_is_no_dicom_is_told_apart(tmp_path: Path, slice_file: Path) -> None:
    assert kind_of_file(slice_file) == DICOM
    for name, content in (("empty", b""), ("text", b"x" * 200), ("DICOMDIR", slice_file.read_bytes())):
        (tmp_path / name).write_bytes(content)
        assert kind_of_file(tmp_path / name) != DICOM


def test_any_500_patches_of_a_header_give_a_header_or_none(tmp_path: Path, slice_file: Path) -> None:
    good, rng, path = slice_file.read_bytes(), np.random.default_rng(0), tmp_path / "patched"
    num_read, slowest = 0, 0.0
    for _ in range(NUM_PATCHED_HEADERS):
        patched = np.frombuffer(good, np.uint8).copy()
        places = rng.integers(132, 2048, rng.integers(1, 9)) % len(good)
        patched[places] = rng.integers(0, 256, places.size)
        path.write_bytes(patched.tobytes())
        start = time.process_time()  # the machine may be busy
        num_read += read_header(path) is not None
        slowest = max(slowest, time.process_time() - start)
    assert 0 < num_read < NUM_PATCHED_HEADERS
    assert slowest < 1


def test_a_value_that_claims_4_gb_takes_no_memory(tmp_path: Path, slice_file: Path) -> None:
    good = slice_file.read_bytes()
    place = good.index(PIXEL_DATA)
    path = tmp_path / "huge"
    path.write_bytes(good[: place + 8] + b"\xfe\xff\xff\xff" + good[place + 12 :])
    uid = good.index(b"\x08\x00\x16\x00")
    (tmp_path / "huge_uid").write_bytes(good[:uid] + b"\x08\x00\x16\x00UN\0\0\xf0\xff\xff\xff" + good[uid + 8 :])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_header(path) is not None
    read_header(tmp_path / "huge_uid")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_damaged_files_of_a_series_end_in_its_outcome(tmp_path: Path, new_series: Callable[..., Any]) -> None:
    rng, tasks = np.random.default_rng(0), []
    for number in range(12):
        paths = new_series(name=str(number)).write(tmp_path / str(number))
        content = np.frombuffer(paths[5].read_bytes(), np.uint8).copy()
        places = rng.integers(132, content.size, 2)
        content[places] = rng.integers(0, 256, places.size)
        paths[5].write_bytes(content.tobytes())
        headers = [header for header in map(read_header, paths) if header is not None]
        stack = max(find_stacks(headers, {}), key=lambda stack: len(stack.headers))
        tasks.append(StackTask(stack=stack, images=tmp_path / "out", correct_tilt=False))
    outcomes = run_isolated(convert_stack, tasks, num_processes=1)
    assert not [outcome for outcome in outcomes if isinstance(outcome, CaseFault)]
    assert {outcome.status for outcome in outcomes} == {TAKEN, SKIPPED}


def test_a_worker_that_hangs_is_ended_and_one_that_takes_too_much_memory_fails() -> None:
    assert run_isolated(_work, [1 << 20, 1 << 30, HANG], num_processes=1) == ["allocated", "refused", KILLED]


HANG = 0


def _work(num_bytes: int) -> str:
    with bounded(extra_bytes=1 << 28, seconds=0.5 if num_bytes == HANG else 60):
        try:
            np.ones(num_bytes, np.uint8)
        except MemoryError:
            return "refused"
        if num_bytes == HANG:
            time.sleep(60)
    return "allocated"
