"""Several places change their content as one: at every moment the old content or the new one can be had whole."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nnanomaly.utilities import replacement
from nnanomaly.utilities.errors import DataError, EnvironmentFault, IntegrityError
from nnanomaly.utilities.replacement import (
    JOURNAL,
    WORK,
    Move,
    finish_replacements,
    replace_together,
    replaced_as_one,
)

MOVES = (
    Move(target="a", source="new/a", kept="old/a"),
    Move(target="b", source="new/b", kept="old/b"),
    Move(target="gone", source=None, kept="old/gone"),
    Move(target="first", source="new/first", kept="old/first"),
)
BEFORE = {"a/x": "old a", "b/x": "old b", "gone/x": "old"}
NEW = {"new/a/x": "new a", "new/b/x": "new b", "new/first/x": "new"}
AFTER = {"a/x": "new a", "b/x": "new b", "first/x": "new", "old/a/x": "old a", "old/b/x": "old b", "old/gone/x": "old"}
NUM_RENAMES = 6


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in {**BEFORE, **NEW}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def content(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}


class Killed(BaseException):
    """What no handler catches, as SIGKILL."""


def failing(count: int, error: BaseException) -> Callable[[Path, Path], None]:
    """A rename that ends with an error instead of the n-th rename; later ones work."""
    left, rename = [count], replacement._rename

    def fail(source: Path, target: Path) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise error
        rename(source, target)

    return fail


def test_all_places_change_and_what_was_there_is_kept(root: Path) -> None:
    replace_together(root, MOVES)
    assert content(root) == AFTER


@pytest.mark.parametrize("count", range(1, NUM_RENAMES + 1))
def test_a_rename_that_is_refused_puts_everything_back(root: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(replacement, "_rename", failing(count, PermissionError(13, "Permission denied", "/a/folder")))
    with pytest.raises(EnvironmentFault, match="ENV-REPLACE.*/a/folder cannot be moved .Permission denied."):
        replace_together(root, MOVES)
    assert content(root) == {**BEFORE, **NEW}


@pytest.mark.parametrize("count", range(1, NUM_RENAMES + 1))
def test_who_comes_after_a_kill_finishes_what_was_begun(
    root: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(replacement, "_rename", failing(count, Killed()))
        with pytest.raises(Killed):
            replace_together(root, MOVES)
    finish_replacements(root)
    assert content(root) == AFTER
    finish_replacements(root)
    assert content(root) == AFTER


def test_nothing_is_written_where_nothing_was_begun(root: Path) -> None:
    finish_replacements(root)
    finish_replacements(root / "nowhere")
    assert content(root) == {**BEFORE, **NEW}


@pytest.mark.parametrize("path", ["../outside", "/etc"])
def test_a_list_of_renames_that_leads_outside_is_refused(root: Path, path: str) -> None:
    moves = [{"target": path, "source": None, "kept": "old/a"}]
    (root / JOURNAL).write_text(json.dumps({"moves": moves}))
    with pytest.raises(IntegrityError, match="JOURNAL"):
        finish_replacements(root)
    assert (root / JOURNAL).is_file()


OLDER = {"a": "old a", "in/b": "old b", "gone": "old", "mine": "precious"}
NEWER = {"a": "new a", "in/b": "new b", "first": "new"}
NUM_RENAMES_OF_FILES = 6


def fill(folder: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def replace_files(folder: Path) -> None:
    with replaced_as_one(folder, gone=["gone", "never"]) as new:
        fill(new, NEWER)


def test_files_take_the_places_of_older_ones_and_those_of_others_stay(tmp_path: Path) -> None:
    fill(tmp_path, OLDER)
    replace_files(tmp_path)
    assert content(tmp_path) == {**NEWER, "mine": "precious"}
    replace_files(tmp_path / "new")
    assert content(tmp_path / "new") == NEWER


def test_what_is_not_filled_to_its_end_changes_nothing(tmp_path: Path) -> None:
    fill(tmp_path / "old", OLDER)
    for folder in (tmp_path / "old", tmp_path / "new"):
        with pytest.raises(KeyboardInterrupt), replaced_as_one(folder, gone=["gone"]) as new:
            fill(new, NEWER)
            raise KeyboardInterrupt
    assert content(tmp_path) == {f"old/{name}": text for name, text in OLDER.items()}
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("count", range(1, NUM_RENAMES_OF_FILES + 1))
@pytest.mark.parametrize("error", [KeyboardInterrupt(), PermissionError(13, "Permission denied", "x"), Killed()])
def test_files_are_all_old_or_all_new_whatever_ends_the_renames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, error: BaseException
) -> None:
    fill(tmp_path, OLDER)
    with monkeypatch.context() as patched:
        patched.setattr(replacement, "_rename", failing(count, error))
        with pytest.raises(EnvironmentFault if isinstance(error, OSError) else type(error)):
            replace_files(tmp_path)
    if isinstance(error, Killed):
        assert (tmp_path / WORK).is_dir()
        finish_replacements(tmp_path)
        replace_files(tmp_path)
    whole = OLDER if isinstance(error, OSError) else {**NEWER, "mine": "precious"}
    assert content(tmp_path) == whole


def test_a_folder_that_has_the_name_of_a_file_is_refused_and_stays(tmp_path: Path) -> None:
    fill(tmp_path, {"a/b": "precious"})
    with pytest.raises(DataError, match="IO-TAKEN"):
        replace_files(tmp_path)
    assert content(tmp_path) == {"a/b": "precious"}
