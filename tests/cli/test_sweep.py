"""The sweep: what it leaves, where prediction reads its choice, and what it refuses before it writes anything."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nnanomaly.experiment_planning import plan_and_preprocess_api as api
from nnanomaly.paths import Paths
from nnanomaly.plans import Plans, load_plans, save_plans

DATASET = "Dataset501_Tiny"


def fold_folder(paths: Paths, plans: Plans) -> Path:
    return paths.fold(DATASET, plans.plans_name, "ddpm", 0)


def test_a_sweep_needs_no_drawn_lesion_and_prediction_uses_its_choice(
    shell: Any, preprocessed: Path, model: Plans
) -> None:
    assert not (shell.paths.raw(DATASET) / "labelsTr").exists()
    assert shell("sweep", 501, "-sigmas", 0.5, 1.0, "-scales", 0.1, 0.2) == 0
    folder = fold_folder(shell.paths, model)
    document = json.loads((folder / "sweep" / "sweep.json").read_text())
    assert document["lesions"] == "inserted"
    assert [(o["sigma"], o["guidance_scale"]) for o in document["outcomes"]] == [
        (0.5, 0.1), (0.5, 0.2), (1.0, 0.1), (1.0, 0.2),
    ]  # fmt: skip
    assert document["best"]["dice"] == max(o["dice"] for o in document["outcomes"])
    rows = list(csv.DictReader((folder / "sweep" / "sweep.csv").read_text().splitlines()))
    assert [float(row["dice"]) for row in rows] == [o["dice"] for o in document["outcomes"]]
    assert (folder / "sweep" / "sweep.png").stat().st_size > 0
    for path in (shell.paths.plans(DATASET, model.plans_name), folder.parent / "plans.json"):
        chosen = load_plans(path)
        assert chosen.inference.sigma == document["best"]["sigma"]
        assert chosen.inference.guidance_scale == document["best"]["guidance_scale"]
        assert "nnanomaly_sweep on fold 0" in chosen.reasons["inference.sigma"]
    calibration = json.loads((folder / "calibration.json").read_text())
    assert calibration["threshold"] == document["best"]["threshold"]
    assert shell("predict", "-i", "imagesTs", "-o", "preds") == 0


def test_where_no_guidance_is_best_the_plans_say_none(shell: Any, preprocessed: Path, model: Plans) -> None:
    assert shell("sweep", 501, "-sigmas", 1.0, "-scales", 0) == 0
    assert load_plans(shell.paths.plans(DATASET, model.plans_name)).inference.guidance == "none"


def test_the_published_chain_is_swept_with_otsu_s_threshold_of_every_patch(
    shell: Any, preprocessed: Path, tiny_plans: Callable[..., Plans], write_untrained_model: Callable[..., None]
) -> None:
    plans = tiny_plans("paper", dataset=DATASET)
    save_plans(shell.paths.plans(DATASET, plans.plans_name), plans)
    api.preprocess(shell.paths, DATASET, plans_name=plans.plans_name, num_processes=1)
    write_untrained_model(shell.paths, plans)
    assert shell("sweep", 501, "-preset", "paper", "-sigmas", 0.7, 1.016, "-scales", 0, 900) == 0
    document = json.loads((fold_folder(shell.paths, plans) / "sweep" / "sweep.json").read_text())
    assert [(o["sigma"], o["guidance"], o["guidance_scale"], o["threshold"]) for o in document["outcomes"]] == [
        (sigma, guidance, scale, None) for sigma in (0.7, 1.016) for guidance, scale in (("none", 0), ("gradient", 900))
    ]
    assert shell("predict", "-i", "imagesTs", "-o", "preds", "-preset", "paper") == 0


def test_drawn_lesions_are_used_when_they_are_asked_for(
    shell: Any, preprocessed: Path, model: Plans, draw_lesions: Callable[[Path], None]
) -> None:
    draw_lesions(shell.paths.raw(DATASET))
    assert shell("sweep", 501, "-sigmas", 1.0, "-scales", 0.1, "--drawn", "-metric", "f1") == 0
    document = json.loads((fold_folder(shell.paths, model) / "sweep" / "sweep.json").read_text())
    assert document["lesions"] == "drawn"
    assert document["metric"] == "f1"


def test_asking_for_drawn_lesions_that_nobody_drew_names_the_way_without(
    shell: Any, preprocessed: Path, model: Plans
) -> None:
    line = shell.refuses(3, "sweep", 501, "--drawn")
    assert "SWEEP-DRAWN" in line
    assert "without --drawn" in line


def test_levels_out_of_training_and_folds_without_model_are_refused(
    shell: Any, preprocessed: Path, model: Plans
) -> None:
    assert "77" in shell.refuses(2, "sweep", 501, "-sigmas", 77)
    assert "nnanomaly_train" in shell.refuses(2, "sweep", 501, "-f", 3)
    assert "'00'" in shell.refuses(2, "sweep", 501, "-f", "00")
