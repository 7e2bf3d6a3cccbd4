"""The model that gives a candidate its probability: plain numbers, so that it is a JSON document and needs no torch."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from nnanomaly.arrays import Floats
from nnanomaly.inference.candidate_features import FEATURES

LARGEST_DEVIATION = 4.0
"""Standardised features are clipped here: a candidate unlike all that were seen is no reason to extrapolate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reducer:
    """A perceptron with one hidden layer of H units on F standardised features."""

    features: tuple[str, ...]
    """Their names, in the order of the weights."""
    center: tuple[float, ...]
    """What is taken from every feature, `[F]`."""
    scale: tuple[float, ...]
    """What it is then divided by, `[F]`."""
    hidden_weights: tuple[tuple[float, ...], ...]
    """`[H, F]`."""
    hidden_bias: tuple[float, ...]
    """`[H]`."""
    output_weights: tuple[float, ...]
    """`[H]`."""
    output_bias: float
    """Added to the sum."""

    def __post_init__(self) -> None:
        """Refuse unknown features and weights that do not fit each other by a `ValueError`."""
        unknown = sorted(set(self.features) - set(FEATURES))
        if unknown or not self.features:
            raise ValueError(f"features must be some of {', '.join(FEATURES)}, not {unknown[:3]}")
        num_features, num_hidden = len(self.features), len(self.hidden_weights)
        lengths = {len(self.center), len(self.scale), *map(len, self.hidden_weights)}
        if lengths != {num_features} or not len(self.hidden_bias) == len(self.output_weights) == num_hidden:
            raise ValueError(f"the weights do not fit {num_features} features and {num_hidden} hidden units")
        if min(self.scale) <= 0:
            raise ValueError("scale must be positive")


def standardise(features: Floats, center: Floats, scale: Floats) -> Floats:
    """(features - center) / scale, clipped to +-`LARGEST_DEVIATION`; features `[N, F]`."""
    return np.asarray(np.clip((features - center) / scale, -LARGEST_DEVIATION, LARGEST_DEVIATION))


def probabilities(reducer: Reducer, features: Floats) -> Floats:
    """p = sigmoid(w2 . tanh(W1 x + b1) + b2) of every row of `features [N, F]` (`FEATURES`), in (0, 1)."""
    columns = [FEATURES.index(name) for name in reducer.features]
    x = standardise(features[:, columns], np.asarray(reducer.center), np.asarray(reducer.scale))
    hidden = np.tanh(x @ np.asarray(reducer.hidden_weights).T + np.asarray(reducer.hidden_bias))
    return np.asarray(expit(hidden @ np.asarray(reducer.output_weights) + reducer.output_bias))
