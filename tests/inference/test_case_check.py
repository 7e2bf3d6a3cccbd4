"""What is said of a case once its lesion mask is there."""

from collections.abc import Callable

import numpy as np
import pytest

from nnanomaly.inference.case_check import CaseFacts, OrganFacts, warnings_after
from nnanomaly.plans import Plans
from nnanomaly.roi.scan_domain import CaseWarning, OrganIntensity
from nnanomaly.volume import Box

BRIGHT = CaseWarning(organ="kidney_left", code="DOMAIN-HU", message="kidney_left is bright")


@pytest.mark.parametrize(
    ("voxels", "warnings", "codes"),
    [
        (0, (BRIGHT,), ["DOMAIN-HU", "DOMAIN-MARKED"]),
        (180, (BRIGHT,), ["DOMAIN-HU", "DOMAIN-MARKED"]),
        (180, (), []),
        (700, (), ["DOMAIN-MARKED"]),
    ],
)
def test_how_much_is_marked_is_said_where_it_is_much_or_the_organ_unusual(
    tiny_plans: Callable[..., Plans], voxels: int, warnings: tuple[CaseWarning, ...], codes: list[str]
) -> None:
    organ = OrganFacts(
        box=Box((2, 2, 2), (12, 12, 12)),
        mask=np.ones((10, 10, 10), bool),
        intensity=OrganIntensity(median_hu=40.0, around_low_hu=-100.0),
    )
    lesions = np.zeros((14, 14, 14), bool)
    inside = np.zeros(1000, bool)
    inside[:voxels] = True
    lesions[2:12, 2:12, 2:12] = inside.reshape(10, 10, 10)
    facts = CaseFacts(organs={"kidney_left": organ}, warnings=warnings)
    said = warnings_after(facts, lesions, tiny_plans("default", dataset="Dataset501_Kidney"))
    assert [warning.code for warning in said] == codes
    assert all("18%" in warning.message for warning in said if warning.code == "DOMAIN-MARKED" and voxels == 180)
