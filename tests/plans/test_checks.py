"""Every number, list and choice of the plans has limits, and what lies beyond is refused by the name of its field."""

from collections.abc import Callable
from dataclasses import replace
from typing import get_args, get_origin, get_type_hints

import pytest

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
)
from nnanomaly.utilities.errors import ConfigurationError

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
