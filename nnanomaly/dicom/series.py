"""From the files of a folder to stacks: the slices of one series that lie in one orientation and have one form.

A series may hold more than one stack, such as a localiser or a slice of another orientation among its slices; each is
then judged by itself. Names are made up here: a case is called by a hash of its series' UID, a patient by a hash of
the least of the UIDs of his series. A hash of the patient's number would be none: there are too few such numbers, one
could try them all.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nnanomaly.dicom.headers import SliceHeader
from nnanomaly.utilities.errors import DataError

SAME_DIRECTION = 1e-3
HASH_LENGTH = 12
CASE_PREFIX, PATIENT_PREFIX = "ct", "pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedStack:
    """Slices that belong together, with the names they get."""

    series: str
    """Hash of the series' UID."""
    case: str
    """Case id: from the user's table, else `ct_` and the hash; the second stack of a series ends with `_2`."""
    chosen: bool
    """Whether the user chose the case id."""
    patient: str
    """Made-up name of the patient, the same for all his series in the folder."""
    headers: tuple[SliceHeader, ...]
    """The files, in no particular order."""


def made_up(text: str) -> str:
    """A name that tells nothing of the text it is made from: the first digits of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


def find_stacks(headers: Iterable[SliceHeader], chosen_cases: Mapping[str, str]) -> list[NamedStack]:
    """All stacks of some files, the largest of a series first; `chosen_cases` names cases by Series Instance UID.

    Raises `DataError` (CASE-ID) where two stacks would get the same name.
    """
    series: dict[str, list[SliceHeader]] = defaultdict(list)
    patients: dict[str, set[str]] = defaultdict(set)
    for header in sorted(headers, key=lambda header: header.path):
        series[header.series_uid].append(header)
        patients[header.patient].add(header.series_uid)
    stacks = []
    for uid in sorted(series):
        groups = sorted(_split(series[uid]), key=lambda group: (-len(group), group[0].instance_uid))
        for number, group in enumerate(groups, start=1):
            case = chosen_cases.get(uid, f"{CASE_PREFIX}_{made_up(uid)}")
            stacks.append(
                NamedStack(
                    series=made_up(uid),
                    case=case if number == 1 else f"{case}_{number}",
                    chosen=uid in chosen_cases,
                    patient=f"{PATIENT_PREFIX}_{made_up(min(patients[group[0].patient]))}",
                    headers=tuple(group),
                )
            )
    for case, number in Counter(stack.case for stack in stacks).items():
        if number > 1:
            raise DataError("CASE-ID", f"{number} stacks of slices would be called {case!r}. Choose other case ids.")
    return stacks


def _split(headers: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    """Groups of the same kind, image type, matrix and orientation."""
    groups: list[list[SliceHeader]] = []
    for header in headers:
        home = next((group for group in groups if _belongs(header, group[0])), None)
        if home is None:
            groups.append([header])
        else:
            home.append(header)
    return groups


def _belongs(header: SliceHeader, first: SliceHeader) -> bool:
    form = (header.sop_class, header.image_type, header.shape)
    if form != (first.sop_class, first.image_type, first.shape):
        return False
    if header.orientation is None or first.orientation is None:
        return header.orientation is first.orientation
    return bool(np.allclose(header.orientation, first.orientation, rtol=0, atol=SAME_DIRECTION))
