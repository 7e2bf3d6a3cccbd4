"""Large candidates drawn anew: which, where, how often; the network answers by a formula or is a stand-in."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nnanomaly.diffusion.codecs import IdentityCodec
from nnanomaly.experiment_planning.presets import DEFAULT
from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.calibration import HealthyResiduals
from nnanomaly.inference.detectors import residual_detector
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.inpainting import build_inpainter, feathered, latent_mask
from nnanomaly.inference.look import PatchReconstruction, compared
from nnanomaly.inference.read import read_look
from nnanomaly.inference.reconstruct import LatentModels
from nnanomaly.patch import COVERAGE, IMAGE, ORGAN, Patch
from nnanomaly.plans import Plans
from nnanomaly.preprocessing.normalization import denormalise
from nnanomaly.volume import Grid

SPACING = (4.0, 4.0, 4.0)
GRID = Grid((24, 24, 24), SPACING, (0.0, 0.0, 0.0))
INFERENCE = replace(
    DEFAULT.inference, sampler="one_step", guidance="none", anomaly_map="absolute", smoothing_mm=0.0, precision="fp32"
)
STATISTICS = ResidualStatistics(edges_mm=(), mean_hu=(0.0,), std_hu=(1.0,))


def ball(radius_mm: float, center: int = 12) -> np.ndarray:
    return sum((np.indices(GRID.shape)[k] - center) ** 2 for k in range(3)) * 16.0 <= radius_mm**2


def patch(lesion: np.ndarray) -> Patch:
    array = np.zeros((3, *GRID.shape), dtype=np.float32)
    array[IMAGE][lesion] = 0.5
    array[[ORGAN, COVERAGE]] = 1
    return Patch(name="a", case="a", organ="a", array=array, grid=GRID)


@pytest.fixture
def plans(tiny_plans: Callable[..., Plans]) -> Plans:
    return replace(tiny_plans("default", dataset="Dataset501_Kidney"), inference=replace(INFERENCE, inpaint_rounds=3))


class Drawer:
    """Answers with an empty scan and remembers the masks."""

    def __init__(self) -> None:
        self.masks: list[np.ndarray] = []

    def __call__(self, image: np.ndarray, mask: np.ndarray, name: str) -> np.ndarray:
        self.masks.append(mask)
        return np.zeros_like(image)


def inpainted(lesion: np.ndarray, share: float, plans: Plans) -> tuple[np.ndarray, Drawer]:
    """Map-relevant reconstruction [-1, 1] where the first one keeps `share` of the lesion; and the drawer."""
    whole, drawer, window = patch(lesion), Drawer(), plans.preprocessing.window_hu
    image_hu = denormalise(whole.image, window)
    healthy_hu = denormalise(whole.image * share, window)
    first = PatchReconstruction(image_hu=image_hu, healthy_hu=healthy_hu, autoencoded_hu=image_hu)
    fold = Fold(reconstruct=None, inpaint=drawer, detect=residual_detector(plans.inference))  # type: ignore[arg-type]
    look = compared(whole, first, plans.inference)
    seen = read_look(look, fold, HealthyResiduals(STATISTICS, 15.0), plans).look.reconstruction
    return (seen.healthy_hu - first.healthy_hu) / (image_hu - healthy_hu + 1e-3), drawer


def test_a_large_candidate_that_was_reconstructed_is_drawn_away(plans: Plans) -> None:
    lesion = ball(20.0)
    change, drawer = inpainted(lesion, 0.8, plans)
    inside = ball(14.0)
    assert change[inside] == pytest.approx(-4.0, rel=0.01)  # the 80 % that were kept are gone as well
    assert len(drawer.masks) == 1  # the next mask would be the same, so the rounds end


def test_small_candidates_and_calm_patches_stay_as_they_were(plans: Plans) -> None:
    for lesion, share in ((ball(12.0), 0.0), (ball(20.0), 1.0)):
        change, drawer = inpainted(lesion, share, plans)
        assert not drawer.masks
        assert not change.any()


def test_rounds_end_at_the_number_of_the_plan(plans: Plans) -> None:
    once = replace(plans, inference=replace(plans.inference, inpaint_rounds=1))
    assert len(inpainted(ball(20.0), 0.8, once)[1].masks) == 1


def test_the_seam_falls_to_nought_within_five_millimetres() -> None:
    mask = np.zeros((1, 1, 9), dtype=bool)
    mask[..., :3] = True
    assert feathered(mask, (1.0, 1.0, 2.0)).ravel() == pytest.approx([1, 1, 1, 0.6, 0.2, 0, 0, 0, 0])


def test_latents_that_see_a_masked_voxel_are_hidden_with_their_neighbours() -> None:
    mask = torch.zeros(2, 2, 16, dtype=torch.bool)
    mask[0, 0, 9] = True
    hidden = latent_mask(mask, torch.zeros(1, 4, 1, 1, 8))
    assert hidden.ravel().tolist() == [0, 0, 0, 1, 1, 1, 0, 0]


class Constant(nn.Module):
    """The network F of data that are 0.25 everywhere: D = 0.25."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        sigma = (4 * time).exp().reshape(-1, 1, 1, 1, 1)
        scaled = x * torch.sqrt(1 + sigma**2)
        return (0.25 - scaled / (1 + sigma**2)) / (sigma / torch.sqrt(1 + sigma**2))


def test_the_inpainter_fills_the_mask_from_the_model_and_keeps_the_rest() -> None:
    models = LatentModels(unet=Constant(), classifier=None, diffusion=DEFAULT.ddpm, inference=INFERENCE)
    draw = build_inpainter(IdentityCodec(), models, seed=0, device=torch.device("cpu"))
    image = np.random.default_rng(0).uniform(-1, 1, (8, 8, 8)).astype(np.float32)
    mask = np.zeros((8, 8, 8), dtype=bool)
    mask[:3] = True
    drawn = draw(image, mask, "a")
    assert drawn[:4] == pytest.approx(0.25, abs=1e-4)  # the mask and one latent around it
    assert np.array_equal(drawn[4:], image[4:])
