import pytest
import torch
from torch import Tensor

from nnanomaly.networks.perceptual import LPIPS, STAGES, expected_weights
from nnanomaly.utilities.errors import EnvironmentFault

WIDTHS = (4, 4, 8, 8, 8)


def small_weights() -> dict[str, Tensor]:
    """Made-up weights with VGG16's names and few channels."""
    generator, weights, before = torch.Generator().manual_seed(0), {}, 3
    for stage, (numbers, width) in enumerate(zip(STAGES, WIDTHS, strict=True)):
        for number in numbers:
            weights[f"features.{number}.weight"] = torch.randn(width, before, 3, 3, generator=generator) * 0.2
            weights[f"features.{number}.bias"] = torch.randn(width, generator=generator) * 0.1
            before = width
        weights[f"lin{stage}.model.1.weight"] = torch.rand(1, width, 1, 1, generator=generator)
    return weights


def slices(seed: int) -> Tensor:
    return torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_distance_is_zero_of_equal_slices_positive_else_and_symmetric() -> None:
    lpips = LPIPS(small_weights(), source="test")
    x, y = slices(0), slices(1)
    assert lpips(x, x).item() == 0
    assert lpips(x, y).item() > 0
    torch.testing.assert_close(lpips(x, y), lpips(y, x))


def test_distance_grows_with_the_degradation() -> None:
    lpips = LPIPS(small_weights(), source="test")
    x, noise = slices(0), slices(1)
    distances = [lpips(x, x + amount * noise).item() for amount in (0.05, 0.2, 0.8)]
    assert distances == sorted(distances) and distances[0] > 0


def test_features_have_unit_length_and_vgg_resolution() -> None:
    features = LPIPS(small_weights(), source="test").features(slices(0))
    assert [f.shape[1:] for f in features] == [(w, 32 >> k, 32 >> k) for k, w in enumerate(WIDTHS)]
    lengths = features[0].square().sum(1)
    torch.testing.assert_close(lengths[lengths > 0.5], torch.ones_like(lengths[lengths > 0.5]))


def test_the_network_is_frozen_but_passes_gradients_to_the_image() -> None:
    lpips = LPIPS(small_weights(), source="test").train()
    x = slices(0).requires_grad_()
    lpips(x, slices(1)).backward()
    assert list(lpips.parameters()) == []
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_absent_weights_name_the_source_and_the_remedy() -> None:
    with pytest.raises(EnvironmentFault, match=r"vgg\.pth holds no LPIPS weights.*features\.0\.weight.*wavelet"):
        LPIPS({}, source="vgg.pth")
    incomplete = small_weights()
    del incomplete["lin4.model.1.weight"]
    with pytest.raises(EnvironmentFault, match=rf"1 of {len(expected_weights())} tensors.*lin4"):
        LPIPS(incomplete, source="vgg.pth")
