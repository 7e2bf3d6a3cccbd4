"""How much GPU memory a training step takes, estimated from a run of the networks on the `meta` device (shapes only).

    bytes = batch size * sum over networks (KEPT_BYTES * elements) + BYTES_PER_PARAMETER * parameters

`elements` are the outputs of all convolutions and linear layers for one sample. What is kept for the backward pass
grows with them, at a rate that depends on how each architecture mixes convolutions, norms and activations. Attention
adds no term: fused attention never holds the matrix of all pairs of tokens, and its projections are counted. The
autoencoder lives together with its discriminators, the other networks alone, since their latents are cached.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nnanomaly.build import build_classifier, build_discriminators, build_head, build_unet, build_vqgan
from nnanomaly.plans import Plans

GB = 2**30
KEPT_BYTES: dict[str, dict[str, float]] = {
    "resize": {"fp32": 10, "bf16": 7},
    "transposed": {"fp32": 17, "bf16": 14},
    "discriminator": {"fp32": 11, "bf16": 7},
    "unet3d": {"fp32": 14, "bf16": 12},
    "factorised": {"fp32": 8, "bf16": 6},
    "classifier": {"fp32": 16, "bf16": 15},
    "head": {"fp32": 10, "bf16": 9.5},
}
"""Bytes per element: what autograd was seen to keep on a CPU (norms in fp32, as on a GPU) and 15 % for gradients."""
BYTES_PER_PARAMETER = 20
"""Weight, gradient, two Adam moments and the moving average, in fp32."""
COUNTED = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose3d, nn.Linear)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What the training of a stage needs."""

    bytes_per_sample: float
    """Kept for the backward pass of one sample."""
    parameters: int
    """Trained weights."""

    def gb(self, batch_size: int) -> float:
        """Estimated memory of a training step in GB (2^30 bytes)."""
        return (self.bytes_per_sample * batch_size + BYTES_PER_PARAMETER * self.parameters) / GB

    def largest_batch(self, target_gb: float) -> int:
        """Samples in the largest batch that fits; 0 if none does."""
        return max(0, int((target_gb * GB - BYTES_PER_PARAMETER * self.parameters) // self.bytes_per_sample))


def demand_of_vqgan(plans: Plans) -> Demand:
    """Encoder, decoder, and the discriminators on a reconstruction: whole, and one slice along each axis."""
    precision = plans.vqgan.training.precision
    z, y, x = plans.preprocessing.patch_size
    with torch.device("meta"):
        vqgan, discriminators = build_vqgan(plans), build_discriminators(plans)
        patch = torch.zeros(1, 1, z, y, x)
        slices = [torch.zeros(1, 1, *size) for size in ((y, x), (z, x), (z, y))]
    judged = count_elements(discriminators, lambda: _judge(discriminators, {"volumes": [patch], "slices": slices}))
    coded = count_elements(vqgan, lambda: vqgan.decode(vqgan.encode(patch)))
    rates = KEPT_BYTES[plans.vqgan.architecture], KEPT_BYTES["discriminator"]
    return Demand(
        bytes_per_sample=coded * rates[0][precision] + judged * rates[1][precision],
        parameters=_num_parameters(vqgan) + _num_parameters(discriminators),
    )


def demand_of_classifier(plans: Plans) -> Demand:
    """The classifier on cached latents."""
    return _demand_on_latents(build_classifier, plans, KEPT_BYTES["classifier"][plans.classifier.training.precision])


def demand_of_ddpm(plans: Plans) -> Demand:
    """The U-Net on cached latents."""
    return _demand_on_latents(build_unet, plans, KEPT_BYTES[plans.ddpm.architecture][plans.ddpm.training.precision])


def demand_of_head(plans: Plans) -> Demand:
    """The lesion head on whole patches, whose reconstructions are cached."""
    with torch.device("meta"):
        head = build_head(plans)
        x = torch.zeros(1, len(plans.head.inputs), *plans.preprocessing.patch_size)
        elements = count_elements(head, lambda: head(x))
    kept_bytes = KEPT_BYTES["head"][plans.head.training.precision]
    return Demand(bytes_per_sample=kept_bytes * elements, parameters=_num_parameters(head))


DEMANDS = {
    "vqgan": demand_of_vqgan,
    "classifier": demand_of_classifier,
    "ddpm": demand_of_ddpm,
    "head": demand_of_head,
}


def count_elements(network: nn.Module, run: Callable[[], object]) -> int:
    """Outputs of all convolutions and linear layers of `network` during `run()`."""
    total = 0

    def count(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += output.numel()

    hooks = [module.register_forward_hook(count) for module in network.modules() if isinstance(module, COUNTED)]
    run()
    for hook in hooks:
        hook.remove()
    return total


def _judge(discriminators: nn.ModuleDict, views: dict[str, list[Tensor]]) -> None:
    for name, discriminator in discriminators.items():
        for view in views[name]:
            discriminator(view)


def _demand_on_latents(build: Callable[[Plans], nn.Module], plans: Plans, kept_bytes: float) -> Demand:
    with torch.device("meta"):
        network = build(plans)
        latent, time = torch.zeros(1, plans.vqgan.latent_channels, *plans.latent_shape), torch.zeros(1)
        elements = count_elements(network, lambda: network(latent, time))
    return Demand(bytes_per_sample=kept_bytes * elements, parameters=_num_parameters(network))


def _num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
