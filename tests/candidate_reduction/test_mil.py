"""The bag loss against its formula, and what a reducer learns from made-up candidates."""

import numpy as np
import pytest
import torch

from nnanomaly.arrays import Floats
from nnanomaly.candidate_reduction.mil import WeakCandidates, bag_loss, fit_reducer
from nnanomaly.inference.candidate_features import FEATURES
from nnanomaly.inference.reducer import probabilities

NOTHING = np.zeros((0, len(FEATURES)))
TELLING = FEATURES.index("contrast_hu")


def candidates(number: int, value: float, rng: np.random.Generator) -> Floats:
    """Noise in all features but one, which is `value` with a spread of 5."""
    features = rng.normal(size=(number, len(FEATURES)))
    features[:, TELLING] = value + rng.normal(scale=5.0, size=number)
    return features


@pytest.mark.parametrize("p", [[0.3], [0.1, 0.6], [0.5, 0.5, 0.01]])
def test_the_bag_loss_is_noisy_or(p: list[float]) -> None:
    expected = -np.log(1 - np.prod(1 - np.array(p)))
    logits = torch.logit(torch.tensor(p, dtype=torch.float64))
    assert bag_loss(logits).item() == pytest.approx(expected)


@pytest.mark.parametrize("logit", [-40.0, 40.0])
def test_the_bag_loss_and_its_slope_are_finite_where_candidates_are_certain(logit: float) -> None:
    logits = torch.tensor([logit, -40.0], dtype=torch.float64, requires_grad=True)
    loss = bag_loss(logits)
    loss.backward()
    assert loss.item() == pytest.approx(max(0.0, -logit), abs=1.0)
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


def test_a_feature_that_separates_is_learned_from_certain_candidates() -> None:
    rng = np.random.default_rng(0)
    data = WeakCandidates(negatives=candidates(60, 0, rng), positives=candidates(60, -60, rng), bags=())
    reducer = fit_reducer(data, seed=0)
    assert probabilities(reducer, candidates(200, -60, rng)).min() > 0.7
    assert probabilities(reducer, candidates(200, 0, rng)).max() < 0.3


def test_the_true_candidate_of_a_bag_is_learned_without_being_named() -> None:
    rng = np.random.default_rng(0)
    bags = tuple(np.concatenate([candidates(3, 0, rng), candidates(1, -60, rng)]) for _ in range(40))
    reducer = fit_reducer(WeakCandidates(negatives=candidates(80, 0, rng), positives=NOTHING, bags=bags), seed=0)
    true, false = (probabilities(reducer, candidates(200, value, rng)) for value in (-60, 0))
    assert np.median(true) > 0.7
    assert np.median(false) < 0.3
    assert np.quantile(true, 0.05) > np.quantile(false, 0.95)


def test_both_signs_of_a_feature_may_be_true() -> None:
    rng = np.random.default_rng(0)
    both = np.concatenate([candidates(40, -60, rng), candidates(40, 60, rng)])
    reducer = fit_reducer(WeakCandidates(negatives=candidates(80, 0, rng), positives=both, bags=()), seed=0)
    assert min(np.median(probabilities(reducer, candidates(200, value, rng))) for value in (-60, 60)) > 0.7
    assert np.median(probabilities(reducer, candidates(200, 0, rng))) < 0.3


def test_a_seed_gives_one_reducer() -> None:
    rng = np.random.default_rng(0)
    data = WeakCandidates(negatives=candidates(20, 0, rng), positives=candidates(20, -60, rng), bags=())
    assert fit_reducer(data, seed=1) == fit_reducer(data, seed=1)
    assert fit_reducer(data, seed=1) != fit_reducer(data, seed=2)
