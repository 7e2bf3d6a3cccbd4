"""The model of healthy latents: one denoising loss per batch (METHOD section 2)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nnanomaly.plans import DiffusionPlan
from nnanomaly.training.optimisation import Batch, autocast, build_optimizer, clip_and_step

Loss = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]
DrawLevel = Callable[[int, torch.Generator], Tensor]


class DiffusionStage:
    """Trains a denoising U-Net; process and loss come in as functions, so that `edm` and `ddpm` share everything."""

    monitor = "loss"

    def __init__(
        self,
        network: nn.Module,
        plan: DiffusionPlan,
        *,
        loss: Loss,
        draw_level: DrawLevel,
        validation_levels: tuple[float, ...],
        device: torch.device,
    ) -> None:
        """`loss(network, x0, level, noise)`; `draw_level(count, generator)`; levels at which validation measures."""
        self.network = network.to(device)
        self.plan = plan
        self.loss = loss
        self.draw_level = draw_level
        self.validation_levels = validation_levels
        self.device = device
        self.optimizer = build_optimizer(network.parameters(), plan.training, plan.training.learning_rate)

    def modules(self) -> dict[str, nn.Module]:
        """The U-Net."""
        return {"unet": self.network}

    def averaged_module(self) -> str:
        """The U-Net."""
        return "unet"

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One optimiser."""
        return {"unet": self.optimizer}

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """Accumulate the gradients of `plan.training.accumulation` equal parts of the batch, then step."""
        self.network.train()
        total = 0.0
        parts = batch["patch"].chunk(self.plan.training.accumulation)
        for latents in parts:
            loss = self._loss(self.network, latents, self.draw_level(len(latents), generator), generator) / len(parts)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        norm = clip_and_step(self.optimizer, self.plan.training.gradient_clip)
        return {"loss": total, "gradient_norm": norm}

    @torch.no_grad()
    def validate(self, batches: list[Batch], module: nn.Module, generator: torch.Generator) -> dict[str, float]:
        """Loss at each validation level, and their mean."""
        result: dict[str, float] = {}
        for level in self.validation_levels:
            losses = [
                float(self._loss(module, b["patch"], torch.full((len(b["patch"]),), level), generator)) for b in batches
            ]
            result[f"loss_level_{level:g}"] = sum(losses) / len(losses)
        result["loss"] = sum(result.values()) / len(result)
        return result

    def pictures(self, batch: Batch, module: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        """Latents are not pictures: reconstructions are shown after calibration."""
        return {}

    def _loss(self, network: nn.Module, latents: Tensor, level: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(latents.shape, generator=generator).to(self.device)
        with autocast(self.device, self.plan.training.precision):
            return self.loss(network, latents.float().to(self.device), level.to(self.device), noise)


def log_normal_sigma(mean: float, std: float, largest: float) -> DrawLevel:
    """Noise levels with normal logarithm, clipped at `largest` (METHOD 2.3)."""

    def draw(count: int, generator: torch.Generator) -> Tensor:
        return torch.exp(mean + std * torch.randn(count, generator=generator)).clamp(0.002, largest)

    return draw


def uniform_timestep(num_timesteps: int) -> DrawLevel:
    """Uniformly drawn steps of a discrete schedule."""

    def draw(count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(num_timesteps, (count,), generator=generator)

    return draw
