"""Several folders or files that take the place of others as one: all of them, or none, whatever ends the process.

What is to happen is written down first, in a journal beside them. Then the old ones are moved aside and the new ones
into their places, each by one rename. Where a rename is refused, everything goes back. A process that was killed leaves
the journal, and whoever comes next finishes what it says.
"""

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nnanomaly.utilities.claim import CLAIM, claimed
from nnanomaly.utilities.errors import EnvironmentFault, IntegrityError
from nnanomaly.utilities.files import refuse_existing
from nnanomaly.utilities.json_io import from_document, read_json, to_document, write_json

JOURNAL = ".replacing.json"
WORK, NEW, OLD = ".replacing", "new", "old"
OURS = (JOURNAL, WORK, CLAIM)
"""What may lie in a folder whose content was being replaced when its process was killed."""
WAIT_SECONDS = 20.0
"""How long one waits for another process that renames; renames take milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One place that gets another content; paths are relative to the folder of the journal, with `/`."""

    target: str
    """The place; nothing needs to be there."""
    source: str | None
    """What comes there; None = nothing does."""
    kept: str
    """Where the old content goes; nothing may be there before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """Content of the journal."""

    moves: tuple[Move, ...]
    """In the order in which old content is moved aside."""


@contextlib.contextmanager
def one_at_a_time(root: Path) -> Iterator[None]:
    """Hold `root` against other processes that replace in it, and wait for them; ENV-BUSY where that takes long."""
    with contextlib.ExitStack() as stack:
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                stack.enter_context(claimed(root))
                break
            except EnvironmentFault:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield


@contextlib.contextmanager
def replaced_as_one(folder: Path, *, gone: Sequence[str] = ()) -> Iterator[Path]:
    """An empty folder to be filled; in the end its files take the places of those in `folder`, all of them or none.

    Until then `folder` is what it was, and so it stays where the block ends by an exception. `gone`: files that are
    taken away then. All others stay. Raises EnvironmentFault (ENV-BUSY, ENV-REPLACE), and DataError (IO-TAKEN) where a
    folder has the name of a file.
    """
    is_new, work = not folder.exists(), folder / WORK
    try:
        with one_at_a_time(folder):
            finish_held(folder)
            shutil.rmtree(work, ignore_errors=True)  # of a process that was killed
            (work / NEW).mkdir(parents=True)
            try:
                yield work / NEW
                _take_places(folder, gone)
            finally:
                if not (folder / JOURNAL).exists():
                    shutil.rmtree(work, ignore_errors=True)
    finally:
        if is_new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _take_places(folder: Path, gone: Sequence[str]) -> None:
    filled = folder / WORK / NEW
    files = sorted(path.relative_to(filled).as_posix() for path in filled.rglob("*") if path.is_file())
    for name in files:
        if (folder / name).is_dir():
            refuse_existing(folder / name, Path(name))
    left = [name for name in dict.fromkeys(gone) if name not in files and _is_there(folder / name)]
    moves = [Move(target=name, source=f"{WORK}/{NEW}/{name}", kept=f"{WORK}/{OLD}/{name}") for name in files]
    moves += [Move(target=name, source=None, kept=f"{WORK}/{OLD}/{name}") for name in left]
    try:
        replace_together(folder, moves)
    except KeyboardInterrupt:  # renames take milliseconds: they are brought to their end first
        finish_held(folder)
        raise


def replace_together(root: Path, moves: Sequence[Move]) -> None:
    """Carry out all moves in `root`, which the caller holds (`one_at_a_time`), or none of them.

    Raises EnvironmentFault (ENV-REPLACE) for a rename that is refused; everything is then where it was.
    """
    journal = root / JOURNAL
    write_json(journal, to_document(Journal(moves=tuple(moves))))
    _carry_out_or_take_back(root, moves)
    journal.unlink()


def finish_replacements(root: Path) -> None:
    """Finish what a killed process began in `root`; nothing where there is nothing to finish."""
    if not (root / JOURNAL).is_file():
        return
    with one_at_a_time(root):
        finish_held(root)


def finish_held(root: Path) -> None:
    """The same for a caller that holds `root`."""
    journal = root / JOURNAL
    if not journal.is_file():  # its owner was only slow
        return
    moves = from_document(Journal, read_json(journal), source=str(journal)).moves
    for path in (path for move in moves for path in (move.target, move.source, move.kept) if path is not None):
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise IntegrityError("JOURNAL", f"{journal} names {path!r}, outside of its folder. Look at it, delete it.")
    _carry_out_or_take_back(root, moves)
    journal.unlink()


def _carry_out_or_take_back(root: Path, moves: Sequence[Move]) -> None:
    try:
        _carry_out(root, moves)
    except OSError as error:
        _take_back(root, moves)
        (root / JOURNAL).unlink()
        raise EnvironmentFault(
            "ENV-REPLACE",
            f"{error.filename} cannot be moved ({error.strerror}): everything in {root} is as it was. Mend the owner "
            "or the permissions of that folder, then type the command again.",
        ) from error


def _carry_out(root: Path, moves: Sequence[Move]) -> None:
    """Do what is not done yet: an old content that lies where it is kept, and a new one that is gone, are done."""
    for move in moves:
        waits = move.source is None or _is_there(root / move.source)
        if waits and _is_there(root / move.target) and not _is_there(root / move.kept):
            _rename(root / move.target, root / move.kept)
    for move in moves:
        if move.source is not None and _is_there(root / move.source):
            _rename(root / move.source, root / move.target)


def _take_back(root: Path, moves: Sequence[Move]) -> None:
    """The way back, from any moment of the way there."""
    for move in reversed(moves):
        if move.source is not None and not _is_there(root / move.source) and _is_there(root / move.target):
            _rename(root / move.target, root / move.source)
    for move in reversed(moves):
        if _is_there(root / move.kept) and not _is_there(root / move.target):
            _rename(root / move.kept, root / move.target)


def _rename(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)


def _is_there(path: Path) -> bool:
    return path.exists() or path.is_symlink()
