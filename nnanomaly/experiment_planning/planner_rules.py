"""The rules that turn a fingerprint into sizes: closed formulas without files, networks or torch.

Sizes run along (z, y, x). The chain that must hold is: every side of a patch is divisible by the stride of the
autoencoder times the downsampling of the U-Net that works on its latents.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nnanomaly.experiment_planning.fingerprint import OrganRecord
from nnanomaly.preprocessing.cropping import ROUNDING_MM
from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Shape, Triple

FINEST_SPACING_MM = 1.0
LARGEST_TOKEN_MM = 6.0
SHARE_OF_ORGANS = 0.98
FEWEST_ORGANS = 5
SMALLEST_MULTIPLE = 4  # two levels of Haar bands halve a patch twice
MOST_LEVELS = 3
SMALLEST_FEATURE_MAP = 4
MOST_HEAD_HALVINGS = 4
SMALLEST_PATCH = 8
MOST_ATTENTION_TOKENS = 2304
NUM_CODES = (1024, 16384)
TOKENS_PER_CODE = 4
CLASSIFIER_EPOCHS = 100
FEWEST_CLASSIFIER_ITERATIONS = 1000


def isotropic_spacing_mm(spacings_mm: Sequence[Triple]) -> float:
    """Median in-plane spacing, but no finer than 1 mm, in steps of 0.1 mm.

    The in-plane spacing of a scan is the middle one of its three: slices may be thicker or thinner than that.
    """
    in_plane = np.median(np.sort(np.asarray(spacings_mm), axis=1)[:, 1])
    return max(FINEST_SPACING_MM, round(float(in_plane), 1))


def vq_stride(spacing_mm: float) -> int:
    """Largest power of two up to 8 whose tokens measure at most 6 mm: a lesion should span more than one token."""
    return max((f for f in (1, 2, 4, 8) if f * spacing_mm <= LARGEST_TOKEN_MM), default=1)


def latent_channels(stride: int) -> int:
    """Length of a code: the more voxels it stands for, the more it must hold."""
    return 8 if stride >= 4 else 4


def organs_to_fit(organs: Sequence[OrganRecord]) -> tuple[str, list[OrganRecord]]:
    """What the patch is planned for, in words, and the organs: whole healthy ones if there are enough of them."""
    if not organs:
        raise DataError("DATA-ORGANS", "the fingerprint holds no organ at all. Check the organ masks and plan again.")
    whole = [organ for organ in organs if not organ.touches_border]
    healthy = [organ for organ in whole if organ.label == "healthy"]
    if len(healthy) >= FEWEST_ORGANS:
        return "healthy organs", healthy
    return ("organs", whole) if whole else ("organs, all cut by the border of the scan", list(organs))


def smallest_patch(extents_mm: NDArray[np.float64], *, spacing_mm: float, margin_mm: float, multiple: int) -> Shape:
    """Smallest patch that holds 98 % of the organs, each with its margin on every side, on all axes at once.

    `extents_mm`: `[organs, 3]`. Sides are multiples of `multiple` voxels and at least 8. Every side must hold 98 %
    of the organs on its own, so only the sizes from that quantile upwards need to be tried, jointly.
    """
    lenient = ROUNDING_MM / 2  # less than tiling is, or rounding would cut an organ that just fits into tiles
    voxels = np.ceil((np.asarray(extents_mm) + 2 * margin_mm - lenient) / spacing_mm)
    sizes = (np.ceil(np.maximum(voxels, SMALLEST_PATCH) / multiple) * multiple).astype(int)
    needed = math.ceil(SHARE_OF_ORGANS * len(sizes) - 1e-9)
    candidates = [np.unique(np.sort(column)[needed - 1 :]) for column in sizes.T]
    boxes = np.array(list(itertools.product(*candidates)))
    fitting = np.array([np.all(sizes <= box, axis=1).sum() for box in boxes])
    volumes = boxes.prod(axis=1)
    volumes[fitting < needed] = np.iinfo(volumes.dtype).max
    z, y, x = boxes[np.lexsort((*boxes.T, -fitting, volumes))[0]]
    return int(z), int(y), int(x)


def patch_multiple(stride: int, levels: int) -> int:
    """What every side of a patch must be divisible by: stride of the autoencoder times downsampling of the U-Net."""
    return max(SMALLEST_MULTIPLE, stride << (levels - 1))


def patch_and_levels(extents_mm: NDArray[np.float64], *, spacing_mm: float, margin_mm: float) -> tuple[Shape, int]:
    """Patch and number of U-Net levels: as many, up to 3, as leave 4 voxels on each axis of the coarsest one."""
    stride = vq_stride(spacing_mm)
    for levels in range(MOST_LEVELS, 0, -1):
        multiple = patch_multiple(stride, levels)
        patch = smallest_patch(extents_mm, spacing_mm=spacing_mm, margin_mm=margin_mm, multiple=multiple)
        if min(patch) // (stride * 2 ** (levels - 1)) >= SMALLEST_FEATURE_MAP:
            break
    return patch, levels


def head_levels(patch: Shape) -> int:
    """As many halvings, up to 4, as leave 4 voxels on each axis of the coarsest level; sides may be odd on the way."""
    halvings = math.floor(math.log2(min(patch) / SMALLEST_FEATURE_MAP))
    return 1 + min(MOST_HEAD_HALVINGS, max(halvings, 0))


def attention_levels(latent: Shape, levels: int) -> tuple[int, ...]:
    """The coarsest level, if attention there stays cheap; else none."""
    tokens = math.prod(size // 2 ** (levels - 1) for size in latent)
    return (levels - 1,) if tokens <= MOST_ATTENTION_TOKENS else ()


def num_codes(tokens_per_batch: int) -> int:
    """Power of two nearest to one code per 4 tokens of a batch, within 1024..16384, so that codes stay in use."""
    fewest, most = NUM_CODES
    exponent = round(math.log2(tokens_per_batch / TOKENS_PER_CODE))
    return min(max(1 << max(exponent, 0), fewest), most)


def classifier_iterations(num_healthy: int, num_unhealthy: int, *, batch_size: int) -> int:
    """Batches of 100 epochs, an epoch being twice the smaller class (both classes are drawn equally often)."""
    organs_per_epoch = 2 * min(num_healthy, num_unhealthy)
    return max(FEWEST_CLASSIFIER_ITERATIONS, math.ceil(CLASSIFIER_EPOCHS * organs_per_epoch / batch_size))


def mirrored_organs(organs: Sequence[str]) -> tuple[str, ...]:
    """Right organs of a pair `{name}_left`, `{name}_right`, in the order given."""
    return tuple(name for name in organs if name.endswith("_right") and f"{name.removesuffix('_right')}_left" in organs)
