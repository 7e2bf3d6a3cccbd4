"""How faithfully a codec shows organs and the lesions in them (METHOD 1.7). Arrays are `[Z, Y, X]` in HU.

A lesion counts by what it changes: the image with it minus the image without it, both before and after the codec. So
neither texture nor the codec's own error at that place is taken for contrast.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from skimage.metrics import structural_similarity

from nnanomaly.arrays import BoolArray, FloatArray
from nnanomaly.diffusion.codecs import Codec
from nnanomaly.networks.losses import haar_split
from nnanomaly.preprocessing.normalization import Window, denormalise, normalise
from nnanomaly.synthesis.lesions import draw_insertions, insert
from nnanomaly.volume import Triple

Autoencode = Callable[[FloatArray], FloatArray]
RING_MM = 4.0
"""Thickness of the surroundings from which a lesion must stand out."""
FAINTEST_HU = 5.0
"""Lesions that the window leaves with less contrast are not counted."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOutOrgan:
    """A patch that took no part in training."""

    image_hu: FloatArray
    """Within the window."""
    organ: BoolArray
    """Its organ."""
    covered: BoolArray
    """Voxels that the scan covers; the others are padding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """Mean figures over some organs; None where nothing could be measured."""

    psnr_db: float
    """Peak signal-to-noise ratio over the covered voxels, the peak being the window."""
    ssim: float
    """Structural similarity over the covered voxels."""
    mae_hu: float | None
    """Mean absolute error in the organ."""
    high_band_ratio: float | None
    """Energy of the Haar high bands of the reconstruction, as a share of that of the image; below 1 is blur."""
    contrast_retention: tuple[float | None, ...]
    """Contrast of an inserted lesion after the codec, as a share of that before, for each diameter."""
    num_trained: int | None = None
    """Iterations that the autoencoder was trained; None where that is not known."""


def autoencoder(codec: Codec, window_hu: Window, device: torch.device) -> Autoencode:
    """`HU [Z, Y, X] -> HU [Z, Y, X]`, through the codec and clipped to the window, as prediction shows images."""

    def autoencode(image_hu: FloatArray) -> FloatArray:
        x = torch.from_numpy(normalise(image_hu, window_hu))[None, None].to(device)
        with torch.no_grad():
            decoded = codec.decode(codec.encode(x)).float().clamp(-1, 1)
        return denormalise(decoded[0, 0].cpu().numpy(), window_hu)

    return autoencode


def measure_fidelity(
    autoencode: Autoencode,
    organs: Sequence[HeldOutOrgan],
    *,
    spacing_mm: Triple,
    window_hu: Window,
    diameters_mm: Sequence[float],
    contrast_hu: float,
    seed: int,
) -> Fidelity:
    """Reconstruct every organ, as it is and with one sphere of each diameter; the spheres follow from the seed.

    Half of the spheres are brighter than their surroundings by `contrast_hu`, the others darker.
    """
    plain = [autoencode(organ.image_hu) for organ in organs]
    figures = [_figures(organ, reconstruction, window_hu) for organ, reconstruction in zip(organs, plain, strict=True)]
    retained = []
    for index, diameter in enumerate(diameters_mm):
        rng = np.random.default_rng((seed, index))
        lesions = draw_insertions(
            len(organs), diameters_mm=[diameter], contrasts_hu=[-contrast_hu, contrast_hu], rng=rng
        )
        shares = []
        for organ, reconstruction, lesion in zip(organs, plain, lesions, strict=True):
            if organ.organ.any():
                inserted = insert(organ.image_hu, organ.organ, lesion, spacing_mm=spacing_mm, rng=rng)
                image = np.where(organ.covered, np.clip(inserted.image_hu, *window_hu), organ.image_hu)
                added, left = image - organ.image_hu, autoencode(image) - reconstruction
                shares.append(contrast_retention(added, left, inserted.mask, spacing_mm=spacing_mm))
        retained.append(_mean(shares))
    return Fidelity(
        psnr_db=float(np.mean([f["psnr_db"] for f in figures])),
        ssim=float(np.mean([f["ssim"] for f in figures])),
        mae_hu=_mean([f["mae_hu"] for f in figures]),
        high_band_ratio=_mean([f["high_band_ratio"] for f in figures]),
        contrast_retention=tuple(retained),
    )


def contrast_retention(
    added_hu: FloatArray, left_hu: FloatArray, mask: BoolArray, *, spacing_mm: Triple
) -> float | None:
    """(contrast in `left_hu`) / (contrast in `added_hu`): mean in the lesion minus mean in a ring of 4 mm around it.

    Both are what the lesion changes, after and before. None when too little contrast was added to measure.
    """
    distance = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    ring = ~mask & (distance <= max(RING_MM, *spacing_mm))
    before, after = (float(change[mask].mean() - change[ring].mean()) for change in (added_hu, left_hu))
    return after / before if abs(before) >= FAINTEST_HU else None


def high_band_energy(image_hu: FloatArray) -> float:
    """Sum of squares of the seven high bands of one level of the Haar transform."""
    return float(sum(band.double().square().sum() for band in haar_split(torch.from_numpy(image_hu)[None, None])[1:]))


def _figures(organ: HeldOutOrgan, reconstruction: FloatArray, window_hu: Window) -> Mapping[str, float | None]:
    image, width = organ.image_hu, window_hu[1] - window_hu[0]
    error = (reconstruction - image).astype(np.float64)
    # The floor of 120 dB keeps a lossless codec finite.
    mean_square = max(float((error[organ.covered] ** 2).mean()), 1e-12 * width**2)
    _, similarity = structural_similarity(image, reconstruction, data_range=width, full=True)
    energy = high_band_energy(image)
    return {
        "psnr_db": float(10 * np.log10(width**2 / mean_square)),
        "ssim": float(similarity[organ.covered].mean()),
        "mae_hu": float(np.abs(error[organ.organ]).mean()) if organ.organ.any() else None,
        "high_band_ratio": high_band_energy(reconstruction) / energy if energy > 0 else None,
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
