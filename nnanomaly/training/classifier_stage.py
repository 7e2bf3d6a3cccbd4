"""Healthy or unhealthy from a noisy latent: cross-entropy over all noise levels (METHOD section 4)."""

from collections.abc import Callable, Sequence

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from nnanomaly.device import autocast
from nnanomaly.networks.classifier import OrganState
from nnanomaly.plans import ClassifierPlan
from nnanomaly.training.optimisation import Batch, build_optimizer, clip_and_step

DrawLevel = Callable[[int, torch.Generator], Tensor]


class ClassifierStage:
    """Trains `network(x, time) -> logits [B, 2]` on standardised latents `u` noised to a random level.

    `x = (u + sigma * noise) / sqrt(1 + sigma^2)` and `time = ln(sigma) / 4`.
    """

    monitor = "error"

    def __init__(
        self,
        network: nn.Module,
        plan: ClassifierPlan,
        *,
        draw_sigma: DrawLevel,
        validation_sigmas: Sequence[float],
        device: torch.device,
    ) -> None:
        """`draw_sigma(count, generator)` draws training noise levels; validation measures at `validation_sigmas`."""
        self.network = network.to(device)
        self.plan = plan
        self.device = device
        self.draw_sigma = draw_sigma
        self.validation_sigmas = validation_sigmas
        self.optimizer = build_optimizer(network.parameters(), plan.training, plan.training.learning_rate)

    def modules(self) -> dict[str, nn.Module]:
        """The classifier."""
        return {"classifier": self.network}

    def averaged_module(self) -> str:
        """The classifier."""
        return "classifier"

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One optimiser."""
        return {"classifier": self.optimizer}

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """Cross-entropy on one batch of latents."""
        self.network.train()
        sigma = self.draw_sigma(len(batch["patch"]), generator)
        labels = batch["label"].to(self.device)
        logits = self._logits(self.network, batch["patch"], sigma, generator)
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.plan.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = clip_and_step(self.optimizer, self.plan.training.gradient_clip)
        accuracy = (logits.argmax(dim=1) == labels).float().mean()
        return {"loss": loss.item(), "accuracy": accuracy.item(), "gradient_norm": norm}

    @torch.no_grad()
    def validate(self, batches: list[Batch], module: nn.Module, generator: torch.Generator) -> dict[str, float]:
        """AUC at each noise level, its mean, and `error` = 1 - that mean (cross-entropy where one class is missing)."""
        labels = torch.cat([batch["label"] for batch in batches])
        result: dict[str, float] = {}
        losses = []
        for level in self.validation_sigmas:
            logits = torch.cat(
                [
                    self._logits(module, b["patch"], torch.full((len(b["patch"]),), level), generator).cpu()
                    for b in batches
                ]
            )
            losses.append(float(functional.cross_entropy(logits, labels)))
            if len(set(labels.tolist())) == 2:
                probability = logits.softmax(dim=1)[:, OrganState.UNHEALTHY]
                result[f"auc_sigma_{level}"] = float(roc_auc_score(labels.numpy(), probability.numpy()))
        result["cross_entropy"] = sum(losses) / len(losses)
        areas = [value for key, value in result.items() if key.startswith("auc")]
        if areas:
            result["auc"] = sum(areas) / len(areas)
        result["error"] = 1 - result["auc"] if areas else result["cross_entropy"]
        return result

    def pictures(self, batch: Batch, module: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        """A classifier has none."""
        return {}

    def _logits(self, network: nn.Module, latents: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(latents.shape, generator=generator)
        level = sigma.view(-1, 1, 1, 1, 1)
        noisy = (latents.float() + level * noise) / torch.sqrt(1 + level**2)
        with autocast(self.device, self.plan.training.precision):
            logits: Tensor = network(noisy.to(self.device), torch.log(sigma).to(self.device) / 4)
        return logits.float()


def log_uniform_sigma(low: float, high: float) -> DrawLevel:
    """Noise levels with uniform logarithm between `low` and `high`."""

    def draw(count: int, generator: torch.Generator) -> Tensor:
        return low * (high / low) ** torch.rand(count, generator=generator)

    return draw


def scheduled_sigma(sigmas: Tensor) -> DrawLevel:
    """Noise levels of uniformly drawn steps of a discrete schedule."""

    def draw(count: int, generator: torch.Generator) -> Tensor:
        return sigmas[torch.randint(len(sigmas), (count,), generator=generator)].float()

    return draw
