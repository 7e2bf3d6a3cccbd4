"""Links where the file system has them, copies elsewhere; hashes of whole files."""

import hashlib
import os
from pathlib import Path

import pytest

from nnanomaly.utilities.files import BLOCK_BYTES, copy_atomically, file_hash, link_or_copy, write_text


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
