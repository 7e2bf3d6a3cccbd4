"""Plans from fingerprints written by hand: sizes, reasons, determinism, monotony in the memory."""

import dataclasses
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnanomaly.dataset.raw_dataset import load_description
from nnanomaly.experiment_planning.extraction import extract_fingerprint
from nnanomaly.experiment_planning.fingerprint import CaseFingerprint, Fingerprint, OrganRecord, combine
from nnanomaly.experiment_planning.plan_and_preprocess_api import summary
from nnanomaly.experiment_planning.planner import plan
from nnanomaly.plans import Plans, load_plans, save_plans
from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.volume import Triple

ROOT = Path(__file__).resolve().parents[2]
DEV_PACK = ROOT.parent / "shared" / "data" / "dev_pack" / "Dataset501_KidneyPhantom"


def fingerprint_of(
    extent_mm: Triple, *, spacing_mm: Triple = (3.0, 0.8, 0.8), num_healthy: int = 20, num_unhealthy: int = 20
) -> Fingerprint:
    labels = ["healthy"] * num_healthy + ["unhealthy"] * num_unhealthy
    cases = []
    for number, label in enumerate(labels):
        organ = OrganRecord(
            case=f"case_{number:03d}",
            organ="kidney_left",
            label=label,
            extent_mm=extent_mm,
            volume_ml=200.0,
            touches_border=(),
            num_components=1,
        )
        cases.append(
            CaseFingerprint(
                case=organ.case,
                spacing_mm=spacing_mm,
                shape=(100, 512, 512),
                organs=(organ,),
                num_absent=0,
                intensities_hu=np.array([0.0, 100.0], np.float32),
                scan_hash=organ.case,
            )
        )
    return combine(cases)


def planned(fingerprint: Fingerprint, *, gb: float = 8.0, preset: str = "default") -> Plans:
    return plan(
        fingerprint,
        gpu_memory_target_gb=gb,
        preset=preset,
        dataset_name="Dataset501_Kidney",
        organs=("kidney_left", "kidney_right"),
    )


KIDNEYS = fingerprint_of((140.0, 110.0, 105.0))
SMALL_ORGANS = fingerprint_of((60.0, 40.0, 44.0), spacing_mm=(5.0, 2.2, 2.2))


def test_kidneys_at_1_mm_get_the_patch_and_the_latent_of_their_size() -> None:
    plans = planned(KIDNEYS)
    assert plans.preprocessing.spacing_mm == (1.0, 1.0, 1.0)
    assert plans.preprocessing.patch_size == (160, 128, 128)
    assert plans.preprocessing.tiling
    assert plans.vqgan.stride == (4, 4, 4)
    assert plans.vqgan.latent_channels == 8
    assert plans.latent_shape == (40, 32, 32)
    assert len(plans.ddpm.widths) == 3
    assert plans.ddpm.attention_levels == (2,)  # 10 x 8 x 8 tokens
    assert plans.ddpm.max_sigma == 3 * plans.inference.sigma


def test_coarse_scans_get_coarse_patches() -> None:
    plans = planned(SMALL_ORGANS)
    assert plans.preprocessing.spacing_mm == (2.2, 2.2, 2.2)
    assert plans.preprocessing.patch_size == (40, 32, 32)  # 76, 56 and 60 mm: 35, 26 and 28 voxels
    assert plans.vqgan.stride == (2, 2, 2)
    assert plans.vqgan.latent_channels == 4
    assert plans.latent_shape == (20, 16, 16)


def test_paper_preset_is_as_published_whatever_the_data() -> None:
    for fingerprint in (KIDNEYS, SMALL_ORGANS):
        plans = planned(fingerprint, preset="paper")
        assert plans.plans_name == "nnAnomalyPaperPlans"
        assert plans.preprocessing.patch_size == (128, 96, 96)
        assert plans.preprocessing.spacing_mm == (1.0, 1.0, 1.0)
        assert not plans.preprocessing.tiling
        assert plans.latent_shape == (32, 24, 24)
        assert plans.vqgan.num_codes == 16384
        assert plans.ddpm.training.batch_size * plans.ddpm.training.accumulation == 80
        assert (plans.inference.sampler, plans.inference.num_steps, plans.inference.threshold) == ("ddim", 500, "otsu")


