"""What noise and guidance do to a lesion and to the organ around it: one picture and one table, from the demo's model.

A lesion is inserted into every healthy validation organ of the phantom, so that the organ without it is known. Each is
reconstructed at every noise level and guidance scale, whatever the AUC of the classifier. Two things are measured:
the share of the lesion's contrast that the reconstruction takes away (1 is wanted), and the mean smoothed difference to
the scan in the organ away from the lesion, in HU (0 is wanted). The picture shows the most conspicuous lesion.

Usage: `python benchmarks/noise_and_guidance.py nnanomaly_demo -o FOLDER`, after `nnanomaly_demo`. Writes
`noise-and-guidance.png` and `.md`. Takes two minutes of one core.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nnanomaly.arrays import FloatArray
from nnanomaly.demo import DATASET
from nnanomaly.device import choose_device
from nnanomaly.distance import signed_distance_mm
from nnanomaly.inference.anomaly_map import absolute_residual
from nnanomaly.inference.calibrate_api import healthy_validation_patches
from nnanomaly.inference.load_fold import load_trained_fold
from nnanomaly.inference.look import reconstructed
from nnanomaly.patch import Patch
from nnanomaly.paths import Paths
from nnanomaly.plans import PLANS_NAMES, Plans, load_plans
from nnanomaly.preprocessing.normalization import denormalise
from nnanomaly.tuning.trials import Trial, inserted_trials

SIGMAS = (0.5, 1.0, 2.0, 4.0)
SCALES = (0.0, 0.02, 0.1)
"""Of the guidance; 0 is none."""
DIAMETERS_MM = (10.0, 20.0, 30.0, 40.0)
AWAY_MM = 8.0
"""The organ counts as away from the lesion from here on."""
WINDOW_HU = (-150.0, 250.0)
SEED = 0


@dataclass(frozen=True, slots=True)
class Effect:
    """What a setting did to one trial, or to several in the mean."""

    taken_away: float
    """Share of the lesion's contrast that the reconstruction removes."""
    changed_hu: float
    """Mean smoothed difference to the scan in the organ away from the lesion."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Known:
    """A trial, and what it was before the lesion."""

    trial: Trial
    """The patch with its lesion."""
    image_hu: FloatArray
    """`[Z, Y, X]`, with the lesion."""
    healthy_hu: FloatArray
    """`[Z, Y, X]`, without it."""


Setting = tuple[float, float]
"""Noise level and guidance scale."""


def main() -> None:
    """Reconstruct, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path, help="folder that nnanomaly_demo wrote")
    parser.add_argument("-o", type=Path, required=True, help="folder for the picture and the table")
    arguments = parser.parse_args()
    root = arguments.demo
    paths = Paths(root / "raw", root / "preprocessed", root / "results")
    plans = load_plans(paths.plans(DATASET, PLANS_NAMES["default"]))
    known = known_trials(paths, plans)
    shown = max(known, key=lambda k: float(np.abs(k.image_hu - k.healthy_hu).sum()))
    effects: dict[Setting, Effect] = {}
    pictures: dict[Setting, tuple[FloatArray, Effect]] = {}
    for setting in ((sigma, scale) for scale in SCALES for sigma in SIGMAS):
        reconstructions = reconstruct(paths, plans, setting, known)
        measured = [effect_of(k, hu, plans) for k, hu in zip(known, reconstructions, strict=True)]
        away, changed = np.mean([(e.taken_away, e.changed_hu) for e in measured], axis=0)
        effects[setting] = Effect(float(away), float(changed))
        place = known.index(shown)
        pictures[setting] = reconstructions[place], measured[place]
    arguments.o.mkdir(parents=True, exist_ok=True)
    (arguments.o / "noise-and-guidance.md").write_text(table_of(effects), encoding="utf-8")
    draw(shown, pictures).savefig(arguments.o / "noise-and-guidance.png", dpi=75)
    print(table_of(effects))


