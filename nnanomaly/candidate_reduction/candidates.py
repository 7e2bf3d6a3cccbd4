"""The candidates of training organs, by what their weak label or an inserted lesion says of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nnanomaly.arrays import BoolArray, Floats
from nnanomaly.candidate_reduction.mil import WeakCandidates
from nnanomaly.inference.calibration import Calibration
from nnanomaly.inference.candidate_features import FEATURES
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.postprocessing import Found, find_regions
from nnanomaly.inference.read import read
from nnanomaly.inference.reduction import as_mapped, features_on_own_grid
from nnanomaly.lesion_head.example_store import edited_patch, with_organ
from nnanomaly.patch import Patch
from nnanomaly.plans import Plans
from nnanomaly.synthesis.kinds import KINDS
from nnanomaly.utilities.progress import all_shown

VARIANTS = 2
"""Edited copies of every healthy patch."""
MIN_SHARE, MIN_IOU = 0.5, 0.2
"""A candidate is on inserted lesions from this share of its voxels or this overlap on; one that only touches them
teaches nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateFinder:
    """A trained fold whose map has a threshold."""

    fold: Fold
    """Reconstruction and map."""
    calibration: Calibration
    """The threshold before candidates are sorted out."""
    plans: Plans
    """Plans of the fold."""

    def find(self, patch: Patch) -> tuple[list[Found], Floats]:
        """Regions of a patch and their features `[N, F]`."""
        seen, anomaly = read(patch, self.fold, self.calibration, self.plans)
        regions = find_regions(anomaly, self.calibration.threshold, patch.grid, self.plans.inference)
        healthy_hu = seen.reconstruction.healthy_hu
        scene = as_mapped(patch, anomaly=anomaly, healthy_hu=healthy_hu, plans=self.plans)
        return regions, features_on_own_grid(regions, scene)


def collect_candidates(
    healthy: Mapping[str, Patch], unhealthy: Mapping[str, Patch], finder: CandidateFinder
) -> WeakCandidates:
    """Candidates of healthy organs as they are, of the same with inserted lesions, and of unhealthy organs, by name."""
    negatives, positives = [np.zeros((0, len(FEATURES)))], [np.zeros((0, len(FEATURES)))]
    for patch in all_shown(list(healthy.values()), "healthy organs"):
        negatives.append(finder.find(patch)[1])
    for patch in all_shown(list(with_organ(healthy).values()), "inserted lesions"):
        for variant in _variants(finder.plans):
            regions, features, lesions = _inserted(patch, variant, finder)
            on_lesion = np.array([_on_lesion(region, lesions) for region in regions], dtype=float)
            positives.append(features[on_lesion == 1])
            negatives.append(features[on_lesion == 0])
    bags: dict[tuple[str, str], list[Floats]] = defaultdict(list)
    for patch in all_shown(list(unhealthy.values()), "unhealthy organs"):
        features = finder.find(patch)[1]
        bags[(patch.case, patch.organ)].append(features)
    together = [np.concatenate(features) for features in bags.values()]
    return WeakCandidates(
        negatives=np.concatenate(negatives),
        positives=np.concatenate(positives),
        bags=tuple(bag for bag in together if len(bag)),
    )


def _variants(plans: Plans) -> Sequence[int]:
    """Numbers of edits that the lesion head was not trained on: it is surer of those it knows."""
    first = plans.head.variants_per_patch + 1
    return range(first, first + VARIANTS)


def _inserted(patch: Patch, variant: int, finder: CandidateFinder) -> tuple[list[Found], Floats, BoolArray]:
    """Regions of an edited patch, their features, and its lesions `[Z, Y, X]`."""
    kinds = [kind for kind in KINDS if kind not in finder.plans.head.held_out_kinds]
    edited = edited_patch(patch, variant, kinds, finder.plans)
    regions, features = finder.find(edited.patch)
    return regions, features, edited.lesions


def _on_lesion(region: Found, lesions: BoolArray) -> float:
    """1 for a candidate on inserted lesions, 0 for one beside them, NaN for one that only touches them."""
    inside = np.count_nonzero(lesions[region.component.box.slices] & region.component.mask)
    if inside == 0:
        return 0.0
    share = inside / region.component.num_voxels
    iou = inside / (region.component.num_voxels + np.count_nonzero(lesions) - inside)
    return 1.0 if share >= MIN_SHARE or iou >= MIN_IOU else float("nan")
