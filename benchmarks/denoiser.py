"""Denoising U-Net beside MONAI's `DiffusionModelUNet` of the same widths: one evaluation and one training step.

Latent 8 x 32 x 24 x 24, batch 1, widths (64, 128, 256), two blocks a level, attention at the coarsest level. Both
networks are timed in turn in one process, so that the ratio holds where the seconds do not. CPU seconds (all threads
together) are compared, as neighbours on a shared machine change wall time far more.
Usage: `python benchmarks/denoiser.py [threads] [rounds]`.
"""

import importlib.util
import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nnanomaly.networks.unet import UNet3D
from nnanomaly.plans import DiffusionPlan, TrainingPlan

WIDTHS, CHANNELS, SIZE, HEAD_CHANNELS, BLOCKS = (64, 128, 256), 8, (32, 24, 24), 64, 2


def our_network() -> nn.Module:
    """UNet3D of this package."""
    plan = DiffusionPlan(
        architecture="unet3d",
        widths=WIDTHS,
        process="edm",
        latent_scaling="standardise",
        training=TrainingPlan(num_iterations=1, batch_size=1, learning_rate=2e-4),
        blocks_per_level=BLOCKS,
        attention_levels=(len(WIDTHS) - 1,),
        head_channels=HEAD_CHANNELS,
    )
    return UNet3D(plan, CHANNELS)


def monai_network() -> nn.Module:
    """MONAI's U-Net, attention by the fused kernel."""
    from monai.networks.nets import DiffusionModelUNet

    network: nn.Module = DiffusionModelUNet(
        spatial_dims=3,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        channels=WIDTHS,
        attention_levels=(False, False, True),
        num_res_blocks=BLOCKS,
        num_head_channels=HEAD_CHANNELS,
        use_flash_attention=True,
    )
    return network


NETWORKS: dict[str, Callable[[], nn.Module]] = {"ours": our_network, "monai": monai_network}


def latent() -> tuple[Tensor, Tensor]:
    """A latent of unit variance and its time."""
    return torch.randn(1, CHANNELS, *SIZE, generator=torch.Generator().manual_seed(0)), torch.tensor([0.1])


def evaluation_of(network: nn.Module, *, bf16: bool = False) -> Callable[[], object]:
    """One forward pass without a graph."""
    x, level = latent()

    def run() -> object:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return network(x, level)

    return run


def training_step_of(network: nn.Module, *, bf16: bool = False) -> Callable[[], object]:
    """Forward, squared error, backward, AdamW."""
    x, level = latent()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-5)

    def run() -> object:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            denoised = network(x, level)
        loss = F.mse_loss(denoised.float(), x)
        torch.autograd.backward(loss)
        return optimiser.step()

    return run


WORK = {"evaluation": evaluation_of, "training step": training_step_of}


def cpu_seconds(run: Callable[[], object]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def peak_gib(name: str) -> float:
    """Memory one fp32 training step adds to a process that holds the network; ask in a fresh process."""
    step = training_step_of(NETWORKS[name]())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20


def compare(names: list[str], rounds: int) -> None:
    """Print medians over `rounds` interleaved rounds."""
    for bf16, label in ((False, "fp32"), (True, "bf16 channels-last")):
        layout = torch.channels_last_3d if bf16 else torch.contiguous_format
        networks = {name: NETWORKS[name]().to(memory_format=layout) for name in names}  # type: ignore[call-overload]
        for work, prepare in WORK.items():
            runs = {name: prepare(network, bf16=bf16) for name, network in networks.items()}
            for run in runs.values():
                run()  # the first call chooses kernels
            times: dict[str, list[float]] = {name: [] for name in runs}
            for _ in range(rounds):
                for name, run in runs.items():
                    times[name].append(cpu_seconds(run))
            report(f"{label}, {work}", {name: statistics.median(values) for name, values in times.items()}, "CPU s")


def report(label: str, values: dict[str, float], unit: str) -> None:
    """Print one line with the ratio to MONAI."""
    ratio = f"   monai / ours {values['monai'] / values['ours']:.2f}" if "monai" in values else ""
    print(f"{label:36}" + "  ".join(f"{name} {value:.3f} {unit}" for name, value in values.items()) + ratio, flush=True)


def main(threads: int, rounds: int) -> None:
    """Sizes, times and memory of both networks."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    names = list(NETWORKS)
    if any(importlib.util.find_spec(package) is None for package in ("monai", "einops")):
        names.remove("monai")
        print("MONAI is not installed (pip install monai einops): only our own figures follow")
    print(f"torch {torch.__version__}, {threads} threads, {rounds} rounds")
    report("parameters", {name: sum(p.numel() for p in NETWORKS[name]().parameters()) / 1e6 for name in names}, "M")
    # First of all: a child inherits the peak of its parent, and so far the parent has done nothing.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        report("fp32, training step, memory", {name: pool.submit(peak_gib, name).result() for name in names}, "GiB")
    compare(names, rounds)


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    main(*arguments, *(1, 5)[len(arguments) :])
