"""The cheapest network below: a denoising autoencoder of healthy organs whose noise is coarse (METHOD 8, row 12).

After Kascenas et al.: Gaussian noise is drawn at an eighth to a sixteenth of the resolution and interpolated to the
patch, so that a U-Net learns to take structures of a lesion's size away. What it changes in a clean scan is the
residual. Trained on healthy organs alone, with the trunk of the lesion head. The residual goes through the z-score by
distance, the soft gate, the threshold and the post-processing of the plans. Written are `FOLDER/training` (can be
continued) and the predictions in `FOLDER/calibrated`.

Usage: `python benchmarks/coarse_noise.py 501 -p PLANS -f 0 -o FOLDER [--num_iterations 1000]`, with the three
`nnanomaly_*` variables set, after `nnanomaly_plan_and_preprocess`.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from references import TRAINING, Reference, arguments_of, begin_training, calibrate, plans_of, predict, trained_network
from torch import Tensor, nn
from torch.nn import functional as F

from nnanomaly.build import build_head
from nnanomaly.checkpoint import FINAL, checkpoint_hash
from nnanomaly.dataset.organ_labels import HEALTHY
from nnanomaly.device import autocast, choose_device
from nnanomaly.inference.detectors import residual_detector
from nnanomaly.inference.reconstruct import Reconstruction, Reconstructor
from nnanomaly.lesion_head.examples import flipped
from nnanomaly.patch import COVERAGE, IMAGE
from nnanomaly.paths import Paths
from nnanomaly.plans import HeadPlan, Plans
from nnanomaly.training.batches import PatchBatches, batch_source, fixed_batches, unchanged
from nnanomaly.training.fold_data import load_fold
from nnanomaly.training.loop import fit
from nnanomaly.training.optimisation import Batch, build_optimizer, clip_and_step

logger = logging.getLogger("nnanomaly.coarse_noise")
NOISE_STD = 0.4
"""A fifth of the range of a patch, as published."""
COARSENESS = (8, 16)
"""Voxels of a patch per voxel of the noise."""
VALIDATION_BATCHES = 8
PLAN = HeadPlan(
    inputs=("image",),
    widths=(16, 32, 64, 128),
    training=replace(TRAINING, num_iterations=1000, learning_rate=1e-3),
)


def main() -> None:
    """Train, calibrate, predict."""
    parser = arguments_of(__doc__.splitlines()[0])
    parser.add_argument("--num_iterations", type=int, default=PLAN.training.num_iterations)
    arguments = parser.parse_args()
    paths = Paths.from_env()
    training = replace(PLAN.training, num_iterations=arguments.num_iterations)
    plans = plans_of(paths, arguments, anomaly_map="zscore")
    plans = replace(plans, head=replace(PLAN, training=training))
    folder, start = arguments.o / "training", time.process_time()
    train(paths, plans, arguments.f, folder)
    logger.info("training: %.0f CPU seconds", time.process_time() - start)
    network = trained_network(folder, plans)
    reference = Reference(
        paths=paths,
        plans=plans,
        fold=arguments.f,
        detect=residual_detector(plans.inference),
        reconstruct=denoiser_of(network, plans),
        made_of={"coarse_noise": checkpoint_hash(folder / FINAL)},
        trained_in=folder,
    )
    predict(reference, calibrate(reference), arguments.o / "calibrated")


def train(paths: Paths, plans: Plans, fold: int | str, folder: Path) -> None:
    """Train on the healthy organs of the training side, or go on."""
    training = plans.head.training
    sides = load_fold(paths.preprocessed(plans.dataset_name), plans.data_identifier, fold)
    healthy = [side.where(HEALTHY) for side in sides]
    loaders = [
        PatchBatches(side.loader(), [0] * len(side.names), training.batch_size, training.seed, flipped)
        for side in healthy
    ]
    torch.manual_seed(training.seed)
    result = fit(
        CoarseNoiseStage(build_head(plans), plans.head),
        batch_source(loaders[0], num_workers=0),
        plan=training,
        run_dir=folder,
        validation=fixed_batches(replace(loaders[1], augment=unchanged), VALIDATION_BATCHES),
        extra=begin_training(folder, plans),
        resume=True,
    )
    logger.info("validation: %s", result)


def coarse_noise(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Noise `[B, 1, Z, Y, X]` of standard deviation `NOISE_STD` where it was drawn, on a grid of random coarseness."""
    batch, _, *size = shape
    every = int(torch.randint(COARSENESS[0], COARSENESS[1] + 1, (1,), generator=generator))
    drawn = NOISE_STD * torch.randn(batch, 1, *(n // every + 2 for n in size), generator=generator)
    fine = F.interpolate(drawn, scale_factor=float(every), mode="trilinear")
    for axis, n in enumerate(size, start=2):  # so that the grid of the noise lies anywhere in the patch
        start = int(torch.randint(fine.shape[axis] - n + 1, (1,), generator=generator))
        fine = fine.narrow(axis, start, n)
    return fine


class CoarseNoiseStage:
    """Trains `network(x [B, 1, *S])` to say what noise was added to patches `[B, 3, *S]` of healthy organs."""

    monitor = "error"

    def __init__(self, network: nn.Module, plan: HeadPlan) -> None:
        self.network, self.plan, self.device = network, plan, choose_device("cpu")
        self.optimizer = build_optimizer(network.parameters(), plan.training, plan.training.learning_rate)

    def modules(self) -> dict[str, nn.Module]:
        """The denoiser."""
        return {"denoiser": self.network}

    def averaged_module(self) -> str:
        """The denoiser."""
        return "denoiser"

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One optimiser."""
        return {"denoiser": self.optimizer}

    def step(self, batch: Batch, generator: torch.Generator) -> dict[str, float]:
        """Mean squared error of the denoised patch where the scan says something."""
        self.network.train()
        loss = self._error(self.network, batch, generator)
        torch.autograd.backward(loss)
        norm = clip_and_step(self.optimizer, self.plan.training.gradient_clip)
        return {"loss": loss.item(), "gradient_norm": norm}

    @torch.no_grad()
    def validate(self, batches: list[Batch], module: nn.Module, generator: torch.Generator) -> dict[str, float]:
        """The same error on held-out patches."""
        return {"error": float(np.mean([float(self._error(module, batch, generator)) for batch in batches]))}

    @torch.no_grad()
    def pictures(self, batch: Batch, module: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        """None."""
        return {}

    def _error(self, network: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        patch = batch["patch"].float()
        covered = patch[:, COVERAGE : COVERAGE + 1]
        noise = coarse_noise(covered.shape, generator) * covered
        with autocast(self.device, self.plan.training.precision):
            predicted = network(patch[:, IMAGE : IMAGE + 1] + noise)
        return ((predicted.float() - noise) ** 2 * covered).sum() / covered.sum()


def denoiser_of(network: nn.Module, plans: Plans) -> Reconstructor:
    """The scan less what the network takes for noise."""
    device = choose_device("cpu")

    @torch.no_grad()
    def reconstruct(patches: Sequence[NDArray[np.floating]], names: Sequence[str]) -> Reconstruction:
        x = torch.from_numpy(np.stack(patches)[:, None].astype(np.float32))
        with autocast(device, plans.inference.precision):
            noise = network(x).float()
        return Reconstruction(healthy=(x - noise).clamp(-1, 1), autoencoded=x)

    return reconstruct


if __name__ == "__main__":
    main()
