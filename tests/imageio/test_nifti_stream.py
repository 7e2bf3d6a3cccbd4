"""Files that a reader accepts if it stops when it has enough bytes, and ours must not."""

import gzip
import tracemalloc
from pathlib import Path

import pytest

from nnanomaly.imageio.nifti import read_volume
from nnanomaly.imageio.nifti_stream import LARGEST_BLOCK, stream
from nnanomaly.utilities.errors import DataError, UserError


def _code(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_volume(path)
    return caught.value.code


def test_half_a_file_is_truncated(good_file: Path) -> None:
    content = good_file.read_bytes()
    good_file.write_bytes(content[: len(content) // 2])
    assert _code(good_file) == "IO-TRUNCATED"


def test_file_that_ends_in_its_header_is_truncated(good_file: Path) -> None:
    good_file.write_bytes(good_file.read_bytes()[:40])
    assert _code(good_file) == "IO-TRUNCATED"


@pytest.mark.parametrize("missing", [1, 6, 8])
def test_missing_check_sum_is_noticed(good_file: Path, missing: int) -> None:
    good_file.write_bytes(good_file.read_bytes()[:-missing])
    assert _code(good_file) == "IO-CRC"


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_flipped_byte_is_noticed(good_file: Path, place: float) -> None:
    content = bytearray(good_file.read_bytes())
    content[int(place * len(content))] ^= 0x10
    good_file.write_bytes(content)
    assert _code(good_file) in {"IO-CRC", "IO-TRUNCATED"}


def test_flipped_byte_that_still_decodes_is_caught_by_the_check_sum(good_file: Path) -> None:
    stored = bytearray(gzip.compress(gzip.decompress(good_file.read_bytes()), 0))  # level 0: the bytes as they are
    stored[1000] ^= 0x01
    good_file.write_bytes(stored)
    assert _code(good_file) == "IO-CRC"


def test_empty_file_text_folder_and_missing_file(tmp_path: Path) -> None:
    (tmp_path / "empty.nii.gz").write_bytes(b"")
    (tmp_path / "text.nii.gz").write_text("a letter\n" * 100, encoding="ascii")
    (tmp_path / "text_inside.nii.gz").write_bytes(gzip.compress(b"a letter\n" * 100))
    (tmp_path / "folder.nii.gz").mkdir()
    (tmp_path / "link.nii.gz").symlink_to(tmp_path / "nothing")
    assert _code(tmp_path / "empty.nii.gz") == "IO-EMPTY"
    assert _code(tmp_path / "text.nii.gz") == "IO-FORMAT"
    assert _code(tmp_path / "text_inside.nii.gz") == "IO-FORMAT"
    assert _code(tmp_path / "folder.nii.gz") == "IO-ISDIR"
    for name in ("absent.nii.gz", "link.nii.gz"):
        with pytest.raises(FileNotFoundError, match="NNA-IO-MISSING"):
            read_volume(tmp_path / name)


def test_unreadable_file_is_a_question_of_permission(good_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # the tests may run as root, who may read everything
    assert _code(good_file) == "IO-PERM"


def test_members_one_after_the_other_and_padding_are_read_as_one_file(good_file: Path) -> None:
    expected = gzip.decompress(good_file.read_bytes())
    parts = [gzip.compress(expected[start : start + 700]) for start in range(0, len(expected), 700)]
    good_file.write_bytes(b"".join(parts) + b"\0" * 512)
    assert b"".join(stream(good_file)) == expected


def test_garbage_after_the_stream_is_noticed(good_file: Path) -> None:
    good_file.write_bytes(good_file.read_bytes() + b"garbage")
    assert _code(good_file) == "IO-CRC"


def test_endless_zeros_are_given_up_at_the_declared_length(good_file: Path) -> None:
    content = gzip.decompress(good_file.read_bytes())
    good_file.write_bytes(gzip.compress(content + bytes(64 << 20), 1))
    tracemalloc.start()
    code = _code(good_file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert code == "IO-LENGTH"
    assert peak < 5 * LARGEST_BLOCK


def test_blocks_are_bounded(good_file: Path) -> None:
    good_file.write_bytes(gzip.compress(bytes(3 * LARGEST_BLOCK), 1))
    sizes = [len(block) for block in stream(good_file)]
    assert sum(sizes) == 3 * LARGEST_BLOCK and max(sizes) <= LARGEST_BLOCK


def test_uncompressed_data_named_gz_is_read_with_a_warning(good_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = read_volume(good_file).array
    assert not caplog.records
    good_file.write_bytes(gzip.decompress(good_file.read_bytes()))
    assert (read_volume(good_file).array == expected).all()
    assert [record.levelname for record in caplog.records] == ["WARNING"] and "IO-EXT" in caplog.text


def test_uncompressed_file_cut_short_says_both_lengths(good_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "plain.nii"
    path.write_bytes(gzip.decompress(good_file.read_bytes())[:-100])
    with pytest.raises(DataError, match=r"IO-LENGTH.* declares 2512 bytes, but holds 2412"):
        read_volume(path)
