"""What an autoencoder learns between encoder and decoder: a codebook (METHOD 1.3), or Gaussian latents (METHOD 1.7).

A bottleneck owns the pass through its network and the terms of the loss that belong to it; reconstruction, perceptual
and adversarial terms are those of the stage.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnanomaly.networks.autoencoder import Autoencoder
from nnanomaly.networks.codebook import perplexity
from nnanomaly.networks.kl_autoencoder import KLAutoencoder, VariationallyAutoencoded
from nnanomaly.networks.vqgan import VQGAN, Autoencoded
from nnanomaly.plans import VQGANPlan


class Coded(NamedTuple):
    """A training batch that has passed the network."""

    reconstruction: Tensor
    """[B, 1, Z, Y, X], with gradient."""
    terms: Callable[[], dict[str, Tensor]]
    """Weighted terms of the loss, scalars; to be computed outside autocast."""
    learn: Callable[[], dict[str, float]]
    """What is learnt without a gradient, after the optimiser's step; returns numbers for the log."""


class Bottleneck(Protocol):
    """A way to train an autoencoder."""

    @property
    def network(self) -> Autoencoder:
        """The autoencoder."""
        ...

    def code(self, x: Tensor, generator: torch.Generator) -> Coded:
        """Pass a batch [B, 1, Z, Y, X] of patches through the network."""
        ...

    def validate(self, module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction of a held-out batch by `module`, and what `summary` needs of it."""
        ...

    def summary(self, parts: Sequence[Tensor]) -> dict[str, float]:
        """Numbers for the log from what `validate` returned for each batch."""
        ...


class CodebookBottleneck:
    """Nearest codes with a straight-through gradient; the codebook learns by moving averages."""

    def __init__(self, network: VQGAN, plan: VQGANPlan) -> None:
        self.network, self.plan = network, plan

    def code(self, x: Tensor, generator: torch.Generator) -> Coded:
        """Codes begin as tokens of the first batch."""
        codebook = self.network.codebook
        if not codebook.initialised:
            with torch.no_grad():
                codebook.initialise(self.network.encode(x), generator)
        out: Autoencoded = self.network(x)

        def terms() -> dict[str, Tensor]:
            distance = functional.mse_loss(out.z.float(), out.z_q.detach())
            return {"commitment": self.plan.commitment_weight * distance}

        def learn() -> dict[str, float]:
            codebook.update(out.z.detach(), out.indices, generator=generator)
            return {"perplexity": float(perplexity(out.indices, self.plan.num_codes))}

        return Coded(out.reconstruction, terms, learn)

    def validate(self, module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction from codes, and their numbers."""
        out: Autoencoded = module(x)
        return out.reconstruction, out.indices.flatten()

    def summary(self, parts: Sequence[Tensor]) -> dict[str, float]:
        """How many codes are used."""
        return {"perplexity": float(perplexity(torch.cat(list(parts)), self.plan.num_codes))}


class GaussianBottleneck:
    """Latents are drawn from Gaussians that are held, lightly, to unit Gaussians."""

    def __init__(self, network: KLAutoencoder, plan: VQGANPlan) -> None:
        self.network, self.plan = network, plan

    def code(self, x: Tensor, generator: torch.Generator) -> Coded:
        """Decode a draw, so that the decoder learns to bear small changes of a latent."""
        posterior = self.network.posterior(x)
        # Drawn on the generator's device: the same numbers whatever the network runs on.
        noise = torch.randn(posterior.mean.shape, generator=generator, device=generator.device)
        reconstruction = self.network.decode(posterior.sample(noise.to(posterior.mean)))
        return Coded(reconstruction, lambda: {"kl": self.plan.kl_weight * posterior.divergence().mean()}, dict)

    def validate(self, module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction from the mean; per item [B, 2] the divergence and the mean standard deviation."""
        out: VariationallyAutoencoded = module(x)
        deviation = (0.5 * out.posterior.log_variance).exp().flatten(1).mean(dim=1)
        return out.reconstruction, torch.stack([out.posterior.divergence(), deviation], dim=1)

    def summary(self, parts: Sequence[Tensor]) -> dict[str, float]:
        """Means over all items: nats per patch, and the noise that training adds to a latent value."""
        divergence, deviation = torch.cat(list(parts)).mean(dim=0).tolist()
        return {"kl_nats": divergence, "latent_noise": deviation}
