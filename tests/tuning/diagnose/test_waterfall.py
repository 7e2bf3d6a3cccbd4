"""Contrast of boxes and slabs through codecs whose effect is known, and the step at which a lesion is lost."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from nnanomaly.evaluation.lesion_matching import LesionRecord
from nnanomaly.evaluation.regions import Region
from nnanomaly.tuning.diagnose.waterfall import (
    STEPS,
    Criteria,
    LesionTrace,
    Views,
    contrast_hu,
    shell_around,
    summarise,
    trace_lesion,
)

SHAPE = (12, 12, 24)
SPACING = (2.0, 2.0, 2.0)
EVERYWHERE = np.ones(SHAPE, dtype=bool)
NOWHERE = np.zeros(SHAPE, dtype=bool)
LESION = NOWHERE.copy()
LESION[4:8, 4:8, 10:14] = True
HEALTHY = np.full(SHAPE, 100.0, dtype=np.float32)
IMAGE = np.where(LESION, np.float32(40.0), HEALTHY)


def record(*, found: bool = False, iou: float = 0.0, diameter_mm: float = 15.0, outside: float = 0.0) -> LesionRecord:
    region = Region(
        id=1,
        num_voxels=64,
        volume_mm3=512.0,
        axial_diameter_mm=diameter_mm,
        center_mm=(0.0, 0.0, 0.0),
        outside_roi_fraction=outside,
    )
    return LesionRecord(case="a", kind="TP" if found else "FN", lesion=region, iou=iou)


def perfect() -> Views:
    """All steps as they should be."""
    return Views(
        image_hu=IMAGE,
        autoencoded_hu=IMAGE,
        healthy_hu=HEALTHY,
        reference_hu=IMAGE,
        gate=np.ones(SHAPE, dtype=np.float32),
        anomaly=5.0 * LESION.astype(np.float32),
        organ=EVERYWHERE,
        covered=EVERYWHERE,
        grown=LESION,
        cleaned=LESION,
        threshold=2.0,
    )


def trace(views: Views, of: LesionRecord | None = None, *, gated: bool = True) -> LesionTrace:
    return trace_lesion(
        of or record(), LESION, NOWHERE, views, spacing_mm=SPACING, criteria=Criteria(), gated=gated
    )  # fmt: skip


def test_a_perfect_codec_keeps_all_and_a_healthy_reconstruction_nothing() -> None:
    found = trace(perfect(), record(found=True, iou=1.0))
    assert (found.image_hu, found.autoencoded_hu, found.healthy_hu) == (-60.0, -60.0, 0.0)
    assert (found.autoencoder_keeps, found.healthy_keeps, found.residual_shows) == (1.0, 0.0, 1.0)
    assert (found.map_mean, found.map_p95, found.above_threshold, found.cleaned) == (5.0, 5.0, 1.0, 1.0)
    assert found.lost_at is None


def test_a_blur_keeps_the_share_of_a_slab_that_geometry_says() -> None:
    slab = NOWHERE.copy()
    slab[:, :, 10:14] = True
    image = np.where(slab, np.float32(-60.0), np.float32(0.0))
    blurred = ndimage.uniform_filter1d(image, 3, axis=2)  # both outer slices of four keep two thirds
    shell = shell_around(slab, ~slab, EVERYWHERE, SPACING)
    assert set(np.flatnonzero(shell.any(axis=(0, 1)))) == {6, 7, 8, 15, 16, 17}  # the blurred slices 9 and 14 are not
    before, after = contrast_hu(image, slab, shell), contrast_hu(blurred, slab, shell)
    assert before == -60.0
    assert after == pytest.approx(-60.0 * (2 + 2 * 2 / 3) / 4)


def test_a_part_of_the_contrast_is_kept_as_that_part() -> None:
    views = replace(perfect(), autoencoded_hu=HEALTHY + np.float32(0.75) * (IMAGE - HEALTHY), healthy_hu=HEALTHY + 7)
    numbers = trace(views)
    assert numbers.autoencoder_keeps == pytest.approx(0.75)
    assert numbers.healthy_keeps == pytest.approx(0.0)  # the offset of a whole organ is no contrast


def test_the_shell_lies_in_the_organ_where_the_organ_has_enough_of_it() -> None:
    organ = NOWHERE.copy()
    organ[:, :, :12] = True
    shell = shell_around(LESION, ~LESION, organ, SPACING)
    assert shell.any()
    assert not (shell & ~organ).any()
    sliver = NOWHERE.copy()
    sliver[4, 4, 4:8] = True  # fewer voxels than a mean needs
    assert (shell_around(LESION, ~LESION, sliver, SPACING) & ~sliver).any()


def test_other_lesions_and_what_the_scan_does_not_show_are_not_in_the_shell() -> None:
    image = IMAGE.copy()
    other = NOWHERE.copy()
    other[4:8, 4:8, 17:20] = True
    covered = EVERYWHERE.copy()
    covered[:2] = False
    image[other], image[~covered] = 900.0, -1000.0
    views = replace(perfect(), image_hu=image, covered=covered)
    numbers = trace_lesion(
        record(), LESION, other, views, spacing_mm=SPACING, criteria=Criteria(), gated=True
    )  # fmt: skip
    assert numbers.image_hu == -60.0


FAINT = np.where(LESION, np.float32(95.0), HEALTHY)
HALF_GONE = HEALTHY + np.float32(0.4) * (IMAGE - HEALTHY)
FEW = LESION & (np.indices(SHAPE)[2] == 10) & (np.indices(SHAPE)[1] < 7)  # 12 of 64 voxels


@pytest.mark.parametrize(
    ("step", "changes"),
    [
        ("gate", {"gate": np.full(SHAPE, 0.4, dtype=np.float32)}),
        ("image", {"image_hu": FAINT}),
        ("autoencoder", {"reference_hu": HALF_GONE}),
        ("reconstruction", {"healthy_hu": HEALTHY + np.float32(0.6) * (IMAGE - HEALTHY)}),
        ("map", {"anomaly": 2.0 * LESION.astype(np.float32)}),
        ("threshold", {"grown": FEW}),
        ("cleaning", {"cleaned": FEW}),
        ("matching", {}),
    ],
)
def test_a_lesion_is_lost_at_the_first_step_that_spoils_it(step: str, changes: dict[str, np.ndarray]) -> None:
    spoiled = replace(perfect(), **changes)
    assert trace(spoiled).lost_at == step
    later = {"anomaly": np.zeros(SHAPE, np.float32), "grown": NOWHERE, "cleaned": NOWHERE}
    if step in STEPS[:5]:
        assert trace(replace(spoiled, **later)).lost_at == step


def test_a_lesion_with_too_little_in_the_patches_is_lost_there() -> None:
    assert trace(perfect(), record(outside=0.81)).lost_at == "patch"
    assert trace(perfect(), record(outside=0.79)).lost_at == "matching"


def test_a_map_without_gate_loses_nothing_at_the_gate() -> None:
    views = replace(perfect(), gate=np.zeros(SHAPE, dtype=np.float32))
    ungated = trace(views, gated=False)
    assert (ungated.lost_at, ungated.outside_gate) == ("matching", 0.0)
    assert trace(views).outside_gate == 1.0


def test_a_found_lesion_is_lost_nowhere_whatever_it_failed_on_the_way() -> None:
    assert trace(replace(perfect(), image_hu=FAINT), record(found=True)).lost_at is None


def test_a_lesion_that_no_view_shows_has_no_contrast_and_is_lost_at_the_patch() -> None:
    numbers = trace(replace(perfect(), covered=NOWHERE), record(outside=1.0))
    assert (numbers.image_hu, numbers.residual_shows, numbers.map_p95) == (None, None, None)
    assert (numbers.outside_gate, numbers.above_threshold) == (1.0, 0.0)
    assert numbers.lost_at == "patch"


def test_a_map_that_otsu_cannot_cut_has_no_threshold() -> None:
    numbers = trace(replace(perfect(), threshold=float("inf"), grown=NOWHERE, cleaned=NOWHERE))
    assert (numbers.threshold, numbers.lost_at, numbers.above_threshold) == (None, "map", 0.0)
    assert summarise([numbers])[0].map_over_threshold is None


def test_the_waterfall_of_a_bin_counts_what_is_alive_after_each_step() -> None:
    small = [
        trace(perfect(), record(found=True, iou=0.8)),
        trace(perfect(), record(iou=0.1)),
        trace(replace(perfect(), healthy_hu=IMAGE), record()),
    ]
    large = trace(perfect(), record(outside=1.0, diameter_mm=80.0))
    first, second, both = summarise([*small, large])
    assert (first.size, second.size, both.size) == ("<=2", ">7", "all")
    assert list(first.alive.values()) == [3, 3, 3, 3, 2, 2, 2, 2, 1]
    assert {step: n for step, n in first.lost.items() if n} == {"reconstruction": 1, "matching": 1}
    assert list(second.alive.values()) == [0] * len(STEPS)
    assert (both.num_lesions, both.alive["matching"]) == (4, 1)
    assert (first.best_iou, first.healthy_keeps, first.map_over_threshold) == (0.1, 0.0, 2.5)
