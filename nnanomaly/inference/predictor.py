"""One case through a trained model: patches, reconstructions, maps, composition, candidates. Arrays in, arrays out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnanomaly.dataset.patch_store import patch_name
from nnanomaly.inference.calibration import Calibration
from nnanomaly.inference.candidate_features import Scene
from nnanomaly.inference.composition import Composite, compose
from nnanomaly.inference.detectors import Detector
from nnanomaly.inference.following import Scan, further_patches, only_lesion
from nnanomaly.inference.inpainting import Inpainter, Inpainting, with_large_candidates_inpainted
from nnanomaly.inference.patch_map import PatchReconstruction, reconstruct_patch, residual_of_patch
from nnanomaly.inference.postprocessing import Candidate, find_regions, mask_of, otsu_threshold
from nnanomaly.inference.reconstruct import Reconstructor
from nnanomaly.inference.reducer import Reducer
from nnanomaly.inference.reduction import Sorter, scene_of_patch, sorter
from nnanomaly.plans import InferencePlan, Plans
from nnanomaly.preprocessing.preprocessor import COVERAGE, OrganPatch, preprocess_case
from nnanomaly.volume import Box, Grid, Volume

FloatArray = NDArray[np.float32]
MOST_FURTHER = 6
"""Patches further out of one case; a candidate that leads farther is no lesion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldModel:
    """What one fold contributes to a prediction."""

    reconstruct: Reconstructor
    """Patches to healthy reconstructions."""
    detect: Detector
    """Reconstructions to maps."""
    calibration: Calibration
    """Healthy residuals and threshold."""
    inpaint: Inpainter | None = None
    """Draws large candidates anew."""
    reducer: Reducer | None = None
    """What sorts candidates out, where the plans say so."""


class PatchReading(NamedTuple):
    """What a fold makes of a patch."""

    reconstruction: PatchReconstruction
    """The healthy one, after inpainting if there was any."""
    anomaly: FloatArray
    """Its map `[Z, Y, X]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CasePatches:
    """What of a case goes through the networks."""

    patches: list[OrganPatch]
    """The patches of all organs."""
    status: dict[str, str]
    """As in `CaseResult`."""
    scan: Scan | None = None
    """What further patches are cut from; None = the plan does not follow lesions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """The prediction of one case on its own grid; maps exist only where a patch covers the scan."""

    composite: Composite | None
    """Maps `[3, z, y, x]`: anomaly, healthy reconstruction, autoencoded image (HU); None when no organ was found."""
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
    scan = Scan(image=image, masks=dict(masks)) if plans.inference.follow_lesions else None
    return CasePatches(patches=patches, status=status, scan=scan)


def predict_patches(found: CasePatches, grid: Grid, *, plans: Plans, models: Sequence[FoldModel]) -> CaseResult:
    """Reconstruct the patches of a case and find lesions on the scan's own grid."""
    calibrated = float(np.mean([model.calibration.threshold for model in models]))
    patches = list(found.patches)
    maps = [_average_maps(patch, models, plans) for patch in patches]
    if found.scan is not None:
        _follow(patches, maps, found.scan, threshold=calibrated, models=models, plans=plans)
    covered = [np.asarray(patch.array[COVERAGE]) > 0.5 for patch in patches]
    composite = compose([(p.grid, m, c) for p, m, c in zip(patches, maps, covered, strict=True)], grid)
    scenes = _scenes(patches, maps, plans)
    keep = sorter_of(models, scenes[: len(found.patches)], scenes[len(found.patches) :])
    mask, candidates, threshold = detect_lesions(composite, grid, plans.inference, calibrated, keep=keep)
    return CaseResult(
        composite=composite,
        mask=mask,
        candidates=candidates,
        threshold=threshold,
        patches=patches,
        status=found.status,
    )


def _follow(
    patches: list[OrganPatch],
    maps: list[FloatArray],
    scan: Scan,
    *,
    threshold: float,
    models: Sequence[FoldModel],
    plans: Plans,
) -> None:
    """Append the patches further out that the candidates of each organ lead to, and their maps; no more than six."""
    most, number = len(patches) + MOST_FURTHER, 0
    while number < min(len(patches), most):
        patch, anomaly = patches[number], maps[number][0]
        known = [other.grid for other in patches if other.organ == patch.organ]
        further = further_patches(patch, anomaly, threshold=threshold, scan=scan, known=known, plans=plans)
        for other in further[: most - len(patches)]:
            seen = only_lesion(other, _average_maps(other.patch, models, plans), plans.inference.hysteresis * threshold)
            patches.append(seen[0])
            maps.append(seen[1])
        number += 1


