"""Examples for the lesion head: how many lesions, of which kinds, how large."""

import numpy as np
import pytest

from nnanomaly.synthesis.case_generator import NUMBERS, RADIUS_MM, make_example
from nnanomaly.synthesis.kinds import KINDS
from nnanomaly.synthesis.shapes import distance_from

SHAPE, SPACING = (28, 28, 28), (4.0, 4.0, 4.0)
ORGAN = distance_from((14, 14, 14), SHAPE, SPACING) < 30
IMAGE = np.where(ORGAN, 160.0, -90.0).astype(np.float32)


def test_examples_hold_the_planned_share_of_lesions_and_no_kind_that_is_held_out() -> None:
    kinds = [kind for kind in KINDS if kind != "fat"]
    rng = np.random.default_rng(0)
    examples = [make_example(IMAGE, ORGAN, spacing_mm=SPACING, kinds=kinds, rng=rng) for _ in range(150)]
    counts = np.bincount([len(example.kinds) for example in examples], minlength=4) / len(examples)
    np.testing.assert_allclose(counts, [share for _, share in NUMBERS], atol=0.12)
    assert {kind for example in examples for kind in example.kinds} == set(kinds)
    assert all(example.lesions.any() == (len(example.kinds) > 0) for example in examples)


def test_an_example_without_lesion_may_be_edited_but_has_nothing_to_find() -> None:
    rng = np.random.default_rng(1)
    none = [
        example
        for example in (make_example(IMAGE, ORGAN, spacing_mm=SPACING, kinds=["fat"], rng=rng) for _ in range(60))
        if not example.kinds
    ]
    edited = [np.any(example.image_hu != IMAGE) for example in none]
    assert 0 < sum(edited) < len(edited)
    assert not any(example.lesions.any() for example in none)
    assert all(np.array_equal(example.organ, ORGAN) for example in none)


def test_single_lesions_span_the_range_of_sizes() -> None:
    rng = np.random.default_rng(2)
    volumes = []
    while len(volumes) < 40:
        example = make_example(IMAGE, ORGAN, spacing_mm=SPACING, kinds=["solid_dark"], rng=rng)
        if len(example.kinds) == 1:
            volumes.append(example.lesions.sum() * np.prod(SPACING))
    radii = (3 * np.array(volumes) / (4 * np.pi)) ** (1 / 3)
    assert radii.min() < 2 * RADIUS_MM[0] + 4
    assert radii.max() > 30  # larger ones reach beyond this patch


def test_an_empty_organ_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        for seed in range(20):
            make_example(
                IMAGE, np.zeros_like(ORGAN), spacing_mm=SPACING, kinds=["fat"], rng=np.random.default_rng(seed)
            )