def test_published_noise_level_is_step_500_of_the_cosine_schedule() -> None:
    """Steps count from 0, and the schedule has 1001 points: f(t) = cos^2((t / T + s) / (1 + s) * pi / 2)."""
    f = [math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in (0, 501)]
    alpha_bar = f[1] / f[0]
    assert planned(KIDNEYS, preset="paper").inference.sigma == pytest.approx(math.sqrt(1 / alpha_bar - 1), abs=5e-4)


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_same_arguments_give_the_same_plans_and_they_survive_the_file(tmp_path: Path, preset: str) -> None:
    plans = planned(KIDNEYS, preset=preset)
    assert planned(KIDNEYS, preset=preset) == plans
    save_plans(tmp_path / "plans.json", plans)
    assert load_plans(tmp_path / "plans.json") == plans


def numbers(section: Any, prefix: str) -> Iterator[str]:
    """Paths of all numeric fields whose value is not simply the default of the dataclass."""
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            yield from numbers(value, f"{prefix}{field.name}.")
            continue
        parts = value if isinstance(value, tuple) else (value,)
        numeric = all(isinstance(part, (int, float)) and not isinstance(part, bool) for part in parts)
        if numeric and parts and value != field.default:
            yield prefix + field.name


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_every_number_has_a_reason_and_every_reason_a_field(preset: str) -> None:
    plans = planned(KIDNEYS, preset=preset)
    sections = ("preprocessing", "vqgan", "classifier", "ddpm", "head", "inference")
    chosen = [name for section in sections for name in numbers(getattr(plans, section), f"{section}.")]
    assert len(chosen) > 30
    assert [name for name in chosen if name not in plans.reasons] == []
    for name, reason in plans.reasons.items():
        value: Any = plans
        for part in name.split("."):
            value = getattr(value, part)
        assert reason.strip()
        assert "\n" not in reason


def test_every_number_with_a_reason_stands_in_the_page_of_the_rules() -> None:
    page = (ROOT / "documentation" / "explanation" / "planning-rules.md").read_text(encoding="utf-8")
    named = {name.rsplit(".", 1)[-1] for text in re.findall(r"`([^`]+)`", page) for name in text.split(", ")}
    reasons = planned(KIDNEYS).reasons
    assert [name for name in reasons if name.rsplit(".", 1)[-1] not in named] == []


def test_more_memory_never_gives_smaller_networks() -> None:
    plans = [planned(KIDNEYS, gb=gb) for gb in (0.1, 2, 8, 100)]
    for stage in ("vqgan", "ddpm", "head"):
        widths = [getattr(plan, stage).widths for plan in plans]
        assert widths == sorted(widths)
        assert widths[0] < widths[-1]
    assert {plan.preprocessing.patch_size for plan in plans} == {(160, 128, 128)}
    assert plans[-1].vqgan.training.batch_size == 4
    assert plans[-1].ddpm.training.batch_size == 40


def test_too_little_memory_is_said_and_planned_as_small_as_possible() -> None:
    plans = planned(KIDNEYS, gb=0.05)
    for stage in ("vqgan", "ddpm", "head"):
        assert plans.training_of(stage).batch_size == 1
        assert "MORE than the target of 0.05 GB" in plans.reasons[f"{stage}.training.batch_size"]


def test_paper_preset_says_what_it_needs() -> None:
    assert "more than the target of 1 GB" in planned(KIDNEYS, gb=1, preset="paper").reasons["ddpm.training.batch_size"]
    assert "more than" not in planned(KIDNEYS, gb=10_000, preset="paper").reasons["ddpm.training.batch_size"]


