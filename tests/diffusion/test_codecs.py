"""Codecs: round trips, the Haar transform written out, and statistics against numbers made by hand."""

import math

import pytest
import torch

from nnanomaly.diffusion.codecs import (
    Codec,
    HaarCodec,
    IdentityCodec,
    RangeCodec,
    StandardisedCodec,
    fit_channel_statistics,
    haar,
    inverse_haar,
)

GENERATOR = torch.Generator().manual_seed(0)
IMAGE = torch.randn(2, 3, 4, 6, 8, generator=GENERATOR)


@pytest.mark.parametrize(
    "codec",
    [
        IdentityCodec(),
        HaarCodec(),
        RangeCodec(to_latent=lambda x: x, from_latent=lambda z: z, low=-3.0, high=1.0),
        StandardisedCodec(
            to_latent=HaarCodec().encode, from_latent=HaarCodec().decode, mean=torch.ones(24), std=torch.full((24,), 2)
        ),
    ],
)
def test_decode_undoes_encode(codec: Codec) -> None:
    torch.testing.assert_close(codec.decode(codec.encode(IMAGE)), IMAGE, atol=1e-6, rtol=1e-6)


def test_haar_of_one_block_written_out() -> None:
    x = torch.tensor([[[[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 16.0]]]]])  # z, y, x
    expected = [
        1 + 2 + 3 + 4 + 5 + 6 + 7 + 16,  # low everywhere
        1 - 2 + 3 - 4 + 5 - 6 + 7 - 16,  # high along x
        1 + 2 - 3 - 4 + 5 + 6 - 7 - 16,  # high along y
        1 - 2 - 3 + 4 + 5 - 6 - 7 + 16,  # y and x
        1 + 2 + 3 + 4 - 5 - 6 - 7 - 16,  # high along z
        1 - 2 + 3 - 4 - 5 + 6 - 7 + 16,  # z and x
        1 + 2 - 3 - 4 - 5 - 6 + 7 + 16,  # z and y
        1 - 2 - 3 + 4 - 5 + 6 + 7 - 16,  # all
    ]
    bands = haar(x)
    assert bands.shape == (1, 8, 1, 1, 1)
    torch.testing.assert_close(bands.flatten(), torch.tensor(expected) / math.sqrt(8))


def test_haar_is_orthonormal() -> None:
    basis = torch.eye(2 * 4 * 2).reshape(16, 1, 2, 4, 2)
    matrix = haar(basis).reshape(16, 16)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(16), atol=1e-6, rtol=0)


def test_haar_keeps_the_channels_of_each_input_channel_together() -> None:
    torch.testing.assert_close(haar(IMAGE)[:, 8:16], haar(IMAGE[:, 1:2]))


def test_inverse_haar_inverts() -> None:
    torch.testing.assert_close(inverse_haar(haar(IMAGE)), IMAGE, atol=1e-6, rtol=1e-6)


def test_haar_equals_pywavelets() -> None:
    pywt = pytest.importorskip("pywt")
    image = IMAGE.double()
    theirs = pywt.dwtn(image.numpy(), "haar", axes=(2, 3, 4))
    for band, name in enumerate(f"{z}{y}{x}" for z in "ad" for y in "ad" for x in "ad"):
        torch.testing.assert_close(haar(image)[:, band::8], torch.from_numpy(theirs[name]), atol=1e-6, rtol=0)


def test_the_low_band_of_the_haar_codec_is_the_mean_of_the_block() -> None:
    z = HaarCodec().encode(IMAGE)
    torch.testing.assert_close(z[:, ::8], torch.nn.functional.avg_pool3d(IMAGE, 2))
    assert float(HaarCodec().encode(torch.ones(1, 1, 2, 2, 2))[0, 0]) == pytest.approx(1.0)


def test_white_noise_stays_white_under_haar() -> None:
    noise = torch.randn(1, 1, 64, 64, 64, generator=torch.Generator().manual_seed(1))
    bands = haar(noise).flatten(2)[0]
    torch.testing.assert_close(torch.cov(bands), torch.eye(8), atol=0.03, rtol=0)


