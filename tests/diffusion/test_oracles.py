"""Our schedules and steps beside those of diffusers and MONAI (development only), to 1e-5 where they are right.

Where one of them is wrong for our purpose (METHOD 7.1) a test states what it does and what ours does instead; such a
test fails when the peer is mended, and is then to be turned round.
"""

import pytest
import torch
from torch import Tensor

from nnanomaly.diffusion.denoiser import eps_denoiser
from nnanomaly.diffusion.noise import gaussian, step_noise
from nnanomaly.diffusion.samplers import Step, ddim_invert, ddim_sample, ddpm_sample
from nnanomaly.diffusion.schedule import NoiseSchedule, cosine_schedule, linear_schedule, strided_times

pytestmark = pytest.mark.filterwarnings("ignore")  # the peers' warnings are not ours to mend

SHAPE = (2, 1, 3, 4)
# betas_for_alpha_bar of diffusers and "cosine" of MONAI clip beta at 0.999, the paper's code at 0.9999.
CAPPED_COSINE = cosine_schedule(100, max_beta=0.999)
SCHEDULES = [
    (linear_schedule(100), {"beta_schedule": "linear"}, {"schedule": "linear_beta"}),
    (CAPPED_COSINE, {"beta_schedule": "squaredcos_cap_v2"}, {"schedule": "cosine"}),
]


def _image(seed: int = 0) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def _network(x: Tensor, t: Tensor) -> Tensor:
    return torch.tanh(x) + 0.01 * t.reshape(-1, 1, 1, 1)


def _stateless(x: Tensor, t: Tensor) -> Tensor:
    """A network that does not look at the time."""
    return torch.tanh(x)


