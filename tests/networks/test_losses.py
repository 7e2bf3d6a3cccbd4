import pytest
import torch

from nnanomaly.networks.losses import (
    discriminator_hinge_loss,
    feature_matching_loss,
    generator_hinge_loss,
    haar_high_band_loss,
    haar_split,
    random_slices,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_hinge_losses_by_hand() -> None:
    real, fake = torch.tensor([2.0, 0.0, -1.0]), torch.tensor([-3.0, 0.5])
    assert discriminator_hinge_loss(real, fake).item() == pytest.approx(0.5 * ((0 + 1 + 2) / 3 + (0 + 1.5) / 2))
    assert generator_hinge_loss(fake).item() == pytest.approx(1.25)


def test_feature_matching_sums_layers_and_gives_no_gradient_to_the_real_side() -> None:
    fake = [torch.tensor([1.0, 3.0], requires_grad=True), torch.tensor([[2.0]], requires_grad=True)]
    real = [torch.tensor([0.0, 0.0], requires_grad=True), torch.tensor([[5.0]], requires_grad=True)]
    loss = feature_matching_loss(fake, real)
    loss.backward()
    assert loss.item() == pytest.approx(2.0 + 3.0)
    assert fake[0].grad is not None and real[0].grad is None


def test_haar_split_of_a_cube_by_hand() -> None:
    cube = torch.zeros(1, 1, 2, 2, 2)
    cube[0, 0, 0, 0, 1] = 8.0
    bands = torch.stack(haar_split(cube)).flatten()
    # Every band is +-8 / sqrt(8); the sign flips in the bands that are high along x.
    expected = torch.tensor([1.0, -1, 1, -1, 1, -1, 1, -1]) * 8**0.5
    torch.testing.assert_close(bands, expected)


def test_haar_split_keeps_the_energy() -> None:
    x = torch.randn(2, 3, 4, 6, 8, generator=seeded())
    torch.testing.assert_close(torch.stack(haar_split(x)).square().sum(), x.square().sum())


def test_an_axis_of_odd_length_repeats_its_last_plane() -> None:
    x = torch.randn(1, 1, 3, 2, 2, generator=seeded())
    padded = torch.cat([x, x[:, :, -1:]], 2)
    torch.testing.assert_close(torch.stack(haar_split(x)), torch.stack(haar_split(padded)))


def test_wavelet_loss_ignores_a_constant_offset_and_sees_noise_of_both_scales() -> None:
    x = torch.randn(1, 1, 8, 8, 8, generator=seeded())
    assert haar_high_band_loss(x, x + 0.5).item() == pytest.approx(0, abs=1e-5)
    checker = torch.ones(1, 1, 8, 8, 8)
    checker[..., ::2] = -1  # finest scale along x only: one band of 14 with values sqrt(8)
    assert haar_high_band_loss(x, x + checker).item() == pytest.approx(8**0.5, rel=1e-5)
    coarse = checker[:, :, :4, :4, :4].repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
    assert haar_high_band_loss(x, x + coarse).item() == pytest.approx(8, rel=1e-5)
    assert haar_high_band_loss(x, x + coarse, levels=1).item() == pytest.approx(0, abs=1e-5)


def test_random_slices_are_the_same_of_both_volumes_and_come_from_every_axis() -> None:
    x = torch.arange(2 * 3 * 4 * 5.0).view(2, 1, 3, 4, 5)
    generator, shapes = seeded(), set()
    for _ in range(20):
        one, other = random_slices(x, -x, generator=generator)
        assert torch.equal(one, -other)
        shapes.add(tuple(one.shape[1:]))
        for sample, volume in zip(one, x, strict=True):
            planes = [plane for axis in (1, 2, 3) for plane in volume.unbind(axis)]
            assert any(plane.shape == sample.shape and torch.equal(plane, sample) for plane in planes)
    assert shapes == {(1, 4, 5), (1, 3, 5), (1, 3, 4)}


def test_samples_of_a_batch_get_slices_of_their_own_along_the_asked_axis() -> None:
    x = torch.arange(64.0).view(1, 1, 64, 1, 1).expand(8, 1, 64, 2, 3)
    (slices,) = random_slices(x, generator=seeded(), axes=(2,))
    assert slices.shape == (8, 1, 2, 3)
    assert len(slices[:, 0, 0, 0].unique()) > 4


def test_the_same_seed_gives_the_same_slices() -> None:
    x = torch.randn(4, 1, 6, 6, 6, generator=seeded())
    assert torch.equal(*(random_slices(x, generator=seeded(3))[0] for _ in range(2)))
