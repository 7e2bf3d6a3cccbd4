"""Checkpoints: nothing is executed when one is opened, and a file that is not one is refused in one line."""

import hashlib
import os
import pickle
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nnanomaly.checkpoint import (
    BEST,
    FINAL,
    LATEST,
    PREVIOUS,
    checkpoint_field,
    checkpoint_hash,
    checkpoint_weights,
    find_folds,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from nnanomaly.utilities.errors import ConfigurationError, EnvironmentFault, IntegrityError

STATE = {
    "plans_identity": "a" * 64,
    "iteration": 7,
    "best": float("inf"),
    "modules": {"net": {"weight": torch.arange(6.0)}},
}


class Payload:
    """Unpickling it creates a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / FINAL, STATE)
    return tmp_path / FINAL


def refusal(path: Path, **options: str) -> IntegrityError:
    with pytest.raises(IntegrityError) as refused:
        load_checkpoint(path, **options)
    assert refused.value.exit_code == 6
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    return refused.value


def test_equal_states_are_equal_files_whoever_wrote_them(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 4711)  # part of the name of the temporary file
    save_checkpoint(path.with_name(BEST), STATE)
    assert checkpoint_hash(path.with_name(BEST)) == checkpoint_hash(path)
    save_checkpoint(path.with_name(BEST), {**STATE, "iteration": 8})
    assert checkpoint_hash(path.with_name(BEST)) != checkpoint_hash(path)


def test_what_was_saved_is_read_again(path: Path) -> None:
    state = load_checkpoint(path, identity="a" * 64)
    assert {key: state[key] for key in ("iteration", "best")} == {"iteration": 7, "best": float("inf")}
    assert torch.equal(state["modules"]["net"]["weight"], torch.arange(6.0))


@pytest.mark.parametrize("write", [torch.save, lambda obj, path: path.write_bytes(pickle.dumps(obj, 2))])
def test_a_payload_is_refused_and_not_executed(tmp_path: Path, write: Callable[[object, Path], object]) -> None:
    marker, path = tmp_path / "executed", tmp_path / "evil.pth"
    write({**STATE, "extra": Payload(marker)}, path)
    assert refusal(path).code == "CKPT-DAMAGED"
    assert not marker.exists()
    torch.load(path, weights_only=False) if write is torch.save else pickle.loads(path.read_bytes())
    assert marker.exists()  # the payload works, where somebody opens it carelessly


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_truncated_or_empty_file_is_refused(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert refusal(path).code == "CKPT-DAMAGED"


@pytest.mark.parametrize(
    "content", [b"this is text", b"version https://git-lfs.github.com/spec/v1\n", b"\x00" * 64, b"PK\x03\x04"]
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / FINAL
    path.write_bytes(content)
    assert refusal(path).code == "CKPT-DAMAGED"


@pytest.mark.parametrize("document", [{"state_dict": {}}, [1, 2], torch.zeros(3)], ids=["dict", "list", "tensor"])
def test_weights_of_another_program_are_refused(tmp_path: Path, document: object) -> None:
    torch.save(document, tmp_path / FINAL)
    assert refusal(tmp_path / FINAL).code == "CKPT-FOREIGN"


def test_other_plans_are_named_beside_those_of_the_checkpoint(path: Path) -> None:
    error = refusal(path, identity="b" * 64)
    assert error.code == "CKPT-PLANS"
    assert "a" * 12 in str(error)
    assert "b" * 12 in str(error)


def test_a_missing_checkpoint_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="CKPT-MISSING"):
        load_checkpoint(tmp_path / FINAL)
    with pytest.raises(ConfigurationError, match="CKPT-MISSING"):
        checkpoint_hash(tmp_path / FINAL)


def test_what_cannot_be_opened_safely_is_not_left_behind_by_a_failing_save(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save_checkpoint(path, {**STATE, "function": lambda: None})
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [FINAL]


@pytest.mark.parametrize("size", [10, 100_000], ids=["in_the_end", "in_the_middle"])
def test_a_full_disk_is_one_line_and_the_checkpoint_before_is_intact(path: Path, size: int) -> None:
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # the disk takes no more of a file
    try:
        with pytest.raises(EnvironmentFault) as refused:
            save_checkpoint(path, {**STATE, "modules": {"net": {"weight": torch.ones(size)}}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (refused.value.code, refused.value.exit_code) == ("CKPT-WRITE", 5)
    assert str(path) in str(refused.value)
    assert "File too large" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [FINAL]


def test_what_torch_itself_refuses_to_save_is_no_fault_of_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("storage has wrong byte size")

    monkeypatch.setattr(torch, "save", refuse)
    with pytest.raises(RuntimeError, match="wrong byte size"):
        save_checkpoint(path, STATE)


def test_the_same_state_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "other" / BEST, STATE)
    assert checkpoint_hash(tmp_path / "other" / BEST) == checkpoint_hash(path)


def test_training_goes_on_from_the_final_then_the_latest_then_the_previous_checkpoint(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    (tmp_path / BEST).touch()
    assert newest_checkpoint(tmp_path) is None  # the best one is not the last one
    for name in (PREVIOUS, LATEST, FINAL):
        (tmp_path / name).touch()
        assert newest_checkpoint(tmp_path) == tmp_path / name


def test_folds_that_hold_the_checkpoint_are_found_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for fold, name in (
        ("2", FINAL),
        ("0", FINAL),
        ("10", FINAL),
        ("all", FINAL),
        ("1", LATEST),
        ("0_old", FINAL),
        ("00", FINAL),
    ):
        (tmp_path / f"fold_{fold}").mkdir()
        (tmp_path / f"fold_{fold}" / name).touch()
    assert find_folds(tmp_path) == ["0", "2", "10", "all"]
    assert find_folds(tmp_path, LATEST) == ["1"]
    assert find_folds(tmp_path / "absent") == []


def test_the_hash_is_that_of_the_file(path: Path) -> None:
    assert checkpoint_hash(path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"plans_identity": 1}, "plans_identity: expected str"),
        ({"plans_identity": "a", "averaged_weights": [1]}, "averaged_weights are no tensors"),
        ({"plans_identity": "a", "averaged_weights": {"w": 1.0}}, "averaged_weights are no tensors"),
        ({"plans_identity": "a", "averaged_weights": {}}, "lacks the field 'vqgan_sha256'"),
        ({"plans_identity": "a", "averaged_weights": {}, "vqgan_sha256": {}}, "vqgan_sha256: expected str"),
    ],
)
def test_a_field_of_a_checkpoint_that_is_none_is_named(tmp_path: Path, state: dict[str, Any], reason: str) -> None:
    path = tmp_path / "checkpoint_final.pth"
    save_checkpoint(path, state)
    with pytest.raises(IntegrityError, match=f"CKPT-FIELD.*{reason}.*Train this stage again"):
        saved = load_checkpoint(path, identity="a")
        checkpoint_weights(saved, path=path)
        checkpoint_field(saved, "vqgan_sha256", str, path=path)
