"""Elements against counts by hand and against nnU-Net's own formula; bytes against what autograd really keeps."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn

from nnanomaly.experiment_planning.memory import GB, KEPT_BYTES, Demand, count_elements
from nnanomaly.experiment_planning.presets import DEFAULT, PAPER, Preset
from nnanomaly.networks.classifier import LatentClassifier
from nnanomaly.networks.discriminator import PatchDiscriminator
from nnanomaly.networks.unet import UNet3D
from nnanomaly.networks.unet_factorised import FactorisedUNet
from nnanomaly.networks.vqgan import VQGAN


def test_elements_are_the_outputs_of_convolutions_and_linear_layers() -> None:
    with torch.device("meta"):
        network = nn.Sequential(
            nn.Conv3d(1, 4, 3, padding=1),  # 4 x 8 x 8 x 8
            nn.GroupNorm(2, 4),
            nn.SiLU(),
            nn.Conv3d(4, 6, 4, stride=2, padding=1),  # 6 x 4 x 4 x 4
            nn.ConvTranspose3d(6, 2, 2, stride=2),  # 2 x 8 x 8 x 8
            nn.Flatten(),
            nn.Linear(1024, 10),
        )
        patch = torch.zeros(1, 1, 8, 8, 8)
    assert count_elements(network, lambda: network(patch)) == 4 * 512 + 6 * 64 + 2 * 512 + 10


def test_elements_equal_the_formula_of_nnunet_networks() -> None:
    with torch.device("meta"):
        network = PlainConvUNet(
            input_channels=1,
            n_stages=3,
            features_per_stage=(8, 16, 32),
            conv_op=nn.Conv3d,
            kernel_sizes=3,
            strides=(1, 2, 2),
            n_conv_per_stage=2,
            num_classes=2,
            n_conv_per_stage_decoder=2,
            deep_supervision=False,
        )
        patch = torch.zeros(1, 1, 32, 16, 16)
    full, half = 32 * 16 * 16, 16 * 8 * 8
    assert count_elements(network, lambda: network(patch)) == network.compute_conv_feature_map_size((32, 16, 16))
    assert count_elements(network, lambda: network(patch)) > full * 8 * 4 + half * 16 * 4


def test_bytes_grow_with_the_batch_and_the_largest_batch_fits_exactly() -> None:
    demand = Demand(bytes_per_sample=1000, parameters=50)
    assert demand.gb(3) * GB == pytest.approx(3 * 1000 + 20 * 50)
    assert demand.largest_batch(demand.gb(7) + 1e-12) == 7
    assert demand.largest_batch(demand.gb(7) * 0.99) == 6
    assert demand.largest_batch(1e-9) == 0


class Autoencoder(nn.Module):
    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.vqgan = VQGAN(preset.vqgan)

    def forward(self, patch: torch.Tensor) -> torch.Tensor:
        return self.vqgan.decode(self.vqgan.encode(patch))


UNET = replace(DEFAULT.ddpm, widths=(16, 32), attention_levels=(1,))
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "resize": (lambda: Autoencoder(DEFAULT), (1, 32, 16, 16)),
    "transposed": (lambda: Autoencoder(PAPER), (1, 32, 16, 16)),
    "discriminator": (lambda: PatchDiscriminator(3, "group"), (1, 32, 32, 32)),
    "unet3d": (lambda: UNet3D(UNET, 8), (8, 16, 16, 16)),
    "factorised": (lambda: FactorisedUNet(PAPER.ddpm, 8), (8, 16, 8, 8)),
    "classifier": (lambda: LatentClassifier(DEFAULT.classifier, 8), (8, 16, 16, 16)),
}


@pytest.mark.parametrize("name", KEPT_BYTES)
def test_estimate_is_what_autograd_keeps_and_up_to_a_third_more(name: str) -> None:
    build, shape = NETWORKS[name]
    network, inputs = build(), [torch.zeros(1, *shape)]
    if name in ("unet3d", "factorised", "classifier"):
        inputs.append(torch.zeros(1))
    parameters = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in parameters:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(*inputs)
    measured = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    estimated = KEPT_BYTES[name]["fp32"] * count_elements(network, lambda: network(*inputs))
    assert 1.0 <= estimated / measured <= 1.33
