"""Both processes: what they promise alike, and the draws, levels and grids in which they differ."""

import math

import pytest
import torch
from torch import Tensor

from nnanomaly.diffusion.noise import gaussian
from nnanomaly.diffusion.process import EDM, VP, Process, classifier_input
from nnanomaly.diffusion.schedule import cosine_schedule

SCHEDULE = cosine_schedule(1000)
EDM_PROCESS = EDM(noise=gaussian, log_sigma_mean=0.3, log_sigma_std=0.5, largest_sigma=4.5)
VP_PROCESS = VP(noise=gaussian, schedule=SCHEDULE)
BOTH = pytest.mark.parametrize("process", [EDM_PROCESS, VP_PROCESS], ids=["edm", "vp"])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def image_and_noise() -> tuple[Tensor, Tensor]:
    x0, noise = torch.randn(2, 3, 2, 4, 4, 4, generator=seeded(1))
    return x0, noise


@BOTH
def test_a_network_without_loss_is_a_denoiser_that_finds_image_and_noise(process: Process) -> None:
    x0, noise = image_and_noise()
    level = process.level_of(0.8).expand(3)

    def network(x: Tensor, time: Tensor) -> Tensor:
        """What each process trains its network to say."""
        sigma = 0.8 if process is EDM_PROCESS else float(SCHEDULE.sigma_of(level)[0])
        return (sigma * x0 - noise) / math.sqrt(1 + sigma**2) if process is EDM_PROCESS else noise

    assert float(process.loss(network, x0, level, noise=noise)) < 1e-6
    prediction = process.denoiser(network)(process.add_noise(x0, noise, level), level)
    torch.testing.assert_close(prediction.x0, x0, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(prediction.eps, noise, atol=1e-5, rtol=1e-5)


def test_a_classifier_is_shown_the_same_of_the_same_noise_in_every_process() -> None:
    x0, noise = image_and_noise()
    time = torch.tensor([20, 400, 900])
    sigma = SCHEDULE.sigma_of(time).float()
    in_vp = VP_PROCESS.classifier_input(VP_PROCESS.add_noise(x0, noise, time), time)
    in_ve = EDM_PROCESS.classifier_input(EDM_PROCESS.add_noise(x0, noise, sigma), sigma)
    in_training = classifier_input(x0 + sigma.view(-1, 1, 1, 1, 1) * noise, sigma)
    for shown in (in_ve, in_training):
        torch.testing.assert_close(shown[0], in_vp[0], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(shown[1], in_vp[1])
    torch.testing.assert_close(in_ve[1], sigma.log() / 4)


@BOTH
def test_the_grid_ascends_to_the_level_of_the_noise_that_was_asked_for(process: Process) -> None:
    grid = process.grid(1.2, 7)
    assert (grid.diff() > 0).all()
    assert float(grid[-1]) == pytest.approx(float(process.level_of(1.2)), rel=1e-6)


def test_the_level_of_a_noise_is_sigma_itself_or_the_nearest_time() -> None:
    assert float(EDM_PROCESS.level_of(1.25)) == 1.25
    assert int(VP_PROCESS.level_of(float(SCHEDULE.sigma[321]) * 1.0001)) == 321
    assert not VP_PROCESS.level_of(1.25).is_floating_point()


def test_a_schedule_gives_no_more_steps_than_it_has() -> None:
    assert VP_PROCESS.grid(float(SCHEDULE.sigma[4]), 100).tolist() == [0, 1, 2, 3, 4]


def test_edm_draws_sigmas_with_normal_logarithm_up_to_its_largest() -> None:
    drawn = EDM_PROCESS.draw_levels(100_000, seeded())
    assert float(drawn.log().median()) == pytest.approx(0.3, abs=0.01)
    assert float(drawn.quantile(0.16).log()) == pytest.approx(0.3 - 0.5, abs=0.02)
    assert float(drawn.max()) == EDM_PROCESS.largest_sigma == 4.5


def test_vp_draws_every_time_alike() -> None:
    drawn = VP_PROCESS.draw_levels(100_000, seeded())
    assert int(drawn.min()) == 0 and int(drawn.max()) == 999
    assert float(drawn.float().mean()) == pytest.approx(499.5, abs=3)
    assert VP_PROCESS.largest_sigma == float(SCHEDULE.sigma[-1])


def test_a_classifier_is_trained_on_uniform_logarithms_or_on_the_noise_of_uniform_times() -> None:
    in_ve = EDM_PROCESS.draw_classifier_sigmas(50_000, seeded(), largest=1.5)
    assert float(in_ve.min()) == pytest.approx(0.05, rel=1e-3) and float(in_ve.max()) == pytest.approx(1.5, rel=1e-3)
    assert float(in_ve.median()) == pytest.approx(math.sqrt(0.05 * 1.5), rel=0.02)
    in_vp = VP_PROCESS.draw_classifier_sigmas(50_000, seeded(), largest=1.5)
    assert float(in_vp.median()) == pytest.approx(float(SCHEDULE.sigma[500]), rel=0.02)
    assert in_ve.dtype == in_vp.dtype == torch.float32


def test_levels_to_try_are_multiples_that_were_trained_or_well_known_times() -> None:
    assert EDM_PROCESS.sigmas_around(4.0) == [1.0, 2.0, 3.0, 4.0]  # 6.0 is beyond 4.5
    tried = VP_PROCESS.sigmas_around(4.0)
    assert tried == [round(float(SCHEDULE.sigma[t]), 4) for t in (250, 400, 500, 600, 750)]


def test_on_a_schedule_the_stride_stays_and_in_sigma_the_number_of_steps() -> None:
    low, high = float(SCHEDULE.sigma[249]), float(SCHEDULE.sigma[499])
    assert VP_PROCESS.steps_between(high, low, 100) == 50
    assert VP_PROCESS.steps_between(high, float(SCHEDULE.sigma[0]), 10) == 1
    assert EDM_PROCESS.steps_between(high, low, 100) == 100
