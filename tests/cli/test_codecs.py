"""Training and prediction with each codec, with the smallest networks: what stage 1 leaves, and what it is worth."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from nnanomaly.checkpoint import FINAL, checkpoint_hash, load_checkpoint
from nnanomaly.plans import Plans, save_plans

DATASET = "Dataset501_Tiny"


@pytest.fixture
def choose(
    shell: Any, preprocessed: Path, tiny_plans: Callable[..., Plans], with_codec: Callable[[Plans, str], Plans]
) -> Callable[[str], Plans]:
    """Write the plans of a codec where the commands look for them."""

    def choose(codec: str) -> Plans:
        plans = with_codec(tiny_plans("default", dataset=DATASET), codec)
        save_plans(shell.paths.plans(DATASET, plans.plans_name), plans)
        return plans

    return choose


def fold(shell: Any, plans: Plans, stage: str) -> Path:
    return Path(shell.paths.fold(DATASET, plans.plans_name, stage, 0))


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["vq", "kl", "haar", "identity"])
def test_from_patches_to_predictions(shell: Any, choose: Callable[[str], Plans], codec: str, tmp_path: Path) -> None:
    plans = choose(codec)
    assert shell("train", 501, "ddpm") == 0
    vqgan = fold(shell, plans, "vqgan")
    state = load_checkpoint(vqgan / FINAL, identity=plans.identity_of("vqgan"))
    assert (state["codec"], state["finished"]) == (codec, True)
    summary = json.loads((vqgan / "validation" / "summary.json").read_text())
    assert {"l1", "psnr_db"} <= set(summary)
    assert (summary["l1"] < 1e-6) is (codec in ("haar", "identity"))
    values = json.loads((vqgan / "latent_scaling.json").read_text())["values"]
    assert len(values["mean"]) == len(values["std"]) == plans.vqgan.latent_channels
    for stage in ("classifier", "ddpm"):
        assert load_checkpoint(fold(shell, plans, stage) / FINAL)["vqgan_sha256"] == checkpoint_hash(vqgan / FINAL)
    assert shell("predict", "-i", "imagesTs", "-o", tmp_path / "preds") == 0
    anomaly = nibabel.load(tmp_path / "preds" / "anomaly_maps" / "test_0.nii.gz")
    assert np.asarray(anomaly.dataobj).max() > 0


@pytest.mark.parametrize("codec", ["haar", "identity"])
def test_a_codec_that_learns_nothing_ends_at_once_and_its_checkpoint_says_so(
    shell: Any, choose: Callable[[str], Plans], codec: str
) -> None:
    plans = choose(codec)
    assert shell("train", 501, "vqgan", "-num_iterations", 10**9) == 0
    folder = fold(shell, plans, "vqgan")
    state = load_checkpoint(folder / FINAL)
    assert (state["codec"], state["iteration"], state["averaged_weights"]) == (codec, 1, {})
    assert (folder / "progress.png").is_file()
    first = checkpoint_hash(folder / FINAL)
    assert shell("train", 501, "vqgan", "--c") == 0
    assert checkpoint_hash(folder / FINAL) == first


def test_trained_again_a_codec_that_learns_nothing_is_the_same_and_its_classifier_stays(
    shell: Any, choose: Callable[[str], Plans]
) -> None:
    choose("haar")
    assert shell("train", 501, "classifier") == 0
    assert shell("train", 501, "vqgan") == 0
    assert shell("train", 501, "ddpm") == 0


def test_a_classifier_of_another_codec_is_refused(shell: Any, choose: Callable[[str], Plans]) -> None:
    choose("haar")
    assert shell("train", 501, "classifier") == 0
    choose("identity")
    line = shell.refuses(6, "train", 501, "ddpm")
    assert "CKPT-PLANS" in line


def test_a_codec_that_does_not_fit_the_plans_is_one_line(shell: Any, choose: Callable[[str], Plans]) -> None:
    plans = choose("vq")
    path = shell.paths.plans(DATASET, plans.plans_name)
    path.write_text(path.read_text().replace('"codec": "vq"', '"codec": "identity"'))
    line = shell.refuses(2, "train", 501, "ddpm")
    assert "CFG-PLAN" in line
    assert "vqgan.latent_channels must be 1, not 4" in line
