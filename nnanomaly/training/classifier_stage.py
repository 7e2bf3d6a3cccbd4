"""Healthy or unhealthy from a noisy latent: cross-entropy over all noise levels (METHOD section 4)."""

from collections.abc import Sequence

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from nnanomaly.device import autocast
from nnanomaly.diffusion.process import Process, classifier_input
from nnanomaly.diffusion.schedule import per_item
from nnanomaly.networks.classifier import OrganState
from nnanomaly.plans import ClassifierPlan
from nnanomaly.training.optimisation import Batch, build_optimizer, clip_and_step


class ClassifierStage:
    """Trains `network(x, time) -> logits [B, 2]` on standardised latents `u`, noised to a random level of the process.

    `x = (u + sigma * noise) / sqrt(1 + sigma^2)` and `time = ln(sigma) / 4` in every process.
    """

    monitor = "error"

    def __init__(
        self,
        network: nn.Module,
        plan: ClassifierPlan,
        *,
        process: Process,
        validation_sigmas: Sequence[float],
        device: torch.device,
    ) -> None:
        """`process` says which noise of which levels training sees; validation measures at `validation_sigmas`."""
        self.network = network.to(device)
        self.plan = plan
        self.device = device
        self.process = process
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
        count = len(batch["patch"])
        sigma = self.process.draw_classifier_sigmas(count, generator, largest=self.plan.max_sigma)
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
        noise = self.process.noise(latents.shape[1:], [generator] * len(latents))
        x, time = classifier_input(latents.float() + per_item(sigma, noise) * noise, sigma)
        with autocast(self.device, self.plan.training.precision):
            logits: Tensor = network(x.to(self.device), time.to(self.device))
        return logits.float()
