"""What cannot be HU is refused, what is unusual is said; both on scans small enough to see."""

import numpy as np
import pytest

from nnanomaly.plans import OrganDomain
from nnanomaly.roi.organ_instances import OrganInstance, locate_organ
from nnanomaly.roi.scan_domain import (
    OrganIntensity,
    check_extent,
    check_scale,
    marked,
    organ_intensity,
    scan_scale,
    unusual,
)
from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Grid, Volume

GRID = Grid((24, 24, 24), (4.0, 4.0, 4.0), (0.0, 0.0, 0.0))
KNOWN = OrganDomain(
    num_organs=20,
    median_hu=(110.0, 140.0, 180.0),
    around_low_hu=-90.0,
    volume_ml=(25.0, 60.0),
    extent_mm=(40.0, 36.0, 36.0),
)
MASK = np.zeros((1, *GRID.shape), np.uint8)
MASK[0, 8:16, 8:16, 8:16] = 1


def scan(organ_hu: float = 140.0) -> np.ndarray:
    """Air, a body of fat with muscle around the organ, noise of 10 HU."""
    hu = np.full(GRID.shape, -1000.0)
    hu[2:22, 2:22, 2:22] = -100
    hu[6:18, 6:18, 6:18] = 50
    hu[MASK[0] == 1] = organ_hu
    return hu + np.random.default_rng(0).normal(0, 10, GRID.shape)


def facts(hu: np.ndarray) -> tuple[Volume, OrganIntensity, OrganInstance]:
    image, mask = Volume(hu.astype(np.float32)[None], GRID), Volume(MASK, GRID)
    instance = locate_organ(mask)
    assert instance is not None
    return image, organ_intensity(image, mask, instance), instance


def check(hu: np.ndarray, known: OrganDomain | None) -> None:
    image, organ, _ = facts(hu)
    check_scale(scan_scale(image), {"kidney": organ}, {} if known is None else {"kidney": known}, source="case_7")


def codes(hu: np.ndarray, known: OrganDomain | None = KNOWN) -> list[str]:
    _, organ, instance = facts(hu)
    return [warning.code for warning in unusual("kidney", organ, instance, known)]


IN_ANY_MODEL = {
    "0 to 1": lambda hu: (hu + 1024) / 4095,
    "z-scores": lambda hu: (hu - hu.mean()) / hu.std(),
    "raw values": lambda hu: hu + 1024,
}
KNOWING_TRAINING = {
    "8 bits of a window": lambda hu: np.clip((hu + 160) / 400, 0, 1) * 255,
    "raw values with padding": lambda hu: np.where(hu < -900, -1000, hu + 1024),
    "MR": lambda hu: np.clip(hu + 300, 0, None) * 3,
    "ten times": lambda hu: hu * 10,
}


@pytest.mark.parametrize("known", [None, KNOWN], ids=["unknown", "known"])
@pytest.mark.parametrize("change", IN_ANY_MODEL.values(), ids=IN_ANY_MODEL)
def test_values_that_are_no_hu_are_refused_even_by_a_model_that_knows_nothing(change, known) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match="NNA-INT-UNITS.*case_7"):
        check(change(scan()), known)


@pytest.mark.parametrize("change", KNOWING_TRAINING.values(), ids=KNOWING_TRAINING)
def test_values_unlike_all_training_scans_are_refused(change) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match="NNA-INT-UNITS.*case_7"):
        check(change(scan()), KNOWN)


@pytest.mark.parametrize("known", [None, KNOWN], ids=["unknown", "known"])
@pytest.mark.parametrize("organ_hu", [30.0, 140.0, 300.0])
def test_every_phase_of_a_ct_passes_and_so_does_one_padded_with_minus_2000(organ_hu: float, known: OrganDomain) -> None:
    check(scan(organ_hu), known)
    check(np.where(scan(organ_hu) < -900, -2000, scan(organ_hu)), known)


def test_a_crop_without_air_or_fat_passes_where_the_organ_is_as_usual_and_something_around_is_dark() -> None:
    cropped = np.where(scan() < 0, 40.0, scan())
    cropped[6, 6, :] = -60.0  # bowel gas, a little
    check(cropped, KNOWN)


def test_another_phase_is_said_with_the_hu_of_both() -> None:
    _, organ, instance = facts(scan(30.0))
    (warning,) = unusual("kidney", organ, instance, KNOWN)
    assert str(warning).startswith(
        "[NNA-DOMAIN-HU] kidney has 30 HU, those of 20 training scans 110 to 180 (median 140)"
    )
    assert codes(scan(140.0)) == codes(scan(100.0)) == codes(scan(190.0)) == []
    assert codes(scan(30.0), None) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"volume_ml": (100.0, 200.0)}, "DOMAIN-VOLUME"), ({"volume_ml": (1.0, 10.0)}, "DOMAIN-VOLUME"),
     ({"extent_mm": (20.0, 40.0, 40.0)}, "DOMAIN-EXTENT")],
)  # fmt: skip
def test_an_organ_of_another_size_is_said(changes: dict[str, tuple[float, ...]], code: str) -> None:
    fields = {name: getattr(KNOWN, name) for name in OrganDomain.__dataclass_fields__}
    assert codes(scan(), OrganDomain(**{**fields, **changes})) == [code]


def test_a_mask_of_more_than_an_organ_is_refused_before_patches_are_cut() -> None:
    _, _, instance = facts(scan())  # 32 mm a side
    small = OrganDomain(
        num_organs=3, median_hu=(0.0, 0.0, 0.0), around_low_hu=0.0, volume_ml=(1.0, 2.0), extent_mm=(15.0, 40.0, 40.0)
    )
    with pytest.raises(
        DataError, match=r"NNA-ROI-EXTENT.*kidney measures 32 x 32 x 32 mm.*12 patches.*15 x 40 x 40 mm"
    ):
        check_extent("kidney", instance, small, num_patches=12)
    check_extent("kidney", instance, KNOWN, num_patches=12)
    with pytest.raises(DataError, match="NNA-ROI-EXTENT"):
        check_extent("kidney", instance, None, num_patches=1210)
    check_extent("kidney", instance, None, num_patches=60)


def test_half_an_organ_marked_is_said_beside_its_hu() -> None:
    organ = OrganIntensity(median_hu=30.0, around_low_hu=-100.0)
    assert marked("kidney", 0.49, organ, KNOWN) is None
    found = marked("kidney", 0.5, organ, KNOWN)
    assert found is not None and "50% of kidney is marked as lesion; it has 30 HU" in found.message
    unknown = marked("kidney", 1.0, None, None)
    assert unknown is not None and unknown.code == "DOMAIN-MARKED"
