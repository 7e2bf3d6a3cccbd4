"""Fitting a reducer by multiple-instance learning: the certain teaches one by one, the rest in bags.

Legend: N negatives, P positives, K candidates of one unhealthy organ (a bag), F features, H hidden units.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nnanomaly.arrays import Floats
from nnanomaly.inference.candidate_features import FEATURES
from nnanomaly.inference.reducer import Reducer, standardise

NUM_HIDDEN = 8
NUM_STEPS = 400
LEARNING_RATE = 0.02
PENALTY = 3e-3
"""Weight of the sum of squared weights: a few hundred candidates do not bear more freedom."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeakCandidates:
    """Features of candidates, by what is known of them."""

    negatives: Floats
    """`[N, F]`: in organs that are labelled healthy, beside any inserted lesion."""
    positives: Floats
    """`[P, F]`: on inserted lesions."""
    bags: tuple[Floats, ...]
    """`[K, F]` each, K >= 1: of organs that are labelled unhealthy, where at least one should be true."""


def bag_loss(logits: Tensor) -> Tensor:
    """Noisy-or: -log(1 - prod(1 - p)) over the candidates `[K]` of an unhealthy organ, p = sigmoid(logit)."""
    log_none = -F.softplus(logits).sum()
    return -torch.log(-torch.expm1(log_none))


def fit_reducer(data: WeakCandidates, *, seed: int) -> Reducer:
    """Minimise the mean cross-entropy of the negatives, that of the positives and the mean bag loss, equally weighted.

    A group without members is left out. The same seed gives the same weights.
    """
    everything = np.concatenate([data.negatives, data.positives, *data.bags])
    center, scale = everything.mean(axis=0), everything.std(axis=0) + 1e-6
    groups = WeakTensors(data, center, scale)
    generator = torch.Generator().manual_seed(seed)
    shapes = ((NUM_HIDDEN, len(FEATURES)), (NUM_HIDDEN,), (NUM_HIDDEN,), ())
    spread = (len(FEATURES) ** -0.5, 0.0, NUM_HIDDEN**-0.5, 0.0)
    weights = [
        (torch.randn(shape, generator=generator, dtype=torch.float64) * std).requires_grad_()
        for shape, std in zip(shapes, spread, strict=True)
    ]
    optimizer = torch.optim.Adam(weights, lr=LEARNING_RATE)
    for _ in range(NUM_STEPS):
        optimizer.zero_grad()
        loss = groups.loss(weights) + PENALTY * ((weights[0] ** 2).sum() + (weights[2] ** 2).sum())
        loss.backward()
        optimizer.step()
    hidden_weights, hidden_bias, output_weights, output_bias = (weight.detach().tolist() for weight in weights)
    return Reducer(
        features=FEATURES,
        center=tuple(center.tolist()),
        scale=tuple(scale.tolist()),
        hidden_weights=tuple(map(tuple, hidden_weights)),
        hidden_bias=tuple(hidden_bias),
        output_weights=tuple(output_weights),
        output_bias=output_bias,
    )


class WeakTensors:
    """Standardised features of `WeakCandidates`, and the loss of weights on them."""

    def __init__(self, data: WeakCandidates, center: Floats, scale: Floats) -> None:
        def tensor(features: Floats) -> Tensor:
            return torch.from_numpy(standardise(features, center, scale))

        self.negatives, self.positives = tensor(data.negatives), tensor(data.positives)
        self.bags = [tensor(bag) for bag in data.bags]

    def loss(self, weights: list[Tensor]) -> Tensor:
        """Sum of the means of the three groups."""
        terms = [torch.zeros((), dtype=torch.float64)]
        if len(self.negatives):
            terms.append(F.softplus(_logits(self.negatives, weights)).mean())
        if len(self.positives):
            terms.append(F.softplus(-_logits(self.positives, weights)).mean())
        if self.bags:
            of_all = _logits(torch.cat(self.bags), weights)
            of_each = torch.split(of_all, [len(bag) for bag in self.bags])
            terms.append(torch.stack([bag_loss(logits) for logits in of_each]).mean())
        return torch.stack(terms).sum()


def _logits(x: Tensor, weights: list[Tensor]) -> Tensor:
    """x [N, F] -> [N]; the sum of `nnanomaly.inference.reducer.probabilities` before its sigmoid."""
    hidden_weights, hidden_bias, output_weights, output_bias = weights
    return torch.tanh(x @ hidden_weights.T + hidden_bias) @ output_weights + output_bias
