"""The diffusion stage: what the network is told of the class, and that it learns the difference."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from nnanomaly.diffusion.denoiser import edm_denoiser
from nnanomaly.diffusion.noise import gaussian
from nnanomaly.diffusion.process import EDM
from nnanomaly.networks.classifier import OrganState
from nnanomaly.networks.conditioning import NULL_CLASS, ClassConditionedUNet
from nnanomaly.networks.unet import UNet3D
from nnanomaly.plans import DiffusionPlan, TrainingPlan
from nnanomaly.training.diffusion_stage import DiffusionStage, drop_labels, with_class, without_class

PLAN = DiffusionPlan(
    architecture="unet3d",
    widths=(8,),
    blocks_per_level=1,
    process="edm",
    latent_scaling="standardise",
    class_dropout=0.15,
    training=TrainingPlan(num_iterations=1, batch_size=8, learning_rate=1e-2, gradient_clip=1.0),
)
LABELS = torch.tensor([OrganState.HEALTHY, OrganState.UNHEALTHY] * 4)


class Spy(nn.Module):
    """Remembers the labels it is told; says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(()))
        self.told: list[Tensor] = []

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        """[B, C, *S], [B], [B] -> [B, C, *S]."""
        if label is not None:
            self.told.append(label)
        return self.scale * x


def stage_of(network: nn.Module, *, conditional: bool, accumulation: int = 1) -> DiffusionStage:
    plan = replace(PLAN, training=replace(PLAN.training, accumulation=accumulation))
    return DiffusionStage(
        network,
        plan,
        process=EDM(noise=gaussian, log_sigma_mean=0.0, log_sigma_std=1.0, largest_sigma=4.0),
        device=torch.device("cpu"),
        bind=with_class(plan.class_dropout) if conditional else without_class,
        show=lambda network, latents, generator: (latents, network(latents, torch.zeros(len(latents)))),
    )


def batch_of(swapped: bool = False, *, seed: int = 0) -> dict[str, Tensor]:
    """Healthy latents lie around +1, unhealthy ones around -1."""
    sign = (1 - 2 * LABELS.float()).view(-1, 1, 1, 1, 1)
    noise = torch.randn(8, 1, 2, 2, 2, generator=torch.Generator().manual_seed(seed))
    return {"patch": sign + 0.3 * noise, "label": 1 - LABELS if swapped else LABELS}


def test_the_planned_share_of_labels_is_withheld_and_the_rest_is_told() -> None:
    labels = torch.tensor([OrganState.HEALTHY, OrganState.UNHEALTHY]).repeat(20_000)
    told = drop_labels(labels, 0.15, torch.Generator().manual_seed(0))
    withheld = told == NULL_CLASS
    assert float(withheld.float().mean()) == pytest.approx(0.15, abs=0.005)
    assert torch.equal(told[~withheld], labels[~withheld])
    for label in (OrganState.HEALTHY, OrganState.UNHEALTHY):  # of both alike
        assert float(withheld[labels == label].float().mean()) == pytest.approx(0.15, abs=0.01)
    assert torch.equal(told, drop_labels(labels, 0.15, torch.Generator().manual_seed(0)))
    assert torch.equal(drop_labels(labels, 0.0, torch.Generator().manual_seed(0)), labels)


def test_every_part_of_a_batch_is_told_its_own_labels() -> None:
    spy = Spy()
    stage = stage_of(spy, conditional=True, accumulation=4)
    for iteration in range(20):
        stage.step(batch_of(), torch.Generator().manual_seed(iteration))
    assert [len(told) for told in spy.told] == [2] * 80
    told = torch.cat(spy.told)
    said = told != NULL_CLASS
    assert torch.equal(told[said], LABELS.repeat(20)[said])
    assert 0.05 < float((~said).float().mean()) < 0.3


def test_the_unconditional_network_is_told_nothing() -> None:
    spy = Spy()
    stage = stage_of(spy, conditional=False)
    stage.step(batch_of(), torch.Generator().manual_seed(0))
    stage.validate([batch_of()], spy, torch.Generator().manual_seed(0))
    assert spy.told == []


def test_training_and_validation_draw_no_noise_but_that_of_the_process() -> None:
    drawn: list[tuple[int, ...]] = []

    def silence(shape: Sequence[int], generators: Sequence[torch.Generator]) -> Tensor:
        drawn.append((len(generators), *shape))
        return torch.zeros(len(generators), *shape)

    stage = stage_of(Spy(), conditional=False)
    stage.process = replace(stage.process, noise=silence)
    stage.step(batch_of(), torch.Generator().manual_seed(0))
    stage.validate([batch_of()], stage.network, torch.Generator().manual_seed(0))
    assert drawn == [(8, 1, 2, 2, 2)] * 5  # once to train, and at four levels


def test_validation_is_the_same_every_time() -> None:
    torch.manual_seed(0)
    network = ClassConditionedUNet(UNet3D(PLAN, 1))
    stage = stage_of(network, conditional=True)
    first, second = (stage.validate([batch_of()], network, torch.Generator().manual_seed(7)) for _ in range(2))
    assert first == second
    assert set(first) == {"loss", *(f"loss_level_{level}" for level in ("0.1", "0.3", "1", "3"))}


@pytest.mark.slow
@pytest.mark.parametrize("swapped", [False, True])
def test_a_trained_network_denoises_towards_the_class_it_is_told(swapped: bool) -> None:
    torch.manual_seed(0)
    network = ClassConditionedUNet(UNet3D(PLAN, 1))
    stage = stage_of(network, conditional=True)
    for iteration in range(300):
        stage.step(batch_of(swapped, seed=iteration), torch.Generator().manual_seed(iteration))

    def clean(value: float, label: int) -> float:
        bound = edm_denoiser(lambda v, time: network.eval()(v, time, torch.tensor([label])))
        with torch.no_grad():
            return float(bound(torch.full((1, 1, 2, 2, 2), value), torch.tensor([2.0])).x0.mean())

    sign = -1 if swapped else 1
    for value in (-0.4, 0.4):  # it could be either: the label decides
        assert sign * clean(value, OrganState.HEALTHY) > 0.5
        assert sign * clean(value, OrganState.UNHEALTHY) < -0.5
    assert clean(1.0, NULL_CLASS) > 0.5  # without one the input
    assert clean(-1.0, NULL_CLASS) < -0.5
