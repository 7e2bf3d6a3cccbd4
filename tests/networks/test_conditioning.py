"""The class-conditional U-Net: the unconditional one inside, a label for every item, and null for "not said"."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nnanomaly.networks.classifier import OrganState
from nnanomaly.networks.conditioning import NULL_CLASS, ClassConditionedUNet
from nnanomaly.networks.unet import UNet3D
from nnanomaly.networks.unet_factorised import FactorisedUNet
from nnanomaly.plans import DiffusionPlan, TrainingPlan

PLAN = DiffusionPlan(
    architecture="unet3d",
    widths=(8, 16),
    process="edm",
    latent_scaling="standardise",
    training=TrainingPlan(num_iterations=1, batch_size=1, learning_rate=1e-3),
)
UNETS = {"unet3d": UNet3D, "factorised": FactorisedUNet}


def network(architecture: str = "unet3d", *, embedding_std: float = 1.0) -> ClassConditionedUNet:
    """Seeded, the zeros that a U-Net starts from replaced by small random numbers."""
    torch.manual_seed(0)
    net = ClassConditionedUNet(UNETS[architecture](replace(PLAN, architecture=architecture), 2))
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    nn.init.normal_(net.classes.weight, std=embedding_std)
    return net.eval()


def inputs(count: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 2, 4, 4, 4, generator=generator), torch.linspace(-0.5, 0.5, count)


@pytest.mark.parametrize("architecture", ["unet3d", "factorised"])
def test_the_network_uses_its_label(architecture: str) -> None:
    net, (x, time) = network(architecture), inputs()
    with torch.no_grad():
        outs = [net(x, time, torch.tensor([label])) for label in range(3)]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert (outs[a] - outs[b]).norm() > 1e-3 * outs[a].norm()


@pytest.mark.parametrize("architecture", ["unet3d", "factorised"])
def test_a_label_belongs_to_its_own_sample_and_a_batch_of_4_equals_four_of_1(architecture: str) -> None:
    net, (x, time) = network(architecture), inputs(4)
    labels = torch.tensor([OrganState.HEALTHY, OrganState.UNHEALTHY, NULL_CLASS, OrganState.HEALTHY])
    single = torch.cat([net(x[i : i + 1], time[i : i + 1], labels[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(net(x, time, labels), single, atol=1e-5, rtol=1e-4)


def test_no_label_is_the_null_class() -> None:
    net, (x, time) = network(), inputs(2)
    assert torch.equal(net(x, time), net(x, time, torch.tensor([NULL_CLASS] * 2)))


@pytest.mark.parametrize("architecture", ["unet3d", "factorised"])
def test_the_unet_inside_is_the_unconditional_one(architecture: str) -> None:
    """A checkpoint of it fits, and with classes of no effect it says the same."""
    unet = UNETS[architecture](replace(PLAN, architecture=architecture), 2)
    net, (x, time) = network(architecture), inputs(2)
    net.unet.load_state_dict(unet.state_dict(), strict=True)
    nn.init.zeros_(net.classes.weight)
    assert torch.equal(net(x, time, torch.tensor([0, 1])), unet.eval()(x, time))
    own = {name.removeprefix("unet.") for name in net.state_dict()} - set(unet.state_dict())
    assert own == {"classes.weight"}


def test_an_unconditional_network_has_the_parameters_it_always_had() -> None:
    with torch.device("meta"):
        unet = UNet3D(replace(PLAN, widths=(64, 128, 256), attention_levels=(2,), head_channels=64), 8)
    names = set(unet.state_dict())
    assert sum(p.numel() for p in unet.parameters()) == 33_870_024
    assert {name.split(".")[0] for name in names} == {"time", "stem", "down", "middle", "up", "out"}


def test_every_class_learns_from_its_own_items_only() -> None:
    net, (x, time) = network(), inputs(2)
    net(x, time, torch.tensor([OrganState.HEALTHY, NULL_CLASS])).square().sum().backward()
    moved: Any = net.classes.weight.grad.abs().sum(dim=1) > 0
    assert moved.tolist() == [True, False, True]


def test_bfloat16_stays_close_to_float32() -> None:
    net, (x, time) = network(), inputs(1)
    label = torch.tensor([OrganState.HEALTHY])
    expected = net(x, time, label)
    with torch.autocast("cpu", torch.bfloat16):
        out = net(x, time, label)
    assert (out - expected).norm() < 0.03 * expected.norm()