def known_trials(paths: Paths, plans: Plans) -> list[Known]:
    """A lesion in every healthy validation organ, and the organ before."""
    window = plans.preprocessing.window_hu
    patches = healthy_validation_patches(paths.preprocessed(DATASET), plans, 0)
    trials = inserted_trials(patches, window_hu=window, seed=SEED, diameters_mm=DIAMETERS_MM)

    def hu(patch: Patch) -> FloatArray:
        return denormalise(patch.image, window)

    return [Known(trial=t, image_hu=hu(t), healthy_hu=hu(patches[t.name])) for t in trials]


def reconstruct(paths: Paths, plans: Plans, setting: Setting, known: Sequence[Known]) -> list[FloatArray]:
    """Healthy reconstructions `[Z, Y, X]` in HU at a noise level and guidance scale."""
    sigma, scale = setting
    inference = replace(
        plans.inference,
        sigma=sigma,
        guidance="relative" if scale else "none",
        guidance_scale=scale,
        min_classifier_auc=0.0,
    )
    varied = replace(plans, inference=inference)
    trained = load_trained_fold(paths, varied, 0, choose_device("cpu"))
    return [reconstructed(k.trial, trained.reconstruct, varied).healthy_hu for k in known]


def effect_of(known: Known, reconstruction_hu: FloatArray, plans: Plans) -> Effect:
    """What a reconstruction `[Z, Y, X]` in HU did."""
    lesion, spacing = known.trial.lesions, known.trial.grid.spacing_mm
    inserted = known.image_hu - known.healthy_hu
    removed = (known.image_hu - reconstruction_hu)[lesion]
    z, y, x = (plans.inference.smoothing_mm / s for s in spacing)
    away = known.trial.inside & (signed_distance_mm(lesion, spacing) > AWAY_MM)
    residual = absolute_residual(known.image_hu, reconstruction_hu, sigma_voxels=(z, y, x))
    return Effect(float(removed.mean() / inserted[lesion].mean()), float(residual[away].mean()))


def table_of(effects: Mapping[Setting, Effect]) -> str:
    """A row per guidance scale, a column per noise level."""
    lines = ["| guidance | " + " | ".join(f"sigma {sigma:g}" for sigma in SIGMAS) + " |", "| --- " * 5 + "|"]
    for scale in SCALES:
        cells = [f"{effects[s, scale].taken_away:.0%}, {effects[s, scale].changed_hu:.1f} HU" for s in SIGMAS]
        lines.append(f"| {scale or 'off'} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(shown: Known, pictures: Mapping[Setting, tuple[FloatArray, Effect]]) -> Figure:
    """The patch, the organ before, and all reconstructions, in the axial slice through the middle of the lesion."""
    middle = round(float(np.argwhere(shown.trial.lesions)[:, 0].mean()))
    figure = Figure(figsize=(2.2 * (len(SIGMAS) + 1), 2.3 * len(SCALES)), layout="constrained")
    FigureCanvasAgg(figure)
    columns = len(SIGMAS) + 1

    def show(place: int, title: str, image_hu: FloatArray) -> None:
        axes = figure.add_subplot(len(SCALES), columns, place)
        axes.imshow(image_hu[middle], cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1])
        axes.contour(shown.trial.lesions[middle], [0.5], colors="orange", linewidths=0.8)
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()

    show(1, "scan with lesion", shown.image_hu)
    show(columns + 1, "scan before", shown.healthy_hu)
    for row, scale in enumerate(SCALES):
        for column, sigma in enumerate(SIGMAS):
            image, effect = pictures[sigma, scale]
            guided = f"guidance {scale:g}" if scale else "no guidance"
            title = f"sigma {sigma:g}, {guided}\n{effect.taken_away:.0%} taken away, {effect.changed_hu:.0f} HU"
            show(row * columns + column + 2, title, image)
    return figure


if __name__ == "__main__":
    main()
