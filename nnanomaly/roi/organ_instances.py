"""Where an organ lies in the world, from its mask.

A mask may come in pieces (26-connected components). Some are the organ: a large tumour that the segmentation left out
pushes what remains of a kidney centimetres apart. Some are stray voxels in another organ. The box is that of the pieces
that belong to the organ: the largest one; every one that holds `LARGE_SHARE` of the organ, wherever it lies; and every
one of `SMALLEST_ML` or more within `NEAR_MM` of the largest one. It runs along the world axes (z, y, x) in mm between
the outer faces of voxels, whatever the order, direction or tilt of the array's axes.
"""

from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from nnanomaly.volume import Box, Grid, Triple, Volume

SIDES = (("inferior", "superior"), ("anterior", "posterior"), ("right", "left"))
"""Names of the low and high end of every world axis."""
LARGE_SHARE = 0.05
"""Of the whole mask. No error of a segmentation that is worth using is as large as a twentieth of the organ."""
NEAR_MM = 20.0
"""Between voxel centres: about the fat around a kidney. Farther away, a small piece may be another organ."""
SMALLEST_ML = 0.5
"""Volume of a ball of 10 mm. Smaller pieces are specks: left out, they hide no organ; taken in, they move the box."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganInstance:
    """Box and facts of one organ."""

    low_mm: Triple
    """Lowest world position (z, y, x) of the pieces that belong to the organ."""
    high_mm: Triple
    """Highest world position (z, y, x) of the pieces that belong to the organ."""
    volume_ml: float
    """Volume of the pieces that belong to the organ."""
    volume_total_ml: float
    """Volume of the whole mask."""
    num_components: int
    """Number of 26-connected components of the whole mask."""
    touches_border: tuple[str, ...]
    """Sides of the scan that these pieces reach, such as "inferior": the organ may be cut there."""

    @property
    def centre_mm(self) -> Triple:
        """Middle of the box (z, y, x)."""
        z, y, x = ((low + high) / 2 for low, high in zip(self.low_mm, self.high_mm, strict=True))
        return z, y, x

    @property
    def extent_mm(self) -> Triple:
        """Size of the box (z, y, x)."""
        z, y, x = (high - low for low, high in zip(self.low_mm, self.high_mm, strict=True))
        return z, y, x

    @property
    def stray_ml(self) -> float:
        """Volume of the pieces that do not belong to the organ."""
        return self.volume_total_ml - self.volume_ml


def locate_organ(mask: Volume) -> OrganInstance | None:
    """Box and facts of the organ in a mask `[1, Z, Y, X]` (not 0 = organ); None for an empty mask."""
    organ = mask.array[0] != 0
    box = _bounding_box(organ)
    if box is None:
        return None
    components, number = cc3d.connected_components(organ[box.slices], connectivity=26, return_N=True)
    counts = np.bincount(components.ravel())[1:]
    inside, grid = np.argwhere(components), mask.grid.crop(box)
    pieces = _pieces_of_the_organ(inside, components[tuple(inside.T)], counts, grid)
    index = inside[np.isin(components[tuple(inside.T)], pieces)] + np.asarray(box.start)
    low, high = _world_box(index, mask.grid)
    millilitres = mask.grid.voxel_volume_mm3 / 1000
    return OrganInstance(
        low_mm=low,
        high_mm=high,
        volume_ml=float(len(index) * millilitres),
        volume_total_ml=float(counts.sum() * millilitres),
        num_components=int(number),
        touches_border=_touched_sides(index, mask.grid),
    )


def mask_box(mask: Volume) -> Box | None:
    """The smallest box of voxels that holds all of a mask `[1, Z, Y, X]` (not 0 = organ); None for an empty mask."""
    return _bounding_box(mask.array[0] != 0)


def _pieces_of_the_organ(
    index: NDArray[np.int64], label: NDArray[np.integer], counts: NDArray[np.int64], grid: Grid
) -> list[int]:
    """Labels of the components that belong to the organ.

    `index [N, 3]` and `label [N]`: the organ's voxels and their components 1, 2, ... of `counts` voxels each.
    """
    largest = int(counts.argmax()) + 1
    large = counts >= LARGE_SHARE * counts.sum()
    speck = counts * grid.voxel_volume_mm3 / 1000 < SMALLEST_ML
    pieces = [largest, *(int(piece) for piece in np.flatnonzero(large) + 1 if piece != largest)]
    undecided = np.flatnonzero(~large & ~speck) + 1
    if len(undecided):
        tree = cKDTree(grid.to_world(index[label == largest].astype(float)))
        for piece in undecided.tolist():
            distances, _ = tree.query(grid.to_world(index[label == piece].astype(float)))
            if piece != largest and distances.min() <= NEAR_MM:
                pieces.append(piece)
    return pieces


def _bounding_box(organ: NDArray[np.bool_]) -> Box | None:
    """The smallest box that holds the organ; None without organ."""
    planes = np.asarray(organ.any(axis=2))
    if not planes.any():
        return None
    (z0, z1), (y0, y1) = _ends(planes.any(axis=1)), _ends(planes.any(axis=0))
    x0, x1 = _ends(organ[z0:z1, y0:y1].any(axis=(0, 1)))
    return Box((z0, y0, x0), (z1, y1, x1))


def _ends(profile: ArrayLike) -> tuple[int, int]:
    """First and one past the last true entry."""
    true = np.flatnonzero(np.asarray(profile))
    return int(true[0]), int(true[-1]) + 1


def _world_box(index: NDArray[np.int64], grid: Grid) -> tuple[Triple, Triple]:
    """Ends of the box around voxels with the centres `index [N, 3]`.

    On each world axis a voxel reaches sum_k |A_wk| / 2 beyond its centre, with A the grid's matrix: its corners.
    """
    centres = grid.to_world(index.astype(float))
    reach = np.abs(grid.affine[:3, :3]).sum(axis=1) / 2
    low, high = (centres.min(axis=0) - reach).tolist(), (centres.max(axis=0) + reach).tolist()
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def _touched_sides(index: NDArray[np.int64], grid: Grid) -> tuple[str, ...]:
    """World sides of the array's faces that hold one of the voxels, in the order of `SIDES`."""
    touched = set()
    for axis, size in enumerate(grid.shape):
        along = np.asarray(grid.direction)[:, axis]
        world_axis = int(np.abs(along).argmax())
        low_side, high_side = SIDES[world_axis] if along[world_axis] > 0 else SIDES[world_axis][::-1]
        if index[:, axis].min() == 0:
            touched.add(low_side)
        if index[:, axis].max() == size - 1:
            touched.add(high_side)
    return tuple(side for pair in SIDES for side in pair if side in touched)
