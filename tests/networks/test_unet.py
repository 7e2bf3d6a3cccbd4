import dataclasses

import pytest
import torch

from nnanomaly.networks.unet import UNet3D
from nnanomaly.plans import DiffusionPlan, TrainingPlan
from nnanomaly.utilities.errors import ConfigurationError

TRAINING = TrainingPlan(num_iterations=1, batch_size=1, learning_rate=1e-3)
SMALL = DiffusionPlan(
    architecture="unet3d",
    widths=(8, 16),
    process="edm",
    latent_scaling="standardise",
    training=TRAINING,
    blocks_per_level=1,
    attention_levels=(1,),
    head_channels=8,
)


def network(plan: DiffusionPlan = SMALL, *, channels: int = 2, extra_channels: int = 0, trained: bool = True) -> UNet3D:
    """A seeded network; `trained`: the zeros it starts from are replaced by small random numbers."""
    torch.manual_seed(0)
    net = UNet3D(plan, channels, extra_channels)
    if trained:
        for parameter in net.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.05)
    return net


def latent(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def test_default_widths_have_the_stated_number_of_parameters() -> None:
    plan = dataclasses.replace(
        SMALL, widths=(64, 128, 256), blocks_per_level=2, attention_levels=(2,), head_channels=64
    )
    with torch.device("meta"):
        count = sum(p.numel() for p in UNet3D(plan, 8).parameters())
    assert count == 33_870_024


def test_output_is_zero_before_training() -> None:
    out = network(trained=False)(latent(2, 2, 4, 8, 6), torch.tensor([0.0, 1.0]))
    assert out.shape == (2, 2, 4, 8, 6)
    assert not out.any()


@pytest.mark.parametrize("process", ["edm", "ddpm"])
def test_time_changes_the_output_as_soon_as_the_zero_layers_have_moved(process: str) -> None:
    net = network(dataclasses.replace(SMALL, process=process), trained=False)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    x = latent(4, 2, 4, 4, 4)
    time = {"edm": torch.tensor([-1.0, -0.2, 0.1, 0.4]), "ddpm": torch.arange(4) * 300.0}[process]
    target = x * torch.tensor([0.0, 1.0, 2.0, 3.0]).view(4, 1, 1, 1, 1)
    # Step 1 moves the last convolution off 0, step 2 those of the blocks, which carry the time.
    for _ in range(2):
        optimiser.zero_grad()
        (net(x, time) - target).square().mean().backward()
        optimiser.step()
    early, late = net(x[:1], time[:1]), net(x[:1], time[3:])
    assert (early - late).norm() > 1e-3 * early.norm()


def test_time_belongs_to_its_own_sample() -> None:
    net = network().eval()
    x = latent(1, 2, 4, 4, 4).expand(2, -1, -1, -1, -1)
    out, other = net(x, torch.tensor([0.1, 0.5])), net(x, torch.tensor([0.1, -0.5]))
    torch.testing.assert_close(out[0], other[0])
    assert not torch.allclose(out[1], other[1])


def test_batch_of_four_equals_four_batches_of_one() -> None:
    net = network().eval()
    x, time = latent(4, 2, 4, 4, 6), torch.tensor([-1.0, 0.0, 0.2, 0.7])
    single = torch.cat([net(x[i : i + 1], time[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(net(x, time), single, atol=1e-5, rtol=1e-4)


def test_axes_keep_their_place() -> None:
    """With weights symmetric under a swap of two axes, swapping them in the input swaps them in the output."""
    net = network().eval()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.Conv3d):
                module.weight.copy_((module.weight + module.weight.transpose(2, 4)) / 2)
    x, time = latent(1, 2, 4, 6, 8), torch.tensor([0.3])
    torch.testing.assert_close(net(x.transpose(2, 4), time), net(x, time).transpose(2, 4), atol=1e-5, rtol=1e-4)


def test_extra_channels_are_read_and_not_returned() -> None:
    net = network(extra_channels=1).eval()
    x, time = latent(1, 3, 4, 4, 4), torch.tensor([0.3])
    out = net(x, time)
    assert out.shape == (1, 2, 4, 4, 4)
    changed = x.clone()
    changed[:, 2] += 1 + torch.arange(4.0)
    assert not torch.allclose(net(changed, time), out, atol=1e-4)


def test_every_parameter_gets_a_gradient() -> None:
    net = network()
    net(latent(1, 2, 4, 4, 4), torch.tensor([0.3])).square().sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_levels_and_blocks_can_be_chosen(blocks: int) -> None:
    plan = dataclasses.replace(SMALL, widths=(8, 16, 24), blocks_per_level=blocks, attention_levels=(0, 2))
    net = network(plan)
    assert net(latent(1, 2, 4, 8, 12), torch.zeros(1)).shape == (1, 2, 4, 8, 12)
    assert len(net.down) == len(net.up) == 3 * blocks


def test_one_level_needs_no_divisible_latent() -> None:
    plan = dataclasses.replace(SMALL, widths=(8,), attention_levels=())
    assert network(plan)(latent(1, 2, 3, 5, 7), torch.zeros(1)).shape == (1, 2, 3, 5, 7)


def test_latent_that_cannot_be_halved_is_refused_with_both_sizes() -> None:
    with pytest.raises(ConfigurationError, match=r"\(4, 5, 4\).*\(2, 2, 2\)"):
        network()(latent(1, 2, 4, 5, 4), torch.zeros(1))


def test_attention_at_a_level_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"attention_levels is \(2,\), but there are levels 0..1"):
        network(dataclasses.replace(SMALL, attention_levels=(2,)))


def test_bfloat16_stays_close_to_float32() -> None:
    net = network().eval()
    x, time = latent(1, 2, 8, 8, 8), torch.tensor([0.3])
    expected = net(x, time)
    with torch.autocast("cpu", torch.bfloat16):
        autocast = net(x, time)
    half = net.to(torch.bfloat16)(x, time)
    assert autocast.dtype == half.dtype == torch.float32
    for out in (autocast, half):
        assert (out - expected).norm() < 0.03 * expected.norm()


def test_channels_last_gives_the_same_voxels() -> None:
    net = network().eval()
    x, time = latent(2, 2, 4, 8, 6), torch.tensor([0.3, -0.4])
    expected = net(x, time)
    fast = net.to(memory_format=torch.channels_last_3d)(x, time)
    torch.testing.assert_close(fast, expected, atol=1e-5, rtol=1e-4)
