"""Links where the file system has them, copies elsewhere; hashes of whole files."""

import hashlib
import os
from pathlib import Path

import pytest

from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.utilities.files import (
    BLOCK_BYTES,
    copy_atomically,
    file_hash,
    link_or_copy,
    refuse_link,
    refuse_within,
    write_text,
)


def test_the_same_file_appears_under_another_name_and_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    link_or_copy(tmp_path / "link", tmp_path / "new" / "name")
    assert (tmp_path / "new" / "name").samefile(tmp_path / "file")


def test_a_copy_serves_where_links_are_impossible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("another device")

    (tmp_path / "file").write_text("content")
    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(tmp_path / "file", tmp_path / "new" / "name")
    assert (tmp_path / "new" / "name").read_text() == "content"
    assert not (tmp_path / "new" / "name").samefile(tmp_path / "file")


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("kind", ["hard link", "link", "link to nothing", "folder"])
def test_what_is_there_is_never_written_over(
    kind: str, links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, target = tmp_path / "first", tmp_path / "second", tmp_path / "target"
    first.write_text("first")
    second.write_text("second")
    if kind == "folder":
        target.mkdir()
    elif kind == "hard link":
        os.link(first, target)
    else:
        target.symlink_to(first if kind == "link" else tmp_path / "nothing")
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError("no links")))
    with pytest.raises(DataError, match="IO-TAKEN.*target is there already.*second"):
        link_or_copy(second, target)
    assert (first.read_text(), second.read_text()) == ("first", "second")
    assert not (tmp_path / "nothing").exists()


def test_nothing_is_written_through_a_link_below_a_folder(tmp_path: Path) -> None:
    (tmp_path / "others" / "deep").mkdir(parents=True)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "case").symlink_to(tmp_path / "others")
    (tmp_path / "root").symlink_to(tmp_path / "own")
    refuse_link(tmp_path / "root", "new")  # that the folder itself is a link is the user's choice
    for name in ("case", "case/deep"):
        with pytest.raises(DataError, match="IO-LINK.*case is a link to .*others"):
            refuse_link(tmp_path / "root", name)


def test_an_output_within_its_source_is_refused_also_behind_links(tmp_path: Path) -> None:
    (tmp_path / "source" / "folder").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "source" / "folder")
    refuse_within(tmp_path / "sourcebeside", tmp_path / "source")
    refuse_within(tmp_path, tmp_path / "source")
    for output in ("source", "source/new", "link", "link/new", "source/../source"):
        with pytest.raises(ConfigurationError, match="CFG-OUTPUT.*which is read"):
            refuse_within(tmp_path / output, tmp_path / "source")


@pytest.mark.parametrize("size", [0, 5, BLOCK_BYTES, 2 * BLOCK_BYTES + 1])
def test_the_hash_is_that_of_the_whole_content(tmp_path: Path, size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "file").write_bytes(content[:size])
    assert file_hash(tmp_path / "file") == hashlib.sha256(content[:size]).hexdigest()


def test_a_copy_that_is_stopped_leaves_the_file_before_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "new", tmp_path / "folder" / "old"
    target.parent.mkdir()
    source.write_text("new", encoding="utf-8")
    target.write_text("old", encoding="utf-8")

    def full(_source: Path, temporary: Path) -> None:
        temporary.write_text("n", encoding="utf-8")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nnanomaly.utilities.files.shutil.copyfile", full)
    with pytest.raises(OSError, match="No space"):
        copy_atomically(source, target)
    assert [path.name for path in target.parent.iterdir()] == ["old"]
    assert target.read_text(encoding="utf-8") == "old"


def test_writing_to_a_link_leaves_what_it_points_to(tmp_path: Path) -> None:
    kept, link = tmp_path / "kept", tmp_path / "link"
    kept.write_text("kept", encoding="utf-8")
    link.symlink_to(kept)
    write_text(link, "new")
    assert kept.read_text(encoding="utf-8") == "kept"
    assert link.read_text(encoding="utf-8") == "new" and not link.is_symlink()
