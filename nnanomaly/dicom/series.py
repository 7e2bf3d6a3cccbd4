"""From the files of a folder to stacks with names: the slices of one series that may be one scan.

A series may hold more than one stack, such as a localiser or a second phase among its slices; each is then judged by
itself. Names are made up here: a case is called by a hash of its series' UID, a patient by a hash of
the least of the UIDs of his series. A hash of the patient's number would be none: there are too few such numbers, one
could try them all.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nnanomaly.dicom.headers import SliceHeader
from nnanomaly.dicom.split import split_series
from nnanomaly.dicom.traits import made_up
from nnanomaly.utilities.errors import DataError

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
    apart_by: tuple[str, ...] = ()
    """In what the series' slices differ, where this is not all of the series."""


def find_stacks(headers: Iterable[SliceHeader], chosen_cases: Mapping[str, str]) -> list[NamedStack]:
    """All stacks of some files, the largest of a series first; `chosen_cases` names cases by Series Instance UID.

    Raises `DataError` (CASE-ID) where two stacks would get the same name.
    """
    series: dict[str, list[SliceHeader]] = defaultdict(list)
    for header in sorted(headers, key=lambda header: header.path):
        series[header.series_uid].append(header)
    patients = _patient_names(series)
    stacks = []
    for uid in sorted(series):
        scans = sorted(
            split_series(series[uid]),
            key=lambda scan: (-len(scan.headers), min(header.instance_uid for header in scan.headers)),
        )
        for number, scan in enumerate(scans, start=1):
            case = chosen_cases.get(uid, f"{CASE_PREFIX}_{made_up(uid)}")
            stacks.append(
                NamedStack(
                    series=made_up(uid),
                    case=case if number == 1 else f"{case}_{number}",
                    chosen=uid in chosen_cases,
                    patient=patients[scan.headers[0].patient],
                    headers=scan.headers,
                    apart_by=scan.apart_by if len(scans) > 1 else (),
                )
            )
    for case, number in Counter(stack.case for stack in stacks).items():
        if number > 1:
            raise DataError("CASE-ID", f"{number} stacks of slices would be called {case!r}. Choose other case ids.")
    return stacks


def _patient_names(series: Mapping[str, Iterable[SliceHeader]]) -> dict[str, str]:
    """Made-up name of every patient: of the least UID of his series, and of a slice where others share that UID."""
    uids: dict[str, set[str]] = defaultdict(set)
    least_instance: dict[tuple[str, str], str] = {}
    for uid, headers in series.items():
        for header in headers:
            uids[header.patient].add(uid)
            key = header.patient, uid
            least_instance[key] = min(least_instance.get(key, header.instance_uid), header.instance_uid)
    least = {patient: min(of_patient) for patient, of_patient in uids.items()}
    num_patients = Counter(uid for _, uid in least_instance)
    return {
        patient: f"{PATIENT_PREFIX}_{made_up(uid if num_patients[uid] == 1 else uid + least_instance[patient, uid])}"
        for patient, uid in least.items()
    }
