"""Figures of codecs whose error is known: lossless, shifted, halved, blurred, constant."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nnanomaly.diffusion.codecs import HaarCodec, IdentityCodec
from nnanomaly.training.reconstruction_quality import (
    Fidelity,
    HeldOutOrgan,
    autoencoder,
    contrast_retention,
    measure_fidelity,
)

WINDOW = (-200.0, 300.0)
UNIT = (1.0, 1.0, 1.0)
SIZE = 32
POINTS = np.indices((SIZE,) * 3) - (SIZE - 1) / 2
RADII = np.sqrt((POINTS**2).sum(axis=0))


class Decoded:
    """A codec that does something to the image on the way back."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        self.change = change

    def encode(self, x: Tensor) -> Tensor:
        return x

    def decode(self, z: Tensor) -> Tensor:
        return self.change(z)


def blur(factor: int) -> Decoded:
    return Decoded(lambda x: functional.interpolate(functional.avg_pool3d(x, factor), scale_factor=factor))


def organ(seed: int, *, with_mask: bool = True) -> HeldOutOrgan:
    noise = np.random.default_rng(seed).normal(0, 10, (SIZE,) * 3)
    image = np.where(RADII < 13, 130, -60) + noise
    mask = (RADII < 13) & with_mask
    return HeldOutOrgan(image_hu=image.astype(np.float32), organ=mask, covered=np.ones_like(mask))


def fidelity(codec: object, *, organs: list[HeldOutOrgan] | None = None) -> Fidelity:
    return measure_fidelity(
        autoencoder(codec, WINDOW, torch.device("cpu")),
        organs or [organ(seed) for seed in range(2)],
        spacing_mm=UNIT,
        window_hu=WINDOW,
        diameters_mm=(5.0, 10.0, 20.0),
        contrast_hu=60.0,
        seed=0,
    )


@pytest.mark.parametrize("codec", [IdentityCodec(), HaarCodec()], ids=["identity", "haar"])
def test_a_lossless_codec_keeps_everything(codec: object) -> None:
    measured = fidelity(codec)
    assert measured.psnr_db > 100
    assert measured.ssim == pytest.approx(1, abs=1e-6)
    assert measured.mae_hu == pytest.approx(0, abs=1e-3)
    assert measured.high_band_ratio == pytest.approx(1, abs=1e-4)
    assert measured.contrast_retention == pytest.approx((1, 1, 1), abs=1e-4)


def test_a_constant_shift_is_an_error_in_hu_and_takes_no_contrast() -> None:
    measured = fidelity(Decoded(lambda x: x + 0.04))  # 10 HU of a window of 500
    assert measured.mae_hu == pytest.approx(10, abs=1e-2)
    assert measured.psnr_db == pytest.approx(20 * np.log10(500 / 10), abs=0.01)
    assert measured.high_band_ratio == pytest.approx(1, abs=1e-4)
    assert measured.contrast_retention == pytest.approx((1, 1, 1), abs=1e-4)


def test_a_codec_that_halves_the_image_keeps_half_the_contrast_and_a_quarter_of_the_detail() -> None:
    measured = fidelity(Decoded(lambda x: x / 2))
    assert measured.contrast_retention == pytest.approx((0.5, 0.5, 0.5), abs=1e-4)
    assert measured.high_band_ratio == pytest.approx(0.25, abs=1e-4)


def test_a_codec_that_draws_a_mean_organ_keeps_no_lesion_however_close_it_comes() -> None:
    template = torch.from_numpy(np.where(RADII < 13, 0.32, -0.44)[None, None]).float()
    measured = fidelity(Decoded(lambda x: template.expand_as(x)))
    assert measured.psnr_db > 30
    assert measured.mae_hu < 10
    assert measured.contrast_retention == pytest.approx((0, 0, 0), abs=1e-6)
    assert measured.high_band_ratio < 0.9


def test_a_coarser_blur_keeps_less_and_a_larger_lesion_more() -> None:
    fine, coarse = (fidelity(blur(factor)) for factor in (2, 4))
    assert list(fine.contrast_retention) == sorted(fine.contrast_retention)
    assert all(a > b for a, b in zip(fine.contrast_retention, coarse.contrast_retention, strict=True))
    assert fine.psnr_db > coarse.psnr_db
    assert fine.ssim > coarse.ssim
    assert 1 > fine.contrast_retention[2] > 0.6 > coarse.contrast_retention[0]


def test_the_figures_are_the_same_for_the_same_seed() -> None:
    assert fidelity(blur(2)) == fidelity(blur(2))


def test_without_an_organ_only_the_image_is_measured() -> None:
    measured = fidelity(IdentityCodec(), organs=[organ(0, with_mask=False)])
    assert measured.psnr_db > 100
    assert measured.mae_hu is None
    assert measured.contrast_retention == (None, None, None)


def test_padding_counts_for_neither_error_nor_similarity() -> None:
    covered = np.ones((SIZE,) * 3, dtype=bool)
    covered[:8] = False
    image = np.where(covered, organ(0).image_hu, -200).astype(np.float32)
    padded = HeldOutOrgan(image_hu=image, organ=(RADII < 13) & covered, covered=covered)

    def spoil(x: Tensor) -> Tensor:
        x = x.clone()
        x[:, :, :4] = 1.0  # more than half a window of SSIM away from what is covered
        return x

    measured = fidelity(Decoded(spoil), organs=[padded])
    assert measured.psnr_db > 100
    assert measured.ssim > 0.999


def test_contrast_is_what_stands_out_from_the_ring_around() -> None:
    mask = RADII <= 5
    added = np.where(mask, -60, 0).astype(np.float32)
    cases = {"half": (0.5 * added, 0.5), "inverted": (-added, -1.0), "everywhere": (np.full_like(added, -60), 0.0)}
    for left, expected in cases.values():
        assert contrast_retention(added, left, mask, spacing_mm=UNIT) == pytest.approx(expected, abs=1e-6)
    assert contrast_retention(added, added - 30, mask, spacing_mm=UNIT) == pytest.approx(1)
    assert contrast_retention(added / 20, added, mask, spacing_mm=UNIT) is None  # 3 HU are nothing to measure by


def test_a_lesion_that_the_window_hides_is_not_counted() -> None:
    bright = HeldOutOrgan(
        image_hu=np.full((SIZE,) * 3, 300, np.float32), organ=RADII < 13, covered=np.ones((SIZE,) * 3, dtype=bool)
    )
    measured = fidelity(IdentityCodec(), organs=[bright, bright])  # one of two is brighter than white
    assert measured.contrast_retention == pytest.approx((1, 1, 1))
    assert measured.high_band_ratio is None
