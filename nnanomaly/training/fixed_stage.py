"""Stage 1 of a codec that learns nothing: no optimiser, an empty checkpoint, a round trip measured like the others."""

import torch
from torch import Tensor, nn

from nnanomaly.networks.autoencoder import Autoencoder
from nnanomaly.training.optimisation import Batch
from nnanomaly.training.vqgan_stage import compare, fidelity


class FixedStage:
    """An autoencoder without weights on patches `[B, 1, Z, Y, X]` in [-1, 1]."""

    monitor = "l1"

    def __init__(self, autoencoder: Autoencoder, device: torch.device) -> None:
        self.autoencoder, self.device = autoencoder, device

    def modules(self) -> dict[str, nn.Module]:
        """The autoencoder, which has no state."""
        return {"vqgan": self.autoencoder}

    def averaged_module(self) -> str:
        """The autoencoder."""
        return "vqgan"

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """None."""
        return {}

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """There is nothing to learn."""
        return {}

    @torch.no_grad()
    def validate(self, batches: list[Batch], module: nn.Module, generator: torch.Generator) -> dict[str, float]:
        """Mean absolute error and PSNR, both those of rounding."""
        patches = [batch["patch"].to(self.device) for batch in batches]
        return fidelity([module(x).reconstruction - x for x in patches])

    @torch.no_grad()
    def pictures(self, batch: Batch, module: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        """Middle coronal slice of a held-out patch, its reconstruction, and their difference."""
        x = batch["patch"][:1].to(self.device)
        return compare(x, module(x).reconstruction)
