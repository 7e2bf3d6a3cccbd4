"""Guidance: functions from denoiser to denoiser that pull a sample towards a class, `healthy` for us (METHOD 3.4).

Guided denoisers are for the way down only; encoding is unguided. Gradients exist only inside this module: they are
taken by `torch.autograd.grad` on a detached copy of the state, also under `no_grad` or `inference_mode`. A `log_prob`
maps `(x [B, C, *S], level [B])`, in the coordinates of the denoiser it guides, to `log p(wanted class | x)` [B], each
item for itself. Which class is wanted is its owner's business: guiding with the labels swapped pulls towards disease.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from nnanomaly.diffusion.denoiser import Denoised, Denoiser
from nnanomaly.diffusion.samplers import Drift
from nnanomaly.diffusion.schedule import NoiseSchedule, per_item

LogProb = Callable[[Tensor, Tensor], Tensor]


def classifier_guidance(denoise: Denoiser, log_prob: LogProb, *, schedule: NoiseSchedule, scale: float) -> Denoiser:
    """VP, for `ddim_sample`: `eps' = eps - scale sqrt(1 - abar) g`, x0 recomputed (Dhariwal, Nichol, 2021, alg. 2)."""

    def guided(x_t: Tensor, t: Tensor) -> Denoised:
        gradient, _ = log_prob_gradient(log_prob, x_t, t)
        _, spread = schedule.signal_and_noise(t, x_t)
        eps = denoise(x_t, t).eps - scale * spread * gradient
        return Denoised(schedule.x0_from_eps(x_t, eps, t), eps)

    return guided


def classifier_drift(log_prob: LogProb, *, scale: float) -> Drift:
    """VP: `scale g`, which `ddpm_sample` turns into the mean shift `mu + scale betatilde g` (the same paper, alg. 1).

    At equal scale it moves the sample about twice as far as `classifier_guidance` does under DDIM (METHOD 3.4).
    """
    return lambda x_t, t: scale * log_prob_gradient(log_prob, x_t, t)[0]


def relative_guidance(
    denoise: Denoiser,
    log_prob: LogProb,
    *,
    rho: float,
    momentum: float = 0.9,
    confident: float = 0.95,
    mask: Tensor | None = None,
) -> Denoiser:
    """VE: a push of `rho` times the length of the noise estimate, whatever the classifier's gradient scale.

    `eps' = eps - rho |eps| m / |m|` and `x0' = x0 + sigma rho |eps| m / |m|`, lengths per item; m is the moving average
    of g along the chain with weight `momentum` on the past. An item whose probability exceeds `confident` is not
    pushed. `mask` (broadcast to x, in [0, 1]) limits the push, and both lengths, to a region (METHOD 3.4).

    The result carries the average m: make one per chain. An item whose level rises has started a new chain and starts a
    new average, so a denoiser that is used again forgets the chain before.
    """
    average: Tensor | None = None
    last_level: Tensor | None = None

    def guided(x: Tensor, sigma: Tensor) -> Denoised:
        nonlocal average, last_level
        gradient, log_p = log_prob_gradient(log_prob, x, sigma)
        if average is None or last_level is None or average.shape != gradient.shape:
            average = torch.zeros_like(gradient)
        else:
            average = torch.where(per_item(sigma <= last_level, gradient) > 0, average, 0.0)
        average = momentum * average + (1 - momentum) * gradient
        last_level = sigma
        prediction = denoise(x, sigma)
        region = 1.0 if mask is None else mask.to(x)
        direction = _unit(average * region)
        unsure = per_item(log_p.exp() <= confident, x)
        push = rho * unsure * _length(prediction.eps * region) * direction
        return Denoised(prediction.x0 + per_item(sigma, x) * push, prediction.eps - push)

    return guided


def classifier_free_guidance(denoise_class: Denoiser, denoise_null: Denoiser, *, weight: float) -> Denoiser:
    """VP or VE: `eps' = eps_null + weight (eps_class - eps_null)` (Ho and Salimans, 2022); x0 follows by linearity.

    weight 0 is the null class (encode with it), 1 the class itself, above 1 away from the null class.
    """

    def guided(x: Tensor, level: Tensor) -> Denoised:
        wanted, null = denoise_class(x, level), denoise_null(x, level)
        return Denoised(
            null.x0 + weight * (wanted.x0 - null.x0),
            null.eps + weight * (wanted.eps - null.eps),
        )

    return guided


def log_prob_gradient(log_prob: LogProb, x: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """`grad_x log p` [B, C, *S] and `log p` [B], both detached; no graph of x is kept, no parameter gets a gradient."""
    # Tensors made under inference_mode cannot enter autograd, their copies made outside it can.
    with torch.inference_mode(False), torch.enable_grad():
        x, level = x.detach().clone().requires_grad_(), level.clone()
        values = log_prob(x, level)
        (gradient,) = torch.autograd.grad(values.sum(), x)
    return gradient, values.detach()


def _length(x: Tensor) -> Tensor:
    """Euclidean length per item, [B, 1, .., 1]."""
    return per_item(torch.linalg.vector_norm(x.flatten(1), dim=1), x)


def _unit(x: Tensor) -> Tensor:
    """x scaled to length 1 per item; an item without direction stays 0."""
    # Divided by the largest entry first: gradients of a weak classifier square to 0 in float32.
    largest = per_item(x.flatten(1).abs().amax(dim=1), x)
    x = torch.where(largest > 0, x / largest, 0.0)
    return x / _length(x).clamp(min=1.0)
