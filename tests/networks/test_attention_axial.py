import math

import torch

from nnanomaly.networks.attention_axial import (
    HEAD_CHANNELS,
    HEADS,
    DepthAttention,
    LinearSliceAttention,
    RelativeBias,
    SliceAttention,
    relative_bucket,
    rotate,
)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_buckets_are_exact_near_and_logarithmic_far() -> None:
    distance = torch.tensor([0, -1, -7, -8, -11, -16, -31, -32, -500, 1, 7, 8, 500])
    # 8 + floor(8 ln(d/8)/ln 4): 11 -> 9, 16 -> 12, 31 -> 15; never beyond 15. Positive distances are 16 further on.
    expected = torch.tensor([0, 1, 7, 8, 9, 12, 15, 15, 15, 17, 23, 24, 31])
    assert torch.equal(relative_bucket(distance), expected)


def test_bias_depends_on_the_signed_distance_along_depth_alone() -> None:
    bias = RelativeBias()
    with torch.no_grad():
        bias.table.weight.copy_(torch.arange(32.0)[:, None].expand(32, HEADS))
    expected = torch.tensor([[0.0, 17, 18], [1, 0, 17], [2, 1, 0]])  # rows: query; columns: key
    assert torch.equal(bias(3), expected.expand(HEADS, 3, 3))


def test_rotation_turns_each_pair_by_its_frequency_times_the_position() -> None:
    turned = rotate(torch.tensor([[1.0, 1.0, 0.0, 0.0]] * 3))  # pairs (0, 2) and (1, 3), frequencies 1 and 0.01
    expected = [[math.cos(p), math.cos(p / 100), math.sin(p), math.sin(p / 100)] for p in range(3)]
    torch.testing.assert_close(turned, torch.tensor(expected))


def test_rotated_dot_products_depend_on_the_difference_of_positions_alone() -> None:
    q, k = (rotate(normal(1, 32, seed=seed).expand(6, 32)) for seed in (0, 1))
    scores = q @ k.T
    torch.testing.assert_close(scores[1:, 1:], scores[:-1, :-1], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(scores[0, 0], scores[0, 3], atol=1e-2)


def test_linear_attention_equals_its_formula_written_with_loops() -> None:
    q, k, v = (normal(1, 1, 3, 2, seed=seed) for seed in range(3))
    expected = torch.zeros(3, 2)
    for voxel in range(3):
        weights = q[0, 0, voxel].softmax(0) / math.sqrt(2)
        for other in range(3):
            for channel in range(2):
                share = k[0, 0, other, channel].exp() / k[0, 0, :, channel].exp().sum()
                expected[voxel] += weights[channel] * share * v[0, 0, other]
    torch.testing.assert_close(LinearSliceAttention.attend(q, k, v)[0, 0], expected)


def test_slice_attention_equals_its_formula_written_with_loops() -> None:
    q, k, v = (normal(1, 1, 3, 2, seed=seed) for seed in range(3))
    rows = []
    for voxel in range(3):
        weights = torch.stack([(q[0, 0, voxel] @ k[0, 0, other]) / math.sqrt(2) for other in range(3)]).softmax(0)
        rows.append(weights[0] * v[0, 0, 0] + weights[1] * v[0, 0, 1] + weights[2] * v[0, 0, 2])
    torch.testing.assert_close(SliceAttention.attend(q, k, v)[0, 0], torch.stack(rows))


def changed_voxels(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    return ((before - after).abs().amax(dim=(0, 1)) > 1e-6).nonzero()


def test_attention_in_plane_stays_in_its_slice() -> None:
    torch.manual_seed(0)
    x = normal(1, 4, 3, 2, 2)
    touched = x.clone()
    touched[0, :2, 1, 0, 1] += 3
    for block in (SliceAttention(4), LinearSliceAttention(4)):
        changed = changed_voxels(block(x), block(touched))
        assert changed[:, 0].unique().tolist() == [1]
        assert len(changed) == 4


def test_attention_along_depth_stays_in_its_column() -> None:
    torch.manual_seed(0)
    block, bias = DepthAttention(4), RelativeBias()(3)
    x = normal(1, 4, 3, 2, 2)
    touched = x.clone()
    touched[0, :2, 1, 0, 1] += 3
    assert changed_voxels(block(x, bias), block(touched, bias)).tolist() == [[0, 0, 1], [1, 0, 1], [2, 0, 1]]


def test_depth_attention_with_equal_keys_weighs_by_the_bias() -> None:
    torch.manual_seed(0)
    block = DepthAttention(4)
    inner = HEADS * HEAD_CHANNELS
    with torch.no_grad():
        block.qkv.weight[: 2 * inner] = 0
    x = normal(1, 4, 2, 1, 1)
    bias = torch.tensor([[0.0, math.log(3)], [0.0, 0.0]]).expand(HEADS, 2, 2)  # slice 0 takes 1/4 of itself
    weights = torch.tensor([[0.25, 0.75], [0.5, 0.5]])
    tokens = x[0, :, :, 0, 0].T
    values = block.norm(tokens) @ block.qkv.weight[2 * inner :].T
    expected = tokens + block.out(weights @ values)
    torch.testing.assert_close(block(x, bias)[0, :, :, 0, 0].T, expected)
