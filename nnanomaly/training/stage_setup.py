"""What each stage of a fold trains on: stage object, source of batches, validation batches."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nnanomaly.build import build_classifier, build_discriminators, build_unet, build_vqgan
from nnanomaly.dataset.organ_labels import HEALTHY, UNHEALTHY
from nnanomaly.diffusion.codecs import Codec
from nnanomaly.diffusion.denoiser import edm_loss, eps_loss
from nnanomaly.diffusion.schedule import cosine_schedule
from nnanomaly.plans import Plans, TrainingPlan
from nnanomaly.training.augmentation import augment_patch
from nnanomaly.training.batches import PatchBatches, batch_source, fixed_batches, unchanged
from nnanomaly.training.classifier_stage import ClassifierStage, log_uniform_sigma, scheduled_sigma
from nnanomaly.training.diffusion_stage import DiffusionStage, log_normal_sigma, uniform_timestep
from nnanomaly.training.fold_data import PatchSet, classes_of
from nnanomaly.training.latents import Augment, FloatArray, encode_patches
from nnanomaly.training.optimisation import Batch
from nnanomaly.training.stage import Stage
from nnanomaly.training.vqgan_stage import VQGANStage
from nnanomaly.utilities.errors import DataError

logger = logging.getLogger(__name__)
MAX_VALIDATION_BATCHES = 8
SMALLEST_CLASSIFIER_SIGMA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSetup:
    """Everything `fit` needs of a stage."""

    stage: Stage
    """Networks, optimisers, losses."""
    batches: Callable[[int, int], Iterable[Batch]]
    """Training batches by iteration."""
    validation: list[Batch]
    """Held-out batches, always the same."""


def setup_vqgan(
    plans: Plans, train: PatchSet, val: PatchSet, *, codec: Codec | None, device: torch.device, num_workers: int
) -> StageSetup:
    """Patches of all organs, healthy or not: the autoencoder must be able to show a lesion."""
    training = plans.vqgan.training
    torch.manual_seed(training.seed)
    stage = VQGANStage(build_vqgan(plans), build_discriminators(plans), plans.vqgan, device=device)
    dataset = PatchBatches(train.loader(), [0] * len(train.names), training.batch_size, training.seed, _image_augmented)
    held_out = PatchBatches(val.loader(), [0] * len(val.names), training.batch_size, training.seed, unchanged)
    return StageSetup(
        stage=stage,
        batches=batch_source(dataset, num_workers=num_workers),
        validation=_images(fixed_batches(held_out, MAX_VALIDATION_BATCHES)),
    )


def setup_classifier(
    plans: Plans, train: PatchSet, val: PatchSet, *, codec: Codec | None, device: torch.device, num_workers: int
) -> StageSetup:
    """Latents of the labelled organs, both classes equally often."""
    assert codec is not None
    labelled, held_out = train.where(HEALTHY, UNHEALTHY), val.where(HEALTHY, UNHEALTHY)
    counts = {word: labelled.labels.count(word) for word in (HEALTHY, UNHEALTHY)}
    if min(counts.values()) == 0:
        raise DataError("TRAIN-CLASSES", f"the classifier needs organs of both classes, this fold trains on {counts}")
    torch.manual_seed(plans.classifier.training.seed)
    if plans.ddpm.process == "ddpm":
        draw = scheduled_sigma(cosine_schedule(plans.ddpm.num_timesteps).sigma)
    else:
        draw = log_uniform_sigma(SMALLEST_CLASSIFIER_SIGMA, plans.classifier.max_sigma)
    stage = ClassifierStage(build_classifier(plans), plans.classifier, draw_sigma=draw, device=device)
    encode = _Encoder(plans, codec, device)
    return StageSetup(
        stage=stage,
        batches=batch_source(
            encode.training_set(labelled, classes_of(labelled), plans.classifier.training, balanced=True), num_workers=0
        ),
        validation=encode.validation_set(held_out, classes_of(held_out), plans.classifier.training.batch_size),
    )


def setup_ddpm(
    plans: Plans, train: PatchSet, val: PatchSet, *, codec: Codec | None, device: torch.device, num_workers: int
) -> StageSetup:
    """Latents of healthy organs only."""
    assert codec is not None
    healthy, held_out = train.where(HEALTHY), val.where(HEALTHY)
    if not healthy.names or not held_out.names:
        raise DataError(
            "TRAIN-HEALTHY",
            f"the diffusion model needs healthy organs: this fold has {len(healthy.names)} to train and "
            f"{len(held_out.names)} to validate. Label more in organ_labels.csv, or choose another fold.",
        )
    torch.manual_seed(plans.ddpm.training.seed)
    encode = _Encoder(plans, codec, device)
    return StageSetup(
        stage=_diffusion_stage(plans, device),
        batches=batch_source(
            encode.training_set(healthy, [0] * len(healthy.names), plans.ddpm.training, balanced=False), num_workers=0
        ),
        validation=encode.validation_set(held_out, [0] * len(held_out.names), plans.ddpm.training.batch_size),
    )


SETUPS = {"vqgan": setup_vqgan, "classifier": setup_classifier, "ddpm": setup_ddpm}


def _diffusion_stage(plans: Plans, device: torch.device) -> DiffusionStage:
    plan, unet = plans.ddpm, build_unet(plans)
    if plan.process == "ddpm":
        schedule = cosine_schedule(plan.num_timesteps)
        tenths = tuple(float(plan.num_timesteps * k // 10) for k in range(1, 10, 2))
        return DiffusionStage(
            unet,
            plan,
            loss=lambda network, x0, t, noise: eps_loss(network, x0, t.long(), noise=noise, schedule=schedule),
            draw_level=uniform_timestep(plan.num_timesteps),
            validation_levels=tenths,
            device=device,
        )
    return DiffusionStage(
        unet,
        plan,
        loss=lambda network, x0, sigma, noise: edm_loss(network, x0, sigma, noise=noise),
        draw_level=log_normal_sigma(plan.log_sigma_mean, plan.log_sigma_std, plan.max_sigma),
        validation_levels=(0.1, 0.3, 1.0, 3.0),
        device=device,
    )


@dataclass(frozen=True)
class _Encoder:
    """Encodes patches once; training sees augmented encodings, validation the patches as they are."""

    plans: Plans
    codec: Codec
    device: torch.device

    def training_set(
        self, patches: PatchSet, classes: Sequence[int], training: TrainingPlan, *, balanced: bool
    ) -> PatchBatches:
        variants = self.plans.ddpm.encodings_per_patch
        latents = self._encode(patches, [unchanged] + [augment_patch] * (variants - 1))
        labels = [label for label in classes for _ in range(variants)]
        return PatchBatches(
            lambda index: latents[index].numpy(),
            labels,
            training.batch_size * training.accumulation,
            training.seed,
            unchanged,
            balanced,
        )

    def validation_set(self, patches: PatchSet, classes: Sequence[int], batch_size: int) -> list[Batch]:
        latents = self._encode(patches, [unchanged])
        dataset = PatchBatches(lambda index: latents[index].numpy(), classes, batch_size, 0, unchanged)
        return fixed_batches(dataset, MAX_VALIDATION_BATCHES)

    def _encode(self, patches: PatchSet, augmentations: list[Augment]) -> Tensor:
        logger.info("encoding %d patches, %d variants each", len(patches.names), len(augmentations))
        seed = self.plans.ddpm.training.seed
        load = patches.loader()
        return encode_patches(
            load, len(patches.names), self.codec.encode, augmentations=augmentations, seed=seed, device=self.device
        )


def _image_augmented(patch: FloatArray, rng: np.random.Generator) -> FloatArray:
    return augment_patch(patch, rng)[:1]


def _images(batches: list[Batch]) -> list[Batch]:
    """Keep the image channel."""
    return [{**batch, "patch": batch["patch"][:, :1]} for batch in batches]
