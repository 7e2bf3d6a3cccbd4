import dataclasses

import pytest
import torch

from nnanomaly.networks.unet_factorised import FactorisedUNet
from nnanomaly.plans import DiffusionPlan, TrainingPlan
from nnanomaly.utilities.errors import ConfigurationError

SMALL = DiffusionPlan(
    architecture="factorised",
    widths=(8, 16),
    process="ddpm",
    latent_scaling="codebook_range",
    training=TrainingPlan(num_iterations=1, batch_size=1, learning_rate=1e-4),
)


def network(plan: DiffusionPlan = SMALL, extra_channels: int = 0) -> FactorisedUNet:
    torch.manual_seed(0)
    return FactorisedUNet(plan, 2, extra_channels).eval()


def latent(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_paper_widths_have_six_million_parameters() -> None:
    with torch.device("meta"):
        net = FactorisedUNet(dataclasses.replace(SMALL, widths=(24, 48, 96, 192)), 8)
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(6.0e6, rel=0.02)


def test_no_convolution_reaches_along_depth() -> None:
    kernels = {
        m.kernel_size[0] for m in network().modules() if isinstance(m, torch.nn.Conv3d | torch.nn.ConvTranspose3d)
    }
    assert kernels == {1}


def test_depth_may_be_odd_and_differ_from_plane() -> None:
    x = latent(2, 2, 5, 4, 8)
    assert network()(x, torch.tensor([0.0, 999.0])).shape == x.shape


def test_slices_talk_to_each_other() -> None:
    net = network()
    x = latent(1, 2, 4, 4, 4)
    touched = x.clone()
    touched[0, 0, 0] += torch.arange(16.0).view(4, 4)
    time = torch.tensor([500.0])
    assert ((net(x, time) - net(touched, time)).abs().amax(dim=(0, 1, 3, 4)) > 1e-5).all()


def test_time_changes_the_output() -> None:
    net = network()
    x = latent(1, 2, 4, 4, 4)
    assert not torch.allclose(net(x, torch.tensor([10.0])), net(x, torch.tensor([700.0])), atol=1e-3)


def test_batch_of_four_equals_four_batches_of_one() -> None:
    net = network()
    x, time = latent(4, 2, 3, 4, 6), torch.tensor([0.0, 10.0, 500.0, 999.0])
    single = torch.cat([net(x[i : i + 1], time[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(net(x, time), single, atol=1e-5, rtol=1e-4)


def test_extra_channels_are_read_and_not_returned() -> None:
    net = network(extra_channels=1)
    x, time = latent(1, 3, 3, 4, 4), torch.tensor([5.0])
    out = net(x, time)
    assert out.shape == (1, 2, 3, 4, 4)
    changed = x.clone()
    changed[:, 2] += torch.arange(4.0)
    assert not torch.allclose(net(changed, time), out, atol=1e-4)


def test_every_parameter_gets_a_gradient() -> None:
    net = network()
    net(latent(1, 2, 3, 4, 4), torch.tensor([5.0])).square().sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_latent_that_cannot_be_halved_in_plane_is_refused_with_both_sizes() -> None:
    with pytest.raises(ConfigurationError, match=r"\(4, 4, 5\).*\(1, 2, 2\)"):
        network()(latent(1, 2, 4, 4, 5), torch.zeros(1))


def test_widths_that_the_norm_groups_do_not_divide_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"widths is \(12, 24\).*multiples of 8"):
        network(dataclasses.replace(SMALL, widths=(12, 24)))


def test_another_number_of_blocks_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="blocks_per_level is 1"):
        network(dataclasses.replace(SMALL, blocks_per_level=1))


def test_bfloat16_stays_close_to_float32() -> None:
    net = network()
    x, time = latent(1, 2, 4, 8, 8), torch.tensor([300.0])
    expected = net(x, time)
    with torch.autocast("cpu", torch.bfloat16):
        out = net(x, time)
    assert out.dtype == torch.float32
    assert (out - expected).norm() < 0.05 * expected.norm()


def test_channels_last_gives_the_same_voxels() -> None:
    net = network()
    x, time = latent(2, 2, 4, 4, 6), torch.tensor([3.0, 400.0])
    expected = net(x, time)
    fast = net.to(memory_format=torch.channels_last_3d)(x, time)
    torch.testing.assert_close(fast, expected, atol=1e-5, rtol=1e-4)
