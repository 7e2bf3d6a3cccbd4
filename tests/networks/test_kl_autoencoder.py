"""The KL autoencoder: its Gaussian by hand, the mean as the latent, and a patch learnt by heart."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nnanomaly.networks.kl_autoencoder import Gaussian, KLAutoencoder
from nnanomaly.networks.vqgan import VQGAN
from nnanomaly.plans import TrainingPlan, VQGANPlan

PLAN = VQGANPlan(
    architecture="resize",
    codec="kl",
    stride=(2, 2, 2),
    latent_channels=4,
    num_codes=64,
    widths=(4, 8),
    training=TrainingPlan(num_iterations=1, batch_size=1, learning_rate=1e-3),
)


def patch(*shape: int) -> Tensor:
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape), indexing="ij")
    return (torch.tanh(6 * (0.7 - (z**2 + y**2 + x**2).sqrt())) * 0.7 + 0.2 * torch.sin(4 * x))[None, None]


def test_divergence_from_a_unit_gaussian_by_hand() -> None:
    mean = torch.tensor([[0.0, 2.0], [0.0, 0.0]])
    variance = torch.tensor([[1.0, 1.0], [1.0, math.e]])
    divergence = Gaussian(mean, variance.log()).divergence()
    torch.testing.assert_close(divergence, torch.tensor([2.0, (math.e - 2) / 2]))


def test_divergence_is_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, 3, 4, 2, 2, 2, generator=generator)
    theirs = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (0.5 * log_variance).exp()), torch.distributions.Normal(0.0, 1.0)
    )
    torch.testing.assert_close(Gaussian(mean, log_variance).divergence(), theirs.flatten(1).sum(dim=1))


def test_a_draw_has_the_mean_and_the_variance() -> None:
    noise = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    drawn = Gaussian(torch.tensor(3.0), torch.tensor(0.25).log()).sample(noise)
    assert float(drawn.mean()) == pytest.approx(3.0, abs=0.01)
    assert float(drawn.std()) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("architecture", ["resize", "transposed"])
@pytest.mark.parametrize(("stride", "widths"), [((1, 1, 1), (4,)), ((2, 2, 2), (4, 8)), ((2, 4, 4), (4, 8, 8))])
def test_shapes_are_those_of_the_vqgan(
    architecture: str, stride: tuple[int, int, int], widths: tuple[int, ...]
) -> None:
    plan = replace(PLAN, architecture=architecture, stride=stride, widths=widths)
    network, x = KLAutoencoder(plan), torch.zeros(1, 1, 8, 8, 16)
    assert network.encode(x).shape == VQGAN(plan).encode(x).shape
    assert network(x).reconstruction.shape == x.shape
    sizes = [sum(p.numel() for p in n.decoder.parameters()) for n in (network, VQGAN(plan))]
    assert sizes[0] == sizes[1]


def test_the_latent_is_the_mean_and_nothing_in_it_is_drawn() -> None:
    torch.manual_seed(0)
    network, x = KLAutoencoder(PLAN), patch(8, 8, 8)
    first, posterior = network.encode(x), network.posterior(x)
    torch.manual_seed(1)
    assert torch.equal(network.encode(x), first)
    assert torch.equal(posterior.mean, first)
    torch.testing.assert_close(network(x).reconstruction, network.decode(first))
    assert not torch.allclose(posterior.sample(torch.ones_like(first)), first)


def test_extreme_log_variances_are_limited() -> None:
    torch.manual_seed(0)
    network = KLAutoencoder(PLAN)
    with torch.no_grad():
        for scale, limit in ((1e9, 20.0), (-1e9, -30.0)):
            network.encoder[-1].module.bias[4:] = scale
            posterior = network.posterior(patch(8, 8, 8))
            assert float(posterior.log_variance.abs().max()) == abs(limit)
            assert bool(posterior.divergence().isfinite().all())


def test_autocast_leaves_latent_and_patch_in_full_precision() -> None:
    torch.manual_seed(0)
    network = KLAutoencoder(PLAN)
    with torch.autocast("cpu", torch.bfloat16):
        out = network(patch(8, 8, 8))
    assert out.reconstruction.dtype == out.posterior.mean.dtype == out.posterior.log_variance.dtype == torch.float32