@pytest.mark.parametrize(
    ("extent_mm", "spacing_mm"),
    [((15.0, 9.0, 9.0), (1.0, 1.0, 1.0)), ((60.0, 5.0, 50.0), (8.0, 7.0, 7.0)), ((90.0, 30.0, 30.0), (2.0, 3.0, 3.0))],
)
def test_odd_organs_still_get_plans_whose_networks_fit(extent_mm: Triple, spacing_mm: Triple) -> None:
    """`Plans` itself refuses sizes that the networks cannot divide, and the memory estimate runs the networks."""
    plans = planned(fingerprint_of(extent_mm, spacing_mm=spacing_mm))
    needed = np.ceil((np.array(extent_mm) + 16) / plans.preprocessing.spacing_mm - 1e-6)
    assert np.all(needed <= plans.preprocessing.patch_size)


def test_classifier_length_follows_the_labels() -> None:
    plans = planned(fingerprint_of((60.0, 40.0, 44.0), spacing_mm=(2.0, 2.0, 2.0), num_healthy=900, num_unhealthy=400))
    assert plans.classifier.training.num_iterations == 100 * 800 / 32
    assert plans.classifier.training.validate_every == 800 / 32


def test_for_the_paper_s_dataset_the_published_configuration_is_printed() -> None:
    published = fingerprint_of((110.0, 60.0, 60.0), spacing_mm=(1.0, 0.8, 0.8), num_healthy=1300, num_unhealthy=1162)
    patches, vqgan, classifier, ddpm = summary(planned(published, gb=80.0, preset="paper")).split("\n  ")
    assert patches == "patches of 96 x 96 x 128 mm (x, y, z) at 1 mm"
    assert vqgan.startswith("vqgan: 16384 codes, latent 32 x 24 x 24 x 8, widths (16, 32, 64), batch 4, 100000 iterat")
    assert "batch 32, 7263 iterations (100 epochs" in classifier  # 100 epochs of 1162 healthy and 1162 unhealthy organs
    assert ddpm == "ddpm: factorised, widths (24, 48, 96, 192), batch 40 x 2, 250000 iterations"


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_without_unhealthy_organs_there_is_no_guidance(preset: str) -> None:
    plans = planned(fingerprint_of((60.0, 40.0, 44.0), spacing_mm=(2.0, 2.0, 2.0), num_unhealthy=0), preset=preset)
    assert plans.inference.guidance == "none"
    assert plans.ddpm.class_dropout == 0
    assert "no organ is labelled unhealthy" in plans.reasons["inference.guidance"]


def test_without_healthy_organs_there_are_no_plans() -> None:
    with pytest.raises(DataError, match=r"healthy.*'unhealthy': 20"):
        planned(fingerprint_of((60.0, 40.0, 44.0), num_healthy=0))


@pytest.mark.parametrize("gb", [0.0, -1.0, math.nan, math.inf])
def test_impossible_memory_is_refused(gb: float) -> None:
    with pytest.raises(ConfigurationError, match="-gpu_memory_target"):
        planned(SMALL_ORGANS, gb=gb)


def test_unknown_preset_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'papier'"):
        planned(SMALL_ORGANS, preset="papier")


@pytest.mark.skipif(not DEV_PACK.is_dir(), reason="the development data are not here")
def test_real_kidneys_fit_the_planned_patch() -> None:
    fingerprint = extract_fingerprint(DEV_PACK, load_description(DEV_PACK), num_processes=1)
    plans = planned(fingerprint)
    assert 2.0 <= plans.preprocessing.spacing_mm[0] <= 2.6
    healthy = [organ for organ in fingerprint.organs if organ.label == "healthy" and not organ.touches_border]
    assert len(healthy) == 92
    needed = np.array([organ.extent_mm for organ in healthy]) + 2 * plans.preprocessing.margin_mm
    assert np.all(needed <= plans.preprocessing.patch_mm, axis=1).mean() >= 0.98
    assert plans.preprocessing.patch_mm == pytest.approx((160, 128, 128), rel=0.1)
    fine = planned(replace(fingerprint, spacings=((1.0, 0.8, 0.8),) * len(fingerprint.spacings)))
    assert fine.preprocessing.patch_size == (160, 128, 128)
