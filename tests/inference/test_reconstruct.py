"""Reconstruction with networks whose answer is a formula: the exact denoiser of Gaussian latents N(0, STD^2)."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nnanomaly.diffusion.codecs import IdentityCodec
from nnanomaly.diffusion.noise import NOISES, generator_for
from nnanomaly.diffusion.schedule import cosine_schedule, per_item
from nnanomaly.experiment_planning.presets import DEFAULT, PAPER
from nnanomaly.inference.reconstruct import LatentModels, build_reconstructor, round_trip_of
from nnanomaly.networks.classifier import OrganState
from nnanomaly.networks.conditioning import NULL_CLASS
from nnanomaly.plans import InferencePlan
from nnanomaly.utilities.errors import DataError

CPU = torch.device("cpu")
STD = 0.5
SCHEDULE = cosine_schedule(1000)
HEUN = replace(DEFAULT.inference, encode="invert", sigma=1.0, num_samples=1, guidance="none", num_steps=25)
NOISED = replace(HEUN, encode="noise")
ONE_STEP = replace(NOISED, sampler="one_step")
DDIM = replace(PAPER.inference, guidance="none", num_steps=250)
DDPM = replace(PAPER.inference, guidance="none", sampler="ddpm", encode="noise", num_steps=250)


class GaussianEDM(nn.Module):
    """The preconditioned network F whose denoiser is E[x0 | x] = STD^2 / (STD^2 + sigma^2) x."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """x is scaled to unit variance: c_in (x0 + sigma eps); time is ln(sigma) / 4."""
        sigma = per_item((4 * time).exp(), x)
        scaled = x * torch.sqrt(1 + sigma**2)
        wanted = STD**2 / (STD**2 + sigma**2) * scaled
        return (wanted - scaled / (1 + sigma**2)) / (sigma / torch.sqrt(1 + sigma**2))


class GaussianEps(nn.Module):
    """E[eps | x_t] of the same data on the cosine schedule."""

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """x_t in VP coordinates at the times t."""
        sigma = per_item(SCHEDULE.sigma_of(t), x_t)
        return sigma * torch.sqrt(1 + sigma**2) / (STD**2 + sigma**2) * x_t


class TwoGaussiansEDM(nn.Module):
    """The exact class-conditional F where healthy values are N(1.5, STD^2) and unhealthy N(-1.5, STD^2), null both."""

    def __init__(self, *, swapped: bool = False) -> None:
        super().__init__()
        self.sign = -1.0 if swapped else 1.0
        self.seen: list[tuple[int, float]] = []

    def forward(self, x: Tensor, time: Tensor, label: Tensor) -> Tensor:
        """[B, C, *S], [B], [B] -> [B, C, *S]; every value for itself."""
        sigma = per_item((4 * time).exp(), x)
        self.seen.append((int(label[0]), float(sigma.flatten()[0])))
        scaled, variance = x * torch.sqrt(1 + sigma**2), STD**2 + sigma**2
        centres = {
            OrganState.HEALTHY: torch.full_like(x, 1.5 * self.sign),
            OrganState.UNHEALTHY: torch.full_like(x, -1.5 * self.sign),
            NULL_CLASS: 1.5 * torch.tanh(1.5 * scaled / variance),
        }
        centre = torch.where(
            per_item(label == NULL_CLASS, x) > 0,
            centres[NULL_CLASS],
            torch.where(
                per_item(label == OrganState.HEALTHY, x) > 0,
                centres[OrganState.HEALTHY],
                centres[OrganState.UNHEALTHY],
            ),
        )
        wanted = (STD**2 * scaled + sigma**2 * centre) / variance
        return (wanted - scaled / (1 + sigma**2)) / (sigma / torch.sqrt(1 + sigma**2))


class MeanClassifier(nn.Module):
    """Healthy is bright: the two logits differ by 8 times the mean of the state. Remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[float, float]] = []

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """[B, C, *S], [B] -> [B, 2]."""
        self.seen.append((float(x.detach().std()), float(time[0])))
        logits = [torch.zeros(len(x))] * 2
        logits[OrganState.HEALTHY] = 8 * x.flatten(1).mean(dim=1)
        return torch.stack(logits, dim=1)


class BlockMeans:
    """A codec that loses something: the means of 2 x 2 x 2 blocks."""

    def encode(self, x: Tensor) -> Tensor:
        """[B, C, Z, Y, X] -> half of it."""
        return functional.avg_pool3d(x, 2)

    def decode(self, z: Tensor) -> Tensor:
        """Every mean eight times."""
        return functional.interpolate(z, scale_factor=2.0, mode="nearest")


