"""What leaves the house: weights, numbers, a card; no pickle, case id, folder or host; always the same bytes."""

import getpass
import platform
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file

from nnanomaly.checkpoint import load_checkpoint
from nnanomaly.inference.loaded_model import ModelRequest
from nnanomaly.model_sharing.archive import unpack
from nnanomaly.model_sharing.export_api import export_model
from nnanomaly.paths import Paths
from nnanomaly.plans import load_plans
from nnanomaly.utilities.errors import ConfigurationError

DATASET, PLANS_NAME = "Dataset501_Tiny", "nnAnomalyPlans"


def test_nothing_of_the_patients_or_the_machine_is_in_any_byte(exported: SimpleNamespace) -> None:
    with zipfile.ZipFile(exported.archive) as archive:
        content = [archive.read(name) for name in archive.namelist()]
    everything = b"\0".join([exported.archive.read_bytes(), *content, *(name.encode() for name in archive.namelist())])
    roots = (exported.paths.raw_root, exported.paths.preprocessed_root, exported.paths.results_root)
    secrets = [*exported.cases, *map(str, roots), "secret_", str(Path.home()) + "/", str(exported.archive.parent)]
    secrets += [name for name in (platform.node(), getpass.getuser()) if len(name) > 4]
    assert [secret for secret in secrets if secret.encode() in everything] == []
    assert b"kidney_left" in everything  # the search can find something


def test_no_member_is_a_pickle_and_every_stage_is_there(exported: SimpleNamespace, tmp_path: Path) -> None:
    manifest = unpack(exported.archive, tmp_path, max_bytes=1e9)
    assert manifest.folds == ("0", "1")
    stages = {"vqgan", "classifier", "ddpm", "head"}
    for fold in manifest.folds:
        names = {path.name for path in (tmp_path / f"fold_{fold}").iterdir()}
        documents = {"calibration.json", "latent_scaling.json", *(f"{stage}.json" for stage in stages)}
        assert names == documents | {f"{stage}.safetensors" for stage in stages}
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or path.suffix in (".json", ".md", ".safetensors")
    folder = exported.paths.fold(DATASET, PLANS_NAME, "ddpm", 1)
    original = load_checkpoint(folder / "checkpoint_final.pth")["averaged_weights"]
    weights = load_file(tmp_path / "fold_1" / "ddpm.safetensors")
    assert set(weights) == set(original)
    assert all(weights[name].equal(value) for name, value in original.items())


def test_plans_lose_their_reasons_and_nothing_else(exported: SimpleNamespace, tmp_path: Path) -> None:
    unpack(exported.archive, tmp_path, max_bytes=1e9)
    assert load_plans(tmp_path / "plans.json") == replace(exported.plans, reasons={})


def test_the_card_says_what_was_counted_planned_and_calibrated(exported: SimpleNamespace) -> None:
    with zipfile.ZipFile(exported.archive) as archive:
        card = archive.read("MODEL_CARD.md").decode()
    for line in (
        "# Dataset501_Tiny, plans nnAnomalyPlans",
        "| Cases | 3 |",
        "| kidney_left | 2 healthy, 1 unhealthy, 0 excluded, 0 uncertain |",
        "| kidney_right | 3 healthy, 0 unhealthy, 0 excluded, 0 uncertain |",
        "| Spacing (z, y, x) | 4 x 4 x 4 mm |",
        "| Patch (z, y, x) | 64 x 64 x 64 mm |",
        "| Detector | the lesion head |",
        "| 1 | 4 | 0.45 | 0.50 | yes |",
        "## Limitations",
        "## Licence\n\nCC BY 4.0",
        "## Origin\n\nA hospital",
    ):
        assert f"{line}\n" in card, card


def test_without_labels_the_card_counts_the_cases_of_the_description(exported: SimpleNamespace, tmp_path: Path) -> None:
    paths = replace(exported.paths, preprocessed_root=None)
    export_model(paths, DATASET, tmp_path / "model.zip", exported.options(licence=""))
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        card = archive.read("MODEL_CARD.md").decode()
    assert "| Cases | 6 |" in card
    assert "Not stated. Ask its author" in card


def test_equal_models_are_equal_files_and_an_existing_one_is_kept(exported: SimpleNamespace, tmp_path: Path) -> None:
    target = tmp_path / "model.zip"
    target.write_text("precious")
    with pytest.raises(ConfigurationError, match=r"CFG-OUTPUT.*--force"):
        export_model(exported.paths, DATASET, target, exported.options())
    assert target.read_text() == "precious"
    export_model(exported.paths, DATASET, target, exported.options(overwrite=True))
    assert target.read_bytes() == exported.archive.read_bytes()
    assert list(tmp_path.iterdir()) == [target]


def test_some_folds_can_be_chosen(exported: SimpleNamespace, tmp_path: Path) -> None:
    request = ModelRequest(plans_name=PLANS_NAME, folds=("1",))
    manifest = export_model(exported.paths, DATASET, tmp_path / "model.zip", exported.options(model=request))
    assert {name.split("/")[0] for name in manifest.files if "/" in name} == {"fold_1"}


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        (("ddpm", "checkpoint_final.pth"), "nnanomaly_train Dataset501_Tiny ddpm"),
        (("classifier", "checkpoint_final.pth"), "nnanomaly_train Dataset501_Tiny classifier 0"),
        (("head", "checkpoint_final.pth"), "nnanomaly_train Dataset501_Tiny head 0"),
        (("ddpm", "calibration.json"), "nnanomaly_train Dataset501_Tiny ddpm 0 --val"),
    ],
)
def test_a_model_that_is_not_trained_to_its_end_is_refused(
    missing: tuple[str, str], named: str, exported: SimpleNamespace, tmp_path: Path
) -> None:
    root = exported.paths.results_root
    assert root is not None
    paths = Paths(None, None, Path(shutil.copytree(root, tmp_path / "results")))
    stage, name = missing
    (paths.fold(DATASET, PLANS_NAME, stage, 0) / name).unlink()
    wanted = exported.options(model=ModelRequest(plans_name=PLANS_NAME, folds=("0",)))
    with pytest.raises(ConfigurationError) as raised:
        export_model(paths, DATASET, tmp_path / "model.zip", wanted)
    assert named in str(raised.value)
    assert not (tmp_path / "model.zip").exists()


def card_of(exported: SimpleNamespace, target: Path) -> str:
    export_model(exported.paths, DATASET, target, exported.options())
    with zipfile.ZipFile(target) as archive:
        return archive.read("MODEL_CARD.md").decode()


def test_guidance_that_was_switched_off_is_not_listed_as_used(exported: SimpleNamespace, tmp_path: Path) -> None:
    assert "| Guidance | relative, scale" in card_of(exported, tmp_path / "guided.zip")
    folder = exported.paths.model(DATASET, "nnAnomalyPlans", "ddpm")
    calibrations = {path: path.read_text() for path in folder.glob("fold_*/calibration.json")}
    try:
        for path, text in calibrations.items():
            path.write_text(text.replace('"guidance": true', '"guidance": false'))
        card = card_of(exported, tmp_path / "unguided.zip")
    finally:
        for path, text in calibrations.items():
            path.write_text(text)
    assert "| Guidance | none: planned was relative, scale" in card
