"""The shell, the dataset and the model of the command tests, and bytes written over a header."""

import gzip
import importlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

commands = importlib.import_module("tests.cli.conftest")
shell, template, raw, preprocessed, model = (
    getattr(commands, name) for name in ("shell", "template", "raw", "preprocessed", "model")
)


@pytest.fixture(scope="session")
def write_raw() -> Callable[[Path], None]:
    """`write_raw(folder)`: a sound raw dataset of five healthy training cases and nothing else."""

    def write(folder: Path) -> None:
        rows = ["case,organ,label"]
        for number in range(5):
            commands.Shell.write_case(folder, "Tr", f"case_{number}", seed=number)
            rows += [f"case_{number},{organ},healthy" for organ in commands.ORGANS]
        (folder / "organ_labels.csv").write_text("\n".join(rows) + "\n")
        description = {
            "channel_names": {"0": "CT"},
            "labels": {"background": 0, "tumor": 1},
            "numTraining": 5,
            "file_ending": ".nii.gz",
            "nnanomaly": {"organs": list(commands.ORGANS)},
        }
        (folder / "dataset.json").write_text(json.dumps(description))

    return write


@pytest.fixture(scope="session")
def patch_header() -> Callable[..., None]:
    """`patch_header(path, (offset, struct format, value), ...)` writes values over the header of a NIfTI file."""

    def patch(path: Path, *changes: tuple[int, str, object]) -> None:
        content = bytearray(gzip.decompress(path.read_bytes()))
        for offset, kind, value in changes:
            struct.pack_into(f"<{kind}", content, offset, *(value if isinstance(value, tuple) else (value,)))
        path.write_bytes(gzip.compress(bytes(content), 1))

    return patch
