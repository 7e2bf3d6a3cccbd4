"""The autoencoder: reconstruction, perceptual and adversarial losses around a bottleneck (see `bottlenecks`).

METHOD 1.3 to 1.5. The discriminators learn from the first iteration (a hinge discriminator needs a warm start), the
generator feels them from `discriminator_start` on.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnanomaly.device import autocast
from nnanomaly.networks.losses import (
    discriminator_hinge_loss,
    feature_matching_loss,
    generator_hinge_loss,
    random_slices,
)
from nnanomaly.plans import VQGANPlan
from nnanomaly.training.bottlenecks import Bottleneck, Coded
from nnanomaly.training.optimisation import Batch, build_optimizer, clip_and_step

PerceptualLoss = Callable[[Tensor, Tensor, torch.Generator], Tensor]


class VQGANStage:
    """Trains an autoencoder, with a codebook or with Gaussian latents, on patches `[B, 1, Z, Y, X]` in [-1, 1]."""

    monitor = "l1"

    def __init__(
        self,
        bottleneck: Bottleneck,
        discriminators: nn.ModuleDict,
        plan: VQGANPlan,
        *,
        perceptual: PerceptualLoss | None,
        device: torch.device,
    ) -> None:
        """`bottleneck` holds the network; `discriminators`: `slices` (2D) and `volumes` (3D), or none of them;
        `perceptual(x, reconstruction, generator)`.
        """
        self.perceptual = perceptual
        self.bottleneck = bottleneck
        self.vqgan = bottleneck.network.to(device)
        self.discriminators = discriminators.to(device)
        self.plan = plan
        self.device = device
        self.optimizer = build_optimizer(self.vqgan.parameters(), plan.training, plan.training.learning_rate)
        self.judges = (
            build_optimizer(discriminators.parameters(), plan.training, plan.discriminator_learning_rate)
            if len(discriminators)
            else None
        )

    def modules(self) -> dict[str, nn.Module]:
        """Autoencoder, with its codebook if it has one, and the discriminators."""
        return {"vqgan": self.vqgan, "discriminators": self.discriminators}

    def averaged_module(self) -> str:
        """The autoencoder."""
        return "vqgan"

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One for the autoencoder, one for the discriminators."""
        judges: dict[str, torch.optim.Optimizer] = {"discriminators": self.judges} if self.judges else {}
        return {"vqgan": self.optimizer, **judges}

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """One step of the autoencoder and its codebook, and one of the discriminators."""
        self.vqgan.train()
        x = batch["patch"].to(self.device)
        with autocast(self.device, self.plan.training.precision):
            out = self.bottleneck.code(x, generator)
        numbers = self._generator_step(x, out, batch, generator)
        numbers |= out.learn()
        if self.judges is not None:
            numbers |= self._discriminator_step(x, out.reconstruction.detach().float(), generator)
        return numbers

    def _generator_step(self, x: Tensor, out: Coded, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        reconstruction = out.reconstruction.float()
        error = functional.l1_loss(reconstruction, x)
        terms = {"l1": self.plan.reconstruction_weight * error, **out.terms()}
        if self.perceptual is not None:
            terms["perceptual"] = self.plan.perceptual_weight * self.perceptual(x, reconstruction, generator)
        if self.judges is not None and int(batch["iteration"]) >= self.plan.discriminator_start:
            terms |= self._adversarial_terms(x, reconstruction, generator)
        loss = torch.stack(list(terms.values())).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = clip_and_step(self.optimizer, self.plan.training.gradient_clip)
        numbers = {name: term.item() for name, term in terms.items()}
        numbers["l1"] = error.item()  # without its weight: it shares a curve with the error on held-out patches
        return {"loss": loss.item(), **numbers, "gradient_norm": norm}

    def _adversarial_terms(self, x: Tensor, fake: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Adversarial and feature-matching terms of both discriminators."""
        adversarial, matching = [], []
        for name, real_view, fake_view in self._views(x, fake, generator):
            judge = self.discriminators[name].requires_grad_(False)
            with autocast(self.device, self.plan.training.precision):
                judged, real = judge(fake_view), judge(real_view)
            adversarial.append(generator_hinge_loss(judged.logits.float()))
            matching.append(feature_matching_loss(judged.features, real.features))
            judge.requires_grad_(True)
        return {
            "adversarial": self.plan.adversarial_weight * torch.stack(adversarial).sum(),
            "feature_matching": self.plan.feature_matching_weight * torch.stack(matching).sum(),
        }

    def _discriminator_step(self, x: Tensor, fake: Tensor, generator: torch.Generator) -> dict[str, float]:
        assert self.judges is not None
        losses = []
        for name, real_view, fake_view in self._views(x, fake, generator):
            with autocast(self.device, self.plan.training.precision):
                real, judged = self.discriminators[name](real_view), self.discriminators[name](fake_view)
            losses.append(discriminator_hinge_loss(real.logits.float(), judged.logits.float()))
        loss = torch.stack(losses).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = clip_and_step(self.judges, self.plan.training.gradient_clip)
        return {"discriminator": loss.item(), "discriminator_gradient_norm": norm}

    def _views(self, x: Tensor, fake: Tensor, generator: torch.Generator) -> list[tuple[str, Tensor, Tensor]]:
        """What each discriminator sees: random slices, and the whole."""
        real_slices, fake_slices = random_slices(x, fake, generator=generator)
        return [("slices", real_slices, fake_slices), ("volumes", x, fake)]

    @torch.no_grad()
    def validate(self, batches: list[Batch], module: nn.Module, generator: torch.Generator) -> dict[str, float]:
        """Mean absolute error, PSNR (of a range of 2), and what the bottleneck reports."""
        errors, parts = [], []
        for batch in batches:
            x = batch["patch"].to(self.device)
            with autocast(self.device, self.plan.training.precision):
                reconstruction, part = self.bottleneck.validate(module, x)
            errors.append(reconstruction.float() - x)
            parts.append(part)
        return {**fidelity(errors), **self.bottleneck.summary(parts)}

    @torch.no_grad()
    def pictures(self, batch: Batch, module: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        """Middle coronal slice of a held-out patch, its reconstruction, and their difference."""
        x = batch["patch"][:1].to(self.device)
        with autocast(self.device, self.plan.training.precision):
            reconstruction = module(x).reconstruction.float()
        return compare(x, reconstruction)


def fidelity(errors: Sequence[Tensor]) -> dict[str, float]:
    """Mean absolute error and PSNR (of a range of 2) from the errors of each batch, batches weighing the same."""
    absolute = [float(error.abs().mean()) for error in errors]
    squares = [float(error.square().mean()) for error in errors]
    mean_square = sum(squares) / len(squares)
    psnr = float(10 * torch.log10(torch.tensor(4.0 / max(mean_square, 1e-12))))
    return {"l1": sum(absolute) / len(absolute), "psnr_db": psnr}


def compare(x: Tensor, reconstruction: Tensor) -> dict[str, Tensor]:
    """Middle coronal slices of the first patches of [B, 1, Z, Y, X], head up, and their difference."""
    middle = x.shape[3] // 2
    pair = [volume[0, 0, :, middle].flip(0).cpu() for volume in (x, reconstruction)]
    return {"input": pair[0], "reconstruction": pair[1], "difference": pair[1] - pair[0]}
