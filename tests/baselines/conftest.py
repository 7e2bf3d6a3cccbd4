"""A prediction of nnDetection written by hand."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def box_file(tmp_path: Path) -> Callable[..., Path]:
    """Function that writes the pickle of one case, with some keys replaced, or left out where the value is None."""

    def write(name: str = "case_boxes.pkl", **changes: object) -> Path:
        content: dict[str, object] = {
            "pred_boxes": np.array([[1, 6, 5, 8, 10, 21]], dtype=np.float32),
            "pred_scores": np.array([0.5], dtype=np.float32),
            "pred_labels": np.array([0], dtype=np.float32),
            "restore": True,
            "original_size_of_raw_data": np.array([10, 12, 30]),
            "itk_origin": (1.0, 2.0, 3.0),
            "itk_spacing": (0.5, 0.6, 3.0),
            "itk_direction": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
            **changes,
        }
        path = tmp_path / name
        path.write_bytes(pickle.dumps({key: value for key, value in content.items() if value is not None}, protocol=4))
        return path

    return write


@pytest.fixture
def task_folder(tmp_path: Path, write_nifti: Callable[..., Path]) -> Callable[..., Path]:
    """Function that writes a task of five training cases and a test case: a tumor, a cyst at the border, a kidney."""

    def write(name: str = "Task501_Kidney", ids: tuple[str, ...] = ("a0", "a1", "a2", "a3", "a4")) -> Path:
        folder = tmp_path / "det_data" / name
        description = {
            "task": name,
            "dim": 3,
            "target_class": None,
            "test_labels": True,
            "labels": {"0": "tumor", "1": "cyst"},
            "labels_stuff": {"1": "kidney"},
            "modalities": {"0": "CT"},
            "seg2det_things": [2, 3],
            "seg2det_stuff": [1],
            "min_size": 3.0,
        }
        folder.mkdir(parents=True)
        (folder / "dataset.json").write_text(json.dumps(description))
        for part, cases in (("Tr", ids), ("Ts", ("t0",))):
            for number, case in enumerate(cases):
                _write_case(folder / "raw_splitted", part, case, write_nifti, shift=number)
        return folder

    return write


def _write_case(folder: Path, part: str, case: str, write_nifti: Callable[..., Path], *, shift: int) -> None:
    instances = np.zeros((12, 20, 24), dtype=np.uint8)
    instances[4:8, 5 + shift : 9 + shift, 6:10] = 1
    instances[0:3, 0:4, 20:24] = 2  # at three borders of the volume
    kidney = np.zeros_like(instances)
    kidney[4:10, 4:14, 4:12] = 1
    kidney[instances > 0] = 0
    spacing_mm = (3.0, 1.0, 1.0)
    labels = folder / f"labels{part}"
    write_nifti(folder / f"images{part}" / f"{case}_0000.nii.gz", kidney.astype(np.int16), spacing_mm=spacing_mm)
    write_nifti(labels / f"{case}.nii.gz", instances, spacing_mm=spacing_mm)
    write_nifti(labels / f"{case}_stuff.nii.gz", kidney, spacing_mm=spacing_mm)
    semantic = np.array([0, 2, 3], dtype=np.uint8)[instances] + kidney
    write_nifti(labels / f"{case}_orig.nii.gz", semantic, spacing_mm=spacing_mm)
    (labels / f"{case}.json").write_text(json.dumps({"instances": {"1": 0, "2": 1}}))
