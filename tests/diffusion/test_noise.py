"""Noise: who it belongs to, and its variance at every voxel."""

import pytest
import torch

from nnanomaly.diffusion.noise import NOISES, gaussian, generator_for, pyramid, step_noise

RECORDED = 5175221388101126699


def test_an_item_has_the_same_noise_bit_for_bit_in_any_batch() -> None:
    names = ["case_1", "case_2", "case_3", "case_4"]
    together = gaussian((2, 3, 4, 5), [generator_for(name, "kidney_left", seed=0) for name in names])
    for index, name in enumerate(names):
        assert torch.equal(together[index], gaussian((2, 3, 4, 5), [generator_for(name, "kidney_left", seed=0)])[0])


def test_items_that_share_a_generator_are_drawn_as_one_batch() -> None:
    shared, other = (torch.Generator().manual_seed(seed) for seed in (3, 4))
    ours = gaussian((2, 3, 3, 3), [shared, shared, other, shared])
    again, alone = (torch.Generator().manual_seed(seed) for seed in (3, 4))
    parts = [torch.randn(count, 2, 3, 3, 3, generator=g) for count, g in ((2, again), (1, alone), (1, again))]
    assert torch.equal(ours, torch.cat(parts))


@pytest.mark.parametrize("name", NOISES)
def test_every_noise_has_unit_variance_and_belongs_to_its_item(name: str) -> None:
    generators = [generator_for(str(i), seed=0) for i in range(2000)]
    noise = NOISES[name]((1, 4, 5, 6), generators)
    variance = noise.var(dim=0)
    assert float(variance.mean()) == pytest.approx(1, abs=0.05)
    assert float((variance - 1).abs().max()) < 5 * (2 / 2000) ** 0.5
    alone = NOISES[name]((1, 4, 5, 6), [generator_for("7", seed=0)])
    torch.testing.assert_close(noise[7:8], alone, atol=1e-6, rtol=1e-6)


def test_a_generator_depends_on_every_key_on_their_borders_and_on_the_seed() -> None:
    keys = [("ab", "c"), ("a", "bc"), ("abc",), ("c", "ab"), ()]
    seeds = {generator_for(*k, seed=seed).initial_seed() for k in keys for seed in (0, 1)}
    assert len(seeds) == 10


def test_the_seed_of_a_name_never_changes() -> None:
    # Recorded once: a change here changes every published reconstruction.
    assert generator_for("case_00000", "kidney_left", seed=0).initial_seed() == RECORDED
    first = gaussian((2,), [generator_for("case_00000", "kidney_left", seed=0)])
    assert torch.equal(first, gaussian((2,), [torch.Generator().manual_seed(RECORDED)]))


def test_each_step_of_a_sampler_draws_new_noise_and_the_chain_repeats() -> None:
    source, again = (step_noise(gaussian, (4,), [generator_for("case", seed=1)]) for _ in range(2))
    first, second = source(0), source(1)
    assert not torch.equal(first, second)
    assert torch.equal(first, again(0)) and torch.equal(second, again(1))


def test_gaussian_noise_is_white_with_unit_variance() -> None:
    noise = gaussian((1, 40, 40, 40), [generator_for("case", seed=0)])
    assert float(noise.mean()) == pytest.approx(0, abs=0.02) and float(noise.std()) == pytest.approx(1, abs=0.02)
    assert float((noise[..., 1:] * noise[..., :-1]).mean()) == pytest.approx(0, abs=0.02)


def test_pyramid_noise_has_unit_variance_at_every_voxel_and_a_smooth_scale() -> None:
    generators = [generator_for(str(i), seed=0) for i in range(4000)]
    noise = pyramid((1, 4, 6, 5), generators, num_octaves=3, persistence=1.5)
    variance = noise.var(dim=0)
    assert float(variance.mean()) == pytest.approx(1, abs=0.03)
    assert float((variance - 1).abs().max()) < 5 * (2 / 4000) ** 0.5  # five standard errors, at every voxel
    assert float((noise[..., 1:] * noise[..., :-1]).mean()) > 0.3


def test_pyramid_noise_of_one_octave_is_gaussian_noise() -> None:
    ours = pyramid((2, 3, 4, 5), [generator_for("a", seed=0)], num_octaves=1, persistence=0.8)
    torch.testing.assert_close(ours, gaussian((2, 3, 4, 5), [generator_for("a", seed=0)]))


def test_pyramid_noise_of_an_item_does_not_depend_on_its_batch() -> None:
    together = pyramid((1, 4, 4, 4), [generator_for(n, seed=0) for n in "abc"], num_octaves=2, persistence=1.0)
    alone = pyramid((1, 4, 4, 4), [generator_for("c", seed=0)], num_octaves=2, persistence=1.0)
    torch.testing.assert_close(together[2:], alone, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("num_octaves", "persistence"), [(0, 1.0), (2, 0.0)])
def test_an_empty_pyramid_is_refused(num_octaves: int, persistence: float) -> None:
    with pytest.raises(ValueError, match="num_octaves >= 1"):
        pyramid((1, 4, 4, 4), [generator_for("a", seed=0)], num_octaves=num_octaves, persistence=persistence)
