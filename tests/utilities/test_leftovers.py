"""Temporary files of dead processes go, those of living ones stay."""

import os
import subprocess
import sys
import time
from pathlib import Path

from nnanomaly.utilities.leftovers import remove_leftovers, temporary_folder, temporary_name


def test_a_temporary_file_lies_beside_its_file_is_hidden_and_has_its_ending(tmp_path: Path) -> None:
    name = temporary_name(tmp_path / "image.nii.gz")
    assert name.parent == tmp_path and name.name.startswith(".tmp-") and name.name.endswith("-image.nii.gz")


def test_leftovers_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    ours = temporary_name(tmp_path / "b.json")
    dead = ours.with_name(ours.name.replace(f"-{os.getpid()}-", f"-{process.pid}-"))
    elsewhere = tmp_path / f".tmp-other_host-{process.pid}-c.json"
    old = tmp_path / ".tmp-other_host-1-d.json"
    mine = tmp_path / ".tmp-notes"
    for path in (ours, dead, elsewhere, old, mine):
        path.write_text("half")
    os.utime(old, (time.time() - 90_000,) * 2)
    remove_leftovers(tmp_path, tmp_path / "no folder")
    assert sorted(tmp_path.iterdir()) == sorted([ours, elsewhere, mine])


def test_folders_of_dead_processes_go_with_all_they_hold(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    ours = temporary_name(tmp_path / "install")
    dead = ours.with_name(ours.name.replace(f"-{os.getpid()}-", f"-{process.pid}-"))
    former = [tmp_path / ".tmp-install-ab12cd34", tmp_path / f".tmp-{process.pid}-Dataset501_X"]
    young = tmp_path / ".tmp-install-zz12cd34"
    for folder in (dead, *former, young):
        folder.mkdir()
        (folder / "weights").write_text("much")
    for folder in former:
        os.utime(folder, (time.time() - 90_000,) * 2)
    target = tmp_path / "model"
    with temporary_folder(target) as work:
        assert sorted(tmp_path.iterdir()) == sorted([work, young])
        (work / "weights").write_text("much")
        work.rename(target)
    assert sorted(tmp_path.iterdir()) == sorted([target, young])
