"""The plans file: what is written is read again, a user's typo is named, and what networks depend on has a hash."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from nnanomaly.experiment_planning.presets import DEFAULT, PAPER
from nnanomaly.plans import (
    KINDS_OF_LESIONS,
    LENGTHS,
    LIMITS,
    ClassifierPlan,
    DiffusionPlan,
    GatePlan,
    HeadPlan,
    InferencePlan,
    Plans,
    PreprocessingPlan,
    TrainingPlan,
    VQGANPlan,
    load_plans,
    save_plans,
)
from nnanomaly.stages import HEAD, STAGES
from nnanomaly.utilities.errors import ConfigurationError, IntegrityError
from nnanomaly.utilities.json_io import document_hash


@pytest.fixture
def plans(tiny_plans: Callable[..., Plans]) -> Plans:
    return tiny_plans("default", dataset="Dataset501_Kidney")


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
    assert set(document["configurations"]) == {*STAGES, HEAD}
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


OUT_OF_RANGE = [
    (lambda p: replace(p.preprocessing, spacing_mm=(0.01, 1.0, 1.0)), "spacing_mm"),
    (lambda p: replace(p.preprocessing, patch_size=(4, 16, 16)), "patch_size"),
    (lambda p: replace(p.preprocessing, tile_overlap=1.0), "tile_overlap"),
    (lambda p: replace(p.preprocessing, window_hu=(300.0, -200.0)), "window_hu"),
    (lambda p: replace(p.preprocessing, tile_overlap=0.999), "tile_overlap"),
    (lambda p: replace(p.preprocessing, patch_size=(4000, 4000, 4000)), "patch_size"),
    (lambda p: replace(p.preprocessing, patch_size=(1024, 1024, 256)), "patch_size"),
    (lambda p: replace(p.preprocessing, margin_mm=1e30), "margin_mm"),
    (lambda p: replace(p.preprocessing, interpolation_order=6), "interpolation_order"),
    (lambda p: replace(p.preprocessing, mirrored_organs=("../kidney",)), "mirrored_organs"),
    (lambda p: replace(p.vqgan, widths=(0, 0)), "widths"),
    (lambda p: replace(p.vqgan, widths=(100_000, 100_000)), "widths"),
    (lambda p: replace(p.vqgan, num_codes=10**9), "num_codes"),
    (lambda p: replace(p.vqgan, latent_channels=0), "latent_channels"),
    (lambda p: replace(p.classifier, widths=()), "widths"),
    (lambda p: replace(p.classifier, blocks_per_level=10**7), "blocks_per_level"),
    (lambda p: replace(p.ddpm, widths=(0, 0)), "widths"),
    (lambda p: replace(p.ddpm, blocks_per_level=10**7), "blocks_per_level"),
    (lambda p: replace(p.ddpm, head_channels=0), "head_channels"),
    (lambda p: replace(p.ddpm, num_timesteps=10**9), "num_timesteps"),
    (lambda p: replace(p, ddpm=replace(p.ddpm, attention_levels=(7,))), "attention_levels"),
    (lambda p: replace(p.head, widths=(8,) * 9), "widths"),
    (lambda p: replace(p.head, inputs=("image", "image")), "head.inputs"),
    (lambda p: replace(p.head, held_out_kinds=("tumor",)), "head.held_out_kinds"),
    (lambda p: replace(p.inference, num_samples=10**9), "num_samples"),
    (lambda p: replace(p.inference, extra_sigmas=(0.5,) * 10**6), "extra_sigmas"),
    (lambda p: replace(p.inference, num_steps=10_000, num_samples=1000), "num_steps"),
    (lambda p: replace(p.inference, num_steps=10**7), "num_steps"),
    (lambda p: replace(p.inference, sigma=float("nan")), "sigma"),
    (lambda p: replace(p.inference, guidance_scale=-1.0), "guidance_scale"),
    (lambda p: p.with_training("ddpm", learning_rate=float("inf")), "learning_rate"),
    (lambda p: p.with_training("ddpm", betas=(0.9, 1.0)), "betas"),
    (lambda p: p.with_training("ddpm", seed=-1), "seed"),
    (lambda p: replace(p, organs=()), "organs"),
    (lambda p: replace(p, organs=("kidney", "kidney")), "organs"),
    (lambda p: replace(p, organs=("../../kidney",)), "organs"),
    (lambda p: replace(p, organs=("<img",)), "organs"),
    (lambda p: replace(p, organs=("kidney\x1b[2J",)), "organs"),
    (lambda p: replace(p, dataset_name="Dataset501_a/../../b"), "dataset_name"),
    (lambda p: replace(p, dataset_name="Dataset501_\u202e"), "dataset_name"),
    (lambda p: replace(p, plans_name="../plans"), "plans_name"),
    (lambda p: replace(p, gpu_memory_target_gb=0.0), "gpu_memory_target_gb"),
    (lambda p: replace(p.vqgan, architecture="unet"), "architecture"),
    (lambda p: replace(p.vqgan, stride=(3, 2, 2)), "stride"),
    (lambda p: replace(p.vqgan, widths=(8,)), "widths"),
    (lambda p: replace(p.vqgan, perceptual="vgg"), "perceptual"),
    (lambda p: replace(p.vqgan, codec="fsq"), "codec"),
    (lambda p: replace(p.vqgan, kl_weight=-1e-6), "kl_weight"),
    (lambda p: GatePlan(min_psnr_db=-1.0), "min_psnr_db"),
    (lambda p: GatePlan(min_ssim=1.0), "min_ssim"),
    (lambda p: GatePlan(max_mae_hu=-1.0), "max_mae_hu"),
    (lambda p: GatePlan(min_high_band_ratio=-0.1), "min_high_band_ratio"),
    (lambda p: GatePlan(contrast_hu=0.0), "contrast_hu"),
    (lambda p: GatePlan(diameters_mm=(5.0, 0.0, 20.0)), "diameters_mm"),
    (lambda p: GatePlan(min_contrast_retention=(0.5, 0.5)), "min_contrast_retention"),
    (lambda p: GatePlan(min_contrast_retention=(0.5, 0.5, 1.0)), "min_contrast_retention"),
    (lambda p: replace(p.classifier, pool="max"), "pool"),
    (lambda p: replace(p.classifier, max_sigma=0.0), "max_sigma"),
    (lambda p: replace(p.ddpm, architecture="dit"), "architecture"),
    (lambda p: replace(p.ddpm, process="flow"), "process"),
    (lambda p: replace(p.ddpm, latent_scaling="none"), "latent_scaling"),
    (lambda p: replace(p.ddpm, num_timesteps=1), "num_timesteps"),
    (lambda p: replace(p.inference, sampler="euler"), "sampler"),
    (lambda p: replace(p.inference, encode="none"), "encode"),
    (lambda p: replace(p.inference, guidance="loose"), "guidance"),
    (lambda p: replace(p.ddpm, class_dropout=-0.1), "class_dropout"),
    (lambda p: replace(p.ddpm, class_dropout=1.0), "class_dropout"),
    (lambda p: replace(p.inference, sigma=0.0), "sigma"),
    (lambda p: replace(p.inference, num_steps=0), "num_steps"),
    (lambda p: replace(p.inference, num_samples=0), "num_samples"),
    (lambda p: replace(p.inference, hysteresis=0.0), "hysteresis"),
    (lambda p: replace(p.inference, hysteresis=1.1), "hysteresis"),
    (lambda p: replace(p.inference, anomaly_map="psnr"), "anomaly_map"),
    (lambda p: replace(p.inference, threshold="0.5"), "threshold"),
    (lambda p: p.with_training("ddpm", num_iterations=0), "num_iterations"),
    (lambda p: p.with_training("ddpm", batch_size=0), "batch_size"),
    (lambda p: p.with_training("ddpm", accumulation=0), "accumulation"),
    (lambda p: p.with_training("ddpm", learning_rate=0.0), "learning_rate"),
    (lambda p: p.with_training("ddpm", ema_decay=1.0), "ema_decay"),
    (lambda p: p.with_training("ddpm", validate_every=0), "validate_every"),
    (lambda p: p.with_training("ddpm", decay="step"), "decay"),
    (lambda p: p.with_training("ddpm", precision="fp16"), "precision"),
    (lambda p: replace(p, preset="mine"), "preset"),
    (lambda p: replace(p, preprocessing=replace(p.preprocessing, patch_size=(17, 16, 16))), "patch_size"),
    (lambda p: replace(p, ddpm=replace(p.ddpm, widths=(8,) * 5)), "latent shape"),
    (lambda p: p.training_of("unet"), "stage"),
]


@pytest.mark.parametrize(("make", "field"), OUT_OF_RANGE, ids=[field for _, field in OUT_OF_RANGE])
def test_a_value_out_of_range_is_refused_with_the_name_of_its_field(
    plans: Plans, make: Callable[[Plans], object], field: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"plans field {field} is ") as refused:
        make(plans)
    assert refused.value.code == "CFG-PLAN"
    assert "\n" not in str(refused.value)


def test_the_kinds_that_may_be_held_out_are_those_that_are_inserted() -> None:
    from nnanomaly.synthesis.kinds import KINDS

    assert tuple(KINDS) == KINDS_OF_LESIONS


@pytest.mark.parametrize("table", [LIMITS, LENGTHS])
def test_every_number_and_every_list_has_limits(table: dict[str, dict[str, tuple[float, float]]]) -> None:
    kinds = (PreprocessingPlan, TrainingPlan, GatePlan, VQGANPlan, ClassifierPlan, DiffusionPlan, HeadPlan)
    for kind in (*kinds, InferencePlan, Plans):
        hints = get_type_hints(kind)
        plain = {name: hint for name, hint in hints.items() if get_origin(hint) is not dict}
        numbers = {name for name, hint in plain.items() if {int, float} & {hint, *get_args(hint)}}
        lists = {name for name, hint in hints.items() if get_args(hint)[1:] == (Ellipsis,)}
        wanted = numbers if table is LIMITS else lists
        assert wanted <= set(table.get(kind.__name__, {})), kind


def test_a_value_out_of_range_is_refused_with_the_file(path: Path) -> None:
    edit(path, lambda document: document["configurations"]["ddpm"].update(widths=[0, 0]))
    with pytest.raises(ConfigurationError, match=rf"CFG-PLAN\] {re.escape(str(path))}: plans field widths is \(0, 0\)"):
        load_plans(path)


def test_the_factorised_network_needs_no_divisible_depth(plans: Plans) -> None:
    patches = replace(plans.preprocessing, patch_size=(20, 16, 16))
    ddpm = replace(PAPER.ddpm, widths=(8,) * 4)
    paper = replace(plans, preprocessing=patches, ddpm=ddpm, inference=PAPER.inference)
    assert paper.latent_shape == (10, 8, 8)
    with pytest.raises(ConfigurationError, match="latent shape"):
        replace(paper, preprocessing=replace(patches, patch_size=(20, 20, 16)))


def test_settings_of_one_stage_change_without_touching_the_others(plans: Plans) -> None:
    changed = plans.with_training("classifier", num_iterations=99, seed=5)
    assert changed.training_of("classifier") == replace(plans.classifier.training, num_iterations=99, seed=5)
    assert changed.vqgan == plans.vqgan
    assert plans.classifier.training.num_iterations != 99


def test_identity_ignores_how_long_and_how_fast_is_trained_and_how_is_predicted(plans: Plans) -> None:
    same = [
        plans.with_training("vqgan", num_iterations=12345, learning_rate=1.0, seed=9),
        replace(plans, inference=replace(plans.inference, sigma=0.5, guidance="none")),
        replace(plans, reasons={"x": "y"}),
        replace(plans, gpu_memory_target_gb=80.0),
        replace(plans, dataset_name="Dataset502_Copy"),
    ]
    assert {other.identity for other in same} == {plans.identity}


def test_identity_follows_preprocessing_networks_and_organs(plans: Plans) -> None:
    others = [
        replace(plans, preprocessing=replace(plans.preprocessing, window_hu=(-100.0, 300.0))),
        replace(plans, vqgan=replace(plans.vqgan, num_codes=64)),
        replace(plans, classifier=replace(plans.classifier, pool="logsumexp")),
        replace(plans, ddpm=replace(plans.ddpm, widths=(8, 16))),
        replace(plans, organs=("kidney_left",)),
    ]
    assert len({plans.identity, *(other.identity for other in others)}) == len(others) + 1


def test_identity_of_a_stage_follows_the_autoencoder_but_not_its_sister(plans: Plans) -> None:
    other = replace(plans, classifier=replace(plans.classifier, pool="logsumexp"))
    assert other.identity_of("classifier") != plans.identity_of("classifier")
    for stage in ("vqgan", "ddpm"):
        assert other.identity_of(stage) == plans.identity_of(stage)
    codes = replace(plans, vqgan=replace(plans.vqgan, num_codes=64))
    assert not {codes.identity_of(stage) for stage in STAGES} & {plans.identity_of(stage) for stage in STAGES}


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


@pytest.mark.parametrize("codec", ["kl", "haar", "identity"])
def test_another_codec_is_another_model_in_every_stage(
    plans: Plans, with_codec: Callable[[Plans, str], Plans], codec: str
) -> None:
    other = with_codec(plans, codec)
    assert not {other.identity_of(stage) for stage in STAGES} & {plans.identity_of(stage) for stage in STAGES}


@pytest.mark.parametrize(("codec", "latent"), [("kl", (8, 8, 8)), ("haar", (8, 8, 8)), ("identity", (16, 16, 16))])
def test_plans_of_every_codec_survive_the_way_to_a_file(
    tmp_path: Path, plans: Plans, with_codec: Callable[[Plans, str], Plans], codec: str, latent: tuple[int, int, int]
) -> None:
    changed = with_codec(plans, codec)
    save_plans(tmp_path / "plans.json", changed)
    assert load_plans(tmp_path / "plans.json") == changed
    assert changed.latent_shape == latent


def test_everything_that_does_not_fit_a_codec_is_named_in_one_line(plans: Plans) -> None:
    with pytest.raises(ConfigurationError) as refused:
        replace(plans, vqgan=replace(plans.vqgan, codec="identity"))
    line = str(refused.value)
    assert "\n" not in line
    for part in (
        "vqgan.codec is 'identity'",
        "vqgan.stride must be (1, 1, 1), not (2, 2, 2)",
        "vqgan.latent_channels must be 1, not 4",
        "inference.quantise must be False, not True",
    ):
        assert part in line
    assert "latent_scaling" not in line  # that one fits


@pytest.mark.parametrize(
    ("codec", "change", "field"),
    [
        ("haar", lambda p: replace(p, vqgan=replace(p.vqgan, latent_channels=4)), "latent_channels must be 8, not 4"),
        ("haar", lambda p: replace(p, vqgan=replace(p.vqgan, stride=(1, 2, 2))), "stride"),
        ("kl", lambda p: replace(p, inference=replace(p.inference, quantise=True)), "quantise"),
        ("kl", lambda p: replace(p, ddpm=replace(p.ddpm, latent_scaling="codebook_range")), "latent_scaling"),
    ],
)
def test_a_field_that_does_not_fit_a_codec_is_refused(
    plans: Plans,
    with_codec: Callable[[Plans, str], Plans],
    codec: str,
    change: Callable[[Plans], Plans],
    field: str,
) -> None:
    fitting = with_codec(plans, codec)
    with pytest.raises(ConfigurationError, match=rf"vqgan.codec is '{codec}'.*{re.escape(field)}"):
        change(fitting)


def test_a_file_older_than_ensembles_inpainting_and_following_means_none_of_them(path: Path, plans: Plans) -> None:
    for key in ("extra_sigmas", "inpaint_rounds", "follow_lesions"):
        edit(path, lambda document, key=key: document["inference"].pop(key))
    assert load_plans(path) == plans
    assert (plans.inference.sigmas, plans.inference.inpaint_rounds) == ((plans.inference.sigma,), 0)
    assert not plans.inference.follow_lesions


def test_a_head_belongs_to_the_noise_levels_and_the_reference_it_was_trained_on(plans: Plans) -> None:
    for change in ({"extra_sigmas": (0.5,)}, {"residual_of": "autoencoded"}, {"anomaly_map": "ssim"}):
        other = replace(plans, inference=replace(plans.inference, **change))
        assert other.identity_of("head") != plans.identity_of("head")
        assert other.identity == plans.identity
    inpainting = replace(plans, inference=replace(plans.inference, inpaint_rounds=3, follow_lesions=True))
    assert inpainting.identity_of("head") == plans.identity_of("head")
    trained = replace(plans.head, augmentation=True, crop_mm=0.0, self_training_iterations=5)
    assert replace(plans, head=trained).identity_of("head") == plans.identity_of("head")


def test_inpainting_and_extra_levels_are_refused_where_the_network_cannot_follow(
    tiny_plans: Callable[..., Plans], plans: Plans
) -> None:
    with pytest.raises(ConfigurationError, match="extra_sigmas is 99"):
        replace(plans, inference=replace(plans.inference, extra_sigmas=(0.5, 99.0)))
    paper = tiny_plans("paper", dataset="Dataset501_Kidney")
    with pytest.raises(ConfigurationError, match="only edm inpaints"):
        replace(paper, inference=replace(paper.inference, inpaint_rounds=3))


def test_a_difference_to_the_unguided_reconstruction_needs_guidance(plans: Plans) -> None:
    with pytest.raises(ConfigurationError, match="nought everywhere"):
        replace(plans.inference, guidance="none", residual_of="unguided")


def test_a_codec_that_learns_nothing_needs_no_widths(plans: Plans, with_codec: Callable[[Plans, str], Plans]) -> None:
    haar = with_codec(plans, "haar")
    assert replace(haar.vqgan, widths=()).latent_shape((16, 16, 16)) == (8, 8, 8)
    with pytest.raises(ConfigurationError, match="widths"):
        replace(with_codec(plans, "kl").vqgan, widths=())


def test_a_plans_file_from_before_the_gate_is_read_without_limits(path: Path, plans: Plans) -> None:
    edit(path, lambda document: document["configurations"]["vqgan"].pop("gate"))
    assert load_plans(path).vqgan.gate == GatePlan()
    assert load_plans(path).identity == plans.identity


def test_lowering_a_limit_of_the_gate_makes_no_trained_network_another(plans: Plans) -> None:
    gate = GatePlan(min_contrast_retention=(0.0, 0.0, 0.9))
    other = replace(plans, vqgan=replace(plans.vqgan, gate=gate))
    assert [other.identity_of(stage) for stage in STAGES] == [plans.identity_of(stage) for stage in STAGES]


def test_the_published_preset_has_no_limits_and_ours_has() -> None:
    assert PAPER.vqgan.gate == GatePlan()
    assert max(DEFAULT.vqgan.gate.min_contrast_retention) > 0


@pytest.mark.parametrize("change", [{"noise": "pyramid"}, {"schedule": "linear"}])
def test_a_network_belongs_to_the_noise_it_was_trained_on(plans: Plans, change: dict[str, str]) -> None:
    other = replace(plans, ddpm=replace(plans.ddpm, **change))
    for stage in ("classifier", "ddpm", "head"):
        assert other.identity_of(stage) != plans.identity_of(stage)
    assert other.identity_of("vqgan") == plans.identity_of("vqgan")


def test_a_linear_schedule_of_few_steps_is_refused(plans: Plans) -> None:
    with pytest.raises(ConfigurationError, match="schedule is 'linear', but needs num_timesteps of 1000 or more"):
        replace(plans.ddpm, schedule="linear", num_timesteps=100)


@pytest.mark.parametrize("change", [{"latent_scaling": "codebook_range"}, {"process": "ddpm"}])
def test_a_classifier_belongs_to_the_latents_and_noise_it_was_trained_on(plans: Plans, change: dict[str, Any]) -> None:
    sampler = {"sampler": "ddim", "guidance": "none"} if "process" in change else {}
    other = replace(plans, ddpm=replace(plans.ddpm, **change), inference=replace(plans.inference, **sampler))
    assert other.identity_of("classifier") != plans.identity_of("classifier")
    assert other.identity_of("vqgan") == plans.identity_of("vqgan")


def test_identity_is_that_of_the_file(path: Path, plans: Plans) -> None:
    assert load_plans(path).identity == plans.identity
    assert re.fullmatch(r"[0-9a-f]{64}", plans.identity)


def test_the_presets_are_plans_in_range() -> None:
    assert PAPER.vqgan.latent_shape(PAPER.preprocessing.patch_size) == (32, 24, 24)
    assert PAPER.preprocessing.patch_mm == (128.0, 96.0, 96.0)
    assert DEFAULT.ddpm.downsampling == 2 ** (len(DEFAULT.ddpm.widths) - 1)


@pytest.mark.parametrize(
    ("sampler", "guidance"),
    [("heun", "gradient"), ("ddim", "relative"), ("ddpm", "relative"), ("ddim", "free"), ("ddpm", "free")],
)
def test_a_guidance_that_the_sampler_cannot_do_is_refused(sampler: str, guidance: str) -> None:
    with pytest.raises(ConfigurationError, match=f"guidance.*{guidance}.*{sampler}"):
        replace(PAPER.inference, sampler=sampler, guidance=guidance)


@pytest.mark.parametrize(("guidance", "dropout"), [("free", 0.0), ("none", 0.15), ("relative", 0.15)])
def test_free_guidance_and_a_model_that_knows_the_classes_need_each_other(
    plans: Plans, guidance: str, dropout: float
) -> None:
    inference, ddpm = replace(plans.inference, guidance=guidance), replace(plans.ddpm, class_dropout=dropout)
    with pytest.raises(ConfigurationError, match=rf"guidance is '{guidance}'.*class_dropout is {dropout:g}") as refused:
        replace(plans, inference=inference, ddpm=ddpm)
    assert "\n" not in str(refused.value)
    assert replace(plans, inference=replace(inference, guidance="free"), ddpm=replace(ddpm, class_dropout=0.15))


@pytest.mark.parametrize(
    ("guidance", "sampler", "needed"),
    [("none", "heun", False), ("free", "heun", False), ("relative", "heun", True), ("gradient", "ddim", True)],
)
def test_a_classifier_is_needed_where_its_gradient_guides(guidance: str, sampler: str, needed: bool) -> None:
    assert replace(PAPER.inference, guidance=guidance, sampler=sampler).needs_classifier is needed


def test_a_model_that_knows_the_classes_is_another_model(plans: Plans) -> None:
    free = replace(
        plans, inference=replace(plans.inference, guidance="free"), ddpm=replace(plans.ddpm, class_dropout=0.1)
    )
    assert free.identity_of("ddpm") != plans.identity_of("ddpm")
    assert free.identity_of("vqgan") == plans.identity_of("vqgan")


def test_a_sampler_of_another_process_is_refused(plans: Plans) -> None:
    with pytest.raises(ConfigurationError, match="sampler.*ddim.*edm"):
        replace(plans, inference=PAPER.inference)
