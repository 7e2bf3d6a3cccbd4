"""A trained model with everything that must not leave the house, and its archive."""

import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest

from nnanomaly.dataset.organ_labels import write_label_snapshot
from nnanomaly.inference.loaded_model import ModelRequest
from nnanomaly.model_sharing.export_api import ExportOptions, export_model
from nnanomaly.paths import Paths
from nnanomaly.plans import Plans

DATASET = "Dataset501_Tiny"
CASES = ("jansen_1950", "pietersen_1961", "devries_1972")
PLANS_NAME = "nnAnomalyPlans"


@pytest.fixture(scope="session")
def exported(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_plans: Callable[..., Plans],
    write_untrained_model: Callable[..., None],
) -> SimpleNamespace:
    """Two folds with a lesion head, trained on patients whose names are case ids; `options(...)` exports it anew."""
    paths = Paths(*(tmp_path_factory.mktemp(f"secret_{name}") for name in ("raw", "preprocessed", "results")))
    plans = tiny_plans("default", dataset=DATASET)
    plans = replace(
        plans,
        inference=replace(plans.inference, detector="head"),
        reasons={"inference.sigma": f"chosen on {CASES[0]} in {paths.raw_root}"},
    )
    for fold in (0, 1):
        write_untrained_model(paths, plans, fold=fold, validation={"auc_sigma_1.0": 0.9, "loss": float("nan")})
        calibration = paths.fold(DATASET, PLANS_NAME, "ddpm", fold) / "calibration.json"
        calibration.write_text(json.dumps({**json.loads(calibration.read_text()), "threshold": 0.45}))
    model = paths.model(DATASET, PLANS_NAME, "ddpm")
    description = json.loads((model / "dataset.json").read_text())
    description |= {"name": CASES[1], "reference": str(paths.raw_root), "training": [{"image": f"./{CASES[2]}.nii.gz"}]}
    (model / "dataset.json").write_text(json.dumps(description))
    (model / "fold_0" / "debug.json").write_text(json.dumps({"images": str(paths.raw_root), "cases": CASES}))
    labels = {(case, organ): "healthy" for case in CASES for organ in plans.organs}
    labels[CASES[0], plans.organs[0]] = "unhealthy"
    labels |= {("visser_test", organ): "healthy" for organ in plans.organs}  # tables hold test cases too
    paths.preprocessed(DATASET).mkdir()
    splits = [{"train": list(CASES[:2]), "val": list(CASES[2:])}]
    (paths.preprocessed(DATASET) / "splits_final.json").write_text(json.dumps(splits))
    write_label_snapshot(paths.preprocessed(DATASET), labels, groups={})
    archive = tmp_path_factory.mktemp("shared") / "model.zip"
    export_model(paths, DATASET, archive, options())
    return SimpleNamespace(paths=paths, archive=archive, plans=plans, cases=CASES, options=options)


def options(**changes: object) -> ExportOptions:
    base = ExportOptions(
        model=ModelRequest(plans_name=PLANS_NAME), licence="CC BY 4.0", origin="A hospital", overwrite=False
    )
    return replace(base, **changes)
