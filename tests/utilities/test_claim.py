"""A folder is one process's at a time, and nobody's when that process is gone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nnanomaly.utilities.claim import CLAIM, claimed, remove_stale_claim
from nnanomaly.utilities.errors import EnvironmentFault


def test_a_second_claim_names_the_first_and_leaves_it(tmp_path: Path) -> None:
    folder = tmp_path / "fold_0"
    folder.mkdir()
    with claimed(folder):
        with pytest.raises(EnvironmentFault, match=rf"ENV-BUSY.*fold_0 is in use by process {os.getpid()} on"):
            with claimed(folder):
                pass
        assert len(list(folder.iterdir())) == 1
    assert list(folder.iterdir()) == []


def test_folders_that_were_made_for_nothing_are_gone_and_others_stay(tmp_path: Path) -> None:
    with pytest.raises(KeyError), claimed(tmp_path / "stage" / "fold_0"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with claimed(tmp_path / "stage" / "fold_0"):
        (tmp_path / "stage" / "plans.json").write_text("{}")
    assert [path.name for path in (tmp_path / "stage").iterdir()] == ["plans.json"]


def test_an_error_within_ends_the_claim(tmp_path: Path) -> None:
    with pytest.raises(KeyError), claimed(tmp_path):
        raise KeyError
    with claimed(tmp_path):
        pass


def test_a_claim_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from nnanomaly.utilities.claim import claimed
with claimed(Path({str(tmp_path)!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    root = str(Path(__file__).resolve().parents[2])
    process = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root}, check=False)
    assert process.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    with claimed(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_stale_claim_is_removed_and_one_that_is_held_stays(tmp_path: Path) -> None:
    (tmp_path / CLAIM).write_text("process 1 on nowhere")
    remove_stale_claim(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with claimed(tmp_path):
        remove_stale_claim(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [CLAIM]
    remove_stale_claim(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_a_claim_that_is_a_link_to_nowhere_is_an_error_and_not_tried_for_ever(tmp_path: Path) -> None:
    (tmp_path / CLAIM).symlink_to(tmp_path / "gone" / "file")
    with pytest.raises(FileNotFoundError), claimed(tmp_path):
        pass
