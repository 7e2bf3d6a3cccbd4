"""Trying many configurations on one trained fold: every patch is reconstructed once, and all maps are made of that.

First the healthy organs as they are: they give the statistics of the residuals and every threshold. Then the trials,
one after the other, so that the reconstruction and the maps of a single one are in memory.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nnanomaly.dataset.patch_store import StoredPatch
from nnanomaly.evaluation.metrics import case_metrics
from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.calibration import choose_threshold
from nnanomaly.inference.detectors import Detector
from nnanomaly.inference.fold_model import TrainedFold
from nnanomaly.inference.patch_map import (
    PatchArray,
    PatchReconstruction,
    healthy_statistics,
    reconstruct_patch,
    residual_of_patch,
)
from nnanomaly.inference.postprocessing import otsu_threshold
from nnanomaly.plans import InferencePlan, Plans
from nnanomaly.preprocessing.preprocessor import COVERAGE
from nnanomaly.tuning.configurations import Numbered, group_by, map_of, reconstruction_of
from nnanomaly.tuning.map_masks import MaskMemory
from nnanomaly.tuning.selection import Tried
from nnanomaly.tuning.sweep import match_trial
from nnanomaly.tuning.trials import Trial
from nnanomaly.utilities.progress import all_shown
from nnanomaly.volume import Grid

FloatArray = NDArray[np.float32]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A configuration, ready to be applied to maps."""

    number: int
    """Of the configuration."""
    plan: InferencePlan
    """The configuration."""
    threshold: float | None
    """On the map; None = Otsu's, of each map."""
    num_false: int
    """Candidates on the healthy organs."""

    def of(self, anomaly: FloatArray, array: PatchArray) -> float:
        """The threshold of a map."""
        return _otsu(anomaly, array) if self.threshold is None else self.threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class MapMaker:
    """Everything between a reconstruction and a map, and the configurations that work on that map."""

    plan: InferencePlan
    """One of these configurations."""
    detect: Detector
    """Makes the map."""
    statistics: ResidualStatistics
    """Healthy residuals."""
    cuts: tuple[Cut, ...]
    """The configurations."""

    def map_of(self, array: PatchArray, grid: Grid, reconstruction: PatchReconstruction) -> FloatArray:
        """The map of a patch."""
        residual = residual_of_patch(array, grid, reconstruction, self.plan)
        return self.detect(reconstruction, residual, self.statistics)


def try_configurations(
    load: Callable[[Plans], TrainedFold],
    plans: Plans,
    configurations: Sequence[InferencePlan],
    *,
    healthy: Mapping[str, StoredPatch],
    trials: Sequence[Trial],
) -> list[Tried]:
    """What every configuration of the plans finds in the trials and on the healthy organs, in their order.

    `load` loads the fold for plans that name one of them.
    """

    def load_for(plan: InferencePlan) -> TrainedFold:
        return load(replace(plans, inference=plan))

    counts = np.zeros((len(configurations), len(trials), 3), dtype=np.int64)
    num_false = np.zeros(len(configurations), dtype=np.int64)
    for group in group_by(enumerate(configurations), reconstruction_of):
        reconstruct = partial(reconstruct_patch, reconstruct=load_for(group[0][1]).reconstruct, plans=plans)
        seen = {
            name: replace(reconstruct(patch.array, str(patch.metadata["organ"])), samples=())  # they fill the memory
            for name, patch in all_shown(healthy.items(), "healthy organs")
        }
        makers = [_calibrated(load_for, same, healthy, seen) for same in all_shown(group_by(group, map_of), "maps")]
        for cut in (cut for maker in makers for cut in maker.cuts):
            num_false[cut.number] = cut.num_false
        for index, trial in enumerate(all_shown(trials, "trials")):
            reconstruction = reconstruct(trial.array, trial.organ)
            for maker in makers:
                for number, found in _counts(trial, reconstruction, maker):
                    counts[number, index] = found
    organs = _num_organs(healthy)
    return [
        Tried(plan=plan, counts=counts[number], num_false=int(num_false[number]), num_healthy=organs)
        for number, plan in enumerate(configurations)
    ]


def _calibrated(
    load: Callable[[InferencePlan], TrainedFold],
    same_map: Sequence[Numbered],
    healthy: Mapping[str, StoredPatch],
    seen: Mapping[str, PatchReconstruction],
) -> MapMaker:
    """The map that some configurations share, with the threshold of each."""
    plan, organs, memory = same_map[0][1], _num_organs(healthy), MaskMemory()
    residuals = [residual_of_patch(patch.array, patch.grid, seen[name], plan) for name, patch in healthy.items()]
    detect, statistics = load(plan).detect, healthy_statistics(residuals, plan)
    maps = [detect(seen[name], residual, statistics) for name, residual in zip(healthy, residuals, strict=True)]
    with_grids = [(anomaly, patch.grid) for anomaly, patch in zip(maps, healthy.values(), strict=True)]
    cuts = []
    for number, configuration in same_map:
        threshold: float | None
        if configuration.threshold == "otsu":
            threshold = None
            num_false = sum(
                memory.count(anomaly, _otsu(anomaly, patch.array), patch.grid, configuration)
                for anomaly, patch in zip(maps, healthy.values(), strict=True)
            )
        else:
            threshold, rate = choose_threshold(with_grids, organs, configuration, count=memory.count)
            num_false = round(rate * organs)
        cuts.append(Cut(number=number, plan=configuration, threshold=threshold, num_false=num_false))
    return MapMaker(plan=plan, detect=detect, statistics=statistics, cuts=tuple(cuts))


def _counts(
    trial: Trial, reconstruction: PatchReconstruction, maker: MapMaker
) -> Iterable[tuple[int, tuple[int, int, int]]]:
    """(configuration, (found, false, missed)) of all configurations of a map."""
    anomaly = maker.map_of(trial.array, trial.grid, reconstruction)
    memory, known = MaskMemory(), dict[bytes, tuple[int, int, int]]()
    for cut in maker.cuts:
        mask = memory.mask(anomaly, cut.of(anomaly, trial.array), trial.grid, cut.plan)
        content = np.packbits(mask).tobytes()  # many configurations leave the same mask
        if content not in known:
            metrics = case_metrics(trial.name, match_trial(trial, mask))
            known[content] = metrics.tp, metrics.fp, metrics.fn
        yield cut.number, known[content]


def _otsu(anomaly: FloatArray, array: PatchArray) -> float:
    return otsu_threshold(anomaly, np.asarray(array[COVERAGE] > 0.5))


def _num_organs(healthy: Mapping[str, StoredPatch]) -> int:
    return len({(patch.metadata["case"], patch.metadata["organ"]) for patch in healthy.values()})
