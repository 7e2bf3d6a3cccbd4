"""Seconds and memory of one kidney: the healthy reconstruction of one patch of 128 x 96 x 96 mm by both presets.

Networks have their full planned size and random weights, which costs the same as trained ones. `paper` needs 1000
evaluations of its U-Net and 500 gradients of the classifier: it is timed with few steps, twice, and extended along the
line through both (every step costs the same). Each preset runs in a process of its own; CPU seconds of all threads.
Usage: `python benchmarks/kidney.py [threads]`.
"""

import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import torch

from nnanomaly.build import build_classifier, build_codec, build_unet, build_vqgan
from nnanomaly.experiment_planning.presets import PRESETS
from nnanomaly.inference.reconstruct import LatentModels, Reconstructor, build_reconstructor
from nnanomaly.networks.vqgan import VQGAN
from nnanomaly.plans import PLANS_NAMES, InferencePlan, Plans

SIZE = (128, 96, 96)
FEW_STEPS = (2, 6)


def plans_of(preset: str) -> Plans:
    """The preset as it stands, for a patch of the published size."""
    base = PRESETS[preset]
    return Plans(
        dataset_name="Dataset501_Kidney",
        plans_name=PLANS_NAMES[preset],
        preset=preset,
        gpu_memory_target_gb=8.0,
        organs=("kidney_left",),
        preprocessing=replace(base.preprocessing, patch_size=SIZE),
        vqgan=base.vqgan,
        classifier=base.classifier,
        ddpm=base.ddpm,
        inference=base.inference,
        reasons={},
    )


def reconstructor(plans: Plans, inference: InferencePlan) -> Reconstructor:
    """The reconstruction with untrained networks."""
    plans = replace(plans, inference=inference)
    vqgan = build_vqgan(plans).eval()
    assert isinstance(vqgan, VQGAN)
    vqgan.codebook.codes.normal_()
    channels = plans.vqgan.latent_channels
    scaling = {"mean": [0.0] * channels, "std": [1.0] * channels, "low": [-3.0], "high": [3.0]}
    models = LatentModels(
        unet=build_unet(plans).eval().requires_grad_(False),
        classifier=build_classifier(plans).eval().requires_grad_(False),
        diffusion=plans.ddpm,
        inference=inference,
    )
    return build_reconstructor(build_codec(plans, vqgan, scaling), models, seed=0, device=torch.device("cpu"))


def cpu_seconds(plans: Plans, inference: InferencePlan) -> float:
    """CPU time of one patch."""
    reconstruct = reconstructor(plans, inference)
    patch = np.random.default_rng(0).uniform(-1, 1, SIZE).astype(np.float32)
    start = time.process_time()
    reconstruct([patch], ["patch"])
    return time.process_time() - start


def measure(preset: str, threads: int) -> tuple[float, float, str]:
    """CPU seconds of a kidney, peak memory in GiB, and how the seconds were found."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    plans = plans_of(preset)
    steps = plans.inference.num_steps
    if preset == "default":
        cpu_seconds(plans, replace(plans.inference, num_steps=1, num_samples=1))  # the first call chooses kernels
        seconds, how = cpu_seconds(plans, plans.inference), "measured"
    else:
        few, more = (cpu_seconds(plans, replace(plans.inference, num_steps=number)) for number in FEW_STEPS)
        per_step = (more - few) / (FEW_STEPS[1] - FEW_STEPS[0])
        seconds, how = few + (steps - FEW_STEPS[0]) * per_step, f"extended from {FEW_STEPS} of {steps} steps"
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, how


def main(threads: int) -> None:
    """Both presets, and their ratio."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        found = {preset: pool.submit(measure, preset, threads).result() for preset in PRESETS}
    print(f"torch {torch.__version__}, {threads} threads")
    for preset, (seconds, memory, how) in found.items():
        print(f"{preset:8} {seconds:8.1f} CPU s a kidney ({how}), peak memory {memory:.2f} GiB")
    print(f"paper / default {found['paper'][0] / found['default'][0]:.1f}")


if __name__ == "__main__":
    main(*([int(argument) for argument in sys.argv[1:]] or [1]))
