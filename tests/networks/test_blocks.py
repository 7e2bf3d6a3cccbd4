import pytest
import torch

from nnanomaly.networks.blocks import ResBlock, group_norm, level_strides, no_norm, published_norm


@pytest.mark.parametrize(
    ("channels", "groups"), [(1, 1), (3, 1), (4, 1), (8, 2), (12, 3), (20, 5), (30, 6), (32, 8), (128, 32), (256, 32)]
)
def test_our_groups_have_at_least_four_channels(channels: int, groups: int) -> None:
    assert group_norm(channels).num_groups == groups


@pytest.mark.parametrize(("channels", "groups"), [(8, 8), (32, 32), (64, 32), (48, 24)])
def test_the_published_norm_has_32_groups_where_that_divides(channels: int, groups: int) -> None:
    assert published_norm(channels).num_groups == groups


def test_our_norm_keeps_intensity_differences_between_channels_which_the_published_one_erases() -> None:
    x = torch.randn(1, 32, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    x = x + torch.arange(32.0).view(1, 32, 1, 1, 1)
    means = {norm: norm(32)(x).mean((0, 2, 3, 4)).abs().max().item() for norm in (group_norm, published_norm)}
    assert means[published_norm] < 1e-5
    assert means[group_norm] > 0.5


def test_residual_block_without_norm_is_linear_in_an_offset_through_its_skip() -> None:
    block = ResBlock(4, norm=no_norm)
    for convolution in (block.conv1, block.conv2):
        torch.nn.init.zeros_(convolution.weight)
        torch.nn.init.constant_(convolution.bias, 0.5)
    x = torch.randn(1, 4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(block(x), x + 0.5)


def test_replicated_padding_leaves_a_constant_volume_constant() -> None:
    torch.manual_seed(0)
    block = ResBlock(4, norm=no_norm, padding_mode="replicate")
    out = block(torch.full((1, 4, 5, 5, 5), 0.7))
    torch.testing.assert_close(out, out[..., :1, :1, :1].expand_as(out))


@pytest.mark.parametrize(
    ("stride", "expected"),
    [
        ((1, 1, 1), []),
        ((2, 2, 2), [(2, 2, 2)]),
        ((2, 4, 4), [(1, 2, 2), (2, 2, 2)]),
        ((1, 2, 8), [(1, 1, 2), (1, 1, 2), (1, 2, 2)]),
    ],
)
def test_thick_slices_are_halved_at_the_coarse_levels(
    stride: tuple[int, int, int], expected: list[tuple[int, int, int]]
) -> None:
    assert level_strides(stride) == expected
