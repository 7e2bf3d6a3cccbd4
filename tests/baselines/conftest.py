"""A prediction of nnDetection written by hand."""

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
