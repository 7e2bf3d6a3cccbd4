"""Volumes as text inside a page: small types, NIfTI, gzip, base64, coarser where they would exceed a limit."""

import base64
import gzip
from collections.abc import Mapping
from dataclasses import dataclass

import nibabel
import numpy as np
from numpy.typing import NDArray

from nnanomaly.imageio.nifti_geometry import ras_affine
from nnanomaly.report.crops import coarse_grid, coarsen, coarsening_steps
from nnanomaly.volume import Grid

Array = NDArray[np.generic]
HU_RANGE = (-1024, 3071)
"""What a CT scanner stores in 12 bits; values beyond are noise or metal and are cut off in the viewer."""
MAP_LEVELS = 255
UNIT_MM = 2
NO_EXTENSION = bytes(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganVolumes:
    """What the viewer shows of one organ; arrays `[Z, Y, X]` on one grid."""

    image: Array
    """CT in HU."""
    reconstruction: Array
    """Healthy reconstruction in HU."""
    autoencoded: Array | None
    """The image after encoding and decoding alone, in HU; None where it is not stored."""
    anomaly: Array
    """Anomaly map; what is negative is shown as 0."""
    candidates: Array
    """Codes of candidates, 0 elsewhere."""
    reference: Array | None
    """Codes of lesions, 0 elsewhere; None without a reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Volumes as base64 text."""

    texts: dict[str, str]
    """Name -> base64 of a gzipped NIfTI file."""
    spacing_mm: tuple[float, float, float]
    """Spacing of the embedded voxels, (z, y, x)."""
    coarsened: bool
    """Whether voxels were joined to stay under the limit."""


def embed_under(volumes: OrganVolumes, grid: Grid, *, max_bytes: int) -> Embedded | None:
    """The finest embedding of at most `max_bytes` characters; None where even the coarsest is larger."""
    for block in coarsening_steps(grid):
        on = coarse_grid(grid, block)
        texts = {name: encode_nifti(array, on) for name, array in _stored(volumes, block).items()}
        if sum(map(len, texts.values())) <= max_bytes:
            return Embedded(texts=texts, spacing_mm=on.spacing_mm, coarsened=block != (1, 1, 1))
    return None


def encode_nifti(array: Array, grid: Grid) -> str:
    """Base64 of a gzipped NIfTI file of `[Z, Y, X]`; floats become 8 bits with a scale, from 0 to the maximum."""
    image = nibabel.Nifti1Image(quantise(array).T, ras_affine(grid))
    image.header["xyzt_units"] = UNIT_MM
    image.header["vox_offset"] = len(image.header.binaryblock) + len(NO_EXTENSION)
    if array.dtype.kind == "f":
        image.header.set_slope_inter(map_step(array), 0)
    # nibabel resets the scale of an image of whole numbers when it writes: header and voxels are put together here.
    header = image.header.binaryblock
    stored = header + NO_EXTENSION + quantise(array).tobytes()
    return base64.b64encode(gzip.compress(stored, compresslevel=6, mtime=0)).decode("ascii")


def quantise(array: Array) -> Array:
    """A float array in steps of `map_step`, as uint8; others as they are."""
    if array.dtype.kind != "f":
        return array
    levels = np.rint(np.asarray(array, dtype=np.float32) / map_step(array))
    return np.clip(levels, 0, MAP_LEVELS).astype(np.uint8)


def map_step(array: Array) -> float:
    """Value of one of the 255 steps of a map from 0 to its maximum."""
    largest = float(np.max(np.asarray(array, dtype=np.float32), initial=0.0))
    return largest / MAP_LEVELS if largest > 0 else 1.0


def _stored(volumes: OrganVolumes, block: tuple[int, int, int]) -> Mapping[str, Array]:
    arrays: dict[str, Array] = {
        "image": _hounsfield(coarsen(volumes.image, block, "mean")),
        "reconstruction": _hounsfield(coarsen(volumes.reconstruction, block, "mean")),
        "anomaly": coarsen(volumes.anomaly.astype(np.float32), block, "max"),
        "candidates": coarsen(volumes.candidates, block, "max"),
    }
    if volumes.autoencoded is not None:
        arrays["autoencoded"] = _hounsfield(coarsen(volumes.autoencoded, block, "mean"))
    if volumes.reference is not None:
        arrays["reference"] = coarsen(volumes.reference, block, "max")
    return arrays


def _hounsfield(array: Array) -> Array:
    return np.clip(np.rint(np.asarray(array, dtype=np.float32)), *HU_RANGE).astype(np.int16)
