import math

import pytest
import torch
from torch.nn import functional

from nnanomaly.networks.blocks_time import FiLM, TimeEmbedding, TimeResBlock, VoxelAttention, fourier_features
from nnanomaly.utilities.errors import ConfigurationError


def attention_with(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, head_channels: int) -> VoxelAttention:
    """Attention whose projections are the given matrices and whose output projection is the identity."""
    channels = len(q)
    block = VoxelAttention(channels, head_channels)
    with torch.no_grad():
        block.qkv.weight.copy_(torch.cat([q, k, v]))
        block.qkv.bias.zero_()
        block.out.weight.copy_(torch.eye(channels))
    return block


def test_time_features_are_sines_and_cosines_of_the_stated_frequencies() -> None:
    features = fourier_features(torch.tensor([0.0, 3.0]), 6, process="ddpm")
    frequencies = [1.0, 1e-2, 1e-4]
    expected = [[0, 0, 0, 1, 1, 1], [math.sin(3 * w) for w in frequencies] + [math.cos(3 * w) for w in frequencies]]
    torch.testing.assert_close(features, torch.tensor(expected, dtype=torch.float32))


def test_edm_features_tell_neighbouring_noise_levels_apart() -> None:
    near = fourier_features(torch.tensor([0.10, 0.15]), 32, process="edm")
    assert (near[0] - near[1]).norm() > 0.5


@pytest.mark.parametrize("process", ["ddpm", "edm"])
def test_time_features_stay_float32_when_the_network_is_half_precision(process: str) -> None:
    embedding = TimeEmbedding(8, 16, process=process).to(torch.bfloat16)
    times = torch.tensor([998.0, 999.0])  # one number in bfloat16
    out = embedding(times)
    assert out.dtype == torch.bfloat16
    assert fourier_features(times, 8, process=process).dtype == torch.float32
    assert not torch.equal(out[0], out[1])


def test_time_embedding_refuses_an_odd_width_with_its_value() -> None:
    with pytest.raises(ConfigurationError, match="widths begins with 9"):
        TimeEmbedding(9, 16, process="edm")


def test_film_scales_and_shifts_each_channel() -> None:
    film = FiLM(1, 2)
    with torch.no_grad():
        film.projection.weight.zero_()
        film.projection.bias.copy_(torch.tensor([1.0, -1.0, 5.0, 7.0]))  # scales, shifts
    h = torch.arange(4.0).view(1, 2, 1, 1, 2)  # channel 0: 0, 1; channel 1: 2, 3
    expected = torch.tensor([0 * 2 + 5.0, 1 * 2 + 5.0, 7.0, 7.0]).view(1, 2, 1, 1, 2)
    torch.testing.assert_close(film(h, torch.zeros(1, 1)), expected)


def test_residual_block_starts_as_the_identity() -> None:
    x = torch.randn(2, 8, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(TimeResBlock(8, 8, 16)(x, torch.ones(2, 16)), x)


def test_attention_starts_as_the_identity() -> None:
    x = torch.randn(2, 8, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(VoxelAttention(8, 4)(x), x)


def test_attention_with_equal_keys_adds_the_mean_over_voxels() -> None:
    x = torch.randn(2, 8, 2, 3, 2, generator=torch.Generator().manual_seed(0))
    zero = torch.zeros(8, 8)
    block = attention_with(zero, zero, torch.eye(8), head_channels=4)
    mean = block.norm(x).mean(dim=(2, 3, 4), keepdim=True)
    torch.testing.assert_close(block(x), x + mean)


def test_attention_of_two_voxels_equals_the_softmax_written_out() -> None:
    x = torch.tensor([[1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, 1.0]]).view(1, 4, 1, 1, 2)  # already normalised
    eye = torch.eye(4)
    # Both heads have 2 channels. q_1.k_1 = 2, q_1.k_2 = -2, over sqrt(2): weights sigmoid(+-4/sqrt(2)).
    keep = 1 / (1 + math.exp(-4 / math.sqrt(2)))
    expected = x * (1 + keep - (1 - keep))
    torch.testing.assert_close(attention_with(eye, eye, eye, head_channels=2)(x), expected, atol=1e-4, rtol=0)


def test_attention_moves_with_its_voxels() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(8, 8, generator=generator) for _ in range(3)]
    block = attention_with(*weights, head_channels=4)
    x = torch.randn(1, 8, 2, 3, 2, generator=generator)
    order = torch.randperm(12, generator=generator)

    def shuffled(t: torch.Tensor) -> torch.Tensor:
        return t.flatten(2)[:, :, order].view(t.shape)

    torch.testing.assert_close(block(shuffled(x)), shuffled(block(x)))


def test_attention_heads_do_not_mix() -> None:
    eye = torch.eye(8)
    block = attention_with(eye, eye, eye, head_channels=4)
    x = torch.randn(1, 8, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    tokens = block.norm(x).flatten(2).transpose(1, 2)
    heads = [functional.softmax(t @ t.transpose(1, 2) / 2, dim=-1) @ t for t in tokens.split(4, dim=2)]
    expected = x + torch.cat(heads, dim=2).transpose(1, 2).reshape(x.shape)
    torch.testing.assert_close(block(x), expected)


def test_attention_refuses_heads_that_do_not_fit_with_both_numbers() -> None:
    with pytest.raises(ConfigurationError, match="head_channels is 32, but must divide the width 48"):
        VoxelAttention(48, 32)
