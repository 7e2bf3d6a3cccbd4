import pytest
import torch
from torch import nn

from nnanomaly.networks.discriminator import PatchDiscriminator
from nnanomaly.networks.losses import discriminator_hinge_loss
from nnanomaly.utilities.errors import ConfigurationError


@pytest.mark.parametrize(("dimensions", "millions"), [(2, 2.8), (3, 11.0)])
def test_published_size(dimensions: int, millions: float) -> None:
    with torch.device("meta"):
        network = PatchDiscriminator(dimensions, "batch")
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(millions * 1e6, rel=0.02)


def test_published_logits_of_a_kidney_patch() -> None:
    with torch.device("meta"):
        judged = PatchDiscriminator(3)(torch.zeros(1, 1, 128, 96, 96))
    assert judged.logits.shape == (1, 1, 19, 15, 15)
    assert [feature.shape[1] for feature in judged.features] == [64, 128, 256, 512]


@pytest.mark.parametrize(("norm", "kind"), [("group", nn.GroupNorm), ("batch", nn.BatchNorm3d)])
def test_the_norm_sits_in_the_three_middle_layers(norm: str, kind: type[nn.Module]) -> None:
    network = PatchDiscriminator(3, norm, width=8)
    assert [any(isinstance(m, kind) for m in layer) for layer in network.hidden] == [False, True, True, True]


def test_a_real_sample_is_judged_independently_of_its_batch_with_group_norm() -> None:
    torch.manual_seed(0)
    network, x = PatchDiscriminator(2, width=8), torch.randn(3, 1, 24, 24)
    torch.testing.assert_close(network(x).logits[:1], network(x[:1]).logits)


def test_learns_to_tell_sharp_from_smooth_slices() -> None:
    torch.manual_seed(0)
    network = PatchDiscriminator(2, width=8)
    optimizer = torch.optim.Adam(network.parameters(), 2e-3, betas=(0.5, 0.9))
    for _ in range(30):
        sharp = torch.randn(8, 1, 24, 24)
        smooth = nn.functional.avg_pool2d(sharp, 3, 1, 1)
        loss = discriminator_hinge_loss(network(sharp).logits, network(smooth).logits)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3


def test_other_dimensions_and_norms_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"1 dimensions.*\[2, 3\]"):
        PatchDiscriminator(1)
    with pytest.raises(ConfigurationError, match=r"'layer'.*'group', 'batch'"):
        PatchDiscriminator(2, "layer")


@pytest.mark.parametrize("size", [8, 17, 18])
def test_gradients_in_bf16_are_finite_and_the_same_again_for_images_of_any_size(size: int) -> None:
    torch.manual_seed(0)
    judge, x = PatchDiscriminator(3, width=16), torch.rand(2, 1, size, size, size)
    gradients = []
    for _ in range(8):
        stale = [torch.full((1 << k,), float("nan")) for k in range(6, 20)]  # what uninitialised memory may hold
        del stale
        judge.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            logits = judge(x).logits
        logits.float().square().mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in judge.parameters()]))
    assert all(torch.equal(gradient, gradients[0]) for gradient in gradients)
    assert torch.isfinite(gradients[0]).all()
