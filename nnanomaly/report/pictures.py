"""Pictures of one organ: three planes below each other, as arrays `[height, width, 3]` of bytes, and as PNG.

Arrays are `[Z, Y, X]` on a canonical grid (see `orientation`). As radiologists are used to, the patient's right is on
the left, anterior and superior are up; in the sagittal plane anterior is on the left.
"""

import base64
import io
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.image import imsave
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries
from skimage.transform import resize

from nnanomaly.report.embedding import OrganVolumes
from nnanomaly.report.findings import KINDS
from nnanomaly.volume import Triple

Array = NDArray[np.generic]
Picture = NDArray[np.uint8]
Voxel = tuple[int, int, int]
WINDOW_HU = (-160.0, 240.0)
"""Soft tissue: level 40, width 400."""
RESIDUAL_HU = 150.0
"""Residuals of that size have the full colour."""
LONGEST_SIDE = 200
GAP = 4
MAP_OPACITY = 0.6


def draw_organ(
    volumes: OrganVolumes, spacing_mm: Triple, at: Voxel, *, map_range: tuple[float, float]
) -> dict[str, str]:
    """PNG pictures of the three planes through a voxel, by name, as base64 text.

    `map_range`: values of the anomaly map that begin to be shown and that have the full colour.
    """

    def planes(array: Array, *, order: int = 1) -> list[Array]:
        return [
            _scaled(plane, size, order)
            for plane, size in zip(cut(array, at), plane_sizes(array, spacing_mm), strict=True)
        ]

    image = [window(plane) for plane in planes(volumes.image)]
    difference = volumes.image.astype(np.float32) - volumes.reconstruction.astype(np.float32)
    heat = [overlay_map(gray, plane, map_range) for gray, plane in zip(image, planes(volumes.anomaly), strict=True)]
    marked = [outline(gray, labels) for gray, labels in zip(image, planes(volumes.candidates, order=0), strict=True)]
    if volumes.reference is not None:
        drawn = planes(volumes.reference, order=0)
        marked = [outline(picture, labels) for picture, labels in zip(marked, drawn, strict=True)]
    roundtrip = {}
    if volumes.autoencoded is not None:
        roundtrip = {"autoencoded": [window(plane) for plane in planes(volumes.autoencoded)]}
    columns = {
        "image": image,
        **roundtrip,
        "reconstruction": [window(plane) for plane in planes(volumes.reconstruction)],
        "residual": [signed(plane) for plane in planes(difference)],
        "anomaly": heat,
        "findings": marked,
    }
    return {name: encode_png(stack(pictures)) for name, pictures in columns.items()}


def cut(array: Array, at: Voxel) -> tuple[Array, Array, Array]:
    """Axial, coronal and sagittal plane `[rows, columns]` through a voxel, superior up."""
    k, j, i = at
    return array[k], array[::-1, j], array[::-1, :, i]


def plane_sizes(array: Array, spacing_mm: Triple) -> list[tuple[int, int]]:
    """Height and width in square pixels of the three planes; the longest side of all gets `LONGEST_SIDE` pixels."""
    z, y, x = np.asarray(array.shape) * np.asarray(spacing_mm)
    pixels = LONGEST_SIDE / max(z, y, x)
    extents = ((y, x), (z, x), (z, y))
    return [(max(1, round(height * pixels)), max(1, round(width * pixels))) for height, width in extents]


def window(plane: Array) -> Picture:
    """HU as grey."""
    low, high = WINDOW_HU
    return _gray((np.asarray(plane, dtype=np.float32) - low) / (high - low))


def signed(plane: Array) -> Picture:
    """Residual in HU: blue where the image is darker than the reconstruction, red where it is brighter."""
    scaled = np.asarray(plane, dtype=np.float32) / (2 * RESIDUAL_HU) + 0.5
    return _bytes(colormaps["RdBu_r"](np.clip(scaled, 0, 1))[..., :3])


def overlay_map(picture: Picture, plane: Array, map_range: tuple[float, float]) -> Picture:
    """The anomaly map in colours over a picture; what lies under the range stays as it was."""
    low, high = map_range
    strength = np.clip((np.asarray(plane, dtype=np.float32) - low) / max(high - low, 1e-6), 0, 1)
    colors = colormaps["inferno"](0.3 + 0.7 * strength)[..., :3] * 255
    opacity = np.where(strength > 0, MAP_OPACITY, 0.0)[..., None]
    return np.asarray(np.rint(picture * (1 - opacity) + colors * opacity), dtype=np.uint8)


def outline(picture: Picture, labels: Array) -> Picture:
    """The picture with a line around every label, in the colour of its kind."""
    drawn = picture.copy()
    for kind in KINDS:
        mask = labels == kind.code
        if mask.any():
            drawn[find_boundaries(mask, mode="inner")] = kind.color
    return drawn


def stack(pictures: Sequence[Picture]) -> Picture:
    """Pictures below each other, each in the middle of the widest, on black."""
    width = max(picture.shape[1] for picture in pictures)
    height = sum(picture.shape[0] for picture in pictures) + GAP * (len(pictures) - 1)
    whole = np.zeros((height, width, 3), dtype=np.uint8)
    top = 0
    for picture in pictures:
        left = (width - picture.shape[1]) // 2
        whole[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        top += picture.shape[0] + GAP
    return whole


def encode_png(picture: Picture) -> str:
    """Base64 of a PNG file, without the name of the program that made it."""
    buffer = io.BytesIO()
    imsave(buffer, picture, format="png", metadata={"Software": None})  # type: ignore[dict-item]
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _scaled(plane: Array, size: tuple[int, int], order: int) -> Array:
    resized: Callable[..., Array] = resize
    return resized(plane, size, order=order, preserve_range=True, anti_aliasing=False, mode="edge")


def _gray(values: NDArray[np.float32]) -> Picture:
    return _bytes(np.repeat(np.clip(values, 0, 1)[..., None], 3, axis=-1))


def _bytes(values: Array) -> Picture:
    return np.asarray(np.rint(np.asarray(values) * 255), dtype=np.uint8)
