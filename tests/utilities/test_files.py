"""Links where the file system has them, copies elsewhere; hashes of whole files."""

import hashlib
import os
from pathlib import Path

import pytest

from nnanomaly.utilities.files import BLOCK_BYTES, file_hash, link_or_copy


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
