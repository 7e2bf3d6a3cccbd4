"""What a case is checked for before and after its prediction: scale, masks, and how much of an organ is marked."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnanomaly.plans import Plans
from nnanomaly.preprocessing.cropping import organ_patches
from nnanomaly.roi.mask_quality import measure_mask, suspicions
from nnanomaly.roi.organ_instances import OrganInstance, locate_organ, mask_box
from nnanomaly.roi.scan_domain import (
    CaseWarning,
    OrganIntensity,
    check_extent,
    check_scale,
    marked,
    organ_intensity,
    scan_scale,
    unusual,
)
from nnanomaly.volume import Box, Volume

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganFacts:
    """An organ that is there, as the checks see it."""

    box: Box
    """Voxels of the scan that hold its mask."""
    mask: NDArray[np.bool_]
    """Its mask in that box."""
    intensity: OrganIntensity
    """Its values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFacts:
    """What is known of a case before its prediction."""

    organs: dict[str, OrganFacts]
    """Organs that are there."""
    warnings: tuple[CaseWarning, ...]
    """What is unusual about them."""


def examine_case(image: Volume, masks: Mapping[str, Volume], *, case: str, plans: Plans) -> CaseFacts:
    """Check a scan and its masks, which lie on its grid, against what the plans say of the training scans.

    Raises `DataError`: INT-UNITS for values that cannot be HU, ROI-EXTENT for a mask of more than an organ.
    """
    found = {organ: instance for organ, mask in masks.items() if (instance := locate_organ(mask)) is not None}
    for organ, instance in found.items():
        _check_extent(organ, instance, plans)
    facts = {organ: _facts(image, masks[organ], instance) for organ, instance in found.items()}
    check_scale(scan_scale(image), {o: f.intensity for o, f in facts.items()}, plans.domain, source=case)
    odd = suspicions([measure_mask(mask, case=case, organ=organ) for organ, mask in masks.items()])
    warnings = [
        CaseWarning(organ=organ, code=code, message=f"{organ}: {text}")
        for (_, organ), of_organ in odd.items()
        for code, text in of_organ
    ]
    for organ, instance in found.items():
        warnings += unusual(organ, facts[organ].intensity, instance, plans.domain.get(organ))
    return CaseFacts(organs=facts, warnings=tuple(warnings))


def warnings_after(facts: CaseFacts, lesions: NDArray[np.bool_], plans: Plans) -> tuple[CaseWarning, ...]:
    """All warnings of a case, with those that its lesion mask `[Z, Y, X]` gives reason for."""
    warnings = []
    for organ, known in facts.organs.items():
        share = float(np.mean(lesions[known.box.slices][known.mask]))
        of_organ = [warning for warning in facts.warnings if warning.organ == organ]
        found = marked(organ, share, known.intensity, plans.domain.get(organ))
        if any(warning.code == "DOMAIN-HU" for warning in of_organ) and found is None:
            found = CaseWarning(
                organ=organ, code="DOMAIN-MARKED", message=f"{share:.0%} of {organ} is marked as lesion"
            )
        warnings += [*of_organ, *([found] if found is not None else [])]
    absent = [warning for warning in facts.warnings if warning.organ not in facts.organs]
    return (*warnings, *absent)


def log_warnings(case: str, warnings: Sequence[CaseWarning]) -> None:
    """One line each."""
    for warning in warnings:
        logger.warning("%s: %s", case, warning)


def say_what_cannot_be_checked(plans: Plans) -> None:
    """Say aloud that a model of an earlier version does not know what its training scans looked like."""
    unknown = [organ for organ in plans.organs if organ not in plans.domain]
    if unknown:
        logger.warning(
            "the plans of this model do not say what the training scans looked like (%s): another contrast phase or "
            "organ is not noticed, nor every other unit than HU. Plans that are made anew say it.",
            ", ".join(unknown),
        )


def _check_extent(organ: str, instance: OrganInstance, plans: Plans) -> None:
    count = len(organ_patches(instance, plans.preprocessing))
    check_extent(organ, instance, plans.domain.get(organ), num_patches=count)


def _facts(image: Volume, mask: Volume, instance: OrganInstance) -> OrganFacts:
    box = mask_box(mask)
    assert box is not None  # it was located
    return OrganFacts(box=box, mask=mask.array[0][box.slices] != 0, intensity=organ_intensity(image, mask, instance))
