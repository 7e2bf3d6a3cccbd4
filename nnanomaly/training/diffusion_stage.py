"""The model of healthy latents: one denoising loss per batch (METHOD section 2)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nnanomaly.device import autocast
from nnanomaly.diffusion.denoiser import Network
from nnanomaly.diffusion.process import Process
from nnanomaly.networks.conditioning import NULL_CLASS
from nnanomaly.plans import DiffusionPlan
from nnanomaly.training.latent_pictures import Show
from nnanomaly.training.optimisation import Batch, build_optimizer, clip_and_step
from nnanomaly.training.vqgan_stage import compare

Bind = Callable[[nn.Module, Tensor, torch.Generator], Network]


class DiffusionStage:
    """Trains a denoising U-Net, in whichever process."""

    monitor = "loss"

    def __init__(
        self,
        network: nn.Module,
        plan: DiffusionPlan,
        *,
        process: Process,
        device: torch.device,
        bind: Bind,
        show: Show,
    ) -> None:
        """`process` has the loss and the levels of training and validation;
        `bind(network, labels, generator)` is what the loss sees of the network for items with those labels;
        `show` makes pictures.
        """
        self.network = network.to(device)
        self.plan = plan
        self.process = process
        self.device = device
        self.bind = bind
        self.show = show
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
        num_parts = self.plan.training.accumulation
        parts = batch["patch"].chunk(num_parts)
        for latents, labels in zip(parts, batch["label"].chunk(num_parts), strict=True):
            network = self.bind(self.network, labels, generator)
            loss = self._loss(network, latents, self.process.draw_levels(len(latents), generator), generator) / len(
                parts
            )
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        norm = clip_and_step(self.optimizer, self.plan.training.gradient_clip)
        return {"loss": total, "gradient_norm": norm}

    @torch.no_grad()
    def validate(self, batches: list[Batch], module: nn.Module, generator: torch.Generator) -> dict[str, float]:
        """Loss at each validation level, and their mean."""
        result: dict[str, float] = {}
        for level in self.process.validation_levels:
            losses = []
            for batch in batches:
                network = self.bind(module, batch["label"], generator)
                levels = torch.full((len(batch["patch"]),), level)
                losses.append(float(self._loss(network, batch["patch"], levels, generator)))
            result[f"loss_level_{level:g}"] = sum(losses) / len(losses)
        result["loss"] = sum(result.values()) / len(result)
        return result

    @torch.no_grad()
    def pictures(self, batch: Batch, module: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        """Middle coronal slice of held-out latents, decoded, of what the model makes of them, and their difference."""
        network = self.bind(module, batch["label"][:1], generator)
        return compare(*self.show(network, batch["patch"][:1], generator))

    def _loss(self, network: Network, latents: Tensor, level: Tensor, generator: torch.Generator) -> Tensor:
        noise = self.process.noise(latents.shape[1:], [generator] * len(latents)).to(self.device)
        with autocast(self.device, self.plan.training.precision):
            return self.process.loss(network, latents.float().to(self.device), level.to(self.device), noise=noise)


def without_class(network: nn.Module, labels: Tensor, generator: torch.Generator) -> Network:
    """The network of one class only, which is not told any."""
    return network


def with_class(class_dropout: float) -> Bind:
    """The network is told the label of every item, but for a random share of them the null class."""

    def bind(network: nn.Module, labels: Tensor, generator: torch.Generator) -> Network:
        told = drop_labels(labels, class_dropout, generator)
        return lambda x, time: network(x, time, told.to(x.device))

    return bind


def drop_labels(labels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Labels [B] with a random `share` of them replaced by the null class."""
    dropped = torch.rand(len(labels), generator=generator) < share
    return labels.masked_fill(dropped, NULL_CLASS)
