"""progress.png: a panel for every number that a training logs, titled in plain words, above pictures. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

TITLES = {
    "loss": "loss: what is minimised",
    "l1": "mean absolute error",
    "perceptual": "loss of fine details",
    "commitment": "distance of latents from their codes",
    "kl": "loss of the latents' distribution",
    "adversarial": "loss from the discriminators",
    "feature_matching": "loss of the discriminators' features",
    "discriminator": "loss of the discriminators (undecided: 1 each)",
    "perplexity": "codes in use (codebook perplexity)",
    "kl_nats": "information in the latents (nats)",
    "latent_noise": "noise of the latents",
    "psnr_db": "fidelity on held-out patches (PSNR in dB)",
    "accuracy": "share of right answers",
    "cross_entropy": "loss on held-out organs (cross-entropy)",
    "auc": "healthy from unhealthy, held out (mean AUC)",
    "dice": "overlap with inserted lesions (Dice)",
    "dice_held_out": "overlap, kinds never trained on (Dice)",
    "error": "what the best checkpoint minimises",
    "gradient_norm": "norm of the gradient, before clipping",
    "discriminator_gradient_norm": "norm of the discriminators' gradient",
    "iterations_per_second": "throughput: iterations per second, mean so far",
}
"""Panels in their order; the numbers of single noise levels come between them."""
LEVELS = {"loss_level_": "held-out loss at noise level ", "auc_sigma_": "AUC at noise level "}
LAST = ("gradient_norm", "discriminator_gradient_norm", "iterations_per_second")
COLUMNS = 4
WIDE_RANGE = 20.0
"""Largest over smallest value from which an axis is logarithmic."""
DIFFERENCE = "difference"
DIFFERENCE_RANGE = 0.25
"""An eighth of the window, which is 2 wide: 62.5 HU of one of 500 HU."""


def title_of(name: str) -> str:
    """What a logged number is, in plain words; an unknown one keeps its name."""
    for prefix, words in LEVELS.items():
        if name.startswith(prefix):
            return words + name.removeprefix(prefix)
    return TITLES.get(name, name.replace("_", " "))


def in_order(names: set[str]) -> list[str]:
    """Names of panels: losses and figures, single levels and unknown ones, gradients and throughput last."""
    known = [name for name in TITLES if name in names]
    head = [name for name in known if name not in LAST]
    return [*head, *sorted(names - set(TITLES)), *(name for name in known if name in LAST)]


def progress_figure(records: Sequence[Mapping[str, Any]], pictures: Mapping[str, Tensor]) -> Figure:
    """Curves of the records of log.jsonl (training and validation of a name share a panel) above pictures [Y, X]."""
    curves = [record for record in records if record["kind"] in ("train", "validation")]
    names = in_order({key for record in curves for key in record} - {"iteration", "kind"})
    curve_rows = -(-len(names) // COLUMNS)
    rows = curve_rows + -(-len(pictures) // COLUMNS)
    figure = Figure(figsize=(4 * COLUMNS, 3 * max(1, rows)), layout="constrained")
    for position, name in enumerate(names):
        _draw_curves(figure.add_subplot(rows, COLUMNS, position + 1), name, curves)
    for position, (title, picture) in enumerate(pictures.items()):
        draw_picture(figure.add_subplot(rows, COLUMNS, curve_rows * COLUMNS + position + 1), title, picture)
    return figure


def sample_figure(title: str, pictures: Mapping[str, Tensor]) -> Figure:
    """Pictures [Y, X] side by side."""
    figure = Figure(figsize=(4 * len(pictures), 4.5), layout="constrained")
    figure.suptitle(title)
    for position, (name, picture) in enumerate(pictures.items()):
        draw_picture(figure.add_subplot(1, len(pictures), position + 1), name, picture)
    return figure


def draw_picture(axes: Axes, title: str, picture: Tensor) -> None:
    """A slice [Y, X] in [-1, 1] in grey; a difference in blue (darker) and red (brighter)."""
    values = picture.float().cpu().numpy()
    if title == DIFFERENCE:
        axes.imshow(values, cmap="bwr", vmin=-DIFFERENCE_RANGE, vmax=DIFFERENCE_RANGE)
        title = f"reconstruction minus input\n(red: brighter; full colour: 1/{2 / DIFFERENCE_RANGE:g} of the window)"
    else:
        axes.imshow(values, cmap="gray", vmin=-1, vmax=1)
    axes.set_title(title, fontsize="medium")
    axes.set_axis_off()


def as_grey(title: str, picture: Tensor) -> NDArray[np.uint8]:
    """A picture [Y, X] as bytes; of a difference, 0 is mid-grey and `DIFFERENCE_RANGE` is white."""
    largest = DIFFERENCE_RANGE if title == DIFFERENCE else 1.0
    share = (picture.float().cpu().numpy() / largest + 1) / 2
    return (255 * np.clip(share, 0, 1)).round().astype(np.uint8)


def _draw_curves(axes: Axes, name: str, curves: Sequence[Mapping[str, Any]]) -> None:
    drawn: list[float] = []
    for kind, label, style in (("train", "training", "-"), ("validation", "validation", "o-")):
        points = [(record["iteration"], record[name]) for record in curves if record["kind"] == kind and name in record]
        if points:
            axes.plot(*zip(*points, strict=True), style, label=label, markersize=3)
            drawn += [value for _, value in points]
    if min(drawn) > 0 and max(drawn) > WIDE_RANGE * min(drawn):
        axes.set_yscale("log")
    axes.set_title(title_of(name), fontsize="medium")
    axes.set_xlabel("iteration", loc="left")
    # Below the axes it covers no curve.
    axes.legend(loc="upper right", bbox_to_anchor=(1, -0.09), fontsize="small", ncols=2, frameon=False)