def _status(patches: list[OrganPatch]) -> str:
    if not patches:
        return "no_roi"
    return "truncated_roi" if patches[0].instance.touches_border else "ok"


def _average_maps(patch: OrganPatch, models: Sequence[FoldModel], plans: Plans) -> FloatArray:
    """`[3, Z, Y, X]`: anomaly map, healthy reconstruction and autoencoded image of a patch, averaged over folds."""
    name = patch_name(patch.case, patch.organ, tile=patch.tile, num_tiles=patch.num_tiles)
    per_fold = []
    for model in models:
        reading = read_patch(patch.array, patch.grid, name, model=model, plans=plans)
        seen = reading.reconstruction
        per_fold.append(np.stack([reading.anomaly, seen.healthy_hu, seen.autoencoded_hu]))
    return np.mean(per_fold, axis=0, dtype=np.float32)


def read_patch(array: NDArray[np.floating], grid: Grid, name: str, *, model: FoldModel, plans: Plans) -> PatchReading:
    """Reconstruct a patch `[3, Z, Y, X]`, draw its large candidates anew if the plan says so, and map it."""
    seen = reconstruct_patch(array, name, reconstruct=model.reconstruct, plans=plans)
    statistics, threshold = model.calibration.statistics, model.calibration.inpaint_threshold
    if model.inpaint is not None and threshold is not None:
        how = Inpainting(inpaint=model.inpaint, detect=model.detect, statistics=statistics, threshold=threshold)
        seen = with_large_candidates_inpainted(array, grid, name, first=seen, how=how, plans=plans)
    residual = residual_of_patch(array, grid, seen, plans.inference)
    return PatchReading(seen, model.detect(seen, residual, statistics))


def detect_lesions(
    composite: Composite | None, grid: Grid, plan: InferencePlan, calibrated: float, *, keep: Sorter | None = None
) -> tuple[NDArray[np.bool_], list[Candidate], float | None]:
    """Mask `[Z, Y, X]`, candidates and threshold from the first of the composed maps, in indices of the whole scan.

    `calibrated` is the threshold unless the plan asks for Otsu's, which is None without a map. `keep` sorts out
    candidates; it is asked only if there are any.
    """
    mask = np.zeros(grid.shape, dtype=bool)
    if composite is None:
        return mask, [], None
    anomaly = composite.maps[0]
    threshold = otsu_threshold(anomaly, composite.coverage) if plan.threshold == "otsu" else calibrated
    inner = grid.crop(composite.box)
    regions = find_regions(anomaly, threshold, inner, plan)
    if keep is not None and regions:
        regions = keep(regions, inner)
    mask[composite.box.slices] = mask_of(regions, inner.shape)
    return mask, [_moved(region.candidate, composite.box.start) for region in regions], threshold


def sorter_of(
    models: Sequence[FoldModel], patches: Sequence[tuple[Grid, Scene]], further: Sequence[tuple[Grid, Scene]] = ()
) -> Sorter | None:
    """What sorts out the candidates of these patches, at the folds' mean threshold; None without reducers."""
    reducers = [model.reducer for model in models if model.reducer is not None]
    limits = [model.calibration.score_threshold for model in models if model.calibration.score_threshold is not None]
    return sorter(reducers, float(np.mean(limits)), patches, further) if reducers else None


def _scenes(patches: Sequence[OrganPatch], maps: Sequence[FloatArray], plans: Plans) -> list[tuple[Grid, Scene]]:
    """The patches with their maps `[3, Z, Y, X]`, where candidates are sorted out; else nothing."""
    if plans.inference.reduction == "none":
        return []
    return [
        (patch.grid, scene_of_patch(patch.array, patch.grid, anomaly=of[0], healthy_hu=of[1], plans=plans))
        for patch, of in zip(patches, maps, strict=True)
    ]


def _moved(candidate: Candidate, offset: tuple[int, int, int]) -> Candidate:
    """The candidate in indices of the whole scan."""
    box = candidate.box
    z, y, x = (int(a + b) for a, b in zip(box.start, offset, strict=True))
    dz, dy, dx = box.shape
    return replace(candidate, box=Box((z, y, x), (z + dz, y + dy, x + dx)))
