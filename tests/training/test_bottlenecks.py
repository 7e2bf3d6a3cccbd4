"""Stage 1 with each bottleneck: its own terms, what it reports, and that it learns a patch by heart."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nnanomaly.networks.vqgan import VQGAN
from nnanomaly.plans import TrainingPlan, VQGANPlan
from nnanomaly.training.stage_setup import BOTTLENECKS
from nnanomaly.training.vqgan_stage import VQGANStage, compare, fidelity

CPU = torch.device("cpu")
PLAN = VQGANPlan(
    architecture="resize",
    stride=(2, 2, 2),
    latent_channels=4,
    num_codes=32,
    widths=(4, 8),
    restart_every=10,
    training=TrainingPlan(num_iterations=1, batch_size=1, learning_rate=5e-3),
)


def patch(size: int = 16) -> Tensor:
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, size) for _ in range(3)), indexing="ij")
    return (torch.tanh(6 * (0.7 - (z**2 + y**2 + x**2).sqrt())) * 0.7 + 0.2 * torch.sin(4 * x))[None, None]


def stage_of(codec: str, **changes: Any) -> VQGANStage:
    torch.manual_seed(0)
    plan = replace(PLAN, codec=codec, **changes)
    return VQGANStage(BOTTLENECKS[codec](plan), nn.ModuleDict(), plan, perceptual=None, device=CPU)


def train(stage: VQGANStage, x: Tensor, iterations: int) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for iteration in range(iterations):
        batch = {"patch": x, "iteration": torch.tensor(iteration)}
        numbers = stage.step(batch, torch.Generator().manual_seed(iteration))
    return numbers


def validate(stage: VQGANStage, x: Tensor) -> dict[str, float]:
    return stage.validate([{"patch": x}], stage.vqgan, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("codec", "term", "reported"), [("vq", "commitment", {"perplexity"}), ("kl", "kl", {"kl_nats", "latent_noise"})]
)
def test_a_codec_has_its_own_term_and_reports_its_error(codec: str, term: str, reported: set[str]) -> None:
    stage, x = stage_of(codec), patch()
    first = train(stage, x, 1)
    assert {"loss", "l1", term} <= set(first)
    weight = stage.plan.reconstruction_weight
    assert weight != 1
    assert first["loss"] == pytest.approx(weight * first["l1"] + first[term])  # an error, as on held-out patches
    before = validate(stage, x)
    assert set(before) == {"l1", "psnr_db"} | reported
    train(stage, x, 100)
    after = validate(stage, x)
    assert after["l1"] < 0.15 * float(x.abs().mean())
    assert after["psnr_db"] > before["psnr_db"] + 5
    # The error that is reported is that of the codec's own round trip.
    network = stage.vqgan
    with torch.no_grad():
        z = network.encode(x)
        decoded = network.decode_nearest(z) if isinstance(network, VQGAN) else network.decode(z)
    assert float((decoded - x).abs().mean()) == pytest.approx(after["l1"], rel=1e-4)


def test_a_heavy_divergence_draws_the_latents_to_a_unit_gaussian_and_a_light_one_lets_them_be_sharp() -> None:
    x = patch()
    noise = {}
    for weight in (1e-6, 1.0):
        stage = stage_of("kl", kl_weight=weight)
        train(stage, x, 100)
        noise[weight] = validate(stage, x)
    assert noise[1.0]["kl_nats"] < 0.1 * noise[1e-6]["kl_nats"]
    assert noise[1.0]["latent_noise"] == pytest.approx(1.0, abs=0.1)
    assert noise[1e-6]["latent_noise"] < 0.7


def test_the_term_of_kl_is_its_weight_times_the_divergence_of_the_patch() -> None:
    stage, x = stage_of("kl", kl_weight=0.01), patch()
    expected = validate(stage, x)["kl_nats"]
    assert train(stage, x, 1)["kl"] == pytest.approx(0.01 * expected, rel=1e-5)


def test_training_decodes_a_draw_that_follows_the_generator() -> None:
    x = patch(8)
    bottleneck = stage_of("kl").bottleneck
    first, again, other = (bottleneck.code(x, torch.Generator().manual_seed(seed)).reconstruction for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_fidelity_by_hand() -> None:
    numbers = fidelity([torch.tensor([0.1, -0.3]), torch.tensor([0.2])])
    assert numbers["l1"] == pytest.approx(0.2)
    assert numbers["psnr_db"] == pytest.approx(10 * torch.log10(torch.tensor(4 / 0.045)).item(), rel=1e-5)


def test_pictures_show_the_middle_with_the_head_up() -> None:
    x = torch.arange(27.0).reshape(1, 1, 3, 3, 3)
    pictures = compare(x, x + 1)
    assert pictures["input"].tolist() == [[21.0, 22.0, 23.0], [12.0, 13.0, 14.0], [3.0, 4.0, 5.0]]
    assert pictures["difference"].unique().tolist() == [1.0]
