"""What the training loop asks of a stage: tensors in, numbers out."""

from typing import Protocol

import torch
from torch import Tensor, nn

from nnanomaly.training.optimisation import Batch


class Stage(Protocol):
    """One network (or several that train together), its optimisers and its losses. Knows no paths and no plans file."""

    monitor: str
    """Key of `validate`'s result that decides which checkpoint is best; smaller is better."""

    def modules(self) -> dict[str, nn.Module]:
        """Modules whose state belongs in a checkpoint."""
        ...

    def averaged_module(self) -> str:
        """Key of the module of which a moving average is kept and used after training."""
        ...

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Optimisers whose state belongs in a checkpoint."""
        ...

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """One optimisation step; returns losses and other numbers for the log."""
        ...

    def validate(self, batches: list[Batch], module: nn.Module, generator: torch.Generator) -> dict[str, float]:
        """Numbers for the log, measured with `module` (the moving average) on held-out batches."""
        ...

    def pictures(self, batch: Batch, module: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        """Titled slices `[Y, X]` in [-1, 1] of one held-out example for progress.png; may be empty."""
        ...
