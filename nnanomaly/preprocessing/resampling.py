"""Values of a volume at the voxel centres of another grid, and the way back.

Only the region that the target grid needs is touched. Where the axes of both grids are parallel (in any order and
direction) interpolation is separable: the spline along each axis is a small dense matrix, applied as a matrix
product. It equals `scipy.ndimage` with `mode="nearest"`, of which the matrices are made. Oblique grids take
`scipy.ndimage.affine_transform` on the cropped region.

Antialiasing smooths each source axis with a Gaussian of `(ratio - 1) / 2` voxels before it is sampled, `ratio` being
target over source spacing along that axis, where it exceeds 1; so much smoothing is customary before decimation.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnanomaly.arrays import FloatArray
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.volume import Box, Grid, Shape, Volume

PARALLEL_TOLERANCE = 1e-4
_FACE_TOLERANCE = 1e-6
_MARGIN = {0: 1, 1: 1, 2: 10, 3: 13, 4: 16, 5: 20}  # voxels after which a sample's share in a spline is below 1e-7
_GAUSSIAN_WIDTHS = 4.0

Coverage = NDArray[np.bool_]


def sample_on_grid(
    volume: Volume, grid: Grid, *, order: int, antialiasing: bool, fill: float
) -> tuple[FloatArray, Coverage]:
    """Interpolate a volume at the voxel centres of `grid`.

    Returns float32 `[C, *grid.shape]` and, `[*grid.shape]`, where a centre lies within the outer faces of the
    volume; elsewhere the value is `fill`. In the outermost half voxel the border value continues. `order` is that
    of the interpolating spline: 0 (nearest), 1 (linear), 3 (cubic) or another up to 5; else `ConfigurationError`.
    """
    region = _plan(volume.grid, grid, order=order, antialiasing=antialiasing)
    source = volume.array[(slice(None), *region.box.slices)].astype(np.float32, copy=False)
    axes = _parallel_axes(volume.grid, grid)
    values = _sample_oblique(source, region) if axes is None else _sample_separably(source, region, axes)
    covered = _coverage(volume.grid, region, axes)
    if not covered.all():
        values = np.where(covered, values, np.float32(fill))
    return values, covered


def sample_labels_on_grid(labels: Volume, grid: Grid) -> NDArray[np.generic]:
    """Labels `[C, *grid.shape]` of the nearest voxels, in the type of the input; 0 outside the volume."""
    region = _plan(labels.grid, grid, order=0, antialiasing=False)
    source = labels.array[(slice(None), *region.box.slices)]
    axes = _parallel_axes(labels.grid, grid)
    if axes is None:
        sampled = [_transform(channel, region, source.dtype) for channel in source]
        values = np.stack(sampled)
    else:
        positions = [_axis_positions(region, source_axis, axes) for source_axis in range(3)]
        indices = [np.floor(p + 0.5 + _FACE_TOLERANCE).astype(int) for p in positions]  # all ties upwards, as in scipy
        nearest = [np.clip(index, 0, size - 1) for index, size in zip(indices, region.box.shape, strict=True)]
        values = source[(slice(None), *np.ix_(*nearest))].transpose(0, *(axes[t] + 1 for t in range(3)))
    zero = np.zeros((), dtype=source.dtype)
    return np.where(_coverage(labels.grid, region, axes), values, zero)


def sample_mask_on_grid(mask: Volume, grid: Grid) -> Coverage:
    """A mask `[C, *grid.shape]`: true where the linearly interpolated mask is at least one half.

    Smoother than the nearest voxel where a mask of thick voxels meets a fine grid. False outside the volume.
    """
    values, _ = sample_on_grid(mask, grid, order=1, antialiasing=False, fill=0.0)
    return values >= 0.5 - _FACE_TOLERANCE


def paste_onto_grid(
    array: NDArray[np.generic], patch_grid: Grid, target_grid: Grid, *, order: int = 1
) -> tuple[Box, FloatArray, Coverage]:
    """Bring a patch `[Z, Y, X]` back onto the voxels of a scan.

    Returns the smallest box of `target_grid` that holds all voxels whose centres lie within the outer faces of the
    patch, the interpolated values there (float32, 0 where not covered), and which voxels those are. A patch beside
    the target gives an empty box.
    """
    corners = target_grid.to_index(patch_grid.corners_mm())
    size = np.asarray(target_grid.shape)
    start = np.clip(np.ceil(corners.min(axis=0) - _FACE_TOLERANCE), 0, size).astype(int)
    stop = np.clip(np.floor(corners.max(axis=0) + _FACE_TOLERANCE) + 1, start, size).astype(int)
    box = Box(_shape(start), _shape(stop))
    if 0 in box.shape:
        return box, np.zeros(box.shape, np.float32), np.zeros(box.shape, np.bool_)
    patch = Volume(array[None], patch_grid)
    values, covered = sample_on_grid(patch, target_grid.crop(box), order=order, antialiasing=False, fill=0.0)
    return box, values[0], covered


@dataclass(frozen=True, slots=True, kw_only=True)
class _Region:
    """What of the source a target grid needs, and how target indices map into it."""

    box: Box
    """Part of the source."""
    matrix: NDArray[np.float64]
    """Source index = matrix @ target index + offset; `[3, 3]`."""
    offset: NDArray[np.float64]
    """In voxels of the box."""
    shape: Shape
    """Voxels of the target."""
    sigma: NDArray[np.float64]
    """Standard deviation of the antialiasing filter along each source axis, in voxels."""
    order: int
    """Order of the spline."""


def _plan(source: Grid, target: Grid, *, order: int, antialiasing: bool) -> _Region:
    if order not in _MARGIN:
        raise ConfigurationError("CFG-PLAN", f"the interpolation order is {order}, but must lie in 0..{max(_MARGIN)}")
    mapping = np.asarray(np.linalg.solve(source.affine, target.affine), dtype=np.float64)
    matrix, offset = mapping[:3, :3], mapping[:3, 3]
    directions = np.asarray(source.direction).T @ np.asarray(target.direction)
    spacing = np.sqrt(np.square(directions * target.spacing_mm).sum(axis=1))  # of the target, along the source axes
    sigma = np.maximum(0, (spacing / source.spacing_mm - 1) / 2) if antialiasing else np.zeros(3)
    margin = _MARGIN[order] + np.ceil(_GAUSSIAN_WIDTHS * sigma)
    ends = np.array(np.meshgrid(*((0, size - 1) for size in target.shape), indexing="ij")).reshape(3, 8)
    needed = matrix @ ends + offset[:, None]
    size = np.asarray(source.shape)
    start = np.clip(np.floor(needed.min(axis=1)) - margin, 0, size - 1).astype(int)
    stop = np.clip(np.ceil(needed.max(axis=1)) + margin + 1, start + 1, size).astype(int)
    box = Box(_shape(start), _shape(stop))
    return _Region(box=box, matrix=matrix, offset=offset - start, shape=target.shape, sigma=sigma, order=order)


def _parallel_axes(source: Grid, target: Grid) -> Shape | None:
    """Source axis of each target axis, or None for grids that are oblique to each other."""
    cosines = np.asarray(source.direction).T @ np.asarray(target.direction)
    permutation = np.abs(cosines) > 0.5
    if np.abs(np.abs(cosines) - permutation).max() > PARALLEL_TOLERANCE:
        return None
    return _shape(np.argmax(permutation, axis=0))


def _axis_positions(region: _Region, source_axis: int, axes: Shape) -> NDArray[np.float64]:
    """Positions along a source axis, for the voxels of the target axis parallel to it.

    The tiny influence of the other two axes is taken at the middle of the target, so that it vanishes there.
    """
    target_axis = axes.index(source_axis)
    middle = (np.asarray(region.shape) - 1) / 2
    middle[target_axis] = 0
    start = region.offset[source_axis] + region.matrix[source_axis] @ middle
    return np.asarray(start + region.matrix[source_axis, target_axis] * np.arange(region.shape[target_axis]))


def _interpolation_matrix(positions: NDArray[np.float64], size: int, *, order: int, sigma: float) -> FloatArray:
    """`[len(positions), size]`: its product with samples is their (smoothed) spline at the positions."""
    samples = np.eye(size)
    if sigma > 0:
        samples = ndimage.gaussian_filter1d(samples, sigma, axis=1, mode="nearest", truncate=_GAUSSIAN_WIDTHS)
    columns = [ndimage.map_coordinates(row, [positions], order=order, mode="nearest") for row in samples]
    return np.stack(columns, axis=1).astype(np.float32)


def _sample_separably(source: FloatArray, region: _Region, axes: Shape) -> FloatArray:
    matrices = [
        _interpolation_matrix(
            _axis_positions(region, axis, axes),
            source.shape[axis + 1],
            order=region.order,
            sigma=float(region.sigma[axis]),
        )
        for axis in range(3)
    ]
    values = source @ matrices[2].T  # the contiguous axis first: it reads the crop in place
    values = matrices[1] @ values
    num_channels, num_z = values.shape[:2]
    values = (matrices[0] @ values.reshape(num_channels, num_z, -1)).reshape(num_channels, -1, *values.shape[2:])
    return np.ascontiguousarray(values.transpose(0, *(axis + 1 for axis in axes)))


def _sample_oblique(source: FloatArray, region: _Region) -> FloatArray:
    if region.sigma.any():
        sigma = (0.0, *region.sigma)
        source = ndimage.gaussian_filter(source, sigma, mode="nearest", truncate=_GAUSSIAN_WIDTHS)
    return np.stack([_transform(channel, region, np.dtype(np.float32)) for channel in source])


def _transform(channel: NDArray[np.generic], region: _Region, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    transformed: NDArray[np.generic] = ndimage.affine_transform(
        channel, region.matrix, region.offset, region.shape, dtype, region.order, "nearest"
    )
    return transformed


def _coverage(source: Grid, region: _Region, axes: Shape | None) -> Coverage:
    """Where the voxel centres of the target lie within the outer faces of the source."""
    covered = np.ones(region.shape, np.bool_)
    indices = np.ogrid[tuple(slice(size) for size in region.shape)]
    for source_axis, size in enumerate(source.shape):
        if axes is None:
            position = region.offset[source_axis] + sum(region.matrix[source_axis, t] * indices[t] for t in range(3))
        else:
            along = axes.index(source_axis)
            position = _axis_positions(region, source_axis, axes).reshape(indices[along].shape)
        position = position + region.box.start[source_axis]
        covered &= (position >= -0.5 - _FACE_TOLERANCE) & (position <= size - 0.5 + _FACE_TOLERANCE)
    return covered


def _shape(values: NDArray[np.generic]) -> Shape:
    return int(values[0]), int(values[1]), int(values[2])
