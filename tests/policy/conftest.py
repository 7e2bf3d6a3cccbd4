"""The source tree, parsed once for all policy tests."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def sources() -> dict[str, str]:
    """Text of every module of the package, by its path in the checkout."""
    paths = sorted((ROOT / "nnanomaly").rglob("*.py"))
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}


@pytest.fixture(scope="session")
def trees(sources: dict[str, str]) -> dict[str, ast.Module]:
    """Syntax tree of every module of the package."""
    return {name: ast.parse(text) for name, text in sources.items()}
