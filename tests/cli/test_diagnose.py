"""The diagnosis: what it leaves, that it changes nothing else, and what it refuses before it writes anything."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nnanomaly.experiment_planning import plan_and_preprocess_api as api
from nnanomaly.paths import Paths
from nnanomaly.plans import Plans, save_plans

DATASET = "Dataset501_Tiny"


def fold_folder(paths: Paths, plans: Plans) -> Path:
    return paths.fold(DATASET, plans.plans_name, "ddpm", 0)


def test_inserted_lesions_are_followed_without_any_drawing_and_nothing_else_changes(
    shell: Any, preprocessed: Path, model: Plans
) -> None:
    assert not (shell.paths.raw(DATASET) / "labelsTr").exists()
    before = shell.everything()
    assert shell("diagnose", 501, "-rounds", 3) == 0
    folder = fold_folder(shell.paths, model) / "diagnose" / "inserted"
    written = {path.name for path in folder.iterdir()}
    assert written == {"diagnose.csv", "diagnose.json", "diagnose.png"}
    added = set(shell.everything()) - set(before)
    assert {Path(name).name for name in added} == {"diagnose", "inserted", *written}
    assert before == {name: content for name, content in shell.everything().items() if name in before}
    document = json.loads((folder / "diagnose.json").read_text())
    rows = list(csv.DictReader((folder / "diagnose.csv").read_text().splitlines()))
    assert document["source"] == "inserted"
    assert [row["scene"] for row in rows] == [trace["scene"] for trace in document["traces"]]
    assert document["bins"][-1]["num_lesions"] == len(rows) > 0
    assert sum(document["bins"][-1]["lost"].values()) == sum(row["found"] == "False" for row in rows)


def test_drawn_lesions_are_followed_when_they_are_asked_for_and_the_table_is_printed(
    shell: Any, preprocessed: Path, model: Plans, draw_lesions: Callable[[Path], None]
) -> None:
    draw_lesions(shell.paths.raw(DATASET))
    assert shell("diagnose", 501, "--drawn") == 0
    lines = shell.capsys.readouterr().out.splitlines()
    assert lines[0].startswith("drawn lesions")
    (row,) = (line.split() for line in lines if line.split()[:1] == ["all"] and len(line.split()) == 11)
    assert row[1] == "1"  # one validation case
    assert (fold_folder(shell.paths, model) / "diagnose" / "drawn" / "diagnose.csv").is_file()


def test_the_published_chain_is_diagnosed_with_otsu_s_threshold(
    shell: Any, preprocessed: Path, tiny_plans: Callable[..., Plans], write_untrained_model: Callable[..., None]
) -> None:
    plans = tiny_plans("paper", dataset=DATASET)
    save_plans(shell.paths.plans(DATASET, plans.plans_name), plans)
    api.preprocess(shell.paths, DATASET, plans_name=plans.plans_name, num_processes=1)
    write_untrained_model(shell.paths, plans)
    assert shell("diagnose", 501, "-preset", "paper") == 0
    document = json.loads((fold_folder(shell.paths, plans) / "diagnose" / "inserted" / "diagnose.json").read_text())
    assert document["false_per_healthy_organ"] is None


def test_what_cannot_be_diagnosed_is_refused_in_a_line(shell: Any, preprocessed: Path, model: Plans) -> None:
    assert "SWEEP-DRAWN" in shell.refuses(3, "diagnose", 501, "--drawn")
    assert "nnanomaly_train" in shell.refuses(2, "diagnose", 501, "-f", 3)
    assert "CFG-CHK" in shell.refuses(2, "diagnose", 501, "-chk", "another.pth")
    assert "-chk checkpoint_latest.pth" in shell.refuses(2, "diagnose", 501, "-chk", "checkpoint_latest.pth")
    with pytest.raises(SystemExit):
        shell("diagnose", 501, "-rounds", 0)
