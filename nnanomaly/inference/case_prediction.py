"""One case through a trained model: patches, reconstructions, maps, composition, candidates. Arrays in, arrays out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnanomaly.arrays import FloatArray
from nnanomaly.inference.candidate_features import Mapped
from nnanomaly.inference.case_check import CaseFacts, examine_case, warnings_after
from nnanomaly.inference.composition import Composite, compose
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.following import Scan, further_patches, only_lesion
from nnanomaly.inference.postprocessing import Candidate, Found, find_regions, mask_of, otsu_threshold
from nnanomaly.inference.read import read
from nnanomaly.inference.reduction import Reduce, as_mapped, reduce_with
from nnanomaly.inference.spread import SeenByFold, SeenPatch, with_spread
from nnanomaly.plans import InferencePlan, Plans
from nnanomaly.preprocessing.preprocessor import OrganPatch, preprocess_case
from nnanomaly.roi.nearest_organ import nearest_organ, patch_centers
from nnanomaly.roi.scan_domain import CaseWarning
from nnanomaly.volume import Box, Grid, Volume

MOST_FURTHER = 6
"""Patches further out of one case; a candidate that leads farther is no lesion."""


class Averaged(NamedTuple):
    """A patch and what the folds make of it together."""

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
    """As in `CasePrediction`."""
    facts: CaseFacts = CaseFacts(organs={}, warnings=())
    """What was noticed about the scan and its masks."""
    scan: Scan | None = None
    """What further patches are cut from; None = the plan does not follow lesions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CasePrediction:
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
    warnings: tuple[CaseWarning, ...] = ()
    """What a reader of the result must know about the scan and its masks."""


def predict_case(
    image: Volume, masks: Mapping[str, Volume], *, case: str, plans: Plans, models: Sequence[Fold]
) -> CasePrediction:
    """Predict one case; the maps of several folds are averaged, and so are their thresholds."""
    return predict_patches(find_patches(image, masks, case=case, plans=plans), image.grid, plans=plans, models=models)


def find_patches(image: Volume, masks: Mapping[str, Volume], *, case: str, plans: Plans) -> CasePatches:
    """Check a case, cut and resample the patches of all its organs; needs no network.

    Raises `DataError`: INT-UNITS for a scan that cannot be in HU, ROI-EXTENT for a mask of more than an organ.
    """
    facts = examine_case(image, masks, case=case, plans=plans)
    patches: list[OrganPatch] = []
    status: dict[str, str] = {}
    for organ, mask in masks.items():
        found = preprocess_case(image, mask, plans.preprocessing, case=case, organ=organ)
        status[organ] = _status(found)
        patches += found
    scan = Scan(image=image, masks=dict(masks)) if plans.inference.follow_lesions else None
    return CasePatches(patches=patches, status=status, facts=facts, scan=scan)


def predict_patches(found: CasePatches, grid: Grid, *, plans: Plans, models: Sequence[Fold]) -> CasePrediction:
    """Reconstruct the patches of a case and find lesions on the scan's own grid."""
    calibrated = float(np.mean([model.calibration.threshold for model in models]))
    looks = [_averaged(patch, models, plans) for patch in found.patches]
    if found.scan is not None:
        _follow(looks, found.scan, threshold=calibrated, models=models, plans=plans)
    patches, maps = [look.patch for look in looks], [look.maps for look in looks]
    composite = compose([(patch.grid, of, patch.covered) for patch, of in zip(patches, maps, strict=True)], grid)
    scenes = _scenes(patches, maps, plans)
    reduce = reduce_of(models, scenes[: len(found.patches)], scenes[len(found.patches) :])
    mask, regions, threshold = detect_lesions(composite, grid, plans.inference, calibrated, reduce=reduce)
    regions = with_spread(regions, [SeenPatch(look.patch, look.folds) for look in looks], grid, plans)
    centers = patch_centers((patch.organ, patch.grid) for patch in patches)
    return CasePrediction(
        composite=composite,
        mask=mask,
        candidates=[
            replace(region.candidate, organ=nearest_organ(region.candidate.center_mm, centers)) for region in regions
        ],
        threshold=threshold,
        patches=patches,
        status=found.status,
        warnings=warnings_after(found.facts, mask, plans),
    )


