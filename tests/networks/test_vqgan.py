import copy

import pytest
import torch
from torch import Tensor, nn

from nnanomaly.networks.autoencoders import DepthToSpace, sub_voxels
from nnanomaly.networks.vqgan import VQGAN
from nnanomaly.plans import TrainingPlan, VQGANPlan

TRAINING = TrainingPlan(num_iterations=1, batch_size=1, learning_rate=1e-3)


def plan(architecture: str, stride: tuple[int, int, int], widths: tuple[int, ...], num_codes: int = 64) -> VQGANPlan:
    return VQGANPlan(
        architecture=architecture,
        stride=stride,
        latent_channels=8,
        num_codes=num_codes,
        widths=widths,
        training=TRAINING,
        restart_every=10,
    )


def smooth_patch(*shape: int) -> Tensor:
    """A body-like patch in [-1, 1]: two smooth blobs and an edge."""
    axes = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape), indexing="ij")
    radius = sum(a.square() for a in axes).sqrt()
    image = 0.8 * torch.tanh(8 * (0.7 - radius)) + 0.2 * torch.sin(5 * axes[0]) * torch.cos(4 * axes[2])
    return image.clamp(-1, 1)[None, None]


def started(vqgan: VQGAN, x: Tensor) -> VQGAN:
    with torch.no_grad():
        vqgan.codebook.initialise(vqgan.encode(x), torch.Generator().manual_seed(0))
    return vqgan


def test_published_parameter_counts() -> None:
    with torch.device("meta"):
        vqgan = VQGAN(plan("transposed", (4, 4, 4), (16, 32, 64)))
    counts = [sum(p.numel() for p in part.parameters()) for part in (vqgan.encoder, vqgan.decoder)]
    assert counts == pytest.approx([0.44e6, 0.95e6], rel=0.02)


def test_published_layers_of_the_paper_preset() -> None:
    """METHOD 1.2: replicate padding, 32 groups, strided 4^3 convolutions, two residual blocks per doubling."""
    with torch.device("meta"):
        vqgan = VQGAN(plan("transposed", (4, 4, 4), (16, 32, 64)))
    convolutions = [m for m in vqgan.modules() if isinstance(m, nn.Conv3d) and m.kernel_size != (1, 1, 1)]
    assert {m.padding_mode for m in convolutions} == {"replicate"}
    assert {m.num_groups for m in vqgan.modules() if isinstance(m, nn.GroupNorm)} == {32}
    doublings = [m for m in vqgan.modules() if isinstance(m, nn.ConvTranspose3d)]
    found = [(m.in_channels, m.out_channels, m.kernel_size) for m in doublings]
    assert found == [(64, 64, (4,) * 3), (64, 32, (4,) * 3)]
    assert [type(m).__name__ for m in vqgan.decoder].count("ResBlock") == 4


