"""Scenes through a fold whose networks are written by hand: what they do to a lesion is known."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.calibration import Calibration
from nnanomaly.inference.detectors import residual_detector
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.reconstruct import Reconstruction
from nnanomaly.inference.reducer import Reducer
from nnanomaly.patch import Patch
from nnanomaly.plans import Plans
from nnanomaly.preprocessing.normalization import normalise
from nnanomaly.tuning.diagnose.api import drawn_scenes
from nnanomaly.tuning.diagnose.files import Diagnosis, describe, waterfall_figure
from nnanomaly.tuning.diagnose.scenes import Scene, trace_scene
from nnanomaly.tuning.diagnose.waterfall import STEPS, Criteria
from nnanomaly.volume import Grid, Volume

SHAPE = (16, 16, 24)
GRID = Grid(SHAPE, (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
SCAN = Grid((16, 16, 64), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
PARENCHYMA_HU, LESION_HU = 100.0, 20.0


@pytest.fixture
def plans(tiny_plans: Callable[..., Plans]) -> Plans:
    made = tiny_plans("default", dataset="Dataset501_Kidney")
    inference = replace(made.inference, anomaly_map="absolute", smoothing_mm=0.0, hysteresis=1.0, organ_gate_mm=-1.0)
    return replace(made, inference=inference)


def cube(grid: Grid, start: int) -> np.ndarray:
    mask = np.zeros(grid.shape, dtype=bool)
    mask[4:12, 4:12, start : start + 8] = True
    return mask


def patch(plans: Plans, lesions: np.ndarray) -> Patch:
    hu = np.where(lesions, LESION_HU, PARENCHYMA_HU)
    array = np.stack([normalise(hu, plans.preprocessing.window_hu), np.ones(SHAPE), np.ones(SHAPE)])
    return Patch(name="a", case="a", organ="a", array=array, grid=GRID)


def fold(plans: Plans, healed: float) -> Fold:
    """A fold whose reconstruction takes this share of every deviation from the parenchyma away."""
    middle = float(normalise(np.array(PARENCHYMA_HU), plans.preprocessing.window_hu))

    def reconstruct(patches: list[np.ndarray], names: list[str]) -> Reconstruction:
        x = torch.from_numpy(np.stack(patches)[:, None].astype(np.float32))
        return Reconstruction(middle + (1 - healed) * (x - middle), x)

    statistics = ResidualStatistics(edges_mm=(), mean_hu=(0.0,), std_hu=(1.0,))
    calibration = Calibration(
        statistics=statistics,
        threshold=30.0,
        false_candidates_per_organ=0.5,
        num_organs=2,
        guidance=False,
        guidance_reason="",
        checkpoints={},
    )
    return Fold(reconstruct=reconstruct, detect=residual_detector(plans.inference), measured=calibration)


def test_a_fold_that_heals_a_lesion_finds_it(plans: Plans) -> None:
    lesions = cube(GRID, 8)
    scene = Scene(name="a", patches=[patch(plans, lesions)], grid=GRID, lesions=lesions)
    result = trace_scene(scene, fold(plans, healed=0.75), plans, criteria=Criteria())
    (found,) = result.lesions
    assert found.found and found.lost_at is None
    assert found.image_hu == pytest.approx(-80.0, abs=0.1)
    assert found.autoencoder_keeps == pytest.approx(1.0)
    assert found.healthy_keeps == pytest.approx(0.25, abs=0.01)
    assert found.residual_shows == pytest.approx(0.75, abs=0.01)
    assert found.map_mean == pytest.approx(60.0, abs=0.1)
    assert result.num_false == 0


def test_a_lesion_that_the_reducer_sorts_out_is_not_found(plans: Plans) -> None:
    lesions = cube(GRID, 8)
    scene = Scene(name="a", patches=[patch(plans, lesions)], grid=GRID, lesions=lesions)
    reducer = Reducer(
        features=("mean_hu",),
        center=(LESION_HU,),
        scale=(1.0,),
        hidden_weights=((1.0,),),
        hidden_bias=(0.0,),
        output_weights=(1.0,),
        output_bias=0.0,
    )  # p = 0.5 at the mean HU of the lesion
    heals = fold(plans, healed=0.75)
    for limit, lost_at in ((0.4, None), (0.6, "cleaning")):
        calibration = replace(heals.calibration, score_threshold=limit)
        reduces = replace(heals, measured=calibration, reducer=reducer)
        (trace,) = trace_scene(scene, reduces, plans, criteria=Criteria()).lesions
        assert trace.lost_at == lost_at


def test_a_fold_that_gives_a_lesion_back_loses_it_at_the_reconstruction(plans: Plans) -> None:
    lesions = cube(GRID, 8)
    scene = Scene(name="a", patches=[patch(plans, lesions)], grid=GRID, lesions=lesions)
    (lost,) = trace_scene(scene, fold(plans, healed=0.25), plans, criteria=Criteria()).lesions
    assert (lost.found, lost.lost_at) == (False, "reconstruction")


def test_lesions_of_a_scan_are_followed_also_where_no_patch_lies(plans: Plans) -> None:
    inside, beside = cube(SCAN, 8), cube(SCAN, 36)
    half = np.zeros(SHAPE, dtype=bool)
    half[4:12, 4:12, 8:16] = True
    scene = Scene(name="scan", patches=[patch(plans, half)], grid=SCAN, lesions=inside | beside)
    first, second = trace_scene(scene, fold(plans, healed=1.0), plans, criteria=Criteria()).lesions
    assert (first.lost_at, first.outside_patches) == (None, 0.0)
    assert (second.lost_at, second.outside_patches, second.image_hu) == ("patch", 1.0, None)


def test_patches_beside_the_scan_lose_its_lesions(plans: Plans) -> None:
    far = Grid(SHAPE, (2.0, 2.0, 2.0), (900.0, 0.0, 0.0))
    beside = replace(patch(plans, cube(GRID, 8)), grid=far)
    scene = Scene(name="a", patches=[beside], grid=SCAN, lesions=cube(SCAN, 8))
    (lost,) = trace_scene(scene, fold(plans, healed=1.0), plans, criteria=Criteria()).lesions
    assert (lost.lost_at, lost.outside_patches) == ("patch", 1.0)


def test_a_candidate_beside_the_lesions_is_a_false_one(plans: Plans) -> None:
    known, unknown = cube(GRID, 2), cube(GRID, 14)
    scene = Scene(name="a", patches=[patch(plans, known | unknown)], grid=GRID, lesions=known)
    result = trace_scene(scene, fold(plans, healed=1.0), plans, criteria=Criteria())
    assert [trace.found for trace in result.lesions] == [True]
    assert result.num_false == 1


def test_drawn_scenes_hold_all_patches_of_a_case_and_only_cases_with_a_lesion(plans: Plans) -> None:
    def reference(case: str) -> Volume | None:
        drawn = {"lesion": cube(SCAN, 8), "clear": np.zeros(SCAN.shape, dtype=bool)}
        return Volume(drawn[case][None].astype(np.uint8), SCAN) if case in drawn else None

    array = np.zeros((3, *SHAPE), dtype=np.float16)
    cases = {"a": "lesion", "b": "clear", "c": "lesion", "d": "nobody drew"}
    patches = {name: Patch(name=name, case=case, organ=name, array=array, grid=GRID) for name, case in cases.items()}
    (scene,) = drawn_scenes(patches, reference)
    assert (scene.name, [p.organ for p in scene.patches], scene.grid) == ("lesion", ["a", "c"], SCAN)
    assert (scene.lesions == cube(SCAN, 8)).all()


def test_the_figure_and_the_table_say_how_many_lesions_are_alive_after_each_step(plans: Plans) -> None:
    lesions = cube(GRID, 8)
    scene = Scene(name="a", patches=[patch(plans, lesions)], grid=GRID, lesions=lesions)
    criteria = Criteria()
    results = [trace_scene(scene, fold(plans, healed), plans, criteria=criteria) for healed in (0.25, 1.0)]
    diagnosis = Diagnosis(
        source="drawn",
        detector="residual",
        residual_of="input",
        checkpoint="checkpoint_final.pth",
        criteria=criteria,
        traces=[trace for result in results for trace in result.lesions],
        num_scenes=2,
        num_false=0,
        false_per_healthy_organ=None,
    )
    of_bin, of_all = waterfall_figure(diagnosis).axes
    assert [text.get_text() for text in of_all.texts] == ["2"] * 5 + ["1"] * 5
    assert [label.get_text() for label in of_all.get_xticklabels()] == ["known", *STEPS]
    assert of_bin.get_title() == "2-4 cm"
    table = describe(diagnosis).splitlines()
    assert table[1].split() == ["size", "(cm)", "lesions", *STEPS]
    assert table[3].split() == ["all", "2", "2", "2", "2", "2", "1", "1", "1", "1", "1"]
    assert "not measured with Otsu's threshold" in table[-1]
