"""Plans files: what is written is read again, a typo is named with its place, older files mean what they meant."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nnanomaly.plans import GatePlan, Plans, load_plans, save_plans
from nnanomaly.stages import NETWORKS, STAGES
from nnanomaly.utilities.errors import ConfigurationError, IntegrityError
from nnanomaly.utilities.json_io import document_hash


@pytest.fixture
def path(tmp_path: Path, plans: Plans) -> Path:
    save_plans(tmp_path / "nnAnomalyPlans.json", plans)
    return tmp_path / "nnAnomalyPlans.json"


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_plans_survive_the_way_to_a_file_and_back(
    tmp_path: Path, tiny_plans: Callable[..., Plans], preset: str
) -> None:
    plans = replace(tiny_plans(preset, dataset="Dataset501_Kidney"), reasons={"vqgan.stride": "because"})
    save_plans(tmp_path / "plans.json", plans)
    assert load_plans(tmp_path / "plans.json") == plans


def test_stages_are_configurations_that_name_the_one_before(path: Path) -> None:
    document = json.loads(path.read_text())
    assert set(document["configurations"]) == set(NETWORKS)
    assert document["configurations"]["ddpm"]["previous_stage"] == "vqgan"
    assert document["schema_version"] == 1
    assert document["latent_shape"] == [8, 8, 8]
    assert "image_reader_writer" in document  # nnU-Net's evaluation looks for it


def test_numbers_that_follow_from_others_are_not_read(path: Path, plans: Plans) -> None:
    edit(path, lambda document: document.update(latent_shape=[1, 2, 3]))
    assert load_plans(path).latent_shape == plans.latent_shape == (8, 8, 8)


def test_a_configuration_takes_from_the_one_it_inherits_from_what_it_does_not_say(path: Path, plans: Plans) -> None:
    def inherit(document: dict[str, Any]) -> None:
        stages = document["configurations"]
        stages["base"] = {**stages["ddpm"], "num_timesteps": 500}
        stages["middle"] = {"inherits_from": "base", "training": {"batch_size": 7}}
        stages["ddpm"] = {"inherits_from": "middle", "log_sigma_mean": 0.7}

    edit(path, inherit)
    loaded = load_plans(path)
    expected = replace(plans.ddpm, num_timesteps=500, log_sigma_mean=0.7)
    assert loaded.ddpm == replace(expected, training=replace(expected.training, batch_size=7))
    assert loaded.vqgan == plans.vqgan


@pytest.mark.parametrize(
    ("stages", "name"),
    [
        ({"ddpm": {"inherits_from": "absent"}}, "absent"),
        ({"ddpm": {"inherits_from": "ddpm"}}, "ddpm"),
        ({"ddpm": {"inherits_from": "a"}, "a": {"inherits_from": "ddpm"}}, "ddpm"),
    ],
)
def test_a_configuration_that_inherits_from_nothing_or_itself_is_refused(
    path: Path, stages: dict[str, Any], name: str
) -> None:
    edit(path, lambda document: document["configurations"].update(stages))
    with pytest.raises(ConfigurationError, match=rf"{re.escape(str(path))}.*'{name}'"):
        load_plans(path)


@pytest.mark.parametrize(
    "change",
    [lambda stages: stages.pop("classifier"), lambda stages: stages.update(classifier=5)],
)
def test_a_stage_that_is_missing_or_no_object_is_named(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    edit(path, lambda document: change(document["configurations"]))
    with pytest.raises(ConfigurationError, match="classifier"):
        load_plans(path)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda d: d.update(gpu_memory=8), ["gpu_memory"]),
        (lambda d: d["preprocessing"].update(patchsize=[16, 16, 16]), ["preprocessing", "patchsize"]),
        (lambda d: d["configurations"]["vqgan"].update(width=[8]), ["vqgan", "width"]),
        (lambda d: d["configurations"]["ddpm"]["training"].update(lr=1e-3), ["ddpm: training", "lr"]),
        (lambda d: d["inference"].pop("sampler"), ["inference", "sampler"]),
        (lambda d: d["inference"].update(num_steps="25"), ["inference: num_steps", "'25'"]),
        (lambda d: d["configurations"]["vqgan"].update(stride=[2, 2]), ["vqgan: stride", "3 values"]),
    ],
)
def test_a_typo_in_a_plans_file_is_named_with_its_place(
    path: Path, change: Callable[[dict[str, Any]], object], parts: list[str]
) -> None:
    edit(path, change)
    with pytest.raises(ConfigurationError) as refused:
        load_plans(path)
    for part in (str(path), *parts):
        assert part in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("version", [2, 0, "1", None])
def test_another_schema_version_is_refused(path: Path, version: object) -> None:
    edit(path, lambda document: document.update(schema_version=version))
    with pytest.raises(IntegrityError, match="PLAN-VERSION.*schema_version"):
        load_plans(path)


@pytest.mark.parametrize(
    "text", ["[1, 2]", '"plans"', "null", '{"configurations": [1], "schema_version": 1}', "{}", '{"schema_version": 1}']
)
def test_a_file_that_is_no_plans_file_is_refused(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises((ConfigurationError, IntegrityError), match=re.escape(str(path))):
        load_plans(path)


def test_a_value_out_of_range_is_refused_with_the_file(path: Path) -> None:
    edit(path, lambda document: document["configurations"]["ddpm"].update(widths=[0, 0]))
    with pytest.raises(ConfigurationError, match=rf"CFG-PLAN\] {re.escape(str(path))}: plans field widths is \(0, 0\)"):
        load_plans(path)


def test_a_file_older_than_codecs_and_classes_means_what_it_meant_and_fits_its_models(path: Path, plans: Plans) -> None:
    younger = {"vqgan": ("codec", "kl_weight"), "ddpm": ("class_dropout", "schedule", "noise")}
    for stage, keys in younger.items():
        for key in keys:
            edit(path, lambda document, stage=stage, key=key: document["configurations"][stage].pop(key))
    old = load_plans(path)
    assert old == plans
    assert (old.vqgan.codec, old.ddpm.class_dropout, old.ddpm.schedule, old.ddpm.noise) == (
        "vq",
        0.0,
        "cosine",
        "gaussian",
    )
    # What schema 1 hashed from the start, written out.
    document = json.loads(path.read_text())
    hashed = {key: document[key] for key in ("preset", "organs", "preprocessing")}
    for stage in STAGES:
        fields = document["configurations"][stage]
        hashed[stage] = {
            key: value for key, value in fields.items() if key not in ("training", "gate", "previous_stage")
        }
    assert plans.identity == document_hash(hashed)


@pytest.mark.parametrize(("codec", "latent"), [("kl", (8, 8, 8)), ("haar", (8, 8, 8)), ("identity", (16, 16, 16))])
def test_plans_of_every_codec_survive_the_way_to_a_file(
    tmp_path: Path, plans: Plans, with_codec: Callable[[Plans, str], Plans], codec: str, latent: tuple[int, int, int]
) -> None:
    changed = with_codec(plans, codec)
    save_plans(tmp_path / "plans.json", changed)
    assert load_plans(tmp_path / "plans.json") == changed
    assert changed.latent_shape == latent


def test_a_file_older_than_ensembles_inpainting_and_following_means_none_of_them(path: Path, plans: Plans) -> None:
    for key in ("extra_sigmas", "inpaint_rounds", "follow_lesions"):
        edit(path, lambda document, key=key: document["inference"].pop(key))
    assert load_plans(path) == plans
    assert (plans.inference.sigmas, plans.inference.inpaint_rounds) == ((plans.inference.sigma,), 0)
    assert not plans.inference.follow_lesions


def test_a_plans_file_from_before_the_gate_is_read_without_limits(path: Path, plans: Plans) -> None:
    edit(path, lambda document: document["configurations"]["vqgan"].pop("gate"))
    assert load_plans(path).vqgan.gate == GatePlan()
    assert load_plans(path).identity == plans.identity


def test_identity_is_that_of_the_file(path: Path, plans: Plans) -> None:
    assert load_plans(path).identity == plans.identity
    assert re.fullmatch(r"[0-9a-f]{64}", plans.identity)
