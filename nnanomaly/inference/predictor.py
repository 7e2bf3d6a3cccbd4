"""One case through a trained model: patches, reconstructions, maps, composition, candidates. Arrays in, arrays out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nnanomaly.inference.calibration import Calibration
from nnanomaly.inference.candidate_features import Scene
from nnanomaly.inference.composition import Composite, compose
from nnanomaly.inference.detectors import Detector
from nnanomaly.inference.finite import finite
from nnanomaly.inference.following import Scan, further_patches, only_lesion
from nnanomaly.inference.inpainting import Inpainter, Inpainting, Sampled, with_large_candidates_inpainted
from nnanomaly.inference.patch_map import PatchReconstruction, reconstruct_patch, residual_of_patch
from nnanomaly.inference.postprocessing import Candidate, Region, find_regions, mask_of, otsu_threshold
from nnanomaly.inference.reconstruct import Reconstructor
from nnanomaly.inference.reducer import Reducer
from nnanomaly.inference.reduction import Sorter, scene_of_patch, sorter
from nnanomaly.inference.spread import SeenByFold, SeenPatch, with_spread
from nnanomaly.plans import InferencePlan, Plans
from nnanomaly.preprocessing.preprocessor import COVERAGE, OrganPatch, preprocess_case
from nnanomaly.roi.nearest_organ import nearest_organ, patch_centers
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
    sampled: Callable[[int], Sampled] | None = None
    """Reconstruction and inpainting with another number of samples than the plans say."""

    def with_num_samples(self, num_samples: int) -> "FoldModel":
        """The same fold, which averages so many samples of the noise."""
        assert self.sampled is not None  # loaded folds have it
        reconstruct, inpaint = self.sampled(num_samples)
        return replace(self, reconstruct=reconstruct, inpaint=inpaint)


class PatchReading(NamedTuple):
    """What a fold makes of a patch."""

    reconstruction: PatchReconstruction
    """The healthy one, after inpainting if there was any."""
    anomaly: FloatArray
    """Its map `[Z, Y, X]`."""


class PatchLook(NamedTuple):
    """A patch and what the folds make of it."""

    patch: OrganPatch
    """The patch."""
    maps: FloatArray
    """`[3, Z, Y, X]`: anomaly map, healthy reconstruction and autoencoded image (HU), averaged over folds."""
    folds: Sequence[SeenByFold]
    """What each fold saw."""


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
    looks = [_look(patch, models, plans) for patch in found.patches]
    if found.scan is not None:
        _follow(looks, found.scan, threshold=calibrated, models=models, plans=plans)
    patches, maps = [look.patch for look in looks], [look.maps for look in looks]
    covered = [np.asarray(patch.array[COVERAGE]) > 0.5 for patch in patches]
    composite = compose([(p.grid, m, c) for p, m, c in zip(patches, maps, covered, strict=True)], grid)
    scenes = _scenes(patches, maps, plans)
    keep = sorter_of(models, scenes[: len(found.patches)], scenes[len(found.patches) :])
    mask, regions, threshold = detect_lesions(composite, grid, plans.inference, calibrated, keep=keep)
    seen = [SeenPatch(p.array, p.grid, c, look.folds) for p, c, look in zip(patches, covered, looks, strict=True)]
    regions = with_spread(regions, seen, grid, plans.inference)
    centers = patch_centers((patch.organ, patch.grid) for patch in patches)
    return CaseResult(
        composite=composite,
        mask=mask,
        candidates=[
            replace(region.candidate, organ=nearest_organ(region.candidate.center_mm, centers)) for region in regions
        ],
        threshold=threshold,
        patches=patches,
        status=found.status,
    )


def _follow(looks: list[PatchLook], scan: Scan, *, threshold: float, models: Sequence[FoldModel], plans: Plans) -> None:
    """Append the patches further out that the candidates of each organ lead to; no more than six."""
    most, number = len(looks) + MOST_FURTHER, 0
    while number < min(len(looks), most):
        patch, anomaly = looks[number].patch, looks[number].maps[0]
        known = [other.patch.grid for other in looks if other.patch.organ == patch.organ]
        further = further_patches(patch, anomaly, threshold=threshold, scan=scan, known=known, plans=plans)
        for other in further[: most - len(looks)]:
            look = _look(other.patch, models, plans)
            reduced, maps = only_lesion(other, look.maps, plans.inference.hysteresis * threshold)
            looks.append(look._replace(patch=reduced, maps=maps))
        number += 1


def _status(patches: list[OrganPatch]) -> str:
    if not patches:
        return "no_roi"
    return "truncated_roi" if patches[0].instance.touches_border else "ok"


def _look(patch: OrganPatch, models: Sequence[FoldModel], plans: Plans) -> PatchLook:
    """Send a patch through all folds and average what they say."""
    per_fold, folds = [], []
    for model in models:
        seen, anomaly = read_patch(patch.array, patch.grid, patch.organ, model=model, plans=plans)
        per_fold.append(np.stack([anomaly, seen.healthy_hu, seen.autoencoded_hu]))
        folds.append(SeenByFold(seen, model.detect, model.calibration.statistics))
    return PatchLook(patch, np.mean(per_fold, axis=0, dtype=np.float32), folds)


def read_patch(array: NDArray[np.floating], grid: Grid, organ: str, *, model: FoldModel, plans: Plans) -> PatchReading:
    """Reconstruct a patch `[3, Z, Y, X]`, draw its large candidates anew if the plan says so, and map it.

    Raises `DataError` (NET-NONFINITE) where a network answers with what is no number.
    """
    seen = reconstruct_patch(array, organ, reconstruct=model.reconstruct, plans=plans)
    statistics, threshold = model.calibration.statistics, model.calibration.inpaint_threshold
    if model.inpaint is not None and threshold is not None:
        how = Inpainting(inpaint=model.inpaint, detect=model.detect, statistics=statistics, threshold=threshold)
        seen = with_large_candidates_inpainted(array, grid, organ, first=seen, how=how, plans=plans)
    residual = residual_of_patch(array, grid, seen, plans.inference)
    anomaly = model.detect(seen, residual, statistics)
    finite(torch.from_numpy(anomaly), "the anomaly map")
    return PatchReading(seen, anomaly)


def detect_lesions(
    composite: Composite | None, grid: Grid, plan: InferencePlan, calibrated: float, *, keep: Sorter | None = None
) -> tuple[NDArray[np.bool_], list[Region], float | None]:
    """Mask `[Z, Y, X]`, regions and threshold from the first of the composed maps, in indices of the whole scan.

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
    return mask, [_moved(region, composite.box.start) for region in regions], threshold


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


def _moved(region: Region, offset: tuple[int, int, int]) -> Region:
    """The region in indices of the whole scan."""
    box = region.component.box
    z, y, x = (int(a + b) for a, b in zip(box.start, offset, strict=True))
    dz, dy, dx = box.shape
    moved = Box((z, y, x), (z + dz, y + dy, x + dx))
    return Region(replace(region.candidate, box=moved), replace(region.component, box=moved))
