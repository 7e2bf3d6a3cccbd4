"""VQ-GAN beside MONAI's `VQVAE` and `PatchDiscriminator`: encode, decode, generator step and discriminator step.

Patch 1 x 128 x 96 x 96, stride 4, batch 1, 8 latent channels, 16,384 codes. The loss terms are the same for both: mean
absolute error, commitment, hinge and feature matching of a 3D and a 2D patch discriminator. `ours` is the `default`
preset's autoencoder, `paper` the published one, both of this package. All are timed in turn in one process; CPU
seconds are compared. Usage: `python benchmarks/autoencoder.py [threads] [rounds]`.
"""

import importlib.util
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nnanomaly.experiment_planning.presets import DEFAULT, PAPER
from nnanomaly.networks.discriminator import PatchDiscriminator
from nnanomaly.networks.losses import discriminator_hinge_loss, feature_matching_loss, generator_hinge_loss
from nnanomaly.networks.vqgan import VQGAN

SIZE, LATENT_CHANNELS, NUM_CODES = (128, 96, 96), 8, 16384
SLICE = 48
Judge = Callable[[Tensor], Sequence[Tensor]]


@dataclass
class Contender:
    """An autoencoder with its discriminators, behind one form."""

    autoencoder: nn.Module
    """Its parameters are those of the generator."""
    encode: Callable[[Tensor], Tensor]
    """Patch -> latent."""
    decode: Callable[[Tensor], Tensor]
    """Latent -> patch, through the codes."""
    reconstruct: Callable[[Tensor], tuple[Tensor, Tensor]]
    """Patch -> reconstruction, commitment loss."""
    judges: list[nn.Module]
    """Discriminators of the volume and of a slice."""
    judge: list[Judge]
    """Features of each, the logits last."""


def ours(preset: str) -> Contender:
    """The autoencoder and the discriminators of a preset of this package."""
    base = {"ours": DEFAULT, "paper": PAPER}[preset]
    plan = replace(base.vqgan, latent_channels=LATENT_CHANNELS, num_codes=NUM_CODES)
    vqgan = VQGAN(plan).train()
    with torch.no_grad():
        vqgan.codebook.initialise(vqgan.encode(patch()), torch.Generator().manual_seed(0))
    judges: list[nn.Module] = [PatchDiscriminator(d, plan.discriminator_norm) for d in (3, 2)]

    def reconstruct(x: Tensor) -> tuple[Tensor, Tensor]:
        out = vqgan(x)
        vqgan.codebook.update(out.z.detach(), out.indices, generator=torch.Generator().manual_seed(0))
        return out.reconstruction, 0.25 * F.mse_loss(out.z, out.z_q.detach())

    def judge_of(network: nn.Module) -> Judge:
        return lambda x: [*(out := network(x)).features, out.logits]

    return Contender(vqgan, vqgan.encode, vqgan.decode_nearest, reconstruct, judges, [judge_of(j) for j in judges])


def monai() -> Contender:
    """MONAI's networks of the same widths and depths."""
    from monai.networks.nets import VQVAE
    from monai.networks.nets import PatchDiscriminator as MonaiDiscriminator

    network = VQVAE(
        spatial_dims=3,
        in_channels=1,
        out_channels=1,
        channels=(32, 64),
        num_res_layers=1,
        num_res_channels=(32, 64),
        downsample_parameters=((2, 4, 1, 1), (2, 4, 1, 1)),
        upsample_parameters=((2, 4, 1, 1, 0), (2, 4, 1, 1, 0)),
        num_embeddings=NUM_CODES,
        embedding_dim=LATENT_CHANNELS,
    ).train()
    judges: list[nn.Module] = [
        MonaiDiscriminator(spatial_dims=d, channels=64, in_channels=1, out_channels=1, num_layers_d=3) for d in (3, 2)
    ]

    def decode(z: Tensor) -> Tensor:
        quantised, _ = network.quantize(z)
        return network.decode(quantised)  # type: ignore[no-any-return]

    return Contender(network, network.encode, decode, network, judges, [lambda x, j=j: j(x) for j in judges])


CONTENDERS: dict[str, Callable[[], Contender]] = {
    "ours": lambda: ours("ours"),
    "paper": lambda: ours("paper"),
    "monai": monai,
}


