"""What each stage of a fold trains on: stage object, source of batches, validation batches."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from nnanomaly.arrays import FloatArray
from nnanomaly.build import build_classifier, build_discriminators, build_process, build_unet, build_vqgan
from nnanomaly.dataset.organ_labels import HEALTHY, UNHEALTHY
from nnanomaly.diffusion.codecs import Codec
from nnanomaly.networks.kl_autoencoder import KLAutoencoder
from nnanomaly.networks.losses import haar_high_band_loss, random_slices
from nnanomaly.networks.perceptual import LPIPS
from nnanomaly.networks.vqgan import VQGAN
from nnanomaly.plans import FIXED_CODECS, Plans, TrainingPlan, VQGANPlan
from nnanomaly.training.augmentation import augment_patch
from nnanomaly.training.batches import PatchBatches, batch_source, fixed_batches, unchanged
from nnanomaly.training.bottlenecks import Bottleneck, CodebookBottleneck, GaussianBottleneck
from nnanomaly.training.classifier_stage import ClassifierStage
from nnanomaly.training.diffusion_stage import DiffusionStage, with_class, without_class
from nnanomaly.training.expectations import Facts, autoencoder_facts, class_facts, latent_facts
from nnanomaly.training.fixed_stage import FixedStage
from nnanomaly.training.fold_data import PatchSet, classes_of
from nnanomaly.training.latent_pictures import show_denoised
from nnanomaly.training.latents import Augment, encode_patches
from nnanomaly.training.optimisation import Batch
from nnanomaly.training.stage_run import StageRun, StageSetup
from nnanomaly.training.vqgan_stage import PerceptualLoss, VQGANStage
from nnanomaly.utilities.errors import DataError, EnvironmentFault

logger = logging.getLogger(__name__)
MAX_VALIDATION_BATCHES = 8
CLASSIFIER_SIGMAS = (0.1, 0.3, 0.6, 1.0)
"""Levels at which the AUC is measured, besides that of the reconstruction (METHOD 4)."""


def setup_vqgan(run: StageRun) -> StageSetup:
    """Patches of all organs, healthy or not: the autoencoder must be able to show a lesion."""
    plans, train, val, device = run.plans, run.train, run.val, run.device
    training = plans.vqgan.training
    dataset = PatchBatches(train.loader(), [0] * len(train.names), training.batch_size, training.seed, _image_augmented)
    held_out = PatchBatches(val.loader(), [0] * len(val.names), training.batch_size, training.seed, unchanged)
    validation = _images(fixed_batches(held_out, MAX_VALIDATION_BATCHES))
    if plans.vqgan.codec in FIXED_CODECS:
        return setup_fixed(plans, validation, device=device)
    torch.manual_seed(training.seed)
    perceptual = PERCEPTUAL[plans.vqgan.perceptual](plans.vqgan, device)
    bottleneck = BOTTLENECKS[plans.vqgan.codec](plans.vqgan)
    stage = VQGANStage(bottleneck, build_discriminators(plans), plans.vqgan, perceptual=perceptual, device=device)
    return StageSetup(
        stage=stage,
        training=training,
        batches=batch_source(dataset, num_workers=run.num_workers),
        validation=validation,
        facts=autoencoder_facts(plans.vqgan, validation),
        extra={"codec": plans.vqgan.codec},
    )


def setup_fixed(plans: Plans, validation: list[Batch], *, device: torch.device) -> StageSetup:
    """A codec that learns nothing: one empty step, which measures it and leaves the checkpoint that others refer to."""
    return StageSetup(
        stage=FixedStage(build_vqgan(plans), device),
        training=replace(plans.vqgan.training, num_iterations=1),
        batches=lambda start, stop: [Batch()] * (stop - start),
        validation=validation,
        facts={},
        extra={"codec": plans.vqgan.codec},
    )


def setup_classifier(run: StageRun) -> StageSetup:
    """Latents of the labelled organs, both classes equally often."""
    plans, train, val, codec, device = run.plans, run.train, run.val, run.codec(), run.device
    labelled, held_out = train.where(HEALTHY, UNHEALTHY), val.where(HEALTHY, UNHEALTHY)
    _require_both_classes(labelled, "the classifier")
    torch.manual_seed(plans.classifier.training.seed)
    stage = ClassifierStage(
        build_classifier(plans),
        plans.classifier,
        process=build_process(plans.ddpm),
        validation_sigmas=sorted({*CLASSIFIER_SIGMAS, plans.inference.sigma}),
        device=device,
    )
    encode = _Encoder(plans, codec, device)
    dataset = encode.training_set(labelled, classes_of(labelled), plans.classifier.training, balanced=True)
    validation = encode.validation_set(held_out, classes_of(held_out), plans.classifier.training.batch_size)
    return StageSetup(
        stage=stage,
        training=plans.classifier.training,
        batches=batch_source(dataset, num_workers=0),
        validation=validation,
        facts=class_facts(validation) | encode.facts(dataset),
    )


def setup_ddpm(run: StageRun) -> StageSetup:
    """Latents of healthy organs; for classifier-free guidance of both classes equally often, with their labels."""
    plans, train, val, codec, device = run.plans, run.train, run.val, run.codec(), run.device
    conditional = plans.ddpm.class_dropout > 0
    _require_healthy(train, val)
    words = (HEALTHY, UNHEALTHY) if conditional else (HEALTHY,)
    chosen, held_out = train.where(*words), val.where(*words)
    if conditional:
        _require_both_classes(chosen, "the class-conditional diffusion model")
    torch.manual_seed(plans.ddpm.training.seed)
    stage = DiffusionStage(
        build_unet(plans),
        plans.ddpm,
        process=build_process(plans.ddpm),
        device=device,
        bind=with_class(plans.ddpm.class_dropout) if conditional else without_class,
        show=show_denoised(plans, codec, device),
    )
    encode = _Encoder(plans, codec, device)
    dataset = encode.training_set(chosen, classes_of(chosen), plans.ddpm.training, balanced=conditional)
    return StageSetup(
        stage=stage,
        training=plans.ddpm.training,
        batches=batch_source(dataset, num_workers=0),
        validation=encode.validation_set(held_out, classes_of(held_out), plans.ddpm.training.batch_size),
        facts=encode.facts(dataset),
    )


def _require_healthy(train: PatchSet, val: PatchSet) -> None:
    healthy, held_out = (len(side.where(HEALTHY).names) for side in (train, val))
    if not healthy or not held_out:
        raise DataError(
            "TRAIN-HEALTHY",
            f"the diffusion model needs healthy organs: this fold has {healthy} to train and "
            f"{held_out} to validate. Label more in organ_labels.csv, or choose another fold.",
        )


def _require_both_classes(labelled: PatchSet, who: str) -> None:
    counts = {word: labelled.labels.count(word) for word in (HEALTHY, UNHEALTHY)}
    if min(counts.values()) == 0:
        raise DataError("TRAIN-CLASSES", f"{who} needs organs of both classes, this fold trains on {counts}")


def _no_perceptual(plan: VQGANPlan, device: torch.device) -> None:
    return None


def _wavelet(plan: VQGANPlan, device: torch.device) -> PerceptualLoss:
    return lambda x, reconstruction, generator: haar_high_band_loss(x, reconstruction)


def _lpips(plan: VQGANPlan, device: torch.device) -> PerceptualLoss:
    """LPIPS of one random slice per patch, with weights from a local file."""
    path = Path(plan.perceptual_file)
    if not path.is_file():
        raise EnvironmentFault(
            "ENV-LPIPS",
            f"vqgan.perceptual is lpips, but perceptual_file {plan.perceptual_file!r} is not a file. "
            "Name a local safetensors file of LPIPS weights, or set perceptual to 'wavelet' in the plans file.",
        )
    network = LPIPS(load_file(path), source=str(path)).to(device)

    def loss(x: Tensor, reconstruction: Tensor, generator: torch.Generator) -> Tensor:
        value: Tensor = network(*random_slices(x, reconstruction, generator=generator))
        return value

    return loss


PERCEPTUAL: dict[str, Callable[[VQGANPlan, torch.device], PerceptualLoss | None]] = {
    "none": _no_perceptual,
    "wavelet": _wavelet,
    "lpips": _lpips,
}
BOTTLENECKS: dict[str, Callable[[VQGANPlan], Bottleneck]] = {
    "vq": lambda plan: CodebookBottleneck(VQGAN(plan), plan),
    "kl": lambda plan: GaussianBottleneck(KLAutoencoder(plan), plan),
}


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
        if not patches.names:
            return []
        latents = self._encode(patches, [unchanged])
        dataset = PatchBatches(lambda index: latents[index].numpy(), classes, batch_size, 0, unchanged)
        return fixed_batches(dataset, MAX_VALIDATION_BATCHES)

    def facts(self, dataset: PatchBatches) -> Facts:
        """Of the patches as they are; a range of codes is scaled to no unit variance."""
        if self.plans.ddpm.latent_scaling != "standardise":
            return {}
        plain = range(0, len(dataset.labels), self.plans.ddpm.encodings_per_patch)
        return latent_facts(torch.from_numpy(np.asarray(dataset.load(index)))[None] for index in plain)

    def _encode(self, patches: PatchSet, augmentations: Sequence[Augment]) -> Tensor:
        logger.info("encoding %d patches (variants of each: %d)", len(patches.names), len(augmentations))
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
