"""The lesion head as a stage of the training loop: tensors in, numbers out."""

import torch
from torch import Tensor, nn

from nnanomaly.device import autocast
from nnanomaly.lesion_head.examples import LESION, WEIGHT
from nnanomaly.networks.lesion_head import lesion_loss
from nnanomaly.plans import HEAD_INPUTS, HeadPlan
from nnanomaly.training.optimisation import Batch, build_optimizer, clip_and_step

SEEN, HELD_OUT = 0, 1
"""Labels of validation examples: kinds of lesions that are trained on, and kinds that are not."""


class HeadStage:
    """Trains `network(x [B, C, *S]) -> logits [B, 1, *S]` on examples `[B, 6, *S]` of `training_example`."""

    monitor = "error"

    def __init__(self, network: nn.Module, plan: HeadPlan, *, device: torch.device) -> None:
        self.network = network.to(device)
        self.plan = plan
        self.device = device
        self.channels = [HEAD_INPUTS.index(name) for name in plan.inputs]
        self.optimizer = build_optimizer(network.parameters(), plan.training, plan.training.learning_rate)

    def modules(self) -> dict[str, nn.Module]:
        """The head."""
        return {"head": self.network}

    def averaged_module(self) -> str:
        """The head."""
        return "head"

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One optimiser."""
        return {"head": self.optimizer}

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """Cross-entropy and Dice on one batch."""
        self.network.train()
        x, target, weight = self._split(batch)
        loss = lesion_loss(self._logits(self.network, x), target, weight)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = clip_and_step(self.optimizer, self.plan.training.gradient_clip)
        return {"loss": loss.item(), "gradient_norm": norm}

    @torch.no_grad()
    def validate(self, batches: list[Batch], module: nn.Module, generator: torch.Generator) -> dict[str, float]:
        """Dice of the lesions at probability 0.5, of the kinds seen and held out; `error` = 1 - their mean."""
        overlap, total = torch.zeros(2), torch.zeros(2)
        for batch in batches:
            x, target, weight = self._split(batch)
            found = (self._logits(module, x) > 0) & (weight > 0)
            both = (found * target).sum(dim=(1, 2, 3, 4)).cpu()
            sizes = (found.float() + target * weight).sum(dim=(1, 2, 3, 4)).cpu()
            overlap.index_add_(0, batch["label"], 2 * both)
            total.index_add_(0, batch["label"], sizes)
        dice = {
            name: float(overlap[k] / total[k].clamp(min=1)) for k, name in ((SEEN, "dice"), (HELD_OUT, "dice_held_out"))
        }
        present = [value for (_, value), size in zip(dice.items(), total, strict=True) if size > 0]
        return {**dice, "error": 1 - sum(present) / max(1, len(present))}

    @torch.no_grad()
    def pictures(self, batch: Batch, module: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        """Middle coronal slice of a held-out example: image, lesions, probability."""
        x, target, _ = self._split({name: value[:1] for name, value in batch.items()})
        probability = torch.sigmoid(self._logits(module, x))[0, 0].cpu()
        middle = probability.shape[1] // 2
        image = batch["patch"][0, 0, :, middle].float()
        return {
            "image": image.flip(0),
            "inserted": 2 * target[0, 0, :, middle].cpu().flip(0) - 1,
            "probability": 2 * probability[:, middle].flip(0) - 1,
        }

    def _split(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        patch = batch["patch"].to(self.device).float()
        return patch[:, self.channels], patch[:, LESION : LESION + 1], patch[:, WEIGHT : WEIGHT + 1]

    def _logits(self, network: nn.Module, x: Tensor) -> Tensor:
        with autocast(self.device, self.plan.training.precision):
            logits: Tensor = network(x)
        return logits.float()
