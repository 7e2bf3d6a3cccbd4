"""A scan in three planes with the outlines and names of its organ masks. Pure: volumes in, a figure out.

Planes are cut along the world axes in equal millimetres, whatever the order, direction or tilt of the stored axes, and
shown as radiologists see them: the patient's right on the left of the picture. The letters at the edges follow from
the geometry in the file alone, so an organ on the wrong side of them is either named wrongly or stored wrongly.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import AbstractPathEffect, withStroke
from numpy.typing import NDArray

from nnanomaly.preprocessing.resampling import sample_labels_on_grid, sample_on_grid
from nnanomaly.volume import Grid, Volume, canonical_grid

MOST_PIXELS = 512
"""Of the longest side of the scan; a longer one is shown coarser."""
FINEST_MM = 1.0
COLORS = ("tab:cyan", "tab:orange", "tab:green", "tab:pink", "tab:olive", "tab:purple", "tab:brown", "tab:blue")
PLANES = (("axial", "A", "P", "R", "L"), ("coronal", "S", "I", "R", "L"), ("sagittal", "S", "I", "A", "P"))
"""Plane across world axis 0 (z), 1 (y), 2 (x), and the letters at its upper, lower, left and right edge."""
LINE_INCHES = 0.22
MOST_LETTERS = 190
"""Of a line below the planes; the log has the whole of it."""
OUTLINE: list[AbstractPathEffect] = [withStroke(linewidth=2, foreground="black")]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OutlinedOrgan:
    """An organ as it is drawn."""

    name: str
    """Name, which is written beside its outline."""
    text: str
    """What the line below the planes says of it."""
    suspicious: bool
    """Whether that line is red."""
    mask: Volume | None
    """`[1, Z, Y, X]`, not 0 = organ, cropped or whole; None or empty = nothing to draw."""


def overlay_figure(
    title: str, image: Volume, organs: Sequence[OutlinedOrgan], *, window_hu: tuple[float, float]
) -> Figure:
    """Three planes of a scan `[1, Z, Y, X]` in HU, each where it cuts most of the organs, and a line per organ."""
    grid = display_grid(image.grid)
    drawn = [(organ, COLORS[k % len(COLORS)]) for k, organ in enumerate(organs)]
    text_height = LINE_INCHES * (len(organs) + 1)
    height = 5.5 + text_height
    below = text_height / height
    figure = Figure(figsize=(15, height), layout=ConstrainedLayoutEngine(rect=(0, below, 1, 1 - below)))
    figure.suptitle(title)
    masks = [organ.mask for organ in organs if organ.mask is not None and organ.mask.array.any()]
    for axis, (index, letters) in enumerate(zip(fullest_planes(masks, grid), PLANES, strict=True)):
        axes = figure.add_subplot(1, 3, axis + 1)
        _draw_plane(axes, image, plane(grid, axis, index), axis, window_hu)
        _draw_letters(axes, letters)
        for organ, color in drawn:
            if organ.mask is not None:
                _draw_outline(
                    axes, _slice(sample_labels_on_grid(organ.mask, plane(grid, axis, index)), axis), organ, color
                )
    for line, (organ, color) in enumerate(reversed(drawn)):
        text = f"{organ.name} ({color.removeprefix('tab:')}): {organ.text}"
        text = textwrap.shorten(text, MOST_LETTERS, placeholder=" ...")
        figure.text(0.02, (line + 0.5) * LINE_INCHES / height, text, color="red" if organ.suspicious else "black")
    return figure


def display_grid(grid: Grid) -> Grid:
    """The canonical grid of equal spacing around another one, of at most `MOST_PIXELS` along each axis."""
    corners = grid.corners_mm()
    low, high = corners.min(axis=0), corners.max(axis=0)
    step = max(FINEST_MM, float((high - low).max()) / MOST_PIXELS)
    z, y, x = (max(2, round(float(extent) / step)) for extent in high - low)
    middle = (low + high) / 2
    return canonical_grid((float(middle[0]), float(middle[1]), float(middle[2])), (z, y, x), (step, step, step))


def plane(grid: Grid, axis: int, index: int) -> Grid:
    """The plane of a canonical grid at a position of one axis."""
    shape, origin = list(grid.shape), list(grid.origin_mm)
    shape[axis] = 1
    origin[axis] += index * grid.spacing_mm[axis]
    return Grid((shape[0], shape[1], shape[2]), grid.spacing_mm, (origin[0], origin[1], origin[2]))


def fullest_planes(masks: Sequence[Volume], grid: Grid) -> list[int]:
    """For each axis of a canonical grid the position at which the masks are largest, each as a share of its largest.

    The middle where there is no mask.
    """
    shares = [np.zeros(size) for size in grid.shape]
    for mask in masks:
        index = np.floor(grid.to_index(mask.grid.to_world(np.argwhere(mask.array[0]).astype(float))) + 0.5).astype(int)
        for axis, size in enumerate(grid.shape):
            areas = np.bincount(np.clip(index[:, axis], 0, size - 1), minlength=size)
            shares[axis] += areas / areas.max()
    return [int(share.argmax()) if share.any() else len(share) // 2 for share in shares]


def _slice(values: NDArray[np.generic], axis: int) -> NDArray[np.generic]:
    """`[1, ...]` on a plane -> the picture, its first row on top."""
    picture = values[0].squeeze(axis)
    return picture if axis == 0 else picture[::-1]  # z runs upwards, y downwards


def _draw_plane(axes: Axes, image: Volume, grid: Grid, axis: int, window_hu: tuple[float, float]) -> None:
    low, high = window_hu
    values, _ = sample_on_grid(image, grid, order=1, antialiasing=False, fill=low)
    axes.imshow(_slice(values, axis), cmap="gray", vmin=low, vmax=high)
    axes.set_title(PLANES[axis][0], fontsize="medium")
    axes.set_axis_off()


def _draw_letters(axes: Axes, letters: tuple[str, ...]) -> None:
    _, top, bottom, left, right = letters
    places = {top: (0.5, 0.98), bottom: (0.5, 0.02), left: (0.02, 0.5), right: (0.98, 0.5)}
    for letter, (x, y) in places.items():
        text = axes.text(
            x, y, letter, transform=axes.transAxes, color="yellow", ha="center", va="center", weight="bold"
        )
        text.set_path_effects(OUTLINE)


def _draw_outline(axes: Axes, mask: NDArray[np.generic], organ: OutlinedOrgan, color: str) -> None:
    """The outline of a mask in a plane, and the organ's name above it; nothing where the plane misses the organ."""
    inside = np.asarray(mask != 0)
    if not inside.any():
        return
    padded = np.pad(inside, 1).astype(float)  # an organ at the edge has an outline there too
    rows, columns = np.arange(padded.shape[0]) - 1, np.arange(padded.shape[1]) - 1
    axes.contour(columns, rows, padded, levels=[0.5], colors=[color], linewidths=1.2)
    at = np.argwhere(inside)
    text = axes.text(at[:, 1].mean(), at[:, 0].min() - 4, organ.name, color=color, ha="center", va="bottom", fontsize=8)
    text.set_path_effects(OUTLINE)
