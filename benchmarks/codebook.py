"""Codebook look-up and update beside MONAI's `EMAQuantizer`.

18,432 tokens (latent 32 x 24 x 24), 16,384 codes, 8 channels. Each runs alone in a fresh process; seconds are medians
of wall time, and of CPU time over all threads, which a shared machine disturbs less; memory is the growth of the
resident size over that before the first call, and the peak with all imports. Ratios are of CPU seconds.
Usage: `python benchmarks/codebook.py [threads] [rounds]`; needs `pip install monai`.
"""

import importlib.util
import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import torch
from torch import Tensor

CHANNELS, SIZE, NUM_CODES = 8, (32, 24, 24), 16384
Call = Callable[[], Tensor]


class Measured(NamedTuple):
    """One quantiser in one process."""

    seconds: dict[str, tuple[float, float]]
    """Wall and CPU seconds of `look-up` and `look-up + update`."""
    growth_gb: float
    peak_gb: float
    indices: list[int]


def inputs() -> tuple[Tensor, Tensor]:
    """A latent and a codebook of the same distribution."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, CHANNELS, *SIZE, generator=generator), torch.randn(NUM_CODES, CHANNELS, generator=generator)


def ours() -> tuple[Call, Call]:
    """The codebook of this package."""
    from nnanomaly.networks.codebook import Codebook

    z, codes = inputs()
    codebook, generator = Codebook(NUM_CODES, CHANNELS), torch.Generator().manual_seed(0)
    codebook.codes.copy_(codes)

    def update() -> Tensor:
        indices = codebook.quantise(z)[1]
        codebook.update(z, indices, generator=generator)
        return indices

    return lambda: codebook.quantise(z)[1], update


def monai() -> tuple[Call, Call]:
    """MONAI's quantiser in evaluation and in training mode."""
    from monai.networks.layers.vector_quantizer import EMAQuantizer

    z, codes = inputs()
    quantiser = EMAQuantizer(spatial_dims=3, num_embeddings=NUM_CODES, embedding_dim=CHANNELS)
    quantiser.embedding.weight.data.copy_(codes)

    def look_up() -> Tensor:
        indices: Tensor = quantiser.eval()(z)[2]
        return indices

    def update() -> Tensor:
        indices: Tensor = quantiser.train()(z)[2]
        return indices

    return look_up, update


QUANTISERS = {"ours": ours, "monai": monai}


def resident_gb() -> float:
    """Largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


@torch.no_grad()
def measure(name: str, threads: int, rounds: int) -> Measured:
    """Time one quantiser; the look-up first, since the update changes the codes."""
    torch.set_num_threads(threads)
    look_up, update = QUANTISERS[name]()
    before = resident_gb()
    indices = look_up().flatten().tolist()
    seconds = {}
    for label, call in {"look-up": look_up, "look-up + update": update}.items():
        samples = []
        for _ in range(rounds):
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            samples.append((time.perf_counter() - wall, time.process_time() - cpu))
        seconds[label] = (statistics.median(s[0] for s in samples), statistics.median(s[1] for s in samples))
    return Measured(seconds, resident_gb() - before, resident_gb(), indices)


def main() -> None:
    """Print one table."""
    threads, rounds = (int(v) for v in (*sys.argv[1:], *("1", "3")[len(sys.argv) - 1 :]))
    names = ["ours", "monai"] if importlib.util.find_spec("monai") else ["ours"]
    results = {}
    for name in names:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            results[name] = pool.submit(measure, name, threads, rounds).result()
        for label, (wall, cpu) in results[name].seconds.items():
            print(f"{name:6} {label:17} {wall:7.2f} s wall {cpu:7.2f} s CPU")
        print(f"{name:6} memory {results[name].growth_gb:.2f} GB, {results[name].peak_gb:.2f} GB with imports")
    if len(names) == 1:
        print("monai is not installed, so there is nothing to compare with: pip install monai==1.6.1")
        return
    mine, theirs = results["ours"], results["monai"]
    for label in mine.seconds:
        print(f"ratio {label}: {theirs.seconds[label][1] / mine.seconds[label][1]:.1f} x less CPU time")
    print(f"ratio memory: {theirs.growth_gb / mine.growth_gb:.0f} x less")
    same = sum(a == b for a, b in zip(mine.indices, theirs.indices, strict=True))
    print(f"same code for {same} of {len(mine.indices)} tokens, {threads} thread(s), median of {rounds}")


if __name__ == "__main__":
    main()