@pytest.mark.parametrize(("schedule", "diffusers_name", "monai_name"), SCHEDULES)
def test_tables_and_add_noise_equal_both_peers(schedule: NoiseSchedule, diffusers_name: dict, monai_name: dict) -> None:
    diffusers = pytest.importorskip("diffusers")
    monai = pytest.importorskip("monai.networks.schedulers")
    t = torch.tensor([7, 93])
    ours = schedule.add_noise(_image(0), _image(1), t)
    for theirs in (diffusers.DDPMScheduler(100, **diffusers_name), monai.DDPMScheduler(100, **monai_name)):
        torch.testing.assert_close(theirs.alphas_cumprod, schedule.alpha_bar.float(), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(theirs.add_noise(_image(0), _image(1), t), ours, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("schedule", "diffusers_name", "monai_name"), SCHEDULES)
@pytest.mark.parametrize("peer", ["diffusers", "monai"])
def test_a_ddpm_chain_equals_the_peer_step_by_step(
    peer: str, schedule: NoiseSchedule, diffusers_name: dict, monai_name: dict
) -> None:
    if peer == "diffusers":
        theirs = pytest.importorskip("diffusers").DDPMScheduler(100, clip_sample=False, **diffusers_name)
    else:
        theirs = pytest.importorskip("monai.networks.schedulers").DDPMScheduler(100, clip_sample=False, **monai_name)
    steps: list[Step] = []
    generators = [torch.Generator().manual_seed(i) for i in range(2)]
    x, levels = _image(), strided_times(69, 70)
    ddpm_sample(
        eps_denoiser(_network, schedule),
        x,
        levels,
        schedule=schedule,
        noise=step_noise(gaussian, SHAPE[1:], generators),
        callback=steps.append,
    )
    # The peers draw the noise of a whole batch from one generator, so each item is stepped alone, and every step starts
    # from our state: what their tables lose near t = 0 (next test) would add up along the chain.
    starts = [x, *(step.x for step in steps)]
    for item in range(2):
        generator = torch.Generator().manual_seed(item)
        for t, start, step in zip(range(69, -1, -1), starts, steps, strict=False):
            state = start[item : item + 1]
            answer = theirs.step(_network(state, torch.tensor([t])), t, state, generator=generator)
            moved = answer.prev_sample if peer == "diffusers" else answer[0]
            if t >= 10:
                torch.testing.assert_close(step.x[item : item + 1], moved, atol=1e-5, rtol=1e-5)
            else:
                torch.testing.assert_close(step.x[item : item + 1], moved, atol=1e-4, rtol=3e-4)


def test_monai_misses_the_clean_image_at_the_last_step_because_its_tables_are_float32() -> None:
    # At t = 0 the posterior mean is x0, with weight beta_0 / (1 - alpha_bar_0) = 1. In float32 1 - 0.9999 keeps three
    # digits and the weight is 0.99983. Ours comes from sigma in float64.
    theirs = pytest.importorskip("monai.networks.schedulers").DDPMScheduler(100, clip_sample=False)
    schedule, x, t = linear_schedule(100), _image(), torch.tensor([0])
    prediction = eps_denoiser(_network, schedule)(x, t)
    ours = ddpm_sample(eps_denoiser(_network, schedule), x, t, schedule=schedule, noise=lambda _: torch.zeros_like(x))
    assert torch.equal(ours, prediction.x0)
    mean, _ = theirs.step(_network(x, t), 0, x)
    assert float((mean / prediction.x0).mean()) == pytest.approx(1 - 1.66e-4, abs=2e-5)


@pytest.mark.parametrize("eta", [0.0, 0.7])
@pytest.mark.parametrize(("schedule", "diffusers_name", "monai_name"), SCHEDULES)
def test_a_ddim_chain_equals_diffusers(
    schedule: NoiseSchedule, diffusers_name: dict, monai_name: dict, eta: float
) -> None:
    theirs = pytest.importorskip("diffusers").DDIMScheduler(100, clip_sample=False, **diffusers_name)
    theirs.set_timesteps(20)  # times 95, 90, .., 0; the step from 0 ends at the clean image
    steps: list[Step] = []
    ddim_sample(
        eps_denoiser(_network, schedule),
        _image()[:1],
        theirs.timesteps.flip(0),
        schedule=schedule,
        eta=eta,
        noise=step_noise(gaussian, SHAPE[1:], [torch.Generator().manual_seed(3)]) if eta > 0 else None,
        callback=steps.append,
    )
    state, generator = _image()[:1], torch.Generator().manual_seed(3)
    for t, step in zip(theirs.timesteps, steps, strict=True):
        answer = theirs.step(_network(state, t[None]), int(t), state, eta=eta, generator=generator)
        state = answer.prev_sample
        torch.testing.assert_close(step.x, state, atol=1e-5, rtol=2e-5)


def test_unit_stride_ddim_equals_monai_in_both_directions() -> None:
    theirs = pytest.importorskip("monai.networks.schedulers").DDIMScheduler(100, clip_sample=False)
    schedule, state = linear_schedule(100), _image()
    denoise = eps_denoiser(_network, schedule)
    ours = ddim_sample(denoise, state, strided_times(99, 100), schedule=schedule)
    for t in range(99, -1, -1):
        state, _ = theirs.step(_network(state, torch.tensor([t])), t, state)
    torch.testing.assert_close(ours, state, atol=1e-5, rtol=1e-5)

    steps: list[Step] = []
    ddim_invert(denoise, _image(), strided_times(98, 99), schedule=schedule, callback=steps.append)
    for before, after in zip(steps, steps[1:], strict=False):
        t = before.done - 1  # the state lies on time t, MONAI moves it to t + 1
        state, _ = theirs.reversed_step(_network(before.x, torch.tensor([t])), t, before.x)
        torch.testing.assert_close(after.x, state, atol=1e-5, rtol=1e-5)


def test_inversion_equals_diffusers_for_a_network_that_ignores_the_time() -> None:
    theirs = pytest.importorskip("diffusers").DDIMInverseScheduler(100, clip_sample=False)
    theirs.set_timesteps(20)
    schedule, state = linear_schedule(100), _image()
    ours = ddim_invert(eps_denoiser(_stateless, schedule), state, theirs.timesteps, schedule=schedule)
    for t in theirs.timesteps:
        state = theirs.step(_stateless(state, t[None]), int(t), state).prev_sample
    torch.testing.assert_close(ours, state, atol=1e-5, rtol=1e-5)


def test_diffusers_inversion_asks_the_network_at_the_time_it_goes_to() -> None:
    # eps belongs to (x_k, tau_k) in METHOD 3.2; diffusers takes (x_k, tau_{k+1}). Both have the same order of error.
    theirs = pytest.importorskip("diffusers").DDIMInverseScheduler(100, clip_sample=False)
    theirs.set_timesteps(20)
    asked: list[int] = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        asked.append(int(t[0]))
        return torch.zeros_like(x)

    ddim_invert(eps_denoiser(network, linear_schedule(100)), _image(), theirs.timesteps, schedule=linear_schedule(100))
    assert theirs.timesteps.tolist() == [*range(0, 100, 5)]
    assert asked == [0, *range(0, 95, 5)]


def test_monai_ruins_its_table_in_one_bf16_call_and_ours_stays() -> None:
    monai = pytest.importorskip("monai.networks.schedulers")
    x, t = _image().bfloat16(), torch.tensor([0, 500])
    theirs, ours = monai.DDPMScheduler(1000, schedule="cosine"), cosine_schedule(1000)
    theirs.add_noise(x, x, t)
    theirs.add_noise(_image(), _image(), t)  # back in float32, but the values are those of bfloat16
    assert float(theirs.alphas_cumprod[0]) == 1.0
    ours.add_noise(x, x, t)
    assert 0 < float(1 - ours.alpha_bar[0]) < 1e-4


def test_monai_ddim_model_time_and_noise_level_drift_apart_at_other_strides() -> None:
    # The times are spread over 999 .. 0, but a step always goes down by 1000 // 30 = 33.
    theirs = pytest.importorskip("monai.networks.schedulers").DDIMScheduler(1000, clip_sample=False)
    theirs.set_timesteps(30)
    assert int(theirs.timesteps[0] - theirs.timesteps[1]) == 34
    state, eps = _image(), _image(1)
    moved, _ = theirs.step(eps, 999, state)
    table = theirs.alphas_cumprod
    x0 = (state - (1 - table[999]).sqrt() * eps) / table[999].sqrt()
    torch.testing.assert_close(moved, table[966].sqrt() * x0 + (1 - table[966]).sqrt() * eps)
    steps: list[Step] = []
    ddim_sample(
        eps_denoiser(lambda x, t: eps, linear_schedule(1000)),
        state,
        theirs.timesteps.flip(0),
        schedule=linear_schedule(1000),
        callback=steps.append,
    )
    assert steps[0].sigma == pytest.approx(float(linear_schedule(1000).sigma[theirs.timesteps[1]]))


def test_monai_inversion_runs_over_the_end_of_its_table() -> None:
    theirs = pytest.importorskip("monai.networks.schedulers").DDIMScheduler(100, clip_sample=False)
    with pytest.raises(IndexError):
        theirs.reversed_step(_image(), 99, _image())
    with pytest.raises(ValueError, match="ascending times in 0 .. 99"):
        ddim_invert(
            eps_denoiser(_network, linear_schedule(100)),
            _image(),
            torch.tensor([99, 100]),
            schedule=linear_schedule(100),
        )


def test_monai_clips_by_default_so_its_inversion_is_none() -> None:
    monai = pytest.importorskip("monai.networks.schedulers")
    schedule, start = linear_schedule(100), 3 * _image()
    eps = 0.1 * _image(1)
    theirs = monai.DDIMScheduler(100)
    clipped, _ = theirs.reversed_step(eps, 50, start)
    assert float((clipped - start).abs().max()) > 0.5
    denoise = eps_denoiser(lambda x, t: eps, schedule)
    levels = strided_times(50, 51)
    back = ddim_sample(denoise, ddim_invert(denoise, start, levels, schedule=schedule), levels, schedule=schedule)
    torch.testing.assert_close(back, start, atol=1e-5, rtol=1e-5)