def _follow(looks: list[Averaged], scan: Scan, *, threshold: float, models: Sequence[Fold], plans: Plans) -> None:
    """Append the patches further out that the candidates of each organ lead to; no more than six."""
    most, number = len(looks) + MOST_FURTHER, 0
    while number < min(len(looks), most):
        patch, anomaly = looks[number].patch, looks[number].maps[0]
        known = [other.patch.grid for other in looks if other.patch.organ == patch.organ]
        further = further_patches(patch, anomaly, threshold=threshold, scan=scan, known=known, plans=plans)
        for other in further[: most - len(looks)]:
            look = _averaged(other.patch, models, plans)
            reduced, maps = only_lesion(other, look.maps, plans.inference.hysteresis * threshold)
            looks.append(look._replace(patch=reduced, maps=maps))
        number += 1


def _status(patches: list[OrganPatch]) -> str:
    if not patches:
        return "no_roi"
    return "truncated_roi" if patches[0].instance.touches_border else "ok"


def _averaged(patch: OrganPatch, models: Sequence[Fold], plans: Plans) -> Averaged:
    """Read a patch with all folds and average what they say."""
    per_fold, folds = [], []
    for model in models:
        reading = read(patch, model, model.calibration, plans)
        seen = reading.look.reconstruction
        per_fold.append(np.stack([reading.anomaly, seen.healthy_hu, seen.autoencoded_hu]))
        folds.append(SeenByFold(seen, model))
    return Averaged(patch, np.mean(per_fold, axis=0, dtype=np.float32), folds)


def detect_lesions(
    composite: Composite | None, grid: Grid, plan: InferencePlan, calibrated: float, *, reduce: Reduce | None = None
) -> tuple[NDArray[np.bool_], list[Found], float | None]:
    """Mask `[Z, Y, X]`, regions and threshold from the first of the composed maps, in indices of the whole scan.

    `calibrated` is the threshold unless the plan asks for Otsu's, which is None without a map. `reduce` sorts out
    candidates; it is asked only if there are any.
    """
    mask = np.zeros(grid.shape, dtype=bool)
    if composite is None:
        return mask, [], None
    anomaly = composite.maps[0]
    threshold = otsu_threshold(anomaly, composite.coverage) if plan.threshold == "otsu" else calibrated
    inner = grid.crop(composite.box)
    regions = find_regions(anomaly, threshold, inner, plan)
    if reduce is not None and regions:
        regions = reduce(regions, inner)
    mask[composite.box.slices] = mask_of(regions, inner.shape)
    return mask, [_moved(region, composite.box.start) for region in regions], threshold


def reduce_of(
    models: Sequence[Fold], patches: Sequence[tuple[Grid, Mapped]], further: Sequence[tuple[Grid, Mapped]] = ()
) -> Reduce | None:
    """What sorts out the candidates of these patches, at the folds' mean threshold; None without reducers."""
    reducers = [model.reducer for model in models if model.reducer is not None]
    limits = [model.calibration.score_threshold for model in models if model.calibration.score_threshold is not None]
    return reduce_with(reducers, float(np.mean(limits)), patches, further) if reducers else None


def _scenes(patches: Sequence[OrganPatch], maps: Sequence[FloatArray], plans: Plans) -> list[tuple[Grid, Mapped]]:
    """The patches with their maps `[3, Z, Y, X]`, where candidates are sorted out; else nothing."""
    if plans.inference.reduction == "none":
        return []
    return [
        (patch.grid, as_mapped(patch, anomaly=of[0], healthy_hu=of[1], plans=plans))
        for patch, of in zip(patches, maps, strict=True)
    ]


def _moved(region: Found, offset: tuple[int, int, int]) -> Found:
    """The region in indices of the whole scan."""
    box = region.component.box
    z, y, x = (int(a + b) for a, b in zip(box.start, offset, strict=True))
    dz, dy, dx = box.shape
    moved = Box((z, y, x), (z + dz, y + dy, x + dx))
    return Found(replace(region.candidate, box=moved), replace(region.component, box=moved))