def models(plan: InferencePlan, classifier: nn.Module | None = None) -> LatentModels:
    edm = plan.sampler in ("heun", "one_step")
    return LatentModels(
        unet=GaussianEDM() if edm else GaussianEps(),
        classifier=classifier,
        diffusion=DEFAULT.ddpm if edm else PAPER.ddpm,
        inference=plan,
    )


def patches(count: int, size: int = 8, *, spread: float = 0.2) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(0, spread, (size,) * 3).astype(np.float16) for _ in range(count)]


def reconstruct(plan: InferencePlan, inputs: Sequence[np.ndarray], names: Sequence[str], *, seed: int = 0) -> Tensor:
    return build_reconstructor(IdentityCodec(), models(plan), seed=seed, device=CPU)(inputs, names).healthy


def round_trip(plan: InferencePlan, u: Tensor, classifier: nn.Module | None = None) -> Tensor:
    generators = [generator_for(str(number), seed=1) for number in range(len(u))]
    return round_trip_of(models(plan, classifier))(u, generators)


def latents(*shape: int) -> Tensor:
    return STD * torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def test_inversion_without_guidance_gives_what_the_codec_alone_gives() -> None:
    inputs = patches(2)
    reconstructor = build_reconstructor(BlockMeans(), models(HEUN), seed=0, device=CPU)
    healthy, autoencoded, *_ = reconstructor(inputs, ["a", "b"])
    original = torch.from_numpy(np.stack(inputs)[:, None].astype(np.float32))
    assert healthy.shape == original.shape
    assert (autoencoded - original).std() > 0.1  # the codec loses something, so that the next line says something
    assert torch.equal(autoencoded, BlockMeans().decode(BlockMeans().encode(original)))
    assert (healthy - autoencoded).abs().max() < 2e-3


def test_one_step_answers_with_the_posterior_mean_of_what_it_is_shown() -> None:
    u = latents(2, 1, 4, 4, 4)
    noise = torch.stack([torch.randn(1, 4, 4, 4, generator=generator_for(str(n), seed=1)) for n in range(2)])
    expected = STD**2 / (STD**2 + ONE_STEP.sigma**2) * (u + ONE_STEP.sigma * noise)
    assert torch.allclose(round_trip(ONE_STEP, u), expected, atol=1e-5)


