"""The shell, the dataset and the model of the command tests, and bytes written over a header."""

import gzip
import importlib
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

commands = importlib.import_module("tests.cli.conftest")
shell, template, raw, preprocessed, model = (
    getattr(commands, name) for name in ("shell", "template", "raw", "preprocessed", "model")
)


@pytest.fixture(scope="session")
def patch_header() -> Callable[..., None]:
    """`patch_header(path, (offset, struct format, value), ...)` writes values over the header of a NIfTI file."""

    def patch(path: Path, *changes: tuple[int, str, object]) -> None:
        content = bytearray(gzip.decompress(path.read_bytes()))
        for offset, kind, value in changes:
            struct.pack_into(f"<{kind}", content, offset, *(value if isinstance(value, tuple) else (value,)))
        path.write_bytes(gzip.compress(bytes(content), 1))

    return patch
