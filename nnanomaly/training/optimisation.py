"""What all stages share when they take an optimiser step: optimiser, learning rate, clipping, moving average."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from nnanomaly.plans import TrainingPlan

Batch = dict[str, Tensor]


def build_optimizer(parameters: Iterable[nn.Parameter], plan: TrainingPlan, learning_rate: float) -> torch.optim.AdamW:
    """AdamW; with `weight_decay` 0 it is Adam."""
    return torch.optim.AdamW(parameters, lr=learning_rate, betas=plan.betas, weight_decay=plan.weight_decay)


def learning_rate_factor(plan: TrainingPlan, iteration: int) -> float:
    """Share of the peak learning rate at an iteration: linear warm-up, then constant or cosine to a tenth.

    The warm-up never takes more than a tenth of the run, so that a shortened run still trains.
    """
    warmup = min(plan.warmup_iterations, plan.num_iterations // 10)
    if iteration < warmup:
        return (iteration + 1) / warmup
    if plan.decay == "constant":
        return 1.0
    progress = (iteration - warmup) / max(1, plan.num_iterations - warmup)
    return 0.1 + 0.9 * 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * min(1.0, progress), dtype=torch.float64))))


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Scale the peak learning rate that the optimiser was built with."""
    for group in optimizer.param_groups:
        group.setdefault("peak_lr", group["lr"])
        group["lr"] = group["peak_lr"] * factor


def clip_and_step(optimizer: torch.optim.Optimizer, max_norm: float) -> float:
    """Clip the gradients to `max_norm` (0 = only measure), step, clear them; returns the norm before clipping."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    norm = nn.utils.clip_grad_norm_(parameters, max_norm if max_norm > 0 else float("inf"))
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(norm)


def moving_average(module: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of the weights whose decay warms up as (1 + n) / (10 + n); buffers are copied."""
    return AveragedModel(module, avg_fn=_averaging(decay), use_buffers=False)


def _averaging(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    def average(averaged: Tensor, current: Tensor, num_averaged: Tensor | int) -> Tensor:
        warm = min(decay, (1 + int(num_averaged)) / (10 + int(num_averaged)))
        return warm * averaged + (1 - warm) * current

    return average
