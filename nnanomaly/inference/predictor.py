"""One case through a trained model: patches, reconstructions, maps, composition, candidates. Arrays in, arrays out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nnanomaly.dataset.patch_store import patch_name
from nnanomaly.inference.calibration import Calibration
from nnanomaly.inference.candidate_features import Scene
from nnanomaly.inference.composition import Composite, compose
from nnanomaly.inference.detectors import Detector
from nnanomaly.inference.patch_map import reconstruct_patch, residual_of_patch
from nnanomaly.inference.postprocessing import Candidate, Region, find_regions, mask_of, otsu_threshold
from nnanomaly.inference.reconstruct import Reconstructor
from nnanomaly.inference.reducer import Reducer
from nnanomaly.inference.reduction import features_on_patches, mean_probabilities, scored
from nnanomaly.plans import InferencePlan, Plans
from nnanomaly.preprocessing.normalization import denormalise
from nnanomaly.preprocessing.preprocessor import COVERAGE, IMAGE, ORGAN, OrganPatch, preprocess_case
from nnanomaly.roi.distance import signed_distance_mm
from nnanomaly.volume import Box, Grid, Volume

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldModel:
    """What one fold contributes to a prediction."""

    reconstruct: Reconstructor
    """Patches to healthy reconstructions."""
    detect: Detector
    """Reconstructions to maps."""
    calibration: Calibration
    """Healthy residuals and threshold."""
    reducer: Reducer | None = None
    """What sorts candidates out, where the plans say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CasePatches:
    """What of a case goes through the networks."""

    patches: list[OrganPatch]
    """The patches of all organs."""
    status: dict[str, str]
    """As in `CaseResult`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """The prediction of one case on its own grid; maps exist only where a patch covers the scan."""

    composite: Composite | None
    """Maps `[2, z, y, x]`: anomaly, healthy reconstruction in HU; None when no organ was found."""
    mask: NDArray[np.bool_]
    """`[Z, Y, X]` lesion mask."""
    candidates: list[Candidate]
    """In descending score."""
    threshold: float | None
    """Threshold that was applied to the anomaly map; None without a map."""
    patches: list[OrganPatch]
    """The patches that were looked at."""
    status: dict[str, str]
    """Per organ: `ok`, `truncated_roi` (cut by the scan's border) or `no_roi` (empty mask)."""


def predict_case(
    image: Volume, masks: Mapping[str, Volume], *, case: str, plans: Plans, models: Sequence[FoldModel]
) -> CaseResult:
    """Predict one case; the maps of several folds are averaged, and so are their thresholds."""
    return predict_patches(find_patches(image, masks, case=case, plans=plans), image.grid, plans=plans, models=models)


def find_patches(image: Volume, masks: Mapping[str, Volume], *, case: str, plans: Plans) -> CasePatches:
    """Cut and resample the patches of all organs of a case; needs no network."""
    patches: list[OrganPatch] = []
    status: dict[str, str] = {}
    for organ, mask in masks.items():
        found = preprocess_case(image, mask, plans.preprocessing, case=case, organ=organ)
        status[organ] = _status(found)
        patches += found
    return CasePatches(patches=patches, status=status)


def predict_patches(found: CasePatches, grid: Grid, *, plans: Plans, models: Sequence[FoldModel]) -> CaseResult:
    """Reconstruct the patches of a case and find lesions on the scan's own grid."""
    patches = found.patches
    maps = [_average_maps(patch, models, plans) for patch in patches]
    covered = [np.asarray(patch.array[COVERAGE]) > 0.5 for patch in patches]
    composite = compose([(p.grid, m, c) for p, m, c in zip(patches, maps, covered, strict=True)], grid)
    mask, candidates, threshold = np.zeros(grid.shape, dtype=bool), list[Candidate](), None
    if composite is not None:
        threshold = _threshold(composite, plans.inference, models)
        inner = grid.crop(composite.box)
        regions = find_regions(composite.maps[0], threshold, inner, plans.inference)
        if plans.inference.reduction != "none" and regions:
            scenes = [(p.grid, _scene(p, m, plans)) for p, m in zip(patches, maps, strict=True)]
            regions = _reduced(regions, inner, scenes, models)
        mask[composite.box.slices] = mask_of(regions, inner.shape)
        candidates = [_moved(region.candidate, composite.box.start) for region in regions]
    return CaseResult(
        composite=composite,
        mask=mask,
        candidates=candidates,
        threshold=threshold,
        patches=patches,
        status=found.status,
    )


def _status(patches: list[OrganPatch]) -> str:
    if not patches:
        return "no_roi"
    return "truncated_roi" if patches[0].instance.touches_border else "ok"


def _average_maps(patch: OrganPatch, models: Sequence[FoldModel], plans: Plans) -> FloatArray:
    """`[2, Z, Y, X]`: anomaly map and healthy reconstruction of a patch, averaged over folds."""
    name = patch_name(patch.case, patch.organ, tile=patch.tile, num_tiles=patch.num_tiles)
    per_fold = []
    for model in models:
        reconstruction = reconstruct_patch(patch.array, name, reconstruct=model.reconstruct, plans=plans)
        residual = residual_of_patch(patch.array, patch.grid, reconstruction, plans.inference)
        anomaly = model.detect(reconstruction, residual, model.calibration.statistics)
        per_fold.append(np.stack([anomaly, reconstruction.healthy_hu]))
    return np.mean(per_fold, axis=0, dtype=np.float32)


def _threshold(composite: Composite, plan: InferencePlan, models: Sequence[FoldModel]) -> float:
    """What the map of a case must exceed."""
    if plan.threshold == "otsu":
        return otsu_threshold(composite.maps[0], composite.coverage)
    return float(np.mean([model.calibration.threshold for model in models]))


def _scene(patch: OrganPatch, maps: FloatArray, plans: Plans) -> Scene:
    """A patch with its maps `[2, Z, Y, X]`, as candidates are described by."""
    return Scene(
        anomaly=maps[0],
        image_hu=denormalise(np.asarray(patch.array[IMAGE], dtype=np.float32), plans.preprocessing.window_hu),
        healthy_hu=maps[1],
        distance_mm=signed_distance_mm(np.asarray(patch.array[ORGAN]) > 0.5, patch.grid.spacing_mm),
        covered=np.asarray(patch.array[COVERAGE]) > 0.5,
        spacing_mm=patch.grid.spacing_mm,
    )


def _reduced(
    regions: Sequence[Region], grid: Grid, scenes: Sequence[tuple[Grid, Scene]], models: Sequence[FoldModel]
) -> list[Region]:
    """The regions whose mean probability over the folds exceeds the folds' mean threshold."""
    reducers = [model.reducer for model in models if model.reducer is not None]
    limits = [model.calibration.score_threshold for model in models]
    scores = mean_probabilities(reducers, features_on_patches(regions, grid, scenes))
    return scored(regions, scores, float(np.mean([limit for limit in limits if limit is not None])))


def _moved(candidate: Candidate, offset: tuple[int, int, int]) -> Candidate:
    """The candidate in indices of the whole scan."""
    box = candidate.box
    z, y, x = (int(a + b) for a, b in zip(box.start, offset, strict=True))
    dz, dy, dx = box.shape
    return replace(candidate, box=Box((z, y, x), (z + dz, y + dy, x + dx)))
