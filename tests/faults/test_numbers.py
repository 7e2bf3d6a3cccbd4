"""Numbers of the right type and beyond all sense: one line with code, file and key, never a result made of them."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nnanomaly.experiment_planning.fingerprint import load_fingerprint
from nnanomaly.inference.model_documents import load_calibration
from nnanomaly.roi.candidates_file import read_candidates_file
from nnanomaly.trained_model import read_latent_scaling
from nnanomaly.utilities.errors import UserError

STATISTICS = {"edges_mm": [-1.0, 1.0], "edges_hu": [], "mean_hu": [1.0, 2.0, 3.0], "std_hu": [1.0] * 3, "extra": []}
CALIBRATION = {
    "statistics": STATISTICS,
    "threshold": 2.0,
    "false_candidates_per_organ": 1.0,
    "num_organs": 3,
    "guidance": False,
    "guidance_reason": "none",
    "checkpoints": {},
    "score_threshold": 0.5,
    "inpaint_threshold": 3.0,
}
CANDIDATES = {
    "case": "a",
    "threshold": 2.0,
    "candidates": [{"start": [0, 0, 0], "stop": [2, 2, 2], "score": 3.0, "center_mm": [1.0, 1.0, 1.0]}],
}
PROPERTIES = dict.fromkeys(("mean", "median", "std", "min", "max", "percentile_00_5", "percentile_99_5"), 1.0)
ORGAN = {
    "case": "a",
    "organ": "kidney",
    "label": "healthy",
    "extent_mm": [90.0, 60.0, 60.0],
    "volume_ml": 150.0,
    "touches_border": [],
    "num_components": 1,
    "median_hu": 120.0,
    "around_low_hu": -100.0,
}
FINGERPRINT = {
    "spacings": [[3.0, 1.0, 1.0]],
    "shapes_after_crop": [[99, 99, 99]],
    "median_relative_size_after_cropping": 1.0,
    "foreground_intensity_properties_per_channel": {"0": PROPERTIES},
    "organs": [ORGAN],
    "label_counts": {"healthy": 1},
    "schema_version": 2,
}
SCALING = {"values": {"mean": [0.0], "std": [1.0]}}
PLANS: Any = SimpleNamespace(
    ddpm=SimpleNamespace(latent_scaling="standardise"), vqgan=SimpleNamespace(latent_channels=1)
)
READERS = {
    "calibration": (CALIBRATION, load_calibration),
    "candidates": (CANDIDATES, read_candidates_file),
    "fingerprint": (FINGERPRINT, load_fingerprint),
    "scaling": (SCALING, lambda path: read_latent_scaling(path, PLANS)),
}
BEYOND = [
    ("calibration", "threshold", -1.0),
    ("calibration", "threshold", 1e30),
    ("calibration", "inpaint_threshold", -0.5),
    ("calibration", "score_threshold", 1.5),
    ("calibration", "false_candidates_per_organ", -1.0),
    ("calibration", "num_organs", -3),
    ("calibration", "statistics.std_hu.0", -1.0),
    ("calibration", "statistics.mean_hu.1", 1e30),
    ("calibration", "statistics.mean_hu.1", -5.0),
    ("calibration", "statistics.edges_mm.0", -1e9),
    ("candidates", "threshold", -2.0),
    ("candidates", "candidates.0.score", 1e300),
    ("candidates", "candidates.0.start.1", -1),
    ("candidates", "candidates.0.stop.2", 10**9),
    ("candidates", "candidates.0.center_mm.0", 1e12),
    ("fingerprint", "spacings.0.0", 0.0),
    ("fingerprint", "spacings.0.0", -3.0),
    ("fingerprint", "shapes_after_crop.0.2", 0),
    ("fingerprint", "organs.0.extent_mm.0", -90.0),
    ("fingerprint", "organs.0.volume_ml", 1e12),
    ("fingerprint", "organs.0.median_hu", 1e9),
    ("fingerprint", "label_counts.healthy", -1),
    ("fingerprint", "foreground_intensity_properties_per_channel.0.std", -1.0),
    ("scaling", "values.mean.0", 1e30),
    ("scaling", "values.std.0", 0.0),
    ("scaling", "values.std.0", 1e-30),
]


def changed(document: Any, place: str, value: Any) -> Any:
    """A copy of a document with another value at a place."""
    copy = json.loads(json.dumps(document))
    *way, last = [int(key) if key.isdigit() else key for key in place.split(".")]
    inner = copy
    for key in way:
        inner = inner[key] if isinstance(inner, list) else inner[str(key)]
    inner[last if isinstance(inner, list) else str(last)] = value
    return copy


@pytest.mark.parametrize("name", READERS)
def test_the_documents_themselves_are_read(name: str, tmp_path: Path) -> None:
    document, read = READERS[name]
    path = tmp_path / "document.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    read(path)


@pytest.mark.parametrize(("name", "place", "value"), BEYOND, ids=str)
def test_a_number_beyond_sense_is_refused_with_file_and_value(
    name: str, place: str, value: float, tmp_path: Path
) -> None:
    document, read = READERS[name]
    path = tmp_path / "document.json"
    path.write_text(json.dumps(changed(document, place, value)), encoding="utf-8")
    with pytest.raises(UserError, match=r"^\[NNA-(JSON|CFG-TYPE)\] .*document\.json.*") as raised:
        read(path)
    assert "\n" not in str(raised.value)
    key = next(key for key in reversed(place.split(".")) if not key.isdigit())
    assert key in str(raised.value)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_of_json_is_refused(name: str, number: str, tmp_path: Path) -> None:
    document, read = READERS[name]
    path = tmp_path / "document.json"
    text = json.dumps(document)
    path.write_text(text.replace("1.0", number, 1), encoding="utf-8")
    assert "1.0" in text
    with pytest.raises(UserError, match=r"^\[NNA-JSON\] .*document\.json"):
        read(path)
