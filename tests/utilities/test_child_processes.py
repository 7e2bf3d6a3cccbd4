"""Children end with their parent, and Ctrl-C leaves no traceback of theirs; with real signals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUN_CASES = """
import sys, time
from nnanomaly.utilities.case_runner import run_cases
if __name__ == "__main__":
    run_cases(time.sleep, [0, 0, 120, 120], num_processes=2, progress=lambda done, total: print(done, flush=True))
"""
RUN_CHILD = """
import sys
from nnanomaly.utilities.child_processes import run_child
run_child([sys.executable, "-c", "import time; print('2', flush=True); time.sleep(120)"])
"""


def started(code: str) -> subprocess.Popen[str]:
    """A process in a group of its own, once its children are at work."""
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=variables,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == "2":
            break
    time.sleep(0.2)
    return process


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread of the child waits")
@pytest.mark.parametrize("code", [RUN_CASES, RUN_CHILD], ids=["workers", "program"])
def test_children_of_a_killed_process_end_and_hold_no_pipe(code: str) -> None:
    process = started(code)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)  # comes back when the last holder of the pipes is gone
    assert process.returncode == -signal.SIGKILL


def test_ctrl_c_ends_workers_at_once_and_their_tracebacks_are_not_shown() -> None:
    process = started(RUN_CASES)
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert time.monotonic() - start < 20
    assert errors.count("Traceback") == 1  # of this process, which runs no command
    assert "SpawnProcess" not in errors
    assert errors.strip().endswith("KeyboardInterrupt")
