"""Batches as functions of the iteration: which patches, which augmentation, follows from (seed, iteration) alone."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from nnanomaly.arrays import FloatArray
from nnanomaly.training.optimisation import Batch


@dataclass(frozen=True)
class PatchBatches(Dataset[Batch]):
    """Item i is the batch of iteration i: `{"patch": [B, C, Z, Y, X], "label": [B], "iteration": []}`."""

    load: Callable[[int], NDArray[np.floating]]
    """Patch `[C, Z, Y, X]` number k."""
    labels: Sequence[int]
    """Class of every patch."""
    batch_size: int
    """Patches per batch."""
    seed: int
    """Seed of the draws."""
    augment: Callable[[FloatArray, np.random.Generator], FloatArray]
    """Variation of a patch."""
    balanced: bool = False
    """Whether every class is drawn equally often (else every patch)."""

    def __getitem__(self, iteration: int) -> Batch:
        """Draw, load and vary the patches of one iteration."""
        rng = np.random.default_rng((self.seed, iteration))
        chosen = self._draw(rng)
        patches = [self.augment(np.asarray(self.load(index), dtype=np.float32), rng) for index in chosen]
        return {
            "patch": torch.from_numpy(np.stack(patches)),
            "label": torch.tensor([self.labels[index] for index in chosen]),
            "iteration": torch.tensor(iteration),
        }

    def _draw(self, rng: np.random.Generator) -> list[int]:
        if not self.balanced:
            return [int(index) for index in rng.integers(len(self.labels), size=self.batch_size)]
        classes = sorted(set(self.labels))
        members = {c: [index for index, label in enumerate(self.labels) if label == c] for c in classes}
        wanted = [classes[position % len(classes)] for position in range(self.batch_size)]
        return [int(rng.choice(members[c])) for c in wanted]


def batch_source(dataset: Dataset[Batch], *, num_workers: int) -> Callable[[int, int], Iterable[Batch]]:
    """The `batches(start, stop)` that the training loop asks for, loaded ahead by worker processes if there are any."""

    def batches(start: int, stop: int) -> Iterable[Batch]:
        return DataLoader(dataset, batch_size=None, sampler=range(start, stop), num_workers=num_workers)

    return batches


def unchanged(patch: FloatArray, rng: np.random.Generator) -> FloatArray:
    """No augmentation."""
    return patch


def fixed_batches(dataset: PatchBatches, num_batches: int) -> list[Batch]:
    """The first patches in order, without draws: what validation sees, the same every time."""
    order = range(min(len(dataset.labels), num_batches * dataset.batch_size))
    groups = [order[i : i + dataset.batch_size] for i in range(0, len(order), dataset.batch_size)]
    return [
        {
            "patch": torch.from_numpy(np.stack([np.asarray(dataset.load(k), dtype=np.float32) for k in group])),
            "label": torch.tensor([dataset.labels[k] for k in group]),
        }
        for group in groups
    ]
