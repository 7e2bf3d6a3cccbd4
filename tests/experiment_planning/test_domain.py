"""The domain that plans carry, and scans that stand out of their dataset."""

import numpy as np

from nnanomaly.experiment_planning.domain import organ_domain, scans_not_in_hu
from nnanomaly.experiment_planning.fingerprint import CaseFingerprint, OrganRecord
from nnanomaly.roi.scan_domain import ScanScale

HU = ScanScale(span=1500.0, lowest=-1000.0, share_of_fat=0.4)


def record(case: str, median_hu: float | None, low: float | None = -100.0, size: float = 60.0) -> OrganRecord:
    return OrganRecord(
        case=case,
        organ="kidney",
        label="healthy",
        extent_mm=(size, 50.0, 40.0),
        volume_ml=size,
        touches_border=(),
        num_components=1,
        median_hu=median_hu,
        around_low_hu=low,
    )


def case(name: str, median_hu: float, scale: ScanScale = HU, low: float = -100.0) -> CaseFingerprint:
    return CaseFingerprint(
        case=name,
        spacing_mm=(1.0, 1.0, 1.0),
        shape=(9, 9, 9),
        organs=(record(name, median_hu, low),),
        num_absent=0,
        intensities_hu=np.zeros(1, np.float32),
        scan_hash=name,
        scale=scale,
    )


def test_the_domain_spans_the_training_organs() -> None:
    (domain,) = organ_domain([record("a", 100.0, -120.0), record("b", 150.0, -80.0, 90.0), record("c", 110.0)]).values()
    assert (domain.num_organs, domain.median_hu, domain.around_low_hu) == (3, (100.0, 110.0, 150.0), -80.0)
    assert (domain.volume_ml, domain.extent_mm) == ((60.0, 90.0), (90.0, 50.0, 40.0))


def test_a_fingerprint_of_an_earlier_version_says_nothing() -> None:
    assert organ_domain([record("a", None, None)]) == {}


def test_training_scans_that_are_not_in_hu_are_named_and_no_other() -> None:
    cases = [case(name, 100.0 + 10 * number) for number, name in enumerate("abcdef")]
    assert scans_not_in_hu(cases) == {}
    raw = case("raw", 1150.0, ScanScale(span=1500.0, lowest=20.0, share_of_fat=0.0), low=900.0)
    scaled = case("scaled", 0.3, ScanScale(span=0.9, lowest=0.0, share_of_fat=0.0), low=0.1)
    found = scans_not_in_hu([*cases, raw, scaled])
    assert list(found) == ["raw", "scaled"]
    assert all("NNA-INT-UNITS" in fault for fault in found.values())


def test_two_scans_do_not_call_each_other_odd() -> None:
    assert scans_not_in_hu([case("a", 30.0), case("b", 600.0)]) == {}
