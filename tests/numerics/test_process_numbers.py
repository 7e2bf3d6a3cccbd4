"""Numbers of both diffusion processes, from drawing levels to the reconstruction, against values recorded once.

They stand for every trained model there is: a change here changes what it was trained on or what it answers. Networks
answer by a formula wherever it can be, so that machines agree; the values lie in `process_numbers.json`.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nnanomaly.dataset.organ_labels import HEALTHY, UNHEALTHY
from nnanomaly.inference.inpainting import build_inpainter
from nnanomaly.inference.reconstruct import LatentModels, build_reconstructor
from nnanomaly.plans import Plans
from nnanomaly.training.stage_setup import setup_classifier, setup_ddpm
from nnanomaly.tuning.sweep.settings import candidate_plans

CPU = torch.device("cpu")
RECORDED = Path(__file__).with_name("process_numbers.json")
ROUND_TRIPS: dict[str, dict[str, Any]] = {
    "default heun inverted": {"encode": "invert", "guidance": "none"},
    "default heun noised": {"guidance": "none", "num_samples": 2, "extra_sigmas": (0.7,)},
    "default heun inverted relative": {"encode": "invert", "guidance": "relative"},
    "default heun noised relative": {"guidance": "relative", "num_samples": 2, "residual_of": "unguided"},
    "default heun noised free": {"guidance": "free", "guidance_scale": 1.5, "residual_of": "unguided"},
    "default heun inverted free": {"guidance": "free", "guidance_scale": 1.5, "encode": "invert"},
    "default one step": {"sampler": "one_step", "guidance": "none", "extra_sigmas": (0.5,)},
    "paper ddim inverted": {"guidance": "none"},
    "paper ddim noised": {"guidance": "none", "encode": "noise", "num_samples": 2},
    "paper ddim gradient": {"guidance": "gradient", "guidance_scale": 3.0},
    "paper ddim noised gradient": {"guidance": "gradient", "guidance_scale": 3.0, "encode": "noise"},
    "paper ddpm": {"sampler": "ddpm", "guidance": "none", "encode": "noise"},
    "paper ddpm gradient": {"sampler": "ddpm", "guidance": "gradient", "guidance_scale": 3.0, "encode": "noise"},
}
INPAINTED = ("default heun noised", "default heun noised relative", "default heun noised free")


class Halves:
    """A codec of four channels at half the resolution."""

    def encode(self, x: Tensor) -> Tensor:
        """[B, 1, Z, Y, X] -> [B, 4, Z/2, Y/2, X/2]."""
        return torch.cat([functional.avg_pool3d(x, 2) * (k + 1) for k in range(4)], dim=1)

    def decode(self, z: Tensor) -> Tensor:
        """The mean of the channels, each value eight times."""
        return functional.interpolate(z.mean(dim=1, keepdim=True) / 2.5, scale_factor=2.0, mode="nearest")


class Formula(nn.Module):
    """Stands for the U-Net: every voxel for itself."""

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        """[B, C, *S], [B], [B] -> [B, C, *S]."""
        shift = 0.1 * torch.cos(time) if label is None else 0.1 * torch.cos(time) + 0.2 * label
        return torch.tanh(0.7 * x) + shift.to(x).view(-1, 1, 1, 1, 1) / (1 + x**2)


class Judge(nn.Module):
    """Stands for the classifier."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """[B, C, *S], [B] -> [B, 2]."""
        return torch.stack([2 * x.flatten(1).mean(dim=1) + time.to(x), x.flatten(1).square().mean(dim=1)], dim=1)


@dataclass(frozen=True)
class Patches:
    """Stands for the patches of one side of a fold: 16^3 voxels of noise, by name."""

    names: tuple[str, ...]
    labels: tuple[str, ...]

    def where(self, *labels: str) -> "Patches":
        """Those with one of the labels."""
        kept = [pair for pair in zip(self.names, self.labels, strict=True) if pair[1] in labels]
        return Patches(tuple(name for name, _ in kept), tuple(label for _, label in kept))

    def loader(self) -> Callable[[int], np.ndarray]:
        """Position -> [3, 16, 16, 16]."""
        return lambda index: np.random.default_rng(int(self.names[index])).normal(0, 0.4, (3, 16, 16, 16))


TRAIN, VAL = (Patches(tuple(map(str, range(a, a + 8))), (HEALTHY, UNHEALTHY) * 4) for a in (0, 100))


def plans_of(tiny_plans: Callable[..., Plans], preset: str, **changes: Any) -> Plans:
    """Tiny plans with other fields of the inference, and what these need of the diffusion model."""
    plans = tiny_plans(preset, dataset="Dataset501_X")
    free = changes.get("guidance") == "free"
    return replace(
        plans,
        ddpm=replace(plans.ddpm, class_dropout=0.15 if free else 0.0),
        inference=replace(plans.inference, quantise=False, num_steps=5, precision="fp32", **changes),
    )


def values(result: dict[str, float]) -> Tensor:
    """The numbers of a stage in the order of their names, in float64."""
    return torch.tensor([result[name] for name in sorted(result)], dtype=torch.float64)


def numbers_of_training(plans: Plans, name: str) -> Iterator[tuple[str, Tensor]]:
    """Steps, validation and pictures of the diffusion model and the classifier."""
    run = SimpleNamespace(plans=plans, train=TRAIN, val=VAL, codec=Halves, device=CPU, num_workers=0)
    for setup, kind, stand_in in ((setup_ddpm, "diffusion", Formula()), (setup_classifier, "classifier", Judge())):
        made = setup(run)  # type: ignore[operator]
        generator = torch.Generator().manual_seed(11)
        steps = [values(made.stage.step(batch, generator)) for batch in made.batches(0, 2)]
        yield f"{name} {kind} steps", torch.stack(steps)
        yield f"{name} {kind} validation", values(made.stage.validate(made.validation, stand_in, generator))
        odd = [{**batch, "patch": batch["patch"][..., :3, :5, :7]} for batch in made.validation]
        yield f"{name} {kind} validation of odd extents", values(made.stage.validate(odd, stand_in, generator))
        for picture, shown in made.stage.pictures(made.validation[0], stand_in, generator).items():
            yield f"{name} {kind} picture {picture}", shown
        yield f"{name} {kind} generator", torch.rand(3, generator=generator)


def numbers_of_reconstruction(
    plans: Plans, name: str, networks: tuple[nn.Module, nn.Module]
) -> Iterator[tuple[str, Tensor]]:
    """Reconstructions of two patches in one batch, and of inpainting where the table asks for it."""
    unet, classifier = networks
    models = LatentModels(unet=unet, classifier=classifier, diffusion=plans.ddpm, inference=plans.inference)
    patches = [TRAIN.loader()(index)[0] for index in range(2)]
    result = build_reconstructor(Halves(), models, seed=4, device=CPU)(patches, ["a", "b"])
    for number, level in enumerate((result, *result.extra)):
        yield f"{name} level {number}", level.healthy
        if level.unguided is not None:
            yield f"{name} level {number} unguided", level.unguided
    if name in INPAINTED:
        mask = np.zeros((16, 16, 16), dtype=bool)
        mask[4:9, 5:11, 6:12] = True
        drawn = build_inpainter(Halves(), models, seed=4, device=CPU)(patches[0].astype(np.float32), mask, "a")
        yield f"{name} inpainted", torch.from_numpy(drawn)


def numbers_of_a_sweep(plans: Plans, name: str) -> Iterator[tuple[str, Tensor]]:
    """Noise level, steps and scale of everything a sweep tries."""
    tried = [c.inference for c in candidate_plans(plans, sigmas=None, scales=None)]
    tried += [c.inference for c in candidate_plans(plans, sigmas=[0.31, 1.3], scales=[0.2])]
    yield f"{name} sweep", torch.tensor([(t.sigma, t.num_steps, t.guidance_scale) for t in tried], dtype=torch.float64)


def all_numbers(tiny_plans: Callable[..., Plans]) -> Iterator[tuple[str, Tensor]]:
    """Everything this module looks at."""
    for preset in ("default", "paper"):
        plans = plans_of(tiny_plans, preset)
        yield from numbers_of_training(plans, preset)
        yield from numbers_of_a_sweep(plans, preset)
    yield from numbers_of_training(plans_of(tiny_plans, "default", guidance="free"), "default conditional")
    for name, changes in ROUND_TRIPS.items():
        plans = plans_of(tiny_plans, name.split()[0], **changes)
        yield from numbers_of_reconstruction(plans, name, (Formula(), Judge()))
    unscaled = plans_of(tiny_plans, "paper", **ROUND_TRIPS["paper ddpm gradient"])
    unscaled = replace(unscaled, ddpm=replace(unscaled.ddpm, latent_scaling="standardise"))
    yield from numbers_of_reconstruction(unscaled, "paper ddpm gradient unclamped", (Formula(), Judge()))


def summary(numbers: Tensor) -> list[float]:
    """A short array as it is; of a longer one mean, standard deviation and three values."""
    flat = numbers.double().flatten()
    few = flat if len(flat) <= 5 else torch.cat([flat.mean()[None], flat.std()[None], flat[[0, len(flat) // 2, -1]]])
    return [float(f"{value:.9g}") for value in few.tolist()]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """The order of a sum is part of its value."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_losses_draws_and_reconstructions_are_those_of_all_trained_models(
    tiny_plans: Callable[..., Plans], one_thread: None
) -> None:
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    found = {name: summary(numbers) for name, numbers in all_numbers(tiny_plans)}
    assert found.keys() == recorded.keys()
    for name, numbers in found.items():
        # Convolutions add up in an order of their own on every machine.
        tolerance = 1e-4 if name.endswith("steps") else 1e-6
        assert numbers == pytest.approx(recorded[name], rel=tolerance, abs=1e-6), name
