"""The bars above and below: what their maps show, what they are trained on, and the folders that they write."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ablation_rows import given_predictions
from coarse_noise import PLAN, CoarseNoiseStage, coarse_noise, denoiser_of
from intensity import SIGNS, depth_detector, gate_detector, organ_detector, robust_deviation
from references import NO_STATISTICS, Reference, begin_training, calibrate, itself, predict
from supervised import PLAN as PLAN_ABOVE
from supervised import batches_of, make_examples, varied
from torch import Tensor, nn

from nnanomaly.dataset.patch_store import list_patches, load_patch, save_patch
from nnanomaly.inference.anomaly_map import Residual, ResidualStatistics
from nnanomaly.inference.calibration import Calibration
from nnanomaly.inference.look import Look, PatchReconstruction
from nnanomaly.lesion_head.examples import LESION
from nnanomaly.networks.lesion_head import LesionHead
from nnanomaly.patch import Patch
from nnanomaly.paths import Paths
from nnanomaly.plans import HEAD_INPUTS, Plans
from nnanomaly.tuning.trials import Trial
from nnanomaly.utilities.json_io import read_json, to_document, write_json
from nnanomaly.volume import Grid

SHAPE = (16, 16, 16)
GRID = Grid(SHAPE, (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
DATASET = "Dataset501_Test"
NO_SMOOTHING = (0.0, 0.0, 0.0)


def block(start: int, stop: int) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[start:stop, start:stop, start:stop] = True
    return mask


def seen(image_hu: np.ndarray) -> Look:
    """A patch whose organ is the block 2..14; the last slice lies beyond the scan."""
    image = image_hu.astype(np.float32)
    covered = np.ones(SHAPE, dtype=bool)
    covered[-1] = False
    distance = np.where(block(2, 14), -1.0, 1.0).astype(np.float32)
    residual = Residual(value_hu=np.zeros_like(image), distance_mm=distance, intensity_hu=image, covered=covered)
    grid = Grid(image.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    patch = Patch(name="a", case="a", organ="a", array=np.zeros((3, *image.shape)), grid=grid)
    reconstruction = PatchReconstruction(image_hu=image, healthy_hu=image, autoencoded_hu=image)
    return Look(patch=patch, reconstruction=reconstruction, residual=residual)


def kidney() -> np.ndarray:
    """Parenchyma of 90 to 110 HU in fat of -100 HU, with a dark and a bright block in it."""
    image = np.where(block(2, 14), 100.0, -100.0)
    image[::2] += 10 * block(2, 14)[::2]
    image[1::2] -= 10 * block(2, 14)[1::2]
    image[block(4, 6)] = 20.0
    image[block(9, 11)] = 180.0
    return image


def test_deviations_count_robust_standard_deviations_from_the_median_of_the_organ() -> None:
    organ = np.array([True, True, True, True, True, False])
    deviation = robust_deviation(np.array([90.0, 95, 100, 105, 1000, -50], np.float32), organ)
    assert deviation == pytest.approx((np.array([90.0, 95, 100, 105, 1000, -50]) - 100) / (1.4826 * 5))
    assert not robust_deviation(np.ones(3, np.float32), np.zeros(3, bool)).any()


@pytest.mark.parametrize(("side", "finds_the_bright"), [("below", False), ("beyond", True)])
def test_within_the_organ_what_deviates_stands_out_and_fat_beside_it_does_not(
    side: str, finds_the_bright: bool
) -> None:
    anomaly = organ_detector(SIGNS[side], sigma_voxels=(0.7, 0.7, 0.7))(seen(kidney()), NO_STATISTICS)
    ordinary = block(2, 14) & ~block(3, 7) & ~block(8, 12)
    assert anomaly[block(4, 6)].min() > 2 * anomaly[ordinary].max()
    assert bool(anomaly[block(9, 11)].min() > 2 * anomaly[ordinary].max()) is finds_the_bright
    assert not anomaly[~block(2, 14)].any()


def test_around_the_organ_the_map_fades_and_ends_where_the_scan_does() -> None:
    look = seen(kidney())
    residual = look.residual
    near, far = (replace(residual, distance_mm=np.full(SHAPE, d, np.float32)) for d in (-1.0, 18.0))
    detect = gate_detector(SIGNS["below"], sigma_voxels=NO_SMOOTHING, gate_mm=8.0)
    anomaly = detect(look, NO_STATISTICS)
    assert anomaly[0, 0, 0] == pytest.approx(-robust_deviation(kidney(), block(2, 14) & near.covered)[0, 0, 0])
    assert not anomaly[-1].any()
    half = residual.distance_mm.copy()
    half[0] = far.distance_mm[0]
    faded = detect(replace(look, residual=replace(residual, distance_mm=half)), NO_STATISTICS)
    assert faded[0, 0, 0] == pytest.approx(anomaly[0, 0, 0] * np.exp(-1))


def test_depth_relates_a_map_to_healthy_organs_within_the_organ_alone() -> None:
    statistics = ResidualStatistics(edges_mm=(), mean_hu=(3.0,), std_hu=(2.0,))
    detect = depth_detector(lambda *_: np.full(SHAPE, 7.0, np.float32), statistics)
    anomaly = detect(seen(kidney()), NO_STATISTICS)
    inside = block(2, 14)
    np.testing.assert_allclose(anomaly[inside], 1.0, rtol=1e-5)
    assert not anomaly[~inside].any()


def test_the_noise_is_coarse_and_follows_from_its_generator() -> None:
    shape = (2, 1, 40, 48, 56)
    first, second, other = (coarse_noise(shape, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first.shape == shape
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    for axis in (2, 3, 4):
        neighbours = torch.stack([first.narrow(axis, n, first.shape[axis] - 1).flatten() for n in (0, 1)])
        assert torch.corrcoef(neighbours)[0, 1] > 0.9


def test_the_denoiser_learns_to_take_the_noise_away() -> None:
    torch.manual_seed(0)
    plan = replace(PLAN, widths=(4, 8), training=replace(PLAN.training, precision="fp32", learning_rate=1e-2))
    stage = CoarseNoiseStage(LesionHead(plan), plan)
    batch = {"patch": torch.ones(2, 3, 24, 24, 24) * torch.tensor([0.2, 1.0, 1.0])[None, :, None, None, None]}

    def error() -> float:
        return stage.validate([batch] * 3, stage.network.eval(), torch.Generator().manual_seed(0))["error"]

    before = error()
    for seed in range(1, 16):
        stage.step(batch, torch.Generator().manual_seed(seed))
    assert error() < 0.7 * before


def test_what_the_denoiser_takes_for_noise_is_taken_off_the_scan(tiny_plans: Callable[..., Plans]) -> None:
    class Tenth(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 0.1 * x

    plans = tiny_plans("default", dataset=DATASET)
    patch = np.full(SHAPE, 0.5, np.float32)
    result = denoiser_of(Tenth(), replace(plans, inference=replace(plans.inference, precision="fp32")))([patch], ["a"])
    np.testing.assert_allclose(result.healthy.numpy(), 0.45, rtol=1e-6)
    np.testing.assert_array_equal(result.autoencoded[0, 0].numpy(), patch)


def test_drawn_lesions_move_with_the_scan() -> None:
    lesions = block(5, 11)
    array = np.stack([2.0 * lesions - 1, block(2, 14), np.ones(SHAPE)]).astype(np.float32)
    trial = Trial(name="a", case="a", organ="kidney_left", array=array, grid=GRID, lesions=lesions)
    same = varied(trial, seed=0, variant=0)
    np.testing.assert_array_equal(same.patch.array, array)
    np.testing.assert_array_equal(same.lesions, lesions)
    moved = [varied(trial, seed=0, variant=variant) for variant in (1, 2, 3, 4)]
    assert any((edited.lesions != lesions).any() for edited in moved)
    for edited in moved:
        bright = edited.patch.image > 0
        assert 2 * (bright & edited.lesions).sum() > 0.9 * (bright.sum() + edited.lesions.sum())


def test_an_example_is_the_scan_the_distance_to_the_organ_and_the_drawn_lesions(
    tmp_path: Path, tiny_plans: Callable[..., Plans]
) -> None:
    plans, lesions = tiny_plans("default", dataset=DATASET), block(5, 11)
    array = np.stack([np.where(lesions, -0.5, 0.25), block(2, 14), np.ones(SHAPE)]).astype(np.float32)
    make_examples(
        tmp_path,
        [Trial(name="a", case="a", organ="kidney_left", array=array, grid=GRID, lesions=lesions)],
        plans,
        variants=2,
    )
    assert list_patches(tmp_path) == ["a__v0", "a__v1", "a__v2"]
    example = load_patch(tmp_path, "a__v0", verify=True).array
    image, distance = (example[HEAD_INPUTS.index(name)] for name in PLAN_ABOVE.inputs)
    np.testing.assert_allclose(image, array[0], atol=1e-3)
    assert (distance < 0).sum() == block(2, 14).sum()
    np.testing.assert_array_equal(example[LESION], lesions)


def test_every_second_example_of_a_batch_has_a_lesion(tmp_path: Path) -> None:
    for name, has_lesion in (("a", False), ("b", False), ("c", False), ("d", True)):
        example = np.zeros((6, 4, 4, 4), np.float16)
        example[LESION] = has_lesion
        save_patch(tmp_path, name, example, metadata={"grid": to_document(GRID)})
    batches = batches_of(tmp_path, PLAN.training)
    for iteration in range(5):
        assert sorted(float(patch[LESION].max()) for patch in batches[iteration]["patch"]) == [0.0, 1.0]


def reference(paths: Paths, plans: Plans, folder: Path) -> Reference:
    """Sees a lesion where the scan is darker than 0 HU, within the organ."""

    def detect(look: Look, _: ResidualStatistics) -> np.ndarray:
        return ((look.reconstruction.image_hu < 0) & (look.residual.distance_mm < 0)).astype(np.float32)

    return Reference(
        paths=paths,
        plans=plans,
        fold=0,
        detect=detect,
        reconstruct=itself,
        made_of={"words": "dark is bad"},
        trained_in=folder,
    )


@pytest.fixture
def raw(paths: Paths, write_nifti: Callable[..., Path]) -> Path:
    """One test case: two organs, a dark block in the left one."""
    raw = paths.raw_root / DATASET  # type: ignore[operator]
    image, left, right = np.full((32, 32, 48), 50.0), np.zeros((32, 32, 48)), np.zeros((32, 32, 48))
    left[8:24, 8:24, 4:20], right[8:24, 8:24, 28:44] = 1, 1
    image[12:18, 12:18, 8:14] = -50
    image[:2] = -1000  # air, as in every CT
    write_nifti(raw / "imagesTs" / "c_0000.nii.gz", image.astype(np.float32), spacing_mm=(2.0,) * 3)
    for name, mask in (("kidney_left", left), ("kidney_right", right)):
        write_nifti(raw / "organMasksTs" / "c" / f"{name}.nii.gz", mask.astype(np.uint8), spacing_mm=(2.0,) * 3)
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "tumor": 1},
        "numTraining": 1,
        "file_ending": ".nii.gz",
        "nnanomaly": {"organs": ["kidney_left", "kidney_right"], "lesion_labels": ["tumor"]},
    }
    write_json(raw / "dataset.json", description)
    return raw


def test_a_reference_writes_a_folder_that_can_be_a_row(
    paths: Paths, raw: Path, tiny_plans: Callable[..., Plans], tmp_path: Path
) -> None:
    plans = tiny_plans("default", dataset=DATASET)
    plans = replace(plans, inference=replace(plans.inference, threshold="calibrated"))
    folder, output = tmp_path / "training", tmp_path / "predictions"
    begin_training(folder, plans)
    (folder / "log.jsonl").write_text('{"iteration": 60, "kind": "train", "iterations_per_second": 0.5}\n')
    calibration = Calibration(
        statistics=NO_STATISTICS,
        threshold=0.5,
        false_candidates_per_organ=0.0,
        num_organs=1,
        guidance=False,
        guidance_reason="",
        checkpoints={},
    )
    predict(reference(paths, plans, folder), calibration, output)
    (candidate,) = read_json(output / "detections" / "c_boxes.json")["candidates"]
    assert candidate["start"] == pytest.approx([12, 12, 8], abs=1)
    assert candidate["stop"] == pytest.approx([18, 18, 14], abs=1)
    given = given_predictions(output)
    assert given.cpu_seconds is not None
    assert [(budget.stage, budget.iterations, budget.minutes) for budget in given.budgets] == [("words", 60, 2.0)]


def test_a_training_is_continued_only_on_the_same_patches_and_network(
    tiny_plans: Callable[..., Plans], tmp_path: Path
) -> None:
    plans = tiny_plans("default", dataset=DATASET)
    other = replace(plans, preprocessing=replace(plans.preprocessing, margin_mm=1.0))
    longer = replace(plans, head=replace(plans.head, training=replace(plans.head.training, num_iterations=7)))
    same, different, extended = (begin_training(tmp_path, p)["plans_identity"] for p in (plans, other, longer))
    assert same == extended != different


def test_the_threshold_is_chosen_on_healthy_validation_organs_alone(
    paths: Paths, tiny_plans: Callable[..., Plans], tmp_path: Path
) -> None:
    plans = tiny_plans("default", dataset=DATASET)
    store = paths.preprocessed(DATASET) / plans.data_identifier
    for case in ("train", "well", "ill"):
        array = np.stack([np.full(SHAPE, 0.2), block(2, 14), np.ones(SHAPE)]).astype(np.float16)
        array[0][block(5, 10)] = -0.5 if case != "well" else 0.2
        metadata = {"case": case, "organ": "kidney_left", "grid": to_document(GRID)}
        save_patch(store, f"{case}__kidney_left", array, metadata=metadata)
    write_json(paths.preprocessed(DATASET) / "splits_final.json", [{"train": ["train"], "val": ["well", "ill"]}])
    labels = (
        "case,organ,label,source\nwell,kidney_left,healthy,\nill,kidney_left,unhealthy,\ntrain,kidney_left,healthy,\n"
    )
    (paths.preprocessed(DATASET) / "organ_labels.csv").write_text(labels)
    calibration = calibrate(reference(paths, plans, tmp_path))
    assert (calibration.num_organs, calibration.threshold) == (1, 0.0)
