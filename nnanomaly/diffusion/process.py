"""A diffusion process: which levels there are, how noise is added, what is learnt, and what a network is told.

Everything in which processes differ stands here, so that training, reconstruction and tuning know a `Process` and no
name of one. A level is a number of the process's own: sigma in `EDM`, a time in `VP`; levels are tensors [B].
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from nnanomaly.diffusion.denoiser import Denoiser, Network, edm_denoiser, edm_loss, eps_denoiser, eps_loss
from nnanomaly.diffusion.noise import Noise
from nnanomaly.diffusion.schedule import NoiseSchedule, condition_of, karras_sigmas, per_item, strided_times

SMALLEST_SIGMA = 0.02
"""Where the grid of a sampler in sigma ends before the clean image."""
SMALLEST_DRAWN_SIGMA = 0.002
SMALLEST_CLASSIFIER_SIGMA = 0.05
SIGMA_FACTORS = (0.25, 0.5, 0.75, 1.0, 1.5)
"""Of a noise level: those around it, for noise levels as sigma."""
DISCRETE_LEVELS = (250, 400, 500, 600, 750)
"""Those of a discrete schedule, in steps of 1000; the paper chose 500."""


class Process(Protocol):
    """How images and noise are mixed, and how the mixture is undone."""

    @property
    def noise(self) -> Noise:
        """What the noise of training, of noising upwards and of stochastic steps is."""

    @property
    def validation_levels(self) -> tuple[float, ...]:
        """Levels at which the loss of held-out images is measured."""

    @property
    def largest_sigma(self) -> float:
        """Highest noise level in training; nothing of an image is left of it there."""

    def draw_levels(self, count: int, generator: torch.Generator) -> Tensor:
        """[count] levels for training the denoiser."""

    def draw_classifier_sigmas(self, count: int, generator: torch.Generator, *, largest: float) -> Tensor:
        """[count] noise levels as sigma, float32, for training a classifier of noisy images."""

    def level_of(self, sigma: float) -> Tensor:
        """The level, a number, whose noise is nearest to sigma."""

    def grid(self, sigma: float, num_steps: int) -> Tensor:
        """Ascending levels that a sampler walks between the clean image and `level_of(sigma)`."""

    def add_noise(self, x0: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """The state at a level of x0 [B, C, *S] with unit-variance noise like it."""

    def loss(self, network: Network, x0: Tensor, level: Tensor, *, noise: Tensor) -> Tensor:
        """What training makes small, a scalar."""

    def denoiser(self, network: Network) -> Denoiser:
        """From a network trained by `loss` to the denoiser of states of `add_noise`."""

    def classifier_input(self, x: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """What a classifier is shown of states [B, C, *S]: scaled to unit variance, and ln(sigma) / 4 [B]."""

    def sigmas_around(self, sigma: float) -> list[float]:
        """Noise levels worth trying where sigma is the one that was planned, ascending."""

    def steps_between(self, planned: float, sigma: float, num_steps: int) -> int:
        """How many steps sigma takes where the planned noise level takes `num_steps`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EDM:
    """Noise level as sigma, VE coordinates, preconditioned network (Karras et al., 2022; METHOD 2.3)."""

    noise: Noise
    """White or structured."""
    log_sigma_mean: float
    """Mean of ln(sigma) in training."""
    log_sigma_std: float
    """Standard deviation of ln(sigma) in training."""
    largest_sigma: float
    """Where it is cut off."""

    @property
    def validation_levels(self) -> tuple[float, ...]:
        """Sigmas."""
        return (0.1, 0.3, 1.0, 3.0)

    def draw_levels(self, count: int, generator: torch.Generator) -> Tensor:
        """Sigmas with normal logarithm."""
        log_sigma = self.log_sigma_mean + self.log_sigma_std * torch.randn(count, generator=generator)
        return torch.exp(log_sigma).clamp(SMALLEST_DRAWN_SIGMA, self.largest_sigma)

    def draw_classifier_sigmas(self, count: int, generator: torch.Generator, *, largest: float) -> Tensor:
        """Sigmas with uniform logarithm."""
        low = SMALLEST_CLASSIFIER_SIGMA
        return low * (largest / low) ** torch.rand(count, generator=generator)

    def level_of(self, sigma: float) -> Tensor:
        """Sigma itself."""
        return torch.tensor(sigma)

    def grid(self, sigma: float, num_steps: int) -> Tensor:
        """0 and `num_steps` intervals of `karras_sigmas` above it."""
        return karras_sigmas(SMALLEST_SIGMA, sigma, num_steps)

    def add_noise(self, x0: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """`x = x0 + sigma noise`."""
        return x0 + per_item(level, x0) * noise

    def loss(self, network: Network, x0: Tensor, level: Tensor, *, noise: Tensor) -> Tensor:
        """Weighted square error of the clean image."""
        return edm_loss(network, x0, level, noise=noise)

    def denoiser(self, network: Network) -> Denoiser:
        """With the preconditioning of the loss."""
        return edm_denoiser(network)

    def classifier_input(self, x: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """The state divided by its standard deviation."""
        return classifier_input(x, level)

    def sigmas_around(self, sigma: float) -> list[float]:
        """Multiples, as far as it was trained."""
        return [factor * sigma for factor in SIGMA_FACTORS if factor * sigma <= self.largest_sigma]

    def steps_between(self, planned: float, sigma: float, num_steps: int) -> int:
        """As many: they crowd where they are needed."""
        return num_steps


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VP:
    """Times of a discrete schedule, VP coordinates, the network predicts the noise (Ho et al., 2020; METHOD 2.2)."""

    noise: Noise
    """White or structured."""
    schedule: NoiseSchedule
    """Noise level of every time."""

    @property
    def validation_levels(self) -> tuple[float, ...]:
        """Odd tenths of all times."""
        return tuple(float(self.schedule.num_timesteps * k // 10) for k in range(1, 10, 2))

    @property
    def largest_sigma(self) -> float:
        """That of the last time."""
        return float(self.schedule.sigma[-1])

    def draw_levels(self, count: int, generator: torch.Generator) -> Tensor:
        """Uniformly drawn times."""
        return torch.randint(self.schedule.num_timesteps, (count,), generator=generator)

    def draw_classifier_sigmas(self, count: int, generator: torch.Generator, *, largest: float) -> Tensor:
        """The noise levels of uniformly drawn times: the schedule says which, whatever `largest`."""
        return self.schedule.sigma[self.draw_levels(count, generator)].float()

    def level_of(self, sigma: float) -> Tensor:
        """The time nearest in ln(sigma)."""
        return self.schedule.time_of(torch.tensor(sigma, dtype=torch.float64)).round().long()

    def grid(self, sigma: float, num_steps: int) -> Tensor:
        """`num_steps` times, or all of them where there are fewer; the clean image is no time."""
        last = int(self.level_of(sigma))
        return strided_times(last, min(num_steps, last + 1))

    def add_noise(self, x0: Tensor, noise: Tensor, level: Tensor) -> Tensor:
        """`x_t = sqrt(abar) x0 + sqrt(1 - abar) noise`."""
        return self.schedule.add_noise(x0, noise, level)

    def loss(self, network: Network, x0: Tensor, level: Tensor, *, noise: Tensor) -> Tensor:
        """Mean absolute error of the noise."""
        return eps_loss(network, x0, level.long(), noise=noise, schedule=self.schedule)

    def denoiser(self, network: Network) -> Denoiser:
        """Not clamped."""
        return eps_denoiser(network, self.schedule)

    def classifier_input(self, x: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """The state as it is."""
        return x, condition_of(self.schedule.sigma_of(level)).float()

    def sigmas_around(self, sigma: float) -> list[float]:
        """Those of well-known times, whatever was planned."""
        times = torch.tensor([level * self.schedule.num_timesteps // 1000 for level in DISCRETE_LEVELS])
        return [round(float(sigma), 4) for sigma in self.schedule.sigma_of(times)]

    def steps_between(self, planned: float, sigma: float, num_steps: int) -> int:
        """In proportion, so that the stride stays."""
        before, after = self.schedule.time_of(torch.tensor([planned, sigma], dtype=torch.float64)).tolist()
        return max(1, round(num_steps * (after + 1) / (before + 1)))


def classifier_input(x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """What a classifier is shown of `x = x0 + sigma noise`: `x / sqrt(1 + sigma^2)` and ln(sigma) / 4 [B]."""
    level = sigma.float()
    return x / torch.sqrt(1 + per_item(level, x) ** 2), condition_of(level)
