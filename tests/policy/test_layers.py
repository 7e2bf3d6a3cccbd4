"""The layers of the package are declared completely; `make check` lets import-linter enforce them."""

import subprocess
import sys
from pathlib import Path

import pytest


def test_import_contracts_are_kept(root: Path) -> None:
    pytest.importorskip("importlinter")
    code = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stdout[-3000:]
    assert "KEPT" in result.stdout
