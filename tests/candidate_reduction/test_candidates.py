"""What candidates of training organs are known to be; the map is the scan itself, the reconstruction nothing."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nnanomaly.candidate_reduction import candidates as module
from nnanomaly.candidate_reduction.candidates import CandidateFinder, collect_candidates
from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.calibration import Calibration
from nnanomaly.inference.candidate_features import FEATURES
from nnanomaly.inference.detectors import residual_detector
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.reconstruct import Reconstruction
from nnanomaly.lesion_head.examples import EditedPatch
from nnanomaly.patch import Patch
from nnanomaly.plans import Plans
from nnanomaly.volume import canonical_grid

GRID = canonical_grid((0.0, 0.0, 0.0), (16, 16, 16), (4.0, 4.0, 4.0))
BLOCKS = {"corner": (slice(2, 5),) * 3, "centre": (slice(7, 10),) * 3, "far": (slice(11, 14),) * 3}


def patch_with(*blocks: str) -> NDArray[np.float16]:
    """An organ that fills the patch, with bright blocks."""
    array = np.stack([np.full(GRID.shape, -1.0), np.ones(GRID.shape), np.ones(GRID.shape)])
    for block in blocks:
        array[0][BLOCKS[block]] = 1.0
    return array.astype(np.float16)


def stored(organ: str, *blocks: str) -> Patch:
    return Patch(name="a", case="a", organ=organ, array=patch_with(*blocks), grid=GRID)


@pytest.fixture
def finder(tiny_plans: Callable[..., Plans]) -> CandidateFinder:
    plans = tiny_plans("default", dataset="Dataset501_Tiny")
    inference = replace(
        plans.inference, anomaly_map="absolute", smoothing_mm=0.0, morphology=False, hysteresis=1.0, organ_gate_mm=-1.0
    )
    plans = replace(plans, inference=inference)

    def reconstruct(patches: Sequence[NDArray[np.floating]], names: Sequence[str]) -> Reconstruction:
        healthy = torch.full((len(patches), 1, *GRID.shape), -1.0)
        return Reconstruction(healthy, healthy)

    calibration = Calibration(
        statistics=ResidualStatistics(edges_mm=(), mean_hu=(0.0,), std_hu=(1.0,)),
        threshold=100.0,
        false_candidates_per_organ=1.0,
        num_organs=1,
        guidance=False,
        guidance_reason="",
        checkpoints={},
    )
    fold = Fold(reconstruct=reconstruct, detect=residual_detector(inference))
    return CandidateFinder(fold=fold, calibration=calibration, plans=plans)


def without_lesions(patch: Patch, variant: int, *_: object) -> EditedPatch:
    return EditedPatch(patch=patch, lesions=np.zeros(GRID.shape, dtype=bool), kinds=())


def test_candidates_of_healthy_organs_are_negatives_and_those_of_an_unhealthy_organ_one_bag(
    finder: CandidateFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "VARIANTS", 0)
    unhealthy = {
        "a__left__0": stored("left", "corner", "far"),
        "a__left__1": stored("left", "centre"),
        "a__right": stored("right", "far"),
        "a__third": stored("third"),
    }
    found = collect_candidates({"b": stored("left", "corner", "centre")}, unhealthy, finder)
    assert found.negatives.shape == (2, len(FEATURES))
    assert found.positives.shape == (0, len(FEATURES))
    assert sorted(map(len, found.bags)) == [1, 3]


def test_candidates_on_inserted_lesions_are_positives_beside_them_negatives_and_on_their_rim_neither(
    finder: CandidateFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesions = np.zeros(GRID.shape, dtype=bool)
    lesions[BLOCKS["centre"]] = True
    lesions[BLOCKS["far"][0], BLOCKS["far"][1], 11] = True  # a third of that block

    def insert(patch: Patch, variant: int, *_: object) -> EditedPatch:
        array = patch_with("corner", "centre", "far").astype(np.float32)
        return EditedPatch(patch=patch.with_array(array), lesions=lesions | _large(variant), kinds=("cyst",))

    def _large(variant: int) -> NDArray[np.bool_]:  # so that the overlap with all lesions is small
        mask = np.zeros(GRID.shape, dtype=bool)
        mask[:2], mask[-2:] = True, True
        return mask

    monkeypatch.setattr(module, "VARIANTS", 1)
    monkeypatch.setattr(module, "edited_patch", insert)
    found = collect_candidates({"b": stored("left")}, {}, finder)
    assert len(found.positives) == 1
    assert len(found.negatives) == 1


def test_lesions_are_of_variants_that_the_head_was_not_trained_on(
    finder: CandidateFinder, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def insert(patch: Patch, variant: int, *rest: object) -> EditedPatch:
        seen.append(variant)
        return without_lesions(patch, variant)

    monkeypatch.setattr(module, "edited_patch", insert)
    collect_candidates({"b": stored("left", "far")}, {}, finder)
    assert len(seen) == module.VARIANTS
    assert min(seen) > finder.plans.head.variants_per_patch