def patch() -> Tensor:
    """A patch in [-1, 1]."""
    return torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1


def views(x: Tensor) -> list[Tensor]:
    """What the two discriminators see: the volume, and one slice."""
    return [x, x[:, :, SLICE]]


def encode_of(contender: Contender) -> Callable[[], object]:
    """One encoding without a graph."""
    x = patch()

    def run() -> object:
        with torch.inference_mode():
            return contender.encode(x)

    return run


def decode_of(contender: Contender) -> Callable[[], object]:
    """Code look-up and one decoding without a graph."""
    with torch.inference_mode():
        z = contender.encode(patch())

    def run() -> object:
        with torch.inference_mode():
            return contender.decode(z)

    return run


def generator_step_of(contender: Contender) -> Callable[[], object]:
    """All terms of the generator, backward, AdamW; the codebook learns too."""
    x, optimiser = patch(), torch.optim.AdamW(contender.autoencoder.parameters(), lr=1e-5)

    def run() -> object:
        optimiser.zero_grad(set_to_none=True)
        fake, commitment = contender.reconstruct(x)
        terms = [4 * F.l1_loss(fake, x), commitment.sum()]
        for network, judge, real_view, fake_view in zip(
            contender.judges, contender.judge, views(x), views(fake), strict=True
        ):
            network.requires_grad_(False)
            judged, real = judge(fake_view), judge(real_view)
            terms += [generator_hinge_loss(judged[-1]), 4 * feature_matching_loss(judged[:-1], real[:-1])]
            network.requires_grad_(True)
        torch.autograd.backward(torch.stack(terms).sum())
        return optimiser.step()

    return run


def discriminator_step_of(contender: Contender) -> Callable[[], object]:
    """Hinge loss of both discriminators, backward, AdamW."""
    x = patch()
    with torch.no_grad():
        fake = contender.reconstruct(x)[0]
    optimiser = torch.optim.AdamW([p for j in contender.judges for p in j.parameters()], lr=1e-5)

    def run() -> object:
        optimiser.zero_grad(set_to_none=True)
        losses = [
            discriminator_hinge_loss(judge(real)[-1], judge(made)[-1])
            for judge, real, made in zip(contender.judge, views(x), views(fake), strict=True)
        ]
        torch.autograd.backward(torch.stack(losses).sum())
        return optimiser.step()

    return run


WORK = {
    "encode": encode_of,
    "decode": decode_of,
    "generator step": generator_step_of,
    "discriminator step": discriminator_step_of,
}


def cpu_seconds(run: Callable[[], object]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def peak_gib(name: str) -> float:
    """Memory that one generator step adds to a process that holds the networks; ask in a fresh process."""
    step = generator_step_of(CONTENDERS[name]())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20


def report(label: str, values: dict[str, float], unit: str) -> None:
    """Print one line with the ratios to MONAI."""
    ratios = [f"monai / {n} {values['monai'] / v:.2f}" for n, v in values.items() if "monai" in values and n != "monai"]
    print(f"{label:24}" + "  ".join([*(f"{n} {v:.3f} {unit}" for n, v in values.items()), *ratios]), flush=True)


def main(threads: int, rounds: int) -> None:
    """Sizes, memory and medians over interleaved rounds."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    names = list(CONTENDERS)
    if importlib.util.find_spec("monai") is None:
        names.remove("monai")
        print("MONAI is not installed (pip install monai einops): only our own figures follow")
    print(f"torch {torch.__version__}, {threads} threads, {rounds} rounds, fp32")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        report("generator step, memory", {name: pool.submit(peak_gib, name).result() for name in names}, "GiB")
    contenders = {name: CONTENDERS[name]() for name in names}
    sizes = {n: sum(p.numel() for p in c.autoencoder.parameters()) / 1e6 for n, c in contenders.items()}
    report("parameters", sizes, "M")
    for work, prepare in WORK.items():
        runs = {name: prepare(contender) for name, contender in contenders.items()}
        for run in runs.values():
            run()  # the first call chooses kernels
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds):
            for name, run in runs.items():
                times[name].append(cpu_seconds(run))
        report(work, {name: statistics.median(values) for name, values in times.items()}, "CPU s")


if __name__ == "__main__":
    arguments = [int(argument) for argument in sys.argv[1:]]
    main(*arguments, *(1, 3)[len(arguments) :])
