"""The bar above: a U-Net that is trained on the lesions that a person drew, which the method never sees.

Trunk, loss, optimiser, flips and augmentation are those of the lesion head, and so are patches (never cropped) and
post-processing. The network sees the scan and the distance to the organ, of all organs of the training side, with
their drawn lesions. Written are `FOLDER/training` (can be continued) and two folders of predictions:
`FOLDER/calibrated`, with the threshold chosen on healthy organs as for the head, and `FOLDER/half`, at a probability
of 0.5 without growth, as in nnU-Net.

Usage: `python benchmarks/supervised.py 501 -p PLANS -f 0 -o FOLDER [--num_iterations 2000]`, with the three
`nnanomaly_*` variables set, after `nnanomaly_plan_and_preprocess`.
"""

import hashlib
import logging
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from references import (
    NO_STATISTICS,
    TRAINING,
    Reference,
    arguments_of,
    begin_training,
    calibrate,
    itself,
    plans_of,
    predict,
    trained_network,
)

from nnanomaly.build import build_head
from nnanomaly.checkpoint import FINAL, checkpoint_hash
from nnanomaly.dataset.patch_store import list_patches, load_organ_patch, load_patch, save_patch
from nnanomaly.device import choose_device
from nnanomaly.inference.detectors import head_detector
from nnanomaly.inference.look import look
from nnanomaly.lesion_head.augmentation import vary_crop
from nnanomaly.lesion_head.examples import LESION, EditedPatch, FloatArray, flipped, training_example, vary_patch
from nnanomaly.lesion_head.head_setup import MAX_VALIDATION_BATCHES
from nnanomaly.lesion_head.head_stage import SEEN, HeadStage
from nnanomaly.paths import Paths
from nnanomaly.plans import HeadPlan, Plans, TrainingPlan
from nnanomaly.training.batches import PatchBatches, batch_source, fixed_batches, unchanged
from nnanomaly.training.fold_data import PatchSet, load_fold
from nnanomaly.training.loop import fit
from nnanomaly.tuning.drawn_lesions import DrawnLesions
from nnanomaly.tuning.trials import Trial, drawn_trials
from nnanomaly.utilities.json_io import to_document

logger = logging.getLogger("nnanomaly.supervised")
VARIANTS_PER_PATCH = 6
"""Augmented variants of every patch beside the patch itself."""
PLAN = HeadPlan(
    inputs=("image", "distance"),
    widths=(16, 32, 64, 128),
    training=replace(TRAINING, num_iterations=2000, learning_rate=2e-3),
)


def main() -> None:
    """Train, calibrate, predict twice."""
    parser = arguments_of(__doc__.splitlines()[0])
    parser.add_argument("--num_iterations", type=int, default=PLAN.training.num_iterations)
    arguments = parser.parse_args()
    paths = Paths.from_env()
    training = replace(PLAN.training, num_iterations=arguments.num_iterations)
    plans = replace(plans_of(paths, arguments), head=replace(PLAN, training=training))
    folder, start = arguments.o / "training", time.process_time()
    train(paths, plans, arguments.f, folder)
    logger.info("training: %.0f CPU seconds", time.process_time() - start)
    network = trained_network(folder, plans)
    reference = Reference(
        paths=paths,
        plans=plans,
        fold=arguments.f,
        detect=head_detector(network, plans, choose_device("cpu")),
        reconstruct=itself,
        made_of={"supervised": checkpoint_hash(folder / FINAL)},
        trained_in=folder,
    )
    calibration = calibrate(reference)
    predict(reference, calibration, arguments.o / "calibrated")
    plain = replace(plans, inference=replace(plans.inference, hysteresis=1.0))
    predict(replace(reference, plans=plain), replace(calibration, threshold=0.5), arguments.o / "half")


def train(paths: Paths, plans: Plans, fold: int | str, folder: Path) -> None:
    """Make the examples that are missing, then train or go on."""
    sides = load_fold(paths.preprocessed(plans.dataset_name), plans.data_identifier, fold)
    for side, name, variants in zip(sides, ("train", "val"), (VARIANTS_PER_PATCH, 0), strict=True):
        make_examples(folder / name, drawn_lesions(paths, plans, side), plans, variants=variants)
    training = plans.head.training
    train_batches, val_batches = (batches_of(folder / name, training) for name in ("train", "val"))
    val_batches = replace(val_batches, labels=[SEEN] * len(val_batches.labels), augment=unchanged)
    torch.manual_seed(training.seed)
    result = fit(
        HeadStage(build_head(plans), plans.head, device=choose_device("cpu")),
        batch_source(train_batches, num_workers=0),
        plan=training,
        run_dir=folder,
        validation=fixed_batches(val_batches, MAX_VALIDATION_BATCHES),
        extra=begin_training(folder, plans),
        resume=True,
    )
    logger.info("validation: %s", result)


def batches_of(folder: Path, training: TrainingPlan) -> PatchBatches:
    """Batches of stored examples, mirrored at random; every second example has a lesion.

    Without that six in ten show none, and the network learns to say nothing: nnU-Net oversamples lesions as well.
    """
    names = list_patches(folder)
    examples = [load_patch(folder, name, verify=False).array for name in names]
    has_lesion = [int(np.any(example[LESION])) for example in examples]
    return PatchBatches(examples.__getitem__, has_lesion, training.batch_size, training.seed, vary, balanced=True)


def vary(example: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Rotated, scaled, changed in contrast and mirrored, as the crops of the head are."""
    return flipped(vary_crop(example, rng), rng)


def drawn_lesions(paths: Paths, plans: Plans, side: PatchSet) -> list[Trial]:
    """The patches of a side with their drawn lesions."""
    stored = {name: load_organ_patch(side.folder, name) for name in side.names}
    return drawn_trials(stored, DrawnLesions.of_dataset(paths.raw(plans.dataset_name)).read)


def make_examples(folder: Path, trials: list[Trial], plans: Plans, *, variants: int) -> None:
    """Store every patch as it is and in augmented variants; what is there is kept."""
    window = plans.preprocessing.window_hu
    for trial in trials:
        for variant in range(variants + 1):
            name = f"{trial.name}__v{variant}"
            if (folder / f"{name}.json").is_file():
                continue
            edited = varied(trial, seed=plans.head.training.seed, variant=variant)
            seen = look(edited.patch, itself, plans)
            example = training_example(seen, NO_STATISTICS, edited.lesions, window_hu=window)
            save_patch(folder, name, example, metadata={"grid": to_document(trial.grid), "variant": variant})


def varied(trial: Trial, *, seed: int, variant: int) -> EditedPatch:
    """The patch and its lesions as they are (variant 0), or moved and drifted together."""
    whole = trial.with_array(np.asarray(trial.array, dtype=np.float32))
    drawn = EditedPatch(patch=whole, lesions=trial.lesions, kinds=())
    if not variant:
        return drawn
    key = int.from_bytes(hashlib.sha256(f"{trial.name}/{variant}".encode()).digest()[:8], "little")
    return vary_patch(drawn, np.random.default_rng((seed, key)))


if __name__ == "__main__":
    main()
