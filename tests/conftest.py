"""Fixtures that several test modules need."""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import ArrayLike

from nnanomaly.paths import Paths

# Tests work on tiny tensors, where a second thread costs more than it brings; read when torch is first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that need a GPU where there is none; torch is only imported when one of them was collected."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not _has_gpu():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def _has_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Data for development beside the checkout; tests that need it are skipped elsewhere."""
    folder = ROOT.parent / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"{folder} is not here")
    return folder


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """Three empty root folders."""
    roots = [tmp_path / name for name in ("raw", "preprocessed", "results")]
    for folder in roots:
        folder.mkdir()
    return Paths(*roots)


@pytest.fixture
def write_nifti() -> Callable[..., Path]:
    """Write an array `[Z, Y, X]` of a canonical grid with nibabel alone: an oracle that shares no code with ours.

    `write_nifti(path, array, spacing_mm=(z, y, x), origin_mm=(z, y, x))` returns `path`.
    """

    def write(
        path: Path, array: ArrayLike, *, spacing_mm: ArrayLike = (1.0, 1.0, 1.0), origin_mm: ArrayLike = (0.0, 0.0, 0.0)
    ) -> Path:
        towards_left, towards_posterior = -1.0, -1.0  # NIfTI counts towards right and anterior
        signs = np.array([towards_left, towards_posterior, 1.0])
        affine = np.diag([*(signs * np.asarray(spacing_mm, float)[::-1]), 1.0])
        affine[:3, 3] = signs * np.asarray(origin_mm, float)[::-1]
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(np.asarray(array).transpose(2, 1, 0), affine), path)
        return path

    return write
