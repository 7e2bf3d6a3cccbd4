"""Loading a fold: what it refuses, and when the classifier may guide. The checkpoints hold untrained networks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nnanomaly.checkpoint import BEST, FINAL, checkpoint_hash, load_checkpoint, save_checkpoint
from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.load_fold import load_trained_fold
from nnanomaly.inference.look import look
from nnanomaly.patch import Patch
from nnanomaly.paths import Paths
from nnanomaly.plans import Plans
from nnanomaly.stages import STAGES
from nnanomaly.utilities.errors import ConfigurationError, IntegrityError
from nnanomaly.volume import Grid

WriteModel = Callable[..., None]


@pytest.fixture
def plans(tiny_plans: Callable[..., Plans]) -> Plans:
    return tiny_plans("default", dataset="Dataset501_Kidney")


def load(paths: Paths, plans: Plans) -> Fold:
    return load_trained_fold(paths, plans, 0, torch.device("cpu"))


def folder_of(paths: Paths, plans: Plans, stage: str) -> Path:
    return paths.fold(plans.dataset_name, plans.plans_name, stage, 0)


def with_limit(plans: Plans, limit: float) -> Plans:
    return replace(plans, inference=replace(plans.inference, min_classifier_auc=limit))


@pytest.mark.parametrize(("auc", "guides"), [(0.59, False), (0.61, True)])
def test_a_classifier_guides_from_the_planned_auc_on(
    paths: Paths, plans: Plans, write_untrained_model: WriteModel, auc: float, guides: bool
) -> None:
    write_untrained_model(paths, plans, validation={"auc_sigma_1.0": auc, "auc": 0.99})
    fold = load(paths, with_limit(plans, 0.6))
    assert fold.guidance is guides
    assert f"{auc:.2f}" in fold.guidance_reason
    assert "0.60" in fold.guidance_reason
    assert ("guidance is off" in fold.guidance_reason) is not guides


def test_the_auc_next_to_the_noise_level_of_the_plan_counts(
    paths: Paths, plans: Plans, write_untrained_model: WriteModel
) -> None:
    write_untrained_model(paths, plans, validation={"auc_sigma_0.1": 0.9, "auc_sigma_1.0": 0.5})
    low = replace(plans, inference=replace(plans.inference, sigma=0.2))
    assert load(paths, with_limit(low, 0.6)).guidance
    assert not load(paths, with_limit(plans, 0.6)).guidance


def test_an_unknown_auc_switches_guidance_off(paths: Paths, plans: Plans, write_untrained_model: WriteModel) -> None:
    write_untrained_model(paths, plans, validation={"cross_entropy": 0.6, "error": 0.6})
    fold = load(paths, with_limit(plans, 0.6))
    assert not fold.guidance
    assert "unknown" in fold.guidance_reason


def test_a_limit_of_nought_guides_whatever_the_auc(
    paths: Paths, plans: Plans, write_untrained_model: WriteModel
) -> None:
    write_untrained_model(paths, plans, validation={})
    assert load(paths, with_limit(plans, 0.0)).guidance


@pytest.mark.parametrize("rounds", [0, 2])
def test_a_fold_can_inpaint_where_the_plan_asks_for_it(
    paths: Paths, plans: Plans, write_untrained_model: WriteModel, rounds: int
) -> None:
    write_untrained_model(paths, plans, validation={})
    other = replace(plans, inference=replace(plans.inference, inpaint_rounds=rounds))
    assert (load(paths, other).inpaint is not None) is (rounds > 0)


def test_a_difference_to_the_unguided_reconstruction_is_refused_when_guidance_is_off(
    paths: Paths, plans: Plans, write_untrained_model: WriteModel
) -> None:
    write_untrained_model(paths, plans, validation={"auc_sigma_1.0": 0.4})
    other = replace(plans, inference=replace(plans.inference, residual_of="unguided"))
    with pytest.raises(ConfigurationError, match="residual_of"):
        load(paths, other)


def test_guidance_that_is_off_reconstructs_like_plans_without_guidance(
    paths: Paths, plans: Plans, write_untrained_model: WriteModel
) -> None:
    write_untrained_model(paths, plans, validation={"auc_sigma_1.0": 0.4})
    none = replace(plans, inference=replace(plans.inference, guidance="none"))
    patch = torch.rand(plans.preprocessing.patch_size, generator=torch.Generator().manual_seed(0)).numpy()
    off, without, guided = (
        load(paths, p).reconstruct([patch], ["a"]).healthy for p in (plans, none, with_limit(plans, 0))
    )
    assert torch.equal(off, without)
    assert not torch.equal(off, guided)


def test_plans_without_guidance_need_no_classifier(
    paths: Paths, plans: Plans, write_untrained_model: WriteModel
) -> None:
    write_untrained_model(paths, plans)
    (folder_of(paths, plans, "classifier") / FINAL).unlink()
    none = replace(plans, inference=replace(plans.inference, guidance="none"))
    assert set(load(paths, none).checkpoints) == {"vqgan", "ddpm"}


def test_free_guidance_guides_without_a_classifier_and_says_so(
    paths: Paths, plans: Plans, write_untrained_model: WriteModel
) -> None:
    free = replace(
        plans,
        inference=replace(plans.inference, guidance="free", guidance_scale=2.5, min_classifier_auc=0.6),
        ddpm=replace(plans.ddpm, class_dropout=0.15),
    )
    write_untrained_model(paths, free, validation={})
    (folder_of(paths, plans, "classifier") / FINAL).unlink()
    fold = load(paths, free)
    assert fold.guidance
    assert set(fold.checkpoints) == {"vqgan", "ddpm"}
    assert "classifier-free" in fold.guidance_reason
    assert "2.5" in fold.guidance_reason
    patch = torch.rand(plans.preprocessing.patch_size, generator=torch.Generator().manual_seed(0)).numpy()
    assert fold.reconstruct([patch], ["a"]).healthy.isfinite().all()


def test_hashes_of_all_stages_are_those_of_their_files(
    paths: Paths, plans: Plans, write_untrained_model: WriteModel
) -> None:
    write_untrained_model(paths, plans)
    expected = {stage: checkpoint_hash(folder_of(paths, plans, stage) / FINAL) for stage in STAGES}
    assert load(paths, plans).checkpoints == expected


def test_only_the_ddpm_has_a_choice_of_checkpoints(
    paths: Paths, plans: Plans, write_untrained_model: WriteModel
) -> None:
    write_untrained_model(paths, plans)
    final = load(paths, plans).checkpoints
    best = folder_of(paths, plans, "ddpm") / BEST
    save_checkpoint(best, {**load_checkpoint(best.with_name(FINAL)), "iteration": 1})
    chosen = load_trained_fold(paths, plans, 0, torch.device("cpu"), checkpoint=BEST).checkpoints
    assert chosen == {**final, "ddpm": checkpoint_hash(best)}
    assert chosen != final


@pytest.mark.parametrize("stage", ["classifier", "ddpm"])
def test_a_network_of_another_autoencoder_is_refused_with_both_hashes(
    paths: Paths, plans: Plans, write_untrained_model: WriteModel, stage: str
) -> None:
    write_untrained_model(paths, plans)
    path = folder_of(paths, plans, stage) / FINAL
    save_checkpoint(path, {**load_checkpoint(path), "vqgan_sha256": "feedc0ffee12" + 52 * "0"})
    with pytest.raises(IntegrityError) as refused:
        load(paths, plans)
    assert refused.value.code == "CKPT-VQGAN"
    message = str(refused.value)
    assert str(path) in message
    assert "feedc0ffee12" in message
    assert checkpoint_hash(folder_of(paths, plans, "vqgan") / FINAL)[:12] in message


@pytest.mark.parametrize("stage", STAGES)
def test_a_missing_stage_is_one_line_with_the_command_that_trains_it(
    paths: Paths, plans: Plans, write_untrained_model: WriteModel, stage: str
) -> None:
    write_untrained_model(paths, plans)
    (folder_of(paths, plans, stage) / FINAL).unlink()
    with pytest.raises(ConfigurationError) as refused:
        load(paths, plans)
    assert refused.value.code == "CKPT-MISSING"
    assert str(refused.value).endswith(f"nnanomaly_train Dataset501_Kidney {stage} 0")
    assert "\n" not in str(refused.value)


def test_networks_of_other_plans_are_refused(paths: Paths, plans: Plans, write_untrained_model: WriteModel) -> None:
    write_untrained_model(paths, plans)
    other = replace(plans, classifier=replace(plans.classifier, pool="logsumexp"))
    with pytest.raises(IntegrityError) as refused:
        load(paths, other)
    assert refused.value.code == "CKPT-PLANS"
    assert plans.identity_of("classifier")[:12] in str(refused.value)
    assert other.identity_of("classifier")[:12] in str(refused.value)


def test_a_head_that_carries_an_identity_of_version_1_still_loads_and_predicts_with_the_plans_that_it_fitted(
    paths: Paths, plans: Plans, write_untrained_model: WriteModel
) -> None:
    trained = replace(plans, inference=replace(plans.inference, detector="head"))
    write_untrained_model(paths, trained)
    changed = replace(trained, inference=replace(trained.inference, smoothing_mm=1.0, min_classifier_auc=0.1))
    with pytest.raises(IntegrityError, match="CKPT-PLANS"):
        load(paths, changed)
    path = folder_of(paths, trained, "head") / FINAL
    state = load_checkpoint(path)
    save_checkpoint(path, {**state, "plans_identity": state["plans_identity"].partition(":2:")[0]})
    grid = Grid((16, 16, 16), (4.0, 4.0, 4.0), (0.0, 0.0, 0.0))
    patch = Patch(name="a", case="a", organ="a", array=np.ones((3, 16, 16, 16), np.float16), grid=grid)
    statistics = ResidualStatistics(edges_mm=(0.0,), mean_hu=(20.0, 20.0), std_hu=(10.0, 10.0))
    anomalies = []
    for fitting in (trained, changed):
        fold = load(paths, fitting)
        anomalies.append(fold.detect(look(patch, fold.reconstruct, fitting), statistics))
    assert all(np.isfinite(anomaly).all() and anomaly.max() > 0 for anomaly in anomalies)
    other = replace(changed, inference=replace(changed.inference, num_steps=5))
    with pytest.raises(IntegrityError, match="CKPT-PLANS"):
        load(paths, other)
