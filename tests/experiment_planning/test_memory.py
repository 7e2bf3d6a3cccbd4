"""Elements against counts by hand and against nnU-Net's own formula; bytes against what autograd really keeps."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from torch import nn

from nnanomaly.experiment_planning.memory import DEMANDS, GB, KEPT_BYTES, Demand, count_elements
from nnanomaly.experiment_planning.presets import DEFAULT, PAPER, Preset
from nnanomaly.networks.classifier import LatentClassifier
from nnanomaly.networks.discriminator import PatchDiscriminator
from nnanomaly.networks.lesion_head import LesionHead
from nnanomaly.networks.unet import UNet3D
from nnanomaly.networks.unet_factorised import FactorisedUNet
from nnanomaly.networks.vqgan import VQGAN
from nnanomaly.plans import Plans


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
    "head": (lambda: LesionHead(DEFAULT.head), (4, 16, 16, 16)),
    "classifier": (lambda: LatentClassifier(DEFAULT.classifier, 8), (8, 16, 16, 16)),
}


@pytest.fixture
def norms_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """What autocast does on a GPU and not on a CPU: norms compute, and keep their input, in fp32."""
    original = nn.functional.group_norm

    def group_norm(x: torch.Tensor, *arguments: object, **options: object) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            return original(x.float(), *arguments, **options)

    monkeypatch.setattr(nn.functional, "group_norm", group_norm)
    original_instance = nn.functional.instance_norm

    def instance_norm(x: torch.Tensor, *arguments: object, **options: object) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            return original_instance(x.float(), *arguments, **options)

    monkeypatch.setattr(nn.functional, "instance_norm", instance_norm)


def kept_bytes(name: str, precision: str, batch_size: int) -> int:
    """What autograd keeps for the backward pass of a batch, weights left out."""
    build, shape = NETWORKS[name]
    network, inputs = build(), [torch.zeros(batch_size, *shape)]
    if name in ("unet3d", "factorised", "classifier"):
        inputs.append(torch.zeros(batch_size))
    parameters = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in parameters:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    cast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16")
    with cast, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(*inputs)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", KEPT_BYTES)
def test_estimate_is_what_autograd_keeps_and_up_to_a_third_more(name: str, precision: str, norms_in_fp32: None) -> None:
    build, shape = NETWORKS[name]
    network, inputs = build(), [torch.zeros(1, *shape), torch.zeros(1)]
    if name not in ("unet3d", "factorised", "classifier"):
        del inputs[1]
    estimated = KEPT_BYTES[name][precision] * count_elements(network, lambda: network(*inputs))
    # One sample more: the copies of the weights in bf16, which do not grow with the batch, cancel.
    measured = kept_bytes(name, precision, 2) - kept_bytes(name, precision, 1)
    assert 1.0 <= estimated / measured <= 1.33


@pytest.mark.parametrize("rates", KEPT_BYTES.values(), ids=KEPT_BYTES)
def test_bf16_keeps_less_than_fp32_but_not_half_since_norms_stay(rates: dict[str, float]) -> None:
    assert rates["fp32"] / 2 < rates["bf16"] < rates["fp32"]


def in_precision(plans: Plans, precision: str) -> Plans:
    for stage in DEMANDS:
        plans = plans.with_training(stage, precision=precision)
    return plans


@pytest.mark.parametrize("preset", ["default", "paper"])
@pytest.mark.parametrize("stage", DEMANDS)
def test_a_step_in_bf16_needs_less_for_its_samples_and_as_much_for_its_weights(
    tiny_plans: Callable[..., Plans], preset: str, stage: str
) -> None:
    plans = tiny_plans(preset, dataset="Dataset501_Kidney")
    full, half = (DEMANDS[stage](in_precision(plans, precision)) for precision in ("fp32", "bf16"))
    assert half.bytes_per_sample < full.bytes_per_sample
    assert half.parameters == full.parameters
    assert half.gb(4) < full.gb(4)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("preset", ["default", "paper"])
@pytest.mark.parametrize("stage", DEMANDS)
def test_memory_grows_with_the_batch_and_the_widths(
    tiny_plans: Callable[..., Plans], preset: str, stage: str, precision: str
) -> None:
    plans = in_precision(tiny_plans(preset, dataset="Dataset501_Kidney"), precision)
    part = getattr(plans, stage)
    wider = replace(plans, **{stage: replace(part, widths=tuple(2 * width for width in part.widths))})
    demand, larger = DEMANDS[stage](plans), DEMANDS[stage](wider)
    assert demand.gb(1) < demand.gb(2) < demand.gb(8)
    assert demand.gb(8) - demand.gb(4) == pytest.approx(demand.gb(4) - demand.gb(0))
    assert larger.bytes_per_sample > demand.bytes_per_sample
    assert larger.parameters > demand.parameters
    assert larger.largest_batch(0.5) < demand.largest_batch(0.5)
