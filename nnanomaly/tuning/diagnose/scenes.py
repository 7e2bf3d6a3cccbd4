"""Places with known lesions, followed through a trained fold: patches with inserted lesions, scans with drawn ones.

A scene goes the way of a prediction: its patches through the networks, their maps composed on the grid of the lesions,
candidates found there and matched as in the evaluation.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnanomaly.arrays import BoolArray, FloatArray
from nnanomaly.evaluation.lesion_matching import LesionRecord, MatchRule, match_case
from nnanomaly.inference.anomaly_map import organ_gate
from nnanomaly.inference.case_prediction import detect_lesions, reduce_of
from nnanomaly.inference.composition import Composite, compose
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.postprocessing import threshold_mask
from nnanomaly.inference.read import read
from nnanomaly.inference.reduction import Reduce, as_mapped
from nnanomaly.patch import ORGAN, Patch
from nnanomaly.plans import Plans
from nnanomaly.roi.components import Component, find_components
from nnanomaly.stages import HEAD
from nnanomaly.tuning.diagnose.waterfall import SHELL_MM, Criteria, LesionTrace, Views, trace_lesion
from nnanomaly.tuning.trials import Trial
from nnanomaly.volume import Box, Grid, Volume


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """Known lesions and the patches that look at them."""

    name: str
    """Patch or case."""
    patches: Sequence[Patch]
    """At least one."""
    grid: Grid
    """Grid of the lesions."""
    lesions: BoolArray
    """`[Z, Y, X]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneTraces:
    """What became of the lesions of a scene."""

    lesions: list[LesionTrace]
    """Those large enough to count."""
    num_false: int
    """Candidates that match no lesion."""


def scene_of_trial(trial: Trial) -> Scene:
    """A patch with a lesion in it, measured on its own grid."""
    return Scene(name=trial.name, patches=[trial], grid=trial.grid, lesions=trial.lesions)


def trace_scene(scene: Scene, model: Fold, plans: Plans, *, criteria: Criteria) -> SceneTraces:
    """Send the patches of a scene through a fold and follow its lesions."""
    layers = [_layers(patch, model, plans) for patch in scene.patches]
    composite = compose(layers, scene.grid) or _nothing(len(layers[0][1]))
    reduce = None if model.reducer is None else _reduce_of(scene.patches, layers, model, plans)
    mask, _, threshold = detect_lesions(
        composite, scene.grid, plans.inference, model.calibration.threshold, reduce=reduce
    )
    assert threshold is not None, scene.name
    wanted, found = (Volume(array[None], scene.grid) for array in (scene.lesions, mask))
    rule = MatchRule(min_iou=criteria.min_share)
    records = match_case(found, wanted, rule, case=scene.name, patches=[patch.grid for patch in scene.patches])
    views = _views(composite, mask, threshold, plans)
    traces = _trace_lesions(scene, records, composite, views, criteria=criteria, plans=plans)
    return SceneTraces(lesions=traces, num_false=sum(record.kind == "FP" for record in records))


def _layers(patch: Patch, model: Fold, plans: Plans) -> tuple[Grid, FloatArray, BoolArray]:
    """What of a patch is composed, in the order of `_views`: the map first, as the detection wants it."""
    reading = read(patch, model, model.calibration, plans)
    seen, organ = reading.look.reconstruction, np.asarray(patch.array[ORGAN], dtype=np.float32)
    gate = organ_gate(patch.distance_mm, plans.inference.organ_gate_mm)
    layers = (reading.anomaly, seen.image_hu, seen.autoencoded_hu, seen.healthy_hu, gate, organ)
    return patch.grid, np.stack(layers), patch.covered


def _reduce_of(
    patches: Sequence[Patch], layers: Sequence[tuple[Grid, FloatArray, BoolArray]], model: Fold, plans: Plans
) -> Reduce | None:
    """What sorts out the candidates of patches, which their `_layers` describe."""
    described = []
    for patch, (grid, (anomaly, _, _, healthy_hu, _, _), _) in zip(patches, layers, strict=True):
        scene = as_mapped(patch, anomaly=anomaly, healthy_hu=healthy_hu, plans=plans)
        described.append((grid, scene))
    return reduce_of([model], described)


def _nothing(num_layers: int) -> Composite:
    """What patches beside the scan contribute: a voxel that they do not cover."""
    voxel = Box((0, 0, 0), (1, 1, 1))
    return Composite(voxel, np.zeros((num_layers, 1, 1, 1), np.float32), np.zeros((1, 1, 1), dtype=bool))


def _views(composite: Composite, mask: BoolArray, threshold: float, plans: Plans) -> Views:
    anomaly, image, autoencoded, healthy, gate, organ = composite.maps
    return Views(
        image_hu=image,
        autoencoded_hu=autoencoded,
        healthy_hu=healthy,
        reference_hu=autoencoded if plans.inference.residual_of == "autoencoded" else image,
        gate=gate,
        anomaly=anomaly,
        organ=organ > 0.5,
        covered=composite.coverage,
        grown=threshold_mask(anomaly, threshold, plans.inference),
        cleaned=mask[composite.box.slices],
        threshold=threshold,
    )


def _trace_lesions(
    scene: Scene,
    records: Sequence[LesionRecord],
    composite: Composite,
    views: Views,
    *,
    criteria: Criteria,
    plans: Plans,
) -> list[LesionTrace]:
    """Follow every lesion that counts, each in a crop around it."""
    components = find_components(scene.lesions)
    traces = []
    for record in records:
        if record.kind in ("TP", "FN") and record.lesion is not None:
            component = components[record.lesion.id - 1]
            crop = _around(component, composite.box, scene.grid)
            own, others = _own_and_others(component, scene.lesions, composite.box, crop)
            traces.append(
                trace_lesion(
                    record,
                    own,
                    others,
                    _cropped(views, crop),
                    spacing_mm=scene.grid.spacing_mm,
                    criteria=criteria,
                    gated=plans.inference.detector != HEAD,
                )
            )
    return traces


def _around(component: Component, box: Box, grid: Grid) -> tuple[slice, slice, slice]:
    """Slices of the views `[box]` that hold a lesion and its shell; empty for a lesion beside them."""
    reach = np.ceil(SHELL_MM[1] / np.asarray(grid.spacing_mm)).astype(int) + 1
    low = np.clip(np.asarray(component.box.start) - reach - box.start, 0, box.shape)
    high = np.clip(np.asarray(component.box.stop) + reach - box.start, low, box.shape)
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return z, y, x


def _own_and_others(
    component: Component, lesions: BoolArray, box: Box, crop: tuple[slice, slice, slice]
) -> tuple[BoolArray, BoolArray]:
    """Masks of a lesion and of all other ones in a crop of the views."""
    own = np.zeros(lesions.shape, dtype=bool)
    own[component.box.slices] = component.mask
    inner = own[box.slices][crop]
    return inner, lesions[box.slices][crop] & ~inner


def _cropped(views: Views, crop: tuple[slice, slice, slice]) -> Views:
    return Views(
        image_hu=views.image_hu[crop],
        autoencoded_hu=views.autoencoded_hu[crop],
        healthy_hu=views.healthy_hu[crop],
        reference_hu=views.reference_hu[crop],
        gate=views.gate[crop],
        anomaly=views.anomaly[crop],
        organ=views.organ[crop],
        covered=views.covered[crop],
        grown=views.grown[crop],
        cleaned=views.cleaned[crop],
        threshold=views.threshold,
    )