def test_odd_extents_are_refused() -> None:
    with pytest.raises(ValueError, match=r"even extents, got \(4, 3, 2\)"):
        haar(torch.zeros(1, 1, 4, 3, 2))


def test_standardised_latents_have_unit_variance_per_channel() -> None:
    scale = torch.tensor([0.04, 1.0, 30.0]).reshape(1, 3, 1, 1, 1)
    latents = [scale * torch.randn(4, 3, 8, 8, 8, generator=torch.Generator().manual_seed(i)) + 5 for i in range(5)]
    mean, std = fit_channel_statistics(latents)
    codec = StandardisedCodec(to_latent=lambda x: x, from_latent=lambda z: z, mean=mean, std=std)
    encoded = torch.cat([codec.encode(z) for z in latents])
    torch.testing.assert_close(encoded.std(dim=(0, 2, 3, 4)), torch.ones(3), atol=0.02, rtol=0)
    torch.testing.assert_close(encoded.mean(dim=(0, 2, 3, 4)), torch.zeros(3), atol=0.02, rtol=0)
    assert encoded.dtype == torch.float32
    torch.testing.assert_close(codec.decode(codec.encode(latents[0])), latents[0], atol=1e-5, rtol=1e-6)


def test_channel_statistics_by_hand_whatever_the_batches() -> None:
    values = torch.tensor([[1.0, 10.0], [2.0, 10.0], [6.0, 40.0]]).reshape(3, 2, 1, 1, 1)
    for batches in ([values], [values[:1], values[1:]], [v[None] for v in values]):
        mean, std = fit_channel_statistics(batches)
        assert mean.tolist() == pytest.approx([3.0, 20.0])
        assert std.tolist() == pytest.approx([math.sqrt(14 / 3), math.sqrt(200)])


def test_channel_statistics_do_not_drown_in_a_large_mean() -> None:
    small = torch.tensor([-1e-3, 1e-3] * 4).reshape(1, 1, 2, 2, 2)
    # float16 latents of a huge offset would round; in float64 the spread survives an offset of 1e6.
    _, std = fit_channel_statistics([small.double() + 1e6] * 3)
    assert float(std) == pytest.approx(1e-3, rel=1e-6)


def test_range_codec_maps_the_codebook_to_minus_1_and_1() -> None:
    codec = RangeCodec(to_latent=lambda x: x, from_latent=lambda z: z, low=-4.0, high=2.0)
    z = torch.tensor([-4.0, -1.0, 2.0, 5.0]).reshape(1, 1, 1, 1, 4)
    assert codec.encode(z).flatten().tolist() == [-1.0, 0.0, 1.0, 2.0]
    assert torch.equal(codec.decode(codec.encode(z)), z)


def test_gaussian_codes_scaled_by_their_range_have_the_small_variance_of_method() -> None:
    codes = torch.randn(16384, 8, generator=torch.Generator().manual_seed(0))
    codec = RangeCodec(to_latent=lambda x: x, from_latent=lambda z: z, low=float(codes.min()), high=float(codes.max()))
    assert float(codec.encode(codes).std()) == pytest.approx(0.224, abs=0.015)


def test_impossible_constants_are_refused() -> None:
    with pytest.raises(ValueError, match="low must be below high"):
        RangeCodec(to_latent=lambda x: x, from_latent=lambda z: z, low=1.0, high=1.0)
    with pytest.raises(ValueError, match="std must be positive"):
        StandardisedCodec(
            to_latent=lambda x: x, from_latent=lambda z: z, mean=torch.zeros(2), std=torch.tensor([1.0, 0.0])
        )
    with pytest.raises(ValueError, match=r"must be \[C\]"):
        StandardisedCodec(to_latent=lambda x: x, from_latent=lambda z: z, mean=torch.zeros(2), std=torch.ones(3))
    with pytest.raises(ValueError, match="no latents"):
        fit_channel_statistics([])
