"""TotalSegmentator as a program beside ours: found, checked, and run once per scan in a process of its own.

It changes the environment of the process it runs in, downloads weights that are missing, and by default reports each
run to a server. So it is never imported, it only starts when its weights are there, and its home folder is one whose
settings send nothing. `fast` (3 mm) without a subset of organs needs a single model, and a subset would cut organs off.
Read in TotalSegmentator 2.18: folder of the weights, settings, flags, table of labels in the header.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnanomaly.paths import TotalSegmentatorPaths
from nnanomaly.utilities.child_processes import run_child
from nnanomaly.utilities.errors import ConfigurationError, DataError, EnvironmentFault
from nnanomaly.utilities.json_io import read_json, write_json

PROGRAM = "TotalSegmentator"
MODEL = "Dataset297_TotalSegmentator_total_3mm_1559subj"
CONFIG_JSON = "config.json"
QUIET = {
    "totalseg_id": "totalseg_nnanomaly",
    "send_usage_stats": False,
    "prediction_counter": 0,
    "statistics_disclaimer_shown": True,
}
LAST_LINES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalSegmentator:
    """An installation that is ready to run."""

    program: Path
    """The command."""
    folders: TotalSegmentatorPaths
    """Its weights, and its home if the user set one."""


def find_totalsegmentator(folders: TotalSegmentatorPaths) -> TotalSegmentator:
    """The installation beside this Python, else the one on the search path; nothing is started.

    Raises `EnvironmentFault`: ENV-TOTALSEG (not installed), ENV-TOTALSEG-WEIGHTS (its model is not there).
    """
    program = shutil.which(PROGRAM, path=str(Path(sys.executable).parent)) or shutil.which(PROGRAM)
    if program is None:
        raise EnvironmentFault(
            "ENV-TOTALSEG",
            f"{PROGRAM} is not installed. In the folder of nnanomaly, type: pip install -c constraints.txt "
            '".[totalseg]" -- or put organ masks of another origin beside the images (organMasksTr, organMasksTs).',
        )
    model = folders.weights / MODEL
    if not any(model.glob("*/fold_*/checkpoint_final.pth")):
        raise EnvironmentFault(
            "ENV-TOTALSEG-WEIGHTS",
            f"the weights of {PROGRAM} are not in {model}. Run totalseg_download_weights -t total_fast on a machine "
            "with internet and copy the folder there (or name another with TOTALSEG_HOME_DIR), or put organ masks of "
            "another origin beside the images.",
        )
    return TotalSegmentator(program=Path(program), folders=folders)


def command_line(program: Path, image: Path, target: Path, *, device: str | None) -> list[str]:
    """The command that writes one label map of all structures of a scan to `target`.

    `device` is ours (cuda, cuda:N, cpu, mps); None leaves the choice to the program.
    """
    chosen = [] if device is None else ["--device", _their_device(device)]
    return [str(program), "-i", str(image), "-o", str(target), "--ml", "--fast", "--quiet", *chosen]


def segment(installed: TotalSegmentator, image: Path, target: Path, *, device: str | None) -> None:
    """Let it write the label map of a scan; `DataError` (ROI-SEGMENTATION) with its last lines when it fails."""
    with _quiet_home(installed.folders.home) as home:
        result = run_child(
            command_line(installed.program, image.resolve(), target, device=device),
            env=installed.folders.environment(home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            errors="replace",
        )
    if result.returncode != 0 or not target.is_file():
        lines = (result.stderr.strip() or result.stdout.strip()).splitlines()[-LAST_LINES:]
        ending = f"signal {-result.returncode}" if result.returncode < 0 else f"status {result.returncode}"
        raise DataError(
            "ROI-SEGMENTATION",
            f"{PROGRAM} ended with {ending} on {image} and left no label map. Its last lines: {' / '.join(lines)}",
        )


def _their_device(device: str) -> str:
    kind, _, number = device.partition(":")
    names = {"cuda": "gpu", "cpu": "cpu", "mps": "mps"}
    if kind not in names or (number and not (kind == "cuda" and number.isdecimal())):
        raise ConfigurationError("CFG-DEVICE", f"-device {device}: {PROGRAM} runs on cuda, cuda:N, mps or cpu")
    return names[kind] + (f":{number}" if number else "")


@contextmanager
def _quiet_home(own: Path | None) -> Iterator[Path]:
    """A home folder whose settings send nothing: the user's where it says so, else one for this run alone."""
    if own is not None and _settings(own).get("send_usage_stats") is False:
        yield own
        return
    with tempfile.TemporaryDirectory(prefix="nnanomaly-totalseg-") as folder:
        write_json(Path(folder) / CONFIG_JSON, QUIET)
        yield Path(folder)


def _settings(home: Path) -> dict[str, Any]:
    path = home / CONFIG_JSON
    document = read_json(path) if path.is_file() else {}
    return document if isinstance(document, dict) else {}
