"""Trying many configurations on one trained fold: every patch is reconstructed once, and all maps are made of that.

First the healthy organs as they are: they give the statistics of the residuals and every threshold. Then the trials,
one after the other, so that the reconstruction and the maps of a single one are in memory.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from nnanomaly.arrays import FloatArray
from nnanomaly.evaluation.metrics import case_metrics
from nnanomaly.inference.calibration import HealthyResiduals, choose_threshold
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.look import PatchReconstruction, compared, reconstructed
from nnanomaly.inference.patch_map import healthy_statistics
from nnanomaly.inference.postprocessing import otsu_threshold
from nnanomaly.inference.read import read_look
from nnanomaly.patch import Patch
from nnanomaly.plans import InferencePlan, Plans
from nnanomaly.tuning.best_configuration.configurations import Numbered, group_by, map_of, reconstruction_of
from nnanomaly.tuning.best_configuration.map_masks import MaskMemory
from nnanomaly.tuning.best_configuration.selection import Tried
from nnanomaly.tuning.sweep.outcomes import match_trial
from nnanomaly.tuning.trials import Trial
from nnanomaly.utilities.progress import all_shown

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

    def of(self, anomaly: FloatArray, patch: Patch) -> float:
        """The threshold of the map of a patch."""
        return otsu_threshold(anomaly, patch.covered) if self.threshold is None else self.threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class MapMaker:
    """Everything between a reconstruction and a map, and the configurations that work on that map."""

    plans: Plans
    """With one of these configurations."""
    fold: Fold
    """Makes the map."""
    healthy: HealthyResiduals
    """Healthy residuals."""
    cuts: tuple[Cut, ...]
    """The configurations."""

    def map_of(self, patch: Patch, reconstruction: PatchReconstruction) -> FloatArray:
        """The map of a patch."""
        seen = compared(patch, reconstruction, self.plans.inference)
        return read_look(seen, self.fold, self.healthy, self.plans).anomaly


def try_configurations(
    load: Callable[[Plans], Fold],
    plans: Plans,
    configurations: Sequence[InferencePlan],
    *,
    healthy: Mapping[str, Patch],
    trials: Sequence[Trial],
) -> list[Tried]:
    """What every configuration of the plans finds in the trials and on the healthy organs, in their order.

    `load` loads the fold for plans that name one of them.
    """

    organs = list(healthy.values())
    counts = np.zeros((len(configurations), len(trials), 3), dtype=np.int64)
    num_false = np.zeros(len(configurations), dtype=np.int64)
    for group in group_by(enumerate(configurations), reconstruction_of):
        reconstruct = load(replace(plans, inference=group[0][1])).reconstruct
        seen = [
            replace(reconstructed(patch, reconstruct, plans), samples=())  # they fill the memory
            for patch in all_shown(organs, "healthy organs")
        ]
        makers = [
            _calibrated(load, same, organs, seen, plans=replace(plans, inference=same[0][1]))
            for same in all_shown(group_by(group, map_of), "maps")
        ]
        for cut in (cut for maker in makers for cut in maker.cuts):
            num_false[cut.number] = cut.num_false
        for index, trial in enumerate(all_shown(trials, "trials")):
            reconstruction = reconstructed(trial, reconstruct, plans)
            for maker in makers:
                for number, found in _counts(trial, reconstruction, maker):
                    counts[number, index] = found
    return [
        Tried(plan=plan, counts=counts[number], num_false=int(num_false[number]), num_healthy=_num_organs(organs))
        for number, plan in enumerate(configurations)
    ]


def _calibrated(
    load: Callable[[Plans], Fold],
    same_map: Sequence[Numbered],
    organs: Sequence[Patch],
    seen: Sequence[PatchReconstruction],
    *,
    plans: Plans,
) -> MapMaker:
    """The map that some configurations share (`plans` hold one of them), with the threshold of each."""
    count, memory = _num_organs(organs), MaskMemory()
    looks = [compared(patch, of, plans.inference) for patch, of in zip(organs, seen, strict=True)]
    healthy = HealthyResiduals(healthy_statistics([look.residual for look in looks], plans.inference))
    fold = load(plans)
    maps = [read_look(look, fold, healthy, plans).anomaly for look in looks]
    with_grids = [(anomaly, patch.grid) for anomaly, patch in zip(maps, organs, strict=True)]
    cuts = []
    for number, configuration in same_map:
        threshold: float | None
        if configuration.threshold == "otsu":
            threshold = None
            num_false = sum(
                memory.count(anomaly, otsu_threshold(anomaly, patch.covered), patch.grid, configuration)
                for anomaly, patch in zip(maps, organs, strict=True)
            )
        else:
            threshold, rate = choose_threshold(with_grids, count, configuration, count=memory.count)
            num_false = round(rate * count)
        cuts.append(Cut(number=number, plan=configuration, threshold=threshold, num_false=num_false))
    return MapMaker(plans=plans, fold=fold, healthy=healthy, cuts=tuple(cuts))


def _counts(
    trial: Trial, reconstruction: PatchReconstruction, maker: MapMaker
) -> Iterable[tuple[int, tuple[int, int, int]]]:
    """(configuration, (found, false, missed)) of all configurations of a map."""
    anomaly = maker.map_of(trial, reconstruction)
    memory, known = MaskMemory(), dict[bytes, tuple[int, int, int]]()
    for cut in maker.cuts:
        mask = memory.mask(anomaly, cut.of(anomaly, trial), trial.grid, cut.plan)
        content = np.packbits(mask).tobytes()  # many configurations leave the same mask
        if content not in known:
            metrics = case_metrics(trial.name, match_trial(trial, mask))
            known[content] = metrics.tp, metrics.fp, metrics.fn
        yield cut.number, known[content]


def _num_organs(patches: Sequence[Patch]) -> int:
    return len({(patch.case, patch.organ) for patch in patches})
