"""What of this machine matters to nnanomaly: versions, folders, memory, disk, extras, TotalSegmentator, devices.

Each check reports what it found and how bad that is. Only the check of the devices imports torch; it comes last.
"""

import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from nnanomaly import __version__
from nnanomaly.paths import (
    RAW,
    TotalSegmentatorPaths,
    folder_settings,
    number_of_workers_from_env,
    threads_from_env,
)
from nnanomaly.roi.totalsegmentator import find_totalsegmentator
from nnanomaly.utilities.errors import UserError
from nnanomaly.utilities.memory import available_memory_bytes

OK, NOTE, WARNING, FAULT = "ok", "note", "warning", "fault"
GB = 1000**3
LITTLE_MEMORY_GB, LITTLE_DISK_GB = 8.0, 10.0
PACKAGE = "nnanomaly"
EXTRA_PATTERN = re.compile(r"""extra\s*==\s*["']([\w-]+)["']""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What one check found."""

    topic: str
    """versions, folders, machine, extras, totalsegmentator or devices."""
    name: str
    """What was looked at."""
    state: str
    """`ok`, `note` (nothing to mend), `warning` (may hurt), or `fault` (must be mended; exit status 5)."""
    text: str
    """What was found, and the remedy."""


def diagnose(*, devices: bool) -> Iterator[Checked]:
    """All findings, as they come; with `devices` those that need torch, at the end."""
    checks: list[Callable[[], Iterator[Checked]]] = [
        check_versions,
        check_folders,
        check_machine,
        check_extras,
        check_totalsegmentator,
    ]
    for check in [*checks, check_devices] if devices else checks:
        yield from check()


def check_versions() -> Iterator[Checked]:
    """Python, nnanomaly, and every package that it needs."""
    yield Checked(
        topic="versions", name="python", state=OK, text=f"{platform.python_version()} on {platform.platform()}"
    )
    yield Checked(topic="versions", name=PACKAGE, state=OK, text=__version__)
    for requirement in _requirements(extra=None):
        found = _installed(requirement)
        good = found is not None and requirement.specifier.contains(found, prereleases=True)
        remedy = "" if good else f"; {_as_typed(requirement)} is needed: pip install '{_as_typed(requirement)}'"
        state = OK if good else FAULT
        yield Checked(topic="versions", name=requirement.name, state=state, text=f"{found or 'not installed'}{remedy}")


def check_folders() -> Iterator[Checked]:
    """The three folder variables: set, there, writable, with room."""
    for variable, value in folder_settings().items():
        state, text = _judge_folder(variable, value)
        yield Checked(topic="folders", name=variable, state=state, text=text)


def _judge_folder(variable: str, value: str | None) -> tuple[str, str]:
    if value is None:
        return WARNING, f"not set. Type: export {variable}=/a/folder"
    folder = Path(value)
    if folder.exists() and not folder.is_dir():
        return FAULT, f"{folder} is not a folder. Set it to one."
    existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    if variable == RAW and existing != folder:
        return FAULT, f"{folder} does not exist. Make it, or set {variable} to the folder of your datasets."
    writable = _can_write(existing)
    free_gb = shutil.disk_usage(existing).free / GB
    text = f"{folder}{'' if existing == folder else ' (does not exist yet)'}, {free_gb:.1f} GB free"
    if not writable:
        # Raw data are only read, and may well lie on a disk that cannot be written.
        return (NOTE if variable == RAW else FAULT), f"{text}; it cannot be written"
    if free_gb < LITTLE_DISK_GB:
        return WARNING, f"{text}: less than {LITTLE_DISK_GB:g} GB. Make room."
    return OK, text


def _can_write(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def check_machine() -> Iterator[Checked]:
    """Memory, cores, and whether workers times threads are more than the cores."""
    memory_gb = available_memory_bytes() / GB
    state = OK if memory_gb >= LITTLE_MEMORY_GB else WARNING
    advice = "" if state == OK else f": less than {LITTLE_MEMORY_GB:g} GB. Use -np 1 and -npp 0."
    yield Checked(topic="machine", name="memory", state=state, text=f"{memory_gb:.1f} GB available{advice}")
    cores = os.cpu_count() or 1
    yield Checked(topic="machine", name="cores", state=OK, text=str(cores))
    try:
        workers, threads = number_of_workers_from_env(), threads_from_env()
    except UserError as error:
        yield Checked(topic="machine", name="workers", state=FAULT, text=str(error))
        return
    if workers is not None and workers * (threads or 1) > cores:
        yield Checked(
            topic="machine",
            name="workers",
            state=WARNING,
            text=f"nnanomaly_def_n_proc={workers} with OMP_NUM_THREADS={threads or 'not set'} asks for more than the "
            f"{cores} cores. Set nnanomaly_def_n_proc lower.",
        )


def check_extras() -> Iterator[Checked]:
    """Which of the optional packages are complete."""
    for extra in sorted(_extras()):
        missing = [_as_typed(item) for item in _requirements(extra=extra) if _installed(item) is None]
        text = "complete" if not missing else f"lacks {', '.join(missing)}: pip install -c constraints.txt '.[{extra}]'"
        yield Checked(topic="extras", name=extra, state=NOTE if missing else OK, text=text)


def check_totalsegmentator() -> Iterator[Checked]:
    """Whether organ masks can be made here."""
    name = "TotalSegmentator"
    try:
        installed = find_totalsegmentator(TotalSegmentatorPaths.from_env())
    except UserError as error:
        state = NOTE if error.code == "ENV-TOTALSEG" else WARNING
        yield Checked(topic="totalsegmentator", name=name, state=state, text=str(error))
        return
    text = f"{installed.program}, weights in {installed.folders.weights}"
    yield Checked(topic="totalsegmentator", name=name, state=OK, text=text)


def check_devices() -> Iterator[Checked]:
    """What torch can compute on; says how long torch took to import."""
    start = time.monotonic()
    try:
        import torch
    except (ImportError, OSError) as error:
        yield Checked(topic="devices", name="torch", state=FAULT, text=f"cannot be imported: {error}. Install it anew.")
        return
    seconds = time.monotonic() - start
    yield Checked(topic="devices", name="torch", state=OK, text=f"{torch.__version__}, imported in {seconds:.1f} s")
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        text = f"{torch.cuda.get_device_name(index)}, {free / GB:.1f} of {total / GB:.1f} GB free"
        yield Checked(topic="devices", name=f"cuda:{index}", state=OK, text=text)
    if torch.backends.mps.is_available():
        yield Checked(topic="devices", name="mps", state=OK, text="available")
    if not torch.cuda.is_available():
        text = f"{torch.get_num_threads()} threads; no CUDA device: training takes long"
        yield Checked(topic="devices", name="cpu", state=NOTE, text=text)


def _requirements(*, extra: str | None) -> list[Requirement]:
    """What the installed package asks for, or one of its extras."""
    environment = {"extra": extra or ""}
    found = [Requirement(line) for line in _declared() if bool(EXTRA_PATTERN.search(line)) == (extra is not None)]
    return [item for item in found if item.marker is None or item.marker.evaluate(environment)]


def _as_typed(requirement: Requirement) -> str:
    """A requirement without its marker."""
    return f"{requirement.name}{requirement.specifier}"


def _extras() -> set[str]:
    return {match[1] for line in _declared() if (match := EXTRA_PATTERN.search(line))}


def _declared() -> list[str]:
    try:
        return metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return []


def _installed(requirement: Requirement) -> str | None:
    try:
        return metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return None
