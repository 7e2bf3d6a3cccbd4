"""500 damaged checkpoints: each is read or refused with a code, and none runs anything."""

import importlib
from pathlib import Path

import torch

from nnanomaly.checkpoint import load_checkpoint, save_checkpoint

fuzz = importlib.import_module("tests.faults.test_fuzz")


def test_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint_final.pth"
    state = {"plans_identity": "abc", "iteration": 3, "averaged_weights": {"w": torch.arange(12.0).reshape(3, 4)}}
    save_checkpoint(path, state)
    read, refused = fuzz.try_all(path, fuzz.byte_inputs(path.read_bytes()), lambda: load_checkpoint(path))
    assert refused > 50
    assert read + refused == 500
