"""From a file to a prediction folder and back: what a reconstruction shows at a world position lies there in the file.

Scans are written and read back with nibabel alone, from functions of the world position, so that neither a resampling
nor a convention of ours takes part in saying where something is. World positions are NIfTI's (right, anterior,
superior).
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nnanomaly.dataset.raw_dataset import DatasetDescription
from nnanomaly.experiment_planning.presets import DEFAULT, PAPER
from nnanomaly.imageio.nifti import read_volume
from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.calibration import Calibration
from nnanomaly.inference.case_prediction import CasePrediction, predict_case
from nnanomaly.inference.detectors import residual_detector
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.look import noise_key
from nnanomaly.inference.prediction_files import write_case
from nnanomaly.inference.reconstruct import Reconstruction
from nnanomaly.plans import PLANS_NAMES, InferencePlan, Plans, PreprocessingPlan
from nnanomaly.preprocessing.preprocessor import preprocess_case
from nnanomaly.roi.organ_masks import load_organ_mask
from nnanomaly.volume import Grid, Volume

Floats = NDArray[np.floating]
Function = Callable[[Floats], Floats]

AXES = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
MIDDLE = np.array([31.0, -17.0, 240.0])  # of the scan; not the origin, where a lost offset would not show
ORGAN = MIDDLE + (3.0, -4.0, 5.0)
RADII = np.array([12.0, 10.0, 15.0])
MARKER = ORGAN + (4.0, -3.0, -6.0)
MARKER_RADIUS_MM = 4.0
PLAIN, MIRRORED = "kidney_left", "kidney_right"
SHIFT = 0.5  # of a reconstruction, in the units of the networks
SHIFT_HU = 125.0
PLAN = PreprocessingPlan(
    spacing_mm=(1.0, 1.0, 1.0),
    patch_size=(40, 32, 36),
    margin_mm=3.0,
    tiling=True,
    window_hu=(-200.0, 300.0),
    mirrored_organs=(MIRRORED,),
)
ABSOLUTE = replace(
    PAPER.inference, threshold="calibrated", morphology=False, min_voxels=1, min_diameter_mm=0.0, smoothing_mm=0.0
)
DESCRIPTION = DatasetDescription(
    channel_names=("CT",),
    labels={"background": (0,), "tumor": (2,)},
    file_ending=".nii.gz",
    num_training=1,
    organs=(PLAIN, MIRRORED),
    lesion_labels=("tumor",),
)


@dataclass(frozen=True, kw_only=True)
class Storage:
    """How a scan lies in its file."""

    orientation: str
    spacing_mm: tuple[float, float, float]  # along R, A, S
    tilt_degrees: float = 0.0
    codes: tuple[int, int] = (1, 1)  # qform, sform

    def affine(self, shape: Sequence[int]) -> Floats:
        angle = np.deg2rad(self.tilt_degrees)
        tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
        axes = np.array([AXES[letter] for letter in self.orientation], float).T
        affine = np.eye(4)
        affine[:3, :3] = tilt @ axes * (np.abs(axes).T @ self.spacing_mm)
        affine[:3, 3] = MIDDLE - affine[:3, :3] @ (np.array(shape) - 1) / 2
        return affine

    def shape(self, extent_mm: Sequence[float]) -> tuple[int, ...]:
        along = np.abs([AXES[letter] for letter in self.orientation])
        return tuple(np.round(along @ extent_mm / (along @ self.spacing_mm)).astype(int))


STORAGES = {
    "RAS": Storage(orientation="RAS", spacing_mm=(1.3, 1.3, 1.5)),
    "LPS": Storage(orientation="LPS", spacing_mm=(1.3, 1.1, 1.5), codes=(0, 2)),
    "PIR": Storage(orientation="PIR", spacing_mm=(1.1, 1.3, 1.5), codes=(1, 0)),
    "IPL": Storage(orientation="IPL", spacing_mm=(1.0, 1.2, 1.5), codes=(2, 1)),
    "oblique": Storage(orientation="LPS", spacing_mm=(1.2, 1.2, 1.5), tilt_degrees=15.0),
    "anisotropic": Storage(orientation="LPS", spacing_mm=(0.8, 0.8, 5.0)),
}
everywhere = pytest.mark.parametrize("storage", STORAGES.values(), ids=STORAGES)
on_both_sides = pytest.mark.parametrize("organ", [PLAIN, MIRRORED])


def ellipsoid(center: Floats, radii: Floats | float) -> Function:
    return lambda world: (((world - center) / radii) ** 2).sum(axis=-1) < 1


def background(world: Floats) -> Floats:
    """A smooth field without symmetry, so that no turned or shifted scan equals the right one."""
    right, anterior, superior = np.moveaxis(world - MIDDLE, -1, 0)
    return 40 + 1.5 * right - 0.8 * anterior + 1.1 * superior + 10 * np.sin(right / 9) * np.cos(superior / 11)


USUAL_ORGAN = ellipsoid(ORGAN, RADII)


class Case:
    """A scan with one organ, in files, and what becomes of it in a prediction folder."""

    def __init__(
        self,
        folder: Path,
        storage: Storage,
        *,
        extent_mm: tuple[float, float, float] = (60.0, 54.0, 64.0),
        scene: Function = background,
        organ: Function = USUAL_ORGAN,
    ) -> None:
        self.image, self.mask, self.output = folder / "case_0000.nii.gz", folder / "organ.nii.gz", folder / "preds"
        shape = storage.shape(extent_mm)
        self.affine = storage.affine(shape)
        world = nibabel.affines.apply_affine(self.affine, np.moveaxis(np.indices(shape), 0, -1))
        for path, values in ((self.image, scene(world)), (self.mask, organ(world))):
            image = nibabel.Nifti1Image(np.rint(np.asarray(values, float)).astype(np.int16), self.affine)
            image.set_qform(self.affine, code=storage.codes[0])
            image.set_sform(self.affine, code=storage.codes[1])
            nibabel.save(image, path)

    def grids(self, organ: str, plans: Plans) -> dict[str, Grid]:
        patches = preprocess_case(*self._volumes(), plans.preprocessing, case="case", organ=organ)
        return {noise_key(patch): patch.grid for patch in patches}

    def predict(self, organ: str, plans: Plans, model: Fold) -> CasePrediction:
        image, mask = self._volumes()
        result = predict_case(
            image,
            {organ: mask},
            case="case",
            plans=plans,
            models=[replace(model, detect=residual_detector(plans.inference))],
        )
        write_case(self.output, "case", image, self.image, result, description=DESCRIPTION)
        return result

    def _volumes(self) -> tuple[Volume, Volume]:
        image = read_volume(self.image)
        return image, load_organ_mask(self.mask, None, grid=image.grid, image=self.image)

    def written(self, *parts: str) -> nibabel.Nifti1Image:
        return nibabel.load(self.output.joinpath(*parts))

    def voxels(self, *parts: str) -> Floats:
        return np.asarray(self.written(*parts).dataobj, dtype=float)

    def document(self) -> dict[str, object]:
        return json.loads((self.output / "detections" / "case_boxes.json").read_text())

    def index_of(self, world: Floats) -> Floats:
        return nibabel.affines.apply_affine(np.linalg.inv(self.affine), world)

    def world_of(self, index: Floats) -> Floats:
        return nibabel.affines.apply_affine(self.affine, index)


def make_plans(preprocessing: PreprocessingPlan = PLAN, inference: InferencePlan = ABSOLUTE) -> Plans:
    process = {"heun": "edm"}.get(inference.sampler, "ddpm")
    return Plans(
        dataset_name="Dataset501_Kidney",
        plans_name=PLANS_NAMES["paper"],
        preset="paper",
        gpu_memory_target_gb=8.0,
        organs=(PLAIN, MIRRORED),
        preprocessing=preprocessing,
        vqgan=PAPER.vqgan,
        classifier=PAPER.classifier,
        ddpm=replace(PAPER.ddpm, process=process, widths=(8,)),
        inference=inference,
        reasons={},
    )


def calibration(threshold: float) -> Calibration:
    return Calibration(
        statistics=ResidualStatistics(edges_mm=(0.0,), mean_hu=(0.0, 0.0), std_hu=(10.0, 10.0)),
        threshold=threshold,
        false_candidates_per_organ=0.0,
        num_organs=1,
        guidance=False,
        guidance_reason="",
        checkpoints={},
    )


def model_of(change: Callable[[Floats, str], Floats], threshold: float = SHIFT_HU / 2) -> Fold:
    """A model whose reconstruction of a patch `[Z, Y, X]` in [-1, 1] is `change(patch, name)`."""

    def reconstruct(patches: Sequence[Floats], names: Sequence[str]) -> Reconstruction:
        changed = [change(np.asarray(patch, np.float32), name) for patch, name in zip(patches, names, strict=True)]
        healthy = torch.from_numpy(np.stack(changed)[:, None].astype(np.float32))
        return Reconstruction(healthy, healthy)

    return Fold(reconstruct=reconstruct, detect=residual_detector(ABSOLUTE), measured=calibration(threshold))


def marker_model(grids: dict[str, Grid], center: Floats, threshold: float = SHIFT_HU / 2) -> Fold:
    """The input itself, but brighter in a ball around the patch voxel that is nearest to a world position."""
    right, anterior, superior = center

    def mark(patch: Floats, name: str) -> Floats:
        grid = grids[name]
        voxel = np.rint(grid.to_index(np.array([superior, -anterior, -right])))
        distance = np.linalg.norm(np.moveaxis(np.indices(patch.shape), 0, -1) - voxel, axis=-1)
        return patch + SHIFT * (distance < MARKER_RADIUS_MM)

    return model_of(mark, threshold)


def centroid(weights: Floats) -> Floats:
    return np.array([np.average(index, weights=weights) for index in np.indices(weights.shape)])


@on_both_sides
@everywhere
def test_a_marker_in_the_reconstruction_lies_within_a_voxel_in_the_file(
    tmp_path: Path, storage: Storage, organ: str
) -> None:
    case, plans = Case(tmp_path, storage), make_plans()
    result = case.predict(organ, plans, marker_model(case.grids(organ, plans), MARKER))
    assert result.status == {organ: "ok"}
    expected = case.index_of(MARKER)
    assert np.abs(centroid(case.voxels("anomaly_maps", "case.nii.gz")) - expected).max() < 1
    assert np.abs(centroid(case.voxels("case.nii.gz")) - expected).max() < 1
    scan = np.asarray(nibabel.load(case.image).dataobj, dtype=float)
    brighter = np.clip(case.voxels("reconstructions", "case.nii.gz") - scan - SHIFT_HU / 2, 0, None)
    assert np.abs(centroid(brighter) - expected).max() < 1


@on_both_sides
@everywhere
def test_what_a_scan_shows_is_found_where_it_is_without_knowing_where_patches_lie(
    tmp_path: Path, storage: Storage, organ: str
) -> None:
    lesion = ellipsoid(MARKER, np.array([4.0, 5.0, 7.0]))
    case = Case(
        tmp_path, storage, scene=lambda world: np.where(lesion(world), 250.0, -40.0 * (world[..., 0] > MARKER[0]))
    )
    plain = model_of(lambda patch, _: np.minimum(patch, -0.2))  # 0 HU: a healthy organ has no bright spot
    case.predict(organ, make_plans(), plain)
    expected = centroid(np.asarray(nibabel.load(case.image).dataobj, dtype=float).clip(min=0))
    assert np.abs(centroid(case.voxels("anomaly_maps", "case.nii.gz")) - expected).max() < 0.5


@everywhere
def test_predictions_have_the_shape_the_affines_and_the_codes_of_their_scan(tmp_path: Path, storage: Storage) -> None:
    case, plans = Case(tmp_path, storage), make_plans()
    case.predict(PLAIN, plans, marker_model(case.grids(PLAIN, plans), MARKER))
    scan = nibabel.load(case.image)
    for parts in (("case.nii.gz",), ("anomaly_maps", "case.nii.gz"), ("reconstructions", "case.nii.gz")):
        prediction = case.written(*parts)
        assert prediction.shape == scan.shape
        assert np.array_equal(prediction.affine, scan.affine)
        assert nibabel.aff2axcodes(prediction.affine) == nibabel.aff2axcodes(scan.affine)
        assert prediction.header.get_zooms() == scan.header.get_zooms()
        for form in ("get_qform", "get_sform"):
            ours, theirs = (getattr(image.header, form)(coded=True) for image in (prediction, scan))
            assert ours[1] == theirs[1]
            if theirs[1] > 0:
                assert np.allclose(ours[0], theirs[0], atol=1e-5)


@everywhere
def test_mask_map_reconstruction_and_boxes_say_the_same_in_world_space(tmp_path: Path, storage: Storage) -> None:
    case, plans = Case(tmp_path, storage), make_plans()
    case.predict(MIRRORED, plans, marker_model(case.grids(MIRRORED, plans), MARKER))
    mask, anomaly = case.voxels("case.nii.gz"), case.voxels("anomaly_maps", "case.nii.gz")
    document = case.document()
    (candidate,) = document["candidates"]
    assert set(np.unique(mask)) == {0, 2}  # the lesion label of the dataset
    assert np.array_equal(mask > 0, anomaly > document["threshold"])
    voxels = np.argwhere(mask > 0)
    assert candidate["num_voxels"] == len(voxels)
    assert candidate["start"] == voxels.min(axis=0)[::-1].tolist()  # (k, j, i) of the file, half-open
    assert candidate["stop"] == (voxels.max(axis=0) + 1)[::-1].tolist()
    superior, posterior, left = candidate["center_mm"]
    assert [-left, -posterior, superior] == pytest.approx(case.world_of(voxels.mean(axis=0)), abs=0.05)
    assert candidate["volume_mm3"] == pytest.approx(len(voxels) * abs(np.linalg.det(case.affine[:3, :3])), rel=1e-4)
    assert candidate["score_max"] == pytest.approx(anomaly.max(), rel=1e-5)
    assert case.world_of(voxels.mean(axis=0)) == pytest.approx(MARKER, abs=max(storage.spacing_mm))


@on_both_sides
def test_the_maps_of_the_default_preset_are_just_as_well_placed(tmp_path: Path, organ: str) -> None:
    plans = make_plans(inference=replace(DEFAULT.inference, smoothing_mm=2.0, num_samples=1))
    case = Case(tmp_path, STORAGES["PIR"])
    case.predict(organ, plans, marker_model(case.grids(organ, plans), MARKER, threshold=3.0))
    (candidate,) = case.document()["candidates"]
    superior, posterior, left = candidate["center_mm"]
    assert [-left, -posterior, superior] == pytest.approx(MARKER, abs=1.0)
    assert np.abs(centroid(case.voxels("anomaly_maps", "case.nii.gz")) - case.index_of(MARKER)).max() < 1


@on_both_sides
@everywhere
def test_an_organ_cut_by_the_border_is_marked_up_to_the_last_slice(
    tmp_path: Path, storage: Storage, organ: str
) -> None:
    top = MIDDLE + (2.0, -3.0, 30.0)  # the scan ends 32 mm above its middle
    plans, marker = make_plans(), top + (3.0, -2.0, -6.0)
    case = Case(tmp_path, storage, organ=ellipsoid(top, RADII))
    result = case.predict(organ, plans, marker_model(case.grids(organ, plans), marker))
    assert result.status == {organ: "truncated_roi"}
    assert "superior" in result.patches[0].touches_border
    assert result.patches[0].covered_fraction < 0.95
    assert np.abs(centroid(case.voxels("anomaly_maps", "case.nii.gz")) - case.index_of(marker)).max() < 1

    case.predict(organ, plans, model_of(lambda patch, _: patch + SHIFT))
    anomaly = case.voxels("anomaly_maps", "case.nii.gz")
    inside = np.asarray(nibabel.load(case.mask).dataobj) > 0
    assert anomaly[inside] == pytest.approx(SHIFT_HU, abs=0.01)  # padding beyond the border has no say


@on_both_sides
@everywhere
def test_an_organ_larger_than_the_patch_is_covered_without_a_seam(tmp_path: Path, storage: Storage, organ: str) -> None:
    plans = make_plans(replace(PLAN, patch_size=(24, 24, 24)))
    case = Case(tmp_path, storage)
    grids = case.grids(organ, plans)
    assert len(grids) > 2
    result = case.predict(organ, plans, marker_model(grids, MARKER))
    assert [patch.tile for patch in result.patches] == list(range(len(grids)))
    assert result.patches[0].organ_fraction_outside == 0
    assert np.abs(centroid(case.voxels("anomaly_maps", "case.nii.gz")) - case.index_of(MARKER)).max() < 1

    case.predict(organ, plans, model_of(lambda patch, _: patch + SHIFT))
    anomaly = case.voxels("anomaly_maps", "case.nii.gz")
    inside = np.asarray(nibabel.load(case.mask).dataobj) > 0
    assert anomaly[inside].min() > 0
    assert anomaly[anomaly > 0] == pytest.approx(SHIFT_HU, abs=0.01)


@on_both_sides
@pytest.mark.parametrize("name", ["IPL", "oblique"])
def test_where_no_patch_lies_the_reconstruction_is_the_scan_and_the_map_is_nought(
    tmp_path: Path, name: str, organ: str
) -> None:
    case, plans = Case(tmp_path, STORAGES[name]), make_plans(replace(PLAN, patch_size=(16, 16, 16), tiling=False))
    case.predict(organ, plans, model_of(lambda patch, _: patch + SHIFT))
    scan = np.asarray(nibabel.load(case.image).dataobj, dtype=float)
    anomaly = case.voxels("anomaly_maps", "case.nii.gz")
    distance = np.abs(case.world_of(np.moveaxis(np.indices(scan.shape), 0, -1)) - ORGAN)
    far, near = (distance > 9).any(axis=-1), (distance < 7).all(axis=-1)
    healthy = case.voxels("reconstructions", "case.nii.gz")
    assert (anomaly[far] == 0).all()
    assert np.array_equal(healthy[far], scan[far])
    assert anomaly[near] == pytest.approx(SHIFT_HU, abs=0.01)
    assert np.median(healthy[near] - scan[near]) == pytest.approx(SHIFT_HU, abs=2)


def test_several_organs_share_one_map_and_an_absent_one_is_named(tmp_path: Path) -> None:
    case, plans = Case(tmp_path, STORAGES["LPS"]), make_plans()
    image, mask = case._volumes()
    nothing = Volume(np.zeros_like(mask.array), mask.grid)
    model = marker_model(case.grids(PLAIN, plans), MARKER)
    result = predict_case(
        image,
        {PLAIN: mask, MIRRORED: nothing},
        case="case",
        plans=plans,
        models=[replace(model, detect=residual_detector(plans.inference))],
    )
    assert result.status == {PLAIN: "ok", MIRRORED: "no_roi"}
    assert len(result.candidates) == 1


def test_without_any_organ_everything_is_written_and_nothing_is_claimed(tmp_path: Path) -> None:
    case = Case(tmp_path, STORAGES["RAS"], organ=lambda world: 0.0 * world[..., 0])
    result = case.predict(PLAIN, make_plans(), model_of(lambda patch, _: patch + SHIFT))
    assert result.status == {PLAIN: "no_roi"}
    assert not case.voxels("case.nii.gz").any()
    document = case.document()
    assert document["organs"] == {PLAIN: "no_roi"}
    assert document["threshold"] is None
    assert document["candidates"] == []


@pytest.mark.parametrize("inference", [ABSOLUTE, replace(ABSOLUTE, threshold="otsu")], ids=["calibrated", "otsu"])
def test_a_reconstruction_that_equals_the_scan_leaves_no_candidate(tmp_path: Path, inference: InferencePlan) -> None:
    case = Case(tmp_path, STORAGES["RAS"])
    case.predict(PLAIN, make_plans(inference=inference), model_of(lambda patch, _: patch))
    assert case.document()["candidates"] == []
    assert not case.voxels("case.nii.gz").any()
