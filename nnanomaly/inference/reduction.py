"""Candidates of a map, seen on the patches they lie in, and what a reducer says of them.

Features are always taken on the grid of a patch, in training, calibration and prediction alike: the grids of scans
differ in resolution and noise, those of patches do not.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from nnanomaly.arrays import BoolArray, FloatArray, Floats
from nnanomaly.inference.candidate_features import FEATURES, Mapped, candidate_features
from nnanomaly.inference.postprocessing import Found
from nnanomaly.inference.reducer import Reducer, probabilities
from nnanomaly.patch import Patch
from nnanomaly.plans import Plans
from nnanomaly.preprocessing.normalization import denormalise
from nnanomaly.preprocessing.resampling import sample_labels_on_grid
from nnanomaly.roi.components import Component
from nnanomaly.volume import Grid, Volume

Reduce = Callable[[Sequence[Found], Grid], list[Found]]
"""Regions on a grid -> those that stay, best first."""


def as_mapped(patch: Patch, *, anomaly: FloatArray, healthy_hu: FloatArray, plans: Plans) -> Mapped:
    """A patch with its map and its healthy reconstruction, as candidates are described by."""
    return Mapped(
        anomaly=anomaly,
        image_hu=denormalise(patch.image, plans.preprocessing.window_hu),
        healthy_hu=healthy_hu,
        distance_mm=patch.distance_mm,
        covered=patch.covered,
        spacing_mm=patch.grid.spacing_mm,
    )


def features_on_own_grid(regions: Sequence[Found], scene: Mapped) -> Floats:
    """`[N, F]`: the features of regions that were found on the very grid of the scene."""
    return _stacked([candidate_features(_whole(r.component, scene.covered.shape), scene) for r in regions])


def features_on_patches(
    regions: Sequence[Found],
    grid: Grid,
    patches: Sequence[tuple[Grid, Mapped]],
    further: Sequence[tuple[Grid, Mapped]] = (),
) -> Floats:
    """`[N, F]`: the features of regions on `grid`, each on the patch that holds the most of it.

    Patches further out, where the organ is not the organ alone, count only for what lies in none of the others. Every
    region must meet a patch, as those of composed maps do.
    """
    rows = []
    for region in regions:
        for group in (patches, further):
            masks = [component_on_grid(region.component, grid, patch_grid) for patch_grid, _ in group]
            best = int(np.argmax([np.count_nonzero(mask) for mask in masks]))
            if masks[best].any():
                rows.append(candidate_features(masks[best], group[best][1]))
                break
    return _stacked(rows)


def component_on_grid(component: Component, source: Grid, target: Grid) -> BoolArray:
    """The voxels of `target` whose centre lies in the component; of one between all centres, those nearest to it."""
    inner = Volume(component.mask[None].astype(np.uint8), source.crop(component.box))
    mask = np.asarray(sample_labels_on_grid(inner, target)[0] > 0)
    if not mask.any():
        positions = target.to_index(source.to_world(component.voxel_indices().astype(float)))
        last = np.asarray(target.shape) - 1
        inside = ((positions >= -0.5) & (positions <= last + 0.5)).all(axis=1)
        mask[tuple(np.clip(np.rint(positions[inside]).astype(int), 0, last).T)] = True
    return mask


def scored(regions: Sequence[Found], scores: Floats, score_threshold: float) -> list[Found]:
    """The regions whose score is above the threshold, the score in place of that of the map, best first."""
    kept = [
        replace(region, candidate=replace(region.candidate, score=float(score)))
        for region, score in zip(regions, scores, strict=True)
        if score > score_threshold
    ]
    return sorted(kept, key=lambda region: -region.candidate.score)


def reduce_with(
    reducers: Sequence[Reducer],
    score_threshold: float,
    patches: Sequence[tuple[Grid, Mapped]],
    further: Sequence[tuple[Grid, Mapped]] = (),
) -> Reduce:
    """Keeps the regions whose mean probability over the reducers exceeds the threshold; patches as above."""

    def reduce(regions: Sequence[Found], grid: Grid) -> list[Found]:
        scores = mean_probabilities(reducers, features_on_patches(regions, grid, patches, further))
        return scored(regions, scores, score_threshold)

    return reduce


def mean_probabilities(reducers: Sequence[Reducer], features: Floats) -> Floats:
    """`[N]`: mean over the reducers of several folds."""
    return np.mean([probabilities(reducer, features) for reducer in reducers], axis=0)


def _whole(component: Component, shape: tuple[int, ...]) -> BoolArray:
    mask = np.zeros(shape, dtype=bool)
    mask[component.box.slices] = component.mask
    return mask


def _stacked(rows: list[Floats]) -> Floats:
    return np.stack(rows) if rows else np.zeros((0, len(FEATURES)))
