"""Rules of the planner against sizes worked out by hand, against KiTS's figures, and as properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from nnanomaly.experiment_planning import planner_rules as rules
from nnanomaly.experiment_planning.fingerprint import OrganRecord
from nnanomaly.utilities.errors import DataError

EXTENTS = hnp.arrays(float, st.tuples(st.integers(1, 60), st.just(3)), elements=st.floats(5.0, 400.0))


def kits_like_extents() -> NDArray[np.float64]:
    """Healthy kidneys with KiTS23's published counts: of 289, 43 leave 128 x 96 x 96 mm (26 in z, 16 in y, 4 in x)."""
    extents = np.column_stack([np.linspace(low, high, 289) for low, high in ((80, 127), (50, 95), (45, 95))])
    extents[:22, 0] = np.linspace(129, 144, 22)
    extents[22:25, 0] = np.linspace(146, 159, 3)
    extents[25, 0] = 170
    extents[26:41, 1] = np.linspace(97, 112, 15)
    extents[41, 1] = 118
    extents[42, 2] = 110
    extents[:3, 2] = 105
    return extents


def share_inside(extents: NDArray[np.float64], *box: float) -> float:
    return float(np.all(extents <= box, axis=1).mean())


def record(label: str, *, touches_border: tuple[str, ...] = ()) -> OrganRecord:
    return OrganRecord(
        case="a",
        organ="kidney",
        label=label,
        extent_mm=(110.0, 60.0, 60.0),
        volume_ml=180.0,
        touches_border=touches_border,
        num_components=1,
    )


def test_spacing_is_the_median_in_plane_one_and_no_finer_than_1_mm() -> None:
    assert rules.isotropic_spacing_mm([(5.0, 0.8, 0.8), (3.0, 0.7, 0.7), (0.5, 0.9, 0.9)]) == 1.0
    assert rules.isotropic_spacing_mm([(5.0, 2.2, 2.2), (3.5, 2.0, 2.0), (4.0, 2.36, 2.36)]) == 2.2
    assert rules.isotropic_spacing_mm([(1.5, 1.5, 4.0)] * 2 + [(1.0, 1.0, 5.0)]) == 1.5


@pytest.mark.parametrize(
    ("spacing_mm", "stride"), [(1.0, 4), (1.5, 4), (1.6, 2), (2.2, 2), (3.0, 2), (3.1, 1), (7.0, 1)]
)
def test_tokens_measure_at_most_6_mm(spacing_mm: float, stride: int) -> None:
    assert rules.vq_stride(spacing_mm) == stride


def test_extents_like_kits_lead_to_160_x_128_x_128_at_1_mm() -> None:
    extents = kits_like_extents()
    assert share_inside(extents, 128, 96, 96) == pytest.approx(1 - 43 / 289)  # the paper's box
    assert share_inside(extents, 144, 112, 112) == pytest.approx(0.98, abs=0.003)
    assert share_inside(extents, 160, 128, 128) == pytest.approx(0.997, abs=0.001)
    assert rules.patch_and_levels(extents, spacing_mm=1.0, margin_mm=8.0) == ((160, 128, 128), 3)


def test_smallest_patch_is_found_over_the_axes_jointly() -> None:
    """98 of 100 must fit: to give up the two long organs costs nothing, so the tall and the wide one decide."""
    extents = np.full((100, 3), 20.0)
    extents[0], extents[1] = (20.0, 20.0, 200.0), (20.0, 200.0, 20.0)
    extents[2] = (40.0, 20.0, 20.0)
    assert rules.smallest_patch(extents, spacing_mm=1.0, margin_mm=0.0, multiple=4) == (40, 20, 20)


def test_margin_and_divisibility_enlarge_the_patch() -> None:
    extents = np.full((10, 3), 33.0)
    assert rules.smallest_patch(extents, spacing_mm=1.5, margin_mm=8.0, multiple=8) == (40, 40, 40)  # 49 mm: 33 voxels
    assert rules.smallest_patch(extents, spacing_mm=1.0, margin_mm=8.0, multiple=7) == (49, 49, 49)


@given(extents=EXTENTS, spacing_mm=st.floats(1.0, 8.0))
@settings(max_examples=200, deadline=None)
def test_patch_is_divisible_holds_98_percent_and_could_not_be_shorter(
    extents: NDArray[np.float64], spacing_mm: float
) -> None:
    patch, levels = rules.patch_and_levels(extents, spacing_mm=spacing_mm, margin_mm=8.0)
    chain = rules.vq_stride(spacing_mm) * 2 ** (levels - 1)
    multiple = max(4, chain)
    assert all(size % multiple == 0 for size in patch)
    needed = np.ceil((extents + 16.0) / spacing_mm - 1e-6)
    assert np.all(needed <= patch, axis=1).mean() >= 0.98
    for axis in range(3):
        shorter = np.array(patch)
        shorter[axis] -= multiple
        assert np.all(needed <= shorter, axis=1).mean() < 0.98 or shorter[axis] < rules.SMALLEST_PATCH
    assert levels == 1 or min(patch) // chain >= rules.SMALLEST_FEATURE_MAP


def test_small_organs_leave_fewer_levels() -> None:
    assert rules.patch_and_levels(np.full((9, 3), 40.0), spacing_mm=1.0, margin_mm=0.0) == ((40, 40, 40), 2)
    assert rules.patch_and_levels(np.full((9, 3), 8.0), spacing_mm=1.0, margin_mm=0.0) == ((8, 8, 8), 1)


def test_attention_is_planned_at_the_coarsest_level_while_it_is_cheap() -> None:
    assert rules.attention_levels((40, 32, 32), 3) == (2,)  # 640 tokens
    assert rules.attention_levels((56, 56, 48), 3) == ()  # 2352 tokens


def test_codebook_follows_the_tokens_of_a_batch() -> None:
    assert rules.num_codes(4 * 40 * 32 * 32) == 16384
    assert rules.num_codes(4 * 18432) == 16384  # 18432 codes wanted, 2^14 is nearest
    assert rules.num_codes(8000) == 2048  # 2000 wanted
    assert rules.num_codes(100) == 1024


def test_classifier_trains_100_epochs_of_twice_the_smaller_class() -> None:
    assert rules.classifier_iterations(3000, 1162, batch_size=32) == 7263  # 100 * 2324 / 32, rounded up
    assert rules.classifier_iterations(90, 60, batch_size=32) == 1000


def test_patch_is_planned_for_whole_healthy_organs() -> None:
    healthy, cut = record("healthy"), record("healthy", touches_border=("inferior",))
    assert rules.organs_to_fit([healthy] * 5 + [cut, record("unhealthy")]) == ("healthy organs", [healthy] * 5)


def test_patch_is_planned_for_all_organs_where_few_are_healthy() -> None:
    few = [record("healthy")] * 4 + [record("unhealthy"), record("excluded")]
    assert rules.organs_to_fit([*few, record("healthy", touches_border=("inferior",))]) == ("organs", few)


def test_fingerprint_without_organs_is_refused() -> None:
    with pytest.raises(DataError):
        rules.organs_to_fit([])
