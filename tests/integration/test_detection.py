"""Does it detect? A phantom, a model trained for minutes, spheres, and no lesion at all."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from nnanomaly import cli
from nnanomaly.dataset_conversion.phantom import PhantomSettings
from nnanomaly.dataset_conversion.phantom_dataset import write_phantom_dataset
from nnanomaly.demo import DATASET, SHORT_TRAINING, shorten
from nnanomaly.evaluation.healthy_organs import count_in_healthy_organs
from nnanomaly.inference.calibrate_api import healthy_validation_patches
from nnanomaly.inference.calibration import Calibration
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.load_fold import load_trained_fold
from nnanomaly.inference.postprocessing import find_candidates, otsu_threshold
from nnanomaly.inference.read import read
from nnanomaly.patch import IMAGE, Patch
from nnanomaly.paths import CALIBRATION_JSON, Paths, environment_for
from nnanomaly.plans import PLANS_NAMES, Plans, load_plans, save_plans
from nnanomaly.preprocessing.normalization import denormalise, normalise
from nnanomaly.synthesis.lesions import insert_sphere
from nnanomaly.utilities.json_io import from_document, read_json

pytestmark = pytest.mark.slow
NUM_LESION_FREE = 8
FLUID_HU = -150.0  # a cyst against enhanced parenchyma


@dataclass(frozen=True)
class Trained:
    """A phantom with its trained fold."""

    paths: Paths
    plans: Plans
    fold: Fold
    calibration: Calibration

    def run(self, command: str, *arguments: object) -> int:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment_for(self.paths).items():
                patch.setenv(name, value)
            return int(getattr(cli, command)([str(argument) for argument in arguments]))

    def map_of(self, patch: Patch) -> np.ndarray:
        return read(patch, self.fold, self.calibration, self.plans).anomaly


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The demo with fewer cases and iterations."""
    paths = Paths(*(tmp_path_factory.mktemp(name) for name in ("raw", "preprocessed", "results")))
    write_phantom_dataset(paths.raw(DATASET), num_training=60, num_test=1, seed=4)
    project = Trained(paths, None, None, None)  # type: ignore[arg-type]
    assert project.run("plan_and_preprocess", "-d", "900", "-gpu_memory_target", "0.5") == 0
    path = paths.plans(DATASET, PLANS_NAMES["default"])
    plans = shorten(load_plans(path), SHORT_TRAINING)
    for stage, iterations in (("vqgan", 400), ("classifier", 20), ("ddpm", 1500)):
        plans = plans.with_training(stage, num_iterations=iterations, validate_every=iterations)
    save_plans(path, plans)
    assert project.run("train", "900", "ddpm") == 0
    folder = paths.fold(DATASET, PLANS_NAMES["default"], "ddpm", 0)
    calibration = from_document(Calibration, read_json(folder / CALIBRATION_JSON), source=str(folder))
    return Trained(paths, plans, load_trained_fold(paths, plans, 0, torch.device("cpu")), calibration)


@pytest.mark.parametrize(("diameter_mm", "share"), [(30.0, 0.9), (10.0, 0.6)])
def test_inserted_spheres_of_fluid_rise_over_the_calibrated_threshold(
    trained: Trained, diameter_mm: float, share: float
) -> None:
    window, found, tried = trained.plans.preprocessing.window_hu, 0, 0
    rng = np.random.default_rng(0)
    for patch in healthy_validation_patches(trained.paths.preprocessed(DATASET), trained.plans, 0).values():
        before = trained.map_of(patch)
        sphere = insert_sphere(
            denormalise(patch.image, window),
            patch.inside,
            spacing_mm=patch.grid.spacing_mm,
            diameter_mm=diameter_mm,
            contrast_hu=FLUID_HU,
            rng=rng,
        )
        if before[sphere.mask].max() > trained.calibration.threshold:
            continue  # a false candidate lies there already: finding the sphere would say nothing
        array = np.array(patch.array, dtype=np.float32)
        array[IMAGE] = normalise(sphere.image_hu, window)
        tried += 1
        found += trained.map_of(patch.with_array(array))[sphere.mask].max() > trained.calibration.threshold
    assert tried >= 6
    assert found >= share * tried


def test_without_a_lesion_there_are_no_more_candidates_than_calibrated(trained: Trained, tmp_path: Path) -> None:
    free = tmp_path / "free"
    settings = PhantomSettings(unhealthy_share=0.0)
    write_phantom_dataset(free, num_training=1, num_test=NUM_LESION_FREE, seed=5, settings=settings)
    images, masks = free / "imagesTs", free / "organMasksTs"
    assert trained.run("predict", "-i", images, "-organ_masks", masks, "-o", tmp_path / "preds", "-d", "900") == 0
    cases = [path.name.removesuffix("_0000.nii.gz") for path in images.glob("*.nii.gz")]
    organs = {(case, organ) for case in cases for organ in trained.plans.organs}
    counted = count_in_healthy_organs(tmp_path / "preds", organs)
    assert counted.num_organs == 2 * NUM_LESION_FREE
    expected = trained.plans.inference.false_candidates_per_organ * counted.num_organs
    assert counted.num_candidates <= expected + 2 * math.sqrt(expected)  # counts scatter as Poisson's


def test_otsu_finds_something_in_every_healthy_organ(trained: Trained) -> None:
    """Why the paper's threshold cannot be the default: it splits any histogram, a healthy one too (METHOD 5.4)."""
    healthy = healthy_validation_patches(trained.paths.preprocessed(DATASET), trained.plans, 0)
    for name, patch in healthy.items():
        anomaly = trained.map_of(patch)
        threshold = otsu_threshold(anomaly, patch.covered)
        assert find_candidates(anomaly, threshold, patch.grid, trained.plans.inference)[1], name