@pytest.mark.parametrize("architecture", ["resize", "transposed"])
@pytest.mark.parametrize(
    ("stride", "widths"),
    [((1, 1, 1), (4,)), ((1, 2, 2), (4, 8)), ((2, 4, 4), (4, 8, 8)), ((4, 4, 4), (4, 8, 8)), ((1, 1, 8), (4, 8, 8, 8))],
)
def test_every_stride_gives_its_latent_and_comes_back(
    architecture: str, stride: tuple[int, int, int], widths: tuple[int, ...]
) -> None:
    vqgan, x = VQGAN(plan(architecture, stride, widths)), torch.zeros(1, 1, 8, 16, 24)
    out = started(vqgan, x)(x)
    assert out.z.shape == out.z_q.shape == (1, 8, 8 // stride[0], 16 // stride[1], 24 // stride[2])
    assert out.indices.shape == out.z.shape[:1] + out.z.shape[2:]
    assert out.reconstruction.shape == x.shape


def test_depth_to_space_puts_sub_voxels_in_place() -> None:
    x = torch.arange(8.0).view(1, 8, 1, 1, 1)
    assert DepthToSpace((2, 2, 2))(x).flatten().tolist() == list(range(8))
    two_channels = torch.tensor([1.0, 2, 3, 4]).view(1, 4, 1, 1, 1).expand(1, 4, 1, 1, 2)  # (sub-voxel, channel)
    woven = DepthToSpace((1, 2, 1))(two_channels)
    assert woven.tolist() == [[[[[1, 1], [3, 3]]], [[[2, 2], [4, 4]]]]]


def test_sub_voxels_start_without_a_checkerboard() -> None:
    torch.manual_seed(0)
    out = sub_voxels(4, 3, (2, 2, 2))(torch.randn(1, 4, 3, 3, 3))
    assert out.shape == (1, 3, 6, 6, 6)
    repeated = out[..., ::2, ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
    torch.testing.assert_close(out, repeated)


def test_our_last_block_has_no_norm_and_the_groups_have_four_channels() -> None:
    with torch.device("meta"):
        vqgan = VQGAN(plan("resize", (4, 4, 4), (16, 32, 64)))
    norms = [m for m in vqgan.modules() if isinstance(m, nn.GroupNorm)]
    assert all(m.num_channels / m.num_groups >= 4 for m in norms)
    last_block = [m for m in vqgan.decoder if type(m).__name__ == "ResBlock"][-1]
    assert not any(isinstance(m, nn.GroupNorm) for m in last_block.modules())


def test_autocast_leaves_latent_and_patch_in_full_precision() -> None:
    torch.manual_seed(0)
    x = smooth_patch(8, 8, 8)
    vqgan = started(VQGAN(plan("resize", (2, 2, 2), (4, 8))), x)
    with torch.autocast("cpu", torch.bfloat16):
        out = vqgan(x)
        inside = vqgan.encoder[0](x)
    assert inside.dtype == torch.bfloat16
    assert out.z.dtype == out.z_q.dtype == out.reconstruction.dtype == torch.float32
    assert (out.z.bfloat16().float() != out.z).any()


def test_encoder_feels_the_reconstruction_through_the_codes() -> None:
    torch.manual_seed(0)
    x = smooth_patch(8, 8, 8)
    out = started(VQGAN(plan("resize", (2, 2, 2), (4, 8))), x)(x)
    (gradient,) = torch.autograd.grad(out.reconstruction.square().sum(), out.z)
    assert gradient.abs().min() > 0
    assert not out.z_q.requires_grad


def test_decode_nearest_is_what_forward_reconstructs() -> None:
    torch.manual_seed(0)
    x = smooth_patch(8, 8, 8)
    vqgan = started(VQGAN(plan("resize", (2, 2, 2), (4, 8), num_codes=8)), x)
    out = vqgan(x)
    torch.testing.assert_close(vqgan.decode_nearest(out.z), out.reconstruction)
    assert not torch.allclose(vqgan.decode(out.z), out.reconstruction)


def test_forward_leaves_the_codebook_alone_even_in_training_mode() -> None:
    torch.manual_seed(0)
    x = smooth_patch(8, 8, 8)
    vqgan = started(VQGAN(plan("resize", (2, 2, 2), (4, 8))), x).train()
    before = copy.deepcopy(vqgan.codebook.state_dict())
    vqgan(x)
    assert all(torch.equal(before[name], value) for name, value in vqgan.codebook.state_dict().items())


def train(vqgan: VQGAN, x: Tensor, *, iterations: int, learning_rate: float) -> None:
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.Adam(vqgan.parameters(), learning_rate)
    for _ in range(iterations):
        out = vqgan(x)
        loss = (out.reconstruction - x).abs().mean() + 0.25 * (out.z - out.z_q).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        vqgan.codebook.update(out.z, out.indices, generator=generator)


@pytest.mark.parametrize(("stride", "widths"), [((2, 2, 2), (4, 8)), ((4, 4, 4), (4, 8, 16))])
def test_overfits_one_patch(stride: tuple[int, int, int], widths: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = smooth_patch(16, 16, 16)
    vqgan = started(VQGAN(plan("resize", stride, widths)), x)
    train(vqgan, x, iterations=150, learning_rate=5e-3)
    error = vqgan.decode_nearest(vqgan.encode(x)) - x
    assert error.abs().mean() < 0.1 * x.abs().mean()


def test_a_trained_decoder_shows_no_checkerboard() -> None:
    """Over a smooth patch the eight phases of the finest halving have the same mean error."""
    torch.manual_seed(0)
    x = smooth_patch(16, 16, 16)
    vqgan = started(VQGAN(plan("resize", (2, 2, 2), (4, 8))), x)
    train(vqgan, x, iterations=100, learning_rate=5e-3)
    error = vqgan.decode_nearest(vqgan.encode(x)) - x
    phases = error.view(8, 2, 8, 2, 8, 2).mean((0, 2, 4))
    assert (phases - phases.mean()).abs().max() < 0.01


@pytest.mark.parametrize(("architecture", "sees_it"), [("resize", True), ("transposed", False)])
def test_absolute_intensity_survives_in_ours_while_the_published_norm_is_blind_to_it(
    architecture: str, sees_it: bool
) -> None:
    """A constant patch and one 200 HU brighter, before any training."""
    torch.manual_seed(0)
    vqgan = VQGAN(plan(architecture, (4, 4, 4), (8, 16, 32)))
    dark, bright = (vqgan.encode(torch.full((1, 1, 16, 16, 16), value))[..., 1, 1, 1] for value in (-0.4, 0.4))
    assert ((dark - bright).abs().max() > 0.02) == sees_it


def test_a_loaded_vqgan_continues_bit_for_bit() -> None:
    torch.manual_seed(0)
    x = smooth_patch(8, 8, 8)
    vqgan = started(VQGAN(plan("resize", (2, 2, 2), (4, 8))), x)
    resumed = VQGAN(plan("resize", (2, 2, 2), (4, 8)))
    resumed.load_state_dict(vqgan.state_dict())
    for network in (vqgan, resumed):
        train(started(network, x), x, iterations=3, learning_rate=1e-3)
    for name, value in vqgan.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