@pytest.mark.parametrize("plan", [NOISED, ONE_STEP, replace(DDIM, encode="noise"), DDPM], ids=lambda p: p.sampler)
def test_a_reconstruction_draws_no_noise_but_that_of_the_plan(
    plan: InferencePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(NOISES, "pyramid", lambda shape, generators: torch.zeros(len(generators), *shape))
    plan, u = replace(plan, num_steps=6, guidance="none"), latents(2, 1, 4, 4, 4)
    silent = replace(models(plan), diffusion=replace(models(plan).diffusion, noise="pyramid"))
    first, second = (round_trip_of(silent)(u, [generator_for(name, seed=1)] * 2) for name in "ab")
    assert torch.equal(first, second)  # whoever draws
    assert not torch.equal(first, round_trip(plan, u))


def test_every_extra_noise_level_is_reconstructed_as_a_plan_of_that_level_would_with_noise_of_its_own() -> None:
    plan, inputs = replace(ONE_STEP, extra_sigmas=(0.5, 2.0), num_samples=2), patches(2)
    result = build_reconstructor(IdentityCodec(), models(plan), seed=0, device=CPU)(inputs, ["a", "b"])
    assert torch.equal(result.healthy, reconstruct(replace(plan, extra_sigmas=()), inputs, ["a", "b"]))
    x = torch.from_numpy(np.stack(inputs)[:, None].astype(np.float32))
    noises = []
    for sigma, level in zip(plan.sigmas, (result, *result.extra), strict=True):
        noises.append((level.healthy * (STD**2 + sigma**2) / STD**2 - x) / sigma)  # mean of two unit Gaussians
        assert float(noises[-1].std()) == pytest.approx(math.sqrt(0.5), rel=0.1)
    assert abs(float((noises[0] * noises[1]).mean())) < 0.06


def test_the_unguided_reconstruction_has_the_noise_of_the_guided_one_and_lacks_its_push() -> None:
    plan = replace(NOISED, guidance="relative", guidance_scale=0.3, residual_of="unguided", num_steps=6)
    latent_models = models(plan, MeanClassifier())
    result = build_reconstructor(IdentityCodec(), latent_models, seed=0, device=CPU)(patches(1), ["a"])
    without = reconstruct(replace(plan, guidance="none", residual_of="input"), patches(1), ["a"])
    assert result.unguided is not None
    assert torch.allclose(result.unguided, without, atol=1e-6)
    assert float((result.healthy - without).mean()) > 0.02  # healthy is bright


@pytest.mark.parametrize(("precision", "seen"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_networks_compute_in_the_precision_of_the_plan_and_the_sampler_in_fp32(
    precision: str, seen: torch.dtype
) -> None:
    class Mixing(GaussianEDM):
        """The exact denoiser through a convolution that changes nothing, and tells in what it computed."""

        def __init__(self) -> None:
            super().__init__()
            self.same = nn.Conv3d(1, 1, 1, bias=False)
            nn.init.ones_(self.same.weight)
            self.dtypes: set[torch.dtype] = set()

        def forward(self, x: Tensor, time: Tensor) -> Tensor:
            assert x.dtype == torch.float32
            mixed = self.same(super().forward(x, time))
            self.dtypes.add(mixed.dtype)
            return mixed

    network, plan = Mixing(), replace(NOISED, precision=precision, num_steps=6)
    latent_models = replace(models(plan), unet=network)
    result = build_reconstructor(IdentityCodec(), latent_models, seed=0, device=CPU)(patches(2), ["a", "b"]).healthy
    assert network.dtypes == {seen}
    assert result.dtype == torch.float32
    assert torch.allclose(result, reconstruct(replace(plan, precision="fp32"), patches(2), ["a", "b"]), atol=0.02)


def test_results_stay_in_the_range_of_the_networks() -> None:
    healthy = reconstruct(HEUN, [np.full((4, 4, 4), 3.0), np.full((4, 4, 4), -3.0)], ["a", "b"])
    assert healthy[0].unique().tolist() == [1.0]
    assert healthy[1].unique().tolist() == [-1.0]


@pytest.mark.parametrize("plan", [HEUN, DDIM], ids=["heun", "ddim"])
def test_unguided_inversion_returns_and_more_steps_return_closer(plan: InferencePlan) -> None:
    u = latents(1, 4, 6, 6, 6)
    error = {
        steps: float((round_trip(replace(plan, num_steps=steps), u) - u).abs().mean()) / STD for steps in (10, 40, 160)
    }
    assert error[160] < 0.01
    assert error[160] < error[40] / 2 < error[10] / 4


@pytest.mark.parametrize("plan", [HEUN, DDIM], ids=["heun", "ddim"])
def test_inversion_needs_no_noise(plan: InferencePlan) -> None:
    assert torch.equal(reconstruct(plan, patches(1), ["a"]), reconstruct(plan, patches(1), ["b"], seed=7))


def test_noised_upwards_the_sample_follows_the_formula_and_samples_are_averaged() -> None:
    """Down the flow of Gaussian data x shrinks by STD / sqrt(STD^2 + sigma^2), so every sample has a closed form."""
    (patch,), sigma = patches(1, spread=0.05), 0.3
    u = torch.from_numpy(patch.astype(np.float32))
    draws = [torch.randn(1, 8, 8, 8, generator=generator_for("a", str(k), seed=5))[0] for k in range(4)]
    samples = [STD / math.hypot(STD, sigma) * (u + sigma * noise) for noise in draws]
    for num_samples in (1, 4):
        plan = replace(NOISED, sigma=sigma, num_samples=num_samples)
        healthy = reconstruct(plan, [patch], ["a"], seed=5)[0, 0]
        assert healthy == pytest.approx(torch.stack(samples[:num_samples]).mean(dim=0), abs=2e-3)


@pytest.mark.parametrize("plan", [NOISED, DDPM, replace(DDIM, encode="noise")], ids=["heun", "ddpm", "ddim"])
def test_noise_follows_the_name_of_a_patch_and_not_its_company(plan: InferencePlan) -> None:
    plan, (first, second) = replace(plan, num_steps=5), patches(2)
    both = reconstruct(plan, [first, second], ["a", "b"])
    assert torch.equal(both[:1], reconstruct(plan, [first], ["a"]))
    assert torch.equal(both[1:], reconstruct(plan, [second], ["b"]))
    assert torch.equal(both.flip(0), reconstruct(plan, [second, first], ["b", "a"]))
    assert not torch.equal(both[:1], reconstruct(plan, [first], ["c"]))
    assert not torch.equal(both[:1], reconstruct(plan, [first], ["a"], seed=1))


def test_ancestral_sampling_keeps_the_distribution_and_what_the_noise_left() -> None:
    u = latents(1, 1, 32, 32, 32)
    unclamped = replace(models(DDPM), diffusion=replace(PAPER.ddpm, latent_scaling="standardise"))
    out = round_trip_of(unclamped)(u, [generator_for("a", seed=1)])
    alpha_bar = 1 / (1 + DDPM.sigma**2)
    kept = alpha_bar * STD**2 / (alpha_bar * STD**2 + 1 - alpha_bar)
    assert float(out.std()) == pytest.approx(STD, rel=0.03)
    assert float((out * u).mean() / u.square().mean()) == pytest.approx(kept, abs=0.02)


def test_the_discrete_samplers_start_at_the_time_whose_noise_is_that_of_the_plan() -> None:
    seen: list[float] = []

    class Spy(GaussianEps):
        def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
            seen.append(float(t[0]))
            return super().forward(x_t, t)

    plan = replace(PAPER.inference, guidance="none", num_steps=500)
    round_trip_of(replace(models(plan), unet=Spy()))(latents(1, 1, 2, 2, 2), [generator_for("a", seed=0)])
    assert max(seen) == pytest.approx(500, abs=1)  # the paper's L, on its schedule
    assert len(seen) == pytest.approx(1000, abs=4)  # every step, up and down


def test_latents_in_the_range_of_the_codebook_are_clamped_by_ancestral_sampling_alone() -> None:
    u = torch.full((1, 1, 4, 4, 4), 3.0)
    assert PAPER.ddpm.latent_scaling == "codebook_range"
    assert float(round_trip(DDPM, u).max()) <= 1.0
    assert float(round_trip(DDIM, u).max()) > 2.0


@pytest.mark.parametrize(
    "plan",
    [
        replace(HEUN, guidance="relative", guidance_scale=0.3),
        replace(DDIM, guidance="gradient", guidance_scale=20.0, num_steps=50),
        replace(DDPM, guidance="gradient", guidance_scale=20.0, num_steps=50),
    ],
    ids=["heun", "ddim", "ddpm"],
)
def test_guidance_raises_the_probability_of_healthy(plan: InferencePlan) -> None:
    u, classifier = latents(2, 1, 6, 6, 6) - 0.2, MeanClassifier()
    unguided, guided = round_trip(plan, u), round_trip(plan, u, classifier)

    def log_healthy(x: Tensor) -> Tensor:
        return classifier(x, torch.zeros(len(x))).log_softmax(dim=1)[:, OrganState.HEALTHY]

    assert (log_healthy(guided) > log_healthy(unguided) + 0.05).all()
    assert torch.equal(unguided, round_trip(replace(plan, guidance="none"), u, classifier))


@pytest.mark.parametrize(
    "plan",
    [replace(HEUN, guidance="relative"), replace(DDIM, guidance="gradient")],
    ids=["heun", "ddim"],
)
def test_the_classifier_sees_states_scaled_to_unit_variance_and_the_level_they_have(plan: InferencePlan) -> None:
    classifier = MeanClassifier()
    plan = replace(plan, guidance_scale=0.0, sigma=0.6)
    round_trip(plan, latents(1, 4, 16, 16, 16), classifier)
    std, time = classifier.seen[0]
    sigma = math.exp(4 * time)
    assert sigma == pytest.approx(0.6, rel=0.01)
    assert std == pytest.approx(math.hypot(STD, sigma) / math.hypot(1, sigma), rel=0.02)
    assert classifier.seen[-1][1] < classifier.seen[0][1]


def test_a_classifier_is_not_asked_on_the_way_up() -> None:
    classifier = MeanClassifier()
    round_trip(replace(HEUN, guidance="relative"), latents(1, 1, 4, 4, 4), classifier)
    levels = [time for _, time in classifier.seen]
    assert levels == sorted(levels, reverse=True)


FREE = replace(HEUN, guidance="free", guidance_scale=1.0, sigma=2.0, num_steps=40)


def free_round_trip(plan: InferencePlan, u: Tensor, network: TwoGaussiansEDM) -> Tensor:
    generators = [generator_for(str(number), seed=1) for number in range(len(u))]
    return round_trip_of(replace(models(plan), unet=network))(u, generators)


def log_healthy(u: Tensor) -> Tensor:
    """Exact log p(healthy | u) of clean values, mean per item."""
    return functional.logsigmoid(2 * 1.5 * u / STD**2).flatten(1).mean(dim=1)


def test_free_guidance_leads_unhealthy_values_to_the_healthy_class_and_swapped_labels_lead_away() -> None:
    u = latents(2, 1, 6, 6, 6) - 0.2  # in between: neither class is sure
    before = log_healthy(u)
    for weight in (1.0, 2.0):
        plan = replace(FREE, guidance_scale=weight)
        right, wrong = (free_round_trip(plan, u, TwoGaussiansEDM(swapped=swapped)) for swapped in (False, True))
        assert (log_healthy(right) > before + 0.3).all()
        assert (log_healthy(wrong) < before - 0.3).all()


def test_weight_nought_is_the_null_class_both_ways_and_returns() -> None:
    u = latents(1, 1, 4, 4, 4)
    back = free_round_trip(replace(FREE, guidance_scale=0.0, num_steps=80), u, TwoGaussiansEDM())
    assert float((back - u).abs().mean()) < 0.01


def test_the_push_grows_with_the_weight() -> None:
    u = latents(1, 1, 4, 4, 4) - 1.0
    means = [float(free_round_trip(replace(FREE, guidance_scale=w), u, TwoGaussiansEDM()).mean()) for w in (0, 0.5, 1)]
    assert means == sorted(means)
    assert means[2] > means[0] + 0.5


def test_the_way_up_is_of_the_null_class_alone_and_the_way_down_of_both() -> None:
    network = TwoGaussiansEDM()
    free_round_trip(replace(FREE, num_steps=4), latents(1, 1, 2, 2, 2), network)
    up = network.seen[: len(network.seen) // 3]  # down, every level is asked twice
    assert {label for label, _ in up} == {NULL_CLASS}
    assert [level for _, level in up] == sorted(level for _, level in up)
    assert {label for label, _ in network.seen[len(up) :]} == {NULL_CLASS, OrganState.HEALTHY}
    network.seen.clear()
    free_round_trip(replace(FREE, num_steps=4, encode="noise"), latents(1, 1, 2, 2, 2), network)
    assert [label for label, _ in network.seen] == [OrganState.HEALTHY, NULL_CLASS] * 9


def test_a_batch_of_4_is_freely_guided_like_four_batches_of_1() -> None:
    u = latents(4, 1, 4, 4, 4)
    plan = replace(FREE, encode="noise", num_steps=5, guidance_scale=2.0)
    trip = round_trip_of(replace(models(plan), unet=TwoGaussiansEDM()))
    together = trip(u, [generator_for(str(k), seed=1) for k in range(4)])
    alone = [trip(u[k : k + 1], [generator_for(str(k), seed=1)]) for k in range(4)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_the_samples_come_alone_as_well_and_the_first_are_the_same_however_many_follow() -> None:
    plan, inputs = replace(ONE_STEP, num_samples=3), patches(2)
    result = build_reconstructor(IdentityCodec(), models(plan), seed=0, device=CPU)(inputs, ["a", "b"])
    assert len(result.samples) == 3
    mean = torch.stack([sample.healthy for sample in result.samples]).mean(dim=0)
    assert torch.allclose(mean, result.healthy, atol=1e-6)
    assert not torch.equal(result.samples[0].healthy, result.samples[1].healthy)
    more = build_reconstructor(
        IdentityCodec(), models(replace(plan, num_samples=7)), seed=0, device=CPU, most_at_once=3
    )(inputs, ["a", "b"])
    assert len(more.samples) == 7
    for few, many in zip(result.samples, more.samples[:3], strict=True):
        assert torch.equal(few.healthy, many.healthy)


def test_a_single_sample_is_not_listed_twice() -> None:
    result = build_reconstructor(IdentityCodec(), models(ONE_STEP), seed=0, device=CPU)(patches(1), ["a"])
    assert ONE_STEP.num_samples == 1 and result.samples == ()


class Overflowing(nn.Module):
    """Finite weights whose answer is not: what a damaged or hostile checkpoint does."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        return x * 3e38 * 3e38 * 0


@pytest.mark.parametrize("plan", [ONE_STEP, HEUN, DDIM, DDPM], ids=["one_step", "heun", "ddim", "ddpm"])
def test_networks_that_answer_with_no_numbers_are_refused(plan: InferencePlan) -> None:
    broken = replace(models(replace(plan, num_steps=3)), unet=Overflowing())
    with pytest.raises(DataError, match="NNA-NET-NONFINITE.*reconstruction"):
        build_reconstructor(IdentityCodec(), broken, seed=0, device=CPU)(patches(1), ["a"])


def test_an_autoencoder_that_answers_with_no_numbers_is_refused() -> None:
    class Broken(IdentityCodec):
        def encode(self, x: Tensor) -> Tensor:
            return x / 0

    with pytest.raises(DataError, match="NNA-NET-NONFINITE.*code of the autoencoder"):
        build_reconstructor(Broken(), models(ONE_STEP), seed=0, device=CPU)(patches(1), ["a"])
