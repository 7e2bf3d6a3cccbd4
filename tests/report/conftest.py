"""A prediction folder of drawn volumes: one matched candidate, one false one, one missed lesion."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

SHAPE = (32, 40, 36)
SPACING_MM = 3.0
ORIGIN_MM = (-10.0, 20.0, 30.0)
EVIL_CASE = "<script>alert(1)<script>"
EVIL_ORGAN = "</script><img src=x onerror=alert(1)>"
MATCHED = (slice(8, 14), slice(10, 16), slice(10, 16))
FALSE = (slice(20, 25), slice(25, 31), slice(20, 26))
MISSED = (slice(20, 26), slice(8, 14), slice(24, 30))
PLACE: dict[str, Any] = {"spacing_mm": (SPACING_MM,) * 3, "origin_mm": ORIGIN_MM}
AUTOENCODED_HU = 40
"""The middle of the window."""


@pytest.fixture
def drawn(tmp_path: Path, write_nifti: Callable[..., Path]) -> SimpleNamespace:
    """Two cases; the names of the second case and of its organ are hostile. The first has an autoencoded image."""
    folder = SimpleNamespace(
        predictions=tmp_path / "preds",
        images=tmp_path / "imagesTs",
        references=tmp_path / "labelsTs",
        evil_case=EVIL_CASE,
        evil_organ=EVIL_ORGAN,
    )
    for part in (folder.images, folder.references, folder.predictions / "detections"):
        part.mkdir(parents=True)
    for part in ("anomaly_maps", "reconstructions"):
        (folder.predictions / part).mkdir()
    dataset = {"labels": {"background": 0, "tumor": 1}, "file_ending": ".nii.gz"}
    (folder.references / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    (folder.predictions / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    for case, organ in (("case_a", "kidney_left"), (EVIL_CASE, EVIL_ORGAN)):
        _write_case(folder, case, organ, write_nifti)
    (folder.predictions / "autoencoded").mkdir()
    write_nifti(folder.predictions / "autoencoded" / "case_a.nii.gz", np.full(SHAPE, AUTOENCODED_HU, np.int16), **PLACE)
    return folder


def _write_case(folder: SimpleNamespace, case: str, organ: str, write_nifti: Callable[..., Path]) -> None:
    gradient = np.linspace(-100, 200, SHAPE[2], dtype=np.float32)
    image = np.broadcast_to(gradient, SHAPE).round().astype(np.int16)
    anomaly = np.zeros(SHAPE, np.float32)
    mask, reference = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    anomaly[MATCHED], anomaly[FALSE] = 5.0, 4.0
    mask[MATCHED] = mask[FALSE] = 1
    reference[MATCHED] = reference[MISSED] = 1
    name = f"{case}.nii.gz"
    write_nifti(folder.images / f"{case}_0000.nii.gz", image, **PLACE)
    write_nifti(folder.references / name, reference, **PLACE)
    write_nifti(folder.predictions / name, mask, **PLACE)
    write_nifti(folder.predictions / "anomaly_maps" / name, anomaly, **PLACE)
    write_nifti(folder.predictions / "reconstructions" / name, image, **PLACE)
    candidates = [
        {"start": [s.start for s in box], "stop": [s.stop for s in box], "score": score, "center_mm": [0.0, 0.0, 0.0]}
        for box, score in ((MATCHED, 4.5), (FALSE, 3.5))
    ]
    patch = {"organ": organ, "shape": [28, 36, 32], "spacing_mm": [3.0] * 3, "origin_mm": [-4.0, 26.0, 36.0]}
    patch["direction"] = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    document = {"case": case, "threshold": 3.0, "organs": {organ: "ok"}, "candidates": candidates, "patches": [patch]}
    (folder.predictions / "detections" / f"{case}_boxes.json").write_text(json.dumps(document), encoding="utf-8")
