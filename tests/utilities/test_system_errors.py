import errno
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from nnanomaly.utilities.errors import DataError, EnvironmentFault
from nnanomaly.utilities.faults import traceback_text, user_error
from nnanomaly.utilities.files import write_text
from nnanomaly.utilities.system_errors import every_case_meets, naming, system_error


def line_of(error: Exception) -> str:
    return str(user_error(error))


def test_a_full_disk_is_said_with_the_file_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError) as caught:
        write_text(tmp_path / "table.csv", "x")
    assert line_of(caught.value) == (
        f"[NNA-IO-WRITE] {tmp_path}/table.csv: writing failed, the disk is full (No space left on device). Make room "
        "there and start the command again; what is finished is kept."
    )
    assert list(tmp_path.iterdir()) == []


def test_what_was_being_done_is_said(tmp_path: Path) -> None:
    (tmp_path / "afile").write_text("x")
    doing = {
        "making the folder": lambda: (tmp_path / "afile").mkdir(exist_ok=True),
        "reading": lambda: (tmp_path / "nothing").read_text(),
        "writing": lambda: (tmp_path / "afile" / "x").write_text("x"),
        "listing": lambda: list((tmp_path / "nothing").iterdir()),
    }
    for word, do in doing.items():
        with pytest.raises(OSError) as caught:
            do()
        line = line_of(caught.value)
        assert f"{word} failed" in line
        assert str(tmp_path) in line


@pytest.mark.parametrize(
    ("number", "code", "status", "remedy"),
    [
        (errno.ENOSPC, "IO-WRITE", 5, "Make room"),
        (errno.EDQUOT, "IO-WRITE", 5, "Make room"),
        (errno.EROFS, "IO-WRITE", 5, "another disk"),
        (errno.EACCES, "IO-PERM", 5, "permissions"),
        (errno.EEXIST, "IO-EXISTS", 5, "Move it away"),
        (errno.ENOTDIR, "IO-NOTDIR", 5, "Move it away"),
        (errno.EISDIR, "IO-ISDIR", 5, "Move it away"),
        (errno.ELOOP, "IO-LOOP", 5, "Remove the link"),
        (errno.EMFILE, "IO-FILES", 5, "-np"),
        (errno.ENOMEM, "ENV-MEMORY", 5, "other programs"),
        (errno.ENAMETOOLONG, "IO-NAME", 5, "shorter"),
        (errno.EIO, "IO-DEVICE", 5, "Look after it"),
        (errno.EBUSY, "IO-BUSY", 5, "Wait"),
        (errno.ENOENT, "IO-MISSING", 3, "Restore"),
        (errno.EDOM, "IO-SYSTEM", 5, "Mend that"),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) and value in errno.errorcode else None,
)
def test_every_number_of_the_system_has_its_code_and_remedy(number: int, code: str, status: int, remedy: str) -> None:
    told = user_error(OSError(number, os.strerror(number), "/a/file"))
    assert (told.code, told.exit_code) == (code, status)
    assert told.message.startswith("/a/file: ")
    assert remedy in told.message
    assert os.strerror(number) in told.message


def test_an_error_that_has_a_code_keeps_it() -> None:
    told = user_error(FileNotFoundError("[NNA-CKPT-MISSING] /a is not there. Train."))
    assert isinstance(told, DataError)
    assert str(told) == "[NNA-CKPT-MISSING] /a is not there. Train."


def test_a_full_disk_behind_a_library_is_found_and_gets_its_file(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(OSError) as caught, naming(path):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert caught.value.errno == errno.ENOSPC
    assert line_of(caught.value).startswith(f"[NNA-IO-WRITE] {path}: writing failed, the disk is full")


def test_a_loop_of_links_is_named(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.symlink_to(second)
    second.symlink_to(first)
    with pytest.raises(OSError) as caught:
        first.read_text()
    assert line_of(caught.value).startswith(f"[NNA-IO-LOOP] {first}: reading failed")
    assert line_of(RuntimeError(f"Symlink loop from '{first}'")).startswith(f"[NNA-IO-LOOP] {first}: ")


def test_only_what_the_machine_lacks_ends_a_run() -> None:
    def chained() -> Exception:
        try:
            try:
                raise OSError(errno.ENOSPC, "full")
            except OSError as error:
                raise RuntimeError("a library wraps it") from error
        except RuntimeError as error:
            return error

    ends = [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
        OSError(errno.EMFILE, "files"),
        OSError(errno.ENOMEM, "memory"),
        OSError(errno.EROFS, "read only"),
        EnvironmentFault("IO-WRITE", "full"),
        chained(),
    ]
    goes_on = [
        RuntimeError("shapes differ"),
        ZeroDivisionError(),
        OSError(errno.EACCES, "no"),
        OSError(errno.EIO, "a bad block"),
        FileNotFoundError(errno.ENOENT, "gone"),
        EnvironmentFault("IO-PERM", "one file"),
        DataError("JSON", "wrong"),
    ]
    assert [error for error in ends if not every_case_meets(error)] == []
    assert [error for error in goes_on if every_case_meets(error)] == []
    assert system_error(ValueError("x")) is None


def test_a_fault_of_ours_says_where_and_a_patient_is_not_quoted() -> None:
    try:
        (tmp := [])[0] = "Doe^Jane"
        tmp.clear()
    except IndexError as error:
        told = user_error(error)
        assert (told.code, told.exit_code) == ("INTERNAL", 1)
        assert told.message.startswith("IndexError: list assignment index out of range (test_system_errors.py:")
        assert "list assignment" not in str(user_error(error, quote=False))
        assert "list assignment" in traceback_text(error)
        assert "list assignment" not in traceback_text(error, quote=False)
        assert type(pickle.loads(pickle.dumps(told))) is type(told)


def test_a_name_that_is_not_utf8_is_said_and_not_a_traceback() -> None:
    with pytest.raises(UnicodeEncodeError) as caught:
        "caf\udce9".encode()
    assert user_error(caught.value).code == "IO-NAME"
    assert "caf" in str(user_error(caught.value))
