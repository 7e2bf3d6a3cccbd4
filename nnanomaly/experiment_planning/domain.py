"""What a fingerprint says of the organs of the training scans, and the scans that do not fit the others. Pure."""

from collections.abc import Sequence

import numpy as np

from nnanomaly.experiment_planning.fingerprint import CaseFingerprint, OrganRecord
from nnanomaly.plans import OrganDomain
from nnanomaly.roi.scan_domain import REMEDY, OrganIntensity, scale_fault

FEWEST_OTHERS = 3
"""Organs of other cases that a scan is compared with: fewer may be the odd ones themselves."""


def organ_domain(records: Sequence[OrganRecord]) -> dict[str, OrganDomain]:
    """Range of HU, volume and size by organ; organs that were not measured are left out."""
    domain = {}
    for name in dict.fromkeys(record.organ for record in records):
        known = [r for r in records if r.organ == name and r.median_hu is not None and r.around_low_hu is not None]
        if known:
            medians = [r.median_hu for r in known if r.median_hu is not None]
            z, y, x = np.max([r.extent_mm for r in known], axis=0).tolist()
            domain[name] = OrganDomain(
                num_organs=len(known),
                median_hu=(min(medians), float(np.median(medians)), max(medians)),
                around_low_hu=max(r.around_low_hu for r in known if r.around_low_hu is not None),
                volume_ml=(min(r.volume_ml for r in known), max(r.volume_ml for r in known)),
                extent_mm=(z, y, x),
            )
    return domain


def scans_not_in_hu(cases: Sequence[CaseFingerprint]) -> dict[str, str]:
    """Case -> why it cannot be in HU: by physics, or beside the middle of the other scans."""
    faults = {}
    for case in cases:
        organs = {
            r.organ: OrganIntensity(median_hu=r.median_hu, around_low_hu=r.around_low_hu)
            for r in case.organs
            if r.median_hu is not None and r.around_low_hu is not None
        }
        others = [record for other in cases if other.case != case.case for record in other.organs]
        fault = None if case.scale is None else scale_fault(case.scale, organs, _middle(others))
        if fault is not None:
            faults[case.case] = f"[NNA-INT-UNITS] {case.case} cannot be a CT in HU: {fault}. {REMEDY}"
    return faults


def _middle(records: Sequence[OrganRecord]) -> dict[str, OrganDomain]:
    """The domain with its ends drawn to its middle, so that another odd scan does not hide one."""
    middle = {}
    for name in dict.fromkeys(record.organ for record in records):
        own = [record for record in records if record.organ == name]
        domain = organ_domain(own).get(name)
        if domain is not None and domain.num_organs >= FEWEST_OTHERS:
            typical = domain.median_hu[1]
            lows = [record.around_low_hu for record in own if record.around_low_hu is not None]
            middle[name] = OrganDomain(
                num_organs=domain.num_organs,
                median_hu=(typical, typical, typical),
                around_low_hu=float(np.median(lows)),
                volume_ml=domain.volume_ml,
                extent_mm=domain.extent_mm,
            )
    return middle
