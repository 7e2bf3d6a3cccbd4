"""Inpainting with the exact denoiser of two Gaussian values whose conditional is a formula."""

import math

import pytest
import torch
from torch import Tensor

from nnanomaly.diffusion.denoiser import Denoised
from nnanomaly.diffusion.inpainting import inpaint
from nnanomaly.diffusion.schedule import karras_sigmas

CORRELATION, KNOWN = 0.8, 1.5
MASK = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1, 1)
COVARIANCE = torch.tensor([[1.0, CORRELATION], [CORRELATION, 1.0]])


def denoise(x: Tensor, sigma: Tensor) -> Denoised:
    """E[x0 | x] of channels N(0, COVARIANCE): S (S + sigma^2)^-1 x."""
    weights = COVARIANCE @ torch.linalg.inv(COVARIANCE + float(sigma[0]) ** 2 * torch.eye(2))
    x0 = torch.einsum("ij,bjzyx->bizyx", weights, x)
    return Denoised(x0, (x - x0) / float(sigma[0]))


def drawn(*, num_levels: int = 30, num_resamplings: int, hidden: float = 0.0, count: int = 4000) -> Tensor:
    x = torch.tensor([KNOWN, hidden]).reshape(1, 2, 1, 1, 1).expand(count, 2, 1, 1, 1)
    generator = torch.Generator().manual_seed(0)
    sigmas = karras_sigmas(0.02, 20.0, num_levels).flip(0)
    noise = lambda _: torch.randn(x.shape, generator=generator)  # noqa: E731
    return inpaint(denoise, x, MASK, sigmas, num_resamplings=num_resamplings, noise=noise)


def test_what_is_known_comes_back_bit_for_bit() -> None:
    assert bool((drawn(num_resamplings=2, count=50)[:, 0] == KNOWN).all())


def test_the_masked_part_is_drawn_from_its_conditional_given_the_rest() -> None:
    values = drawn(num_levels=60, num_resamplings=30)[:, 1]
    assert float(values.mean()) == pytest.approx(CORRELATION * KNOWN, abs=0.04)
    assert float(values.std()) == pytest.approx(math.sqrt(1 - CORRELATION**2), abs=0.06)


def test_resampling_brings_the_masked_part_nearer_to_the_rest() -> None:
    means = [float(drawn(num_resamplings=count)[:, 1].mean()) for count in (1, 3, 10)]
    errors = [CORRELATION * KNOWN - mean for mean in means]
    assert errors[0] > 1.5 * errors[1] > 1.5 * 1.5 * errors[2] > 0


def test_nothing_under_the_mask_is_looked_at() -> None:
    assert torch.equal(drawn(num_resamplings=2, count=9), drawn(num_resamplings=2, count=9, hidden=1e6))


@pytest.mark.parametrize(("levels", "count"), [([2.0, 1.0], 1), ([1.0, 2.0, 0.0], 1), ([0.0], 1), ([2.0, 0.0], 0)])
def test_levels_that_do_not_fall_to_nought_and_no_repetition_are_refused(levels: list[float], count: int) -> None:
    with pytest.raises(ValueError, match="falling levels"):
        inpaint(
            denoise, torch.zeros(1, 2, 1, 1, 1), MASK, torch.tensor(levels), num_resamplings=count, noise=torch.zeros
        )
