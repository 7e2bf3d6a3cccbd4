"""Candidates in healthy organs, from candidates files written by hand."""

import json
from pathlib import Path

from nnanomaly.evaluation.healthy_organs import count_in_healthy_organs

IDENTITY = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


def patch(organ: str, x_mm: float) -> dict[str, object]:
    """A patch of 10 mm whose middle lies at x_mm."""
    return {
        "organ": organ,
        "tile": 0,
        "organ_fraction_outside": 0.0,
        "covered_fraction": 1.0,
        "shape": [11, 11, 11],
        "spacing_mm": [1.0, 1.0, 1.0],
        "origin_mm": [-5.0, -5.0, x_mm - 5.0],
        "direction": IDENTITY,
    }


def write(folder: Path, case: str, patches: list[dict[str, object]], positions_mm: list[float]) -> None:
    path = folder / "detections" / f"{case}_boxes.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    candidates = [{"center_mm": [0.0, 0.0, x]} for x in positions_mm]
    path.write_text(json.dumps({"case": case, "patches": patches, "candidates": candidates}))


def test_only_candidates_nearest_to_a_healthy_organ_count(tmp_path: Path) -> None:
    sides = [patch("kidney_left", 60.0), patch("kidney_right", -60.0)]
    write(tmp_path, "a", sides, [55.0, 20.0, -70.0])  # two on the left, one on the right
    write(tmp_path, "b", sides, [])
    write(tmp_path, "c", [patch("kidney_left", 60.0)], [-60.0])  # the right one has no mask: nobody looked at it
    healthy = {("a", "kidney_left"), ("b", "kidney_left"), ("b", "kidney_right"), ("c", "kidney_right")}
    counted = count_in_healthy_organs(tmp_path, healthy)
    assert (counted.num_organs, counted.num_candidates) == (3, 2)
    assert counted.per_organ == 2 / 3


def test_tiles_of_an_organ_have_one_middle(tmp_path: Path) -> None:
    tiles = [patch("kidney_left", 20.0), patch("kidney_left", 100.0), patch("kidney_right", -10.0)]
    write(tmp_path, "a", tiles, [22.0])  # 38 mm from the middle of the left tiles, 32 mm from the right organ
    assert count_in_healthy_organs(tmp_path, {("a", "kidney_right")}).num_candidates == 1


def test_without_a_healthy_organ_there_is_no_rate(tmp_path: Path) -> None:
    write(tmp_path, "a", [patch("kidney_left", 0.0)], [0.0])
    assert count_in_healthy_organs(tmp_path, set()).per_organ is None
