"""The autoencoder: reconstruction, commitment, perceptual and adversarial losses, codebook by moving averages.

METHOD 1.3 to 1.5. The discriminators learn from the first iteration (a hinge discriminator needs a warm start), the
generator feels them from `discriminator_start` on.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnanomaly.networks.codebook import perplexity
from nnanomaly.networks.losses import (
    discriminator_hinge_loss,
    feature_matching_loss,
    generator_hinge_loss,
    random_slices,
)
from nnanomaly.networks.vqgan import VQGAN, Autoencoded
from nnanomaly.plans import VQGANPlan
from nnanomaly.training.optimisation import Batch, autocast, build_optimizer, clip_and_step

PerceptualLoss = Callable[[Tensor, Tensor, torch.Generator], Tensor]


class VQGANStage:
    """Trains the VQ-GAN on patches `[B, 1, Z, Y, X]` in [-1, 1]."""

    monitor = "l1"

    def __init__(
        self,
        vqgan: VQGAN,
        discriminators: nn.ModuleDict,
        plan: VQGANPlan,
        *,
        perceptual: PerceptualLoss | None,
        device: torch.device,
    ) -> None:
        """`discriminators`: `slices` (2D) and `volumes` (3D), or empty; `perceptual(x, reconstruction, generator)`."""
        self.perceptual = perceptual
        self.vqgan = vqgan.to(device)
        self.discriminators = discriminators.to(device)
        self.plan = plan
        self.device = device
        self.optimizer = build_optimizer(vqgan.parameters(), plan.training, plan.training.learning_rate)
        self.judges = (
            build_optimizer(discriminators.parameters(), plan.training, plan.discriminator_learning_rate)
            if len(discriminators)
            else None
        )

    def modules(self) -> dict[str, nn.Module]:
        """Autoencoder with its codebook, and the discriminators."""
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
            if not self.vqgan.codebook.initialised:
                with torch.no_grad():
                    self.vqgan.codebook.initialise(self.vqgan.encode(x), generator)
            out = self.vqgan(x)
        numbers = self._generator_step(x, out, batch, generator)
        self.vqgan.codebook.update(out.z.detach(), out.indices, generator=generator)
        if self.judges is not None:
            numbers |= self._discriminator_step(x, out.reconstruction.detach().float(), generator)
        numbers["perplexity"] = float(perplexity(out.indices, self.plan.num_codes))
        return numbers

    def _generator_step(
        self, x: Tensor, out: Autoencoded, batch: Batch, generator: torch.Generator
    ) -> dict[str, float]:
        reconstruction = out.reconstruction.float()
        terms = {
            "l1": self.plan.reconstruction_weight * functional.l1_loss(reconstruction, x),
            "commitment": self.plan.commitment_weight * functional.mse_loss(out.z.float(), out.z_q.detach()),
        }
        if self.perceptual is not None:
            terms["perceptual"] = self.plan.perceptual_weight * self.perceptual(x, reconstruction, generator)
        if self.judges is not None and int(batch["iteration"]) >= self.plan.discriminator_start:
            terms |= self._adversarial_terms(x, reconstruction, generator)
        loss = torch.stack(list(terms.values())).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = clip_and_step(self.optimizer, self.plan.training.gradient_clip)
        return {"loss": loss.item(), **{name: term.item() for name, term in terms.items()}, "gradient_norm": norm}

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
        clip_and_step(self.judges, self.plan.training.gradient_clip)
        return {"discriminator": loss.item()}

    def _views(self, x: Tensor, fake: Tensor, generator: torch.Generator) -> list[tuple[str, Tensor, Tensor]]:
        """What each discriminator sees: random slices, and the whole."""
        real_slices, fake_slices = random_slices(x, fake, generator=generator)
        return [("slices", real_slices, fake_slices), ("volumes", x, fake)]

    @torch.no_grad()
    def validate(self, batches: list[Batch], module: nn.Module, generator: torch.Generator) -> dict[str, float]:
        """Mean absolute error, PSNR (of a range of 2), and how many codes are used."""
        errors, squares, indices = [], [], []
        for batch in batches:
            x = batch["patch"].to(self.device)
            with autocast(self.device, self.plan.training.precision):
                out = module(x)
            error = out.reconstruction.float() - x
            errors.append(float(error.abs().mean()))
            squares.append(float(error.square().mean()))
            indices.append(out.indices.flatten())
        mean_square = sum(squares) / len(squares)
        return {
            "l1": sum(errors) / len(errors),
            "psnr_db": float(10 * torch.log10(torch.tensor(4.0 / max(mean_square, 1e-12)))),
            "perplexity": float(perplexity(torch.cat(indices), self.plan.num_codes)),
        }

    @torch.no_grad()
    def pictures(self, batch: Batch, module: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        """Middle coronal slice of a held-out patch, its reconstruction, and their difference."""
        x = batch["patch"][:1].to(self.device)
        with autocast(self.device, self.plan.training.precision):
            reconstruction = module(x).reconstruction.float()
        middle = x.shape[3] // 2
        pair = [volume[0, 0, :, middle].flip(0).cpu() for volume in (x, reconstruction)]
        return {"input": pair[0], "reconstruction": pair[1], "difference": pair[1] - pair[0]}
