"""A series taken apart into scans: slices that a scanner took in one go, of one patient, in one form.

The UID of a series says less than it should: phases of contrast, reconstructions and even patients share one, by the
scanner or by an anonymiser. Slices that differ in what a scan has once are separated always. What may change along a
scan separates only where slices of different values lie among each other: two regular stacks, one within the other,
look like one of half the distance.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nnanomaly.dicom.headers import SliceHeader
from nnanomaly.dicom.traits import MEANINGLESS_IF_OWN, MIXING, SEPARATING

SAME_DIRECTION = 1e-3
SAME_POSITION_MM = 0.01
SLICES_OF_A_PASS = 4
LEAST_PAUSE_SECONDS, PAUSE_OF_MEDIANS = 5.0, 10.0
Group = list[SliceHeader]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Slices that may be one scan."""

    headers: tuple[SliceHeader, ...]
    """The files."""
    apart_by: tuple[str, ...]
    """In what the series' slices differ, so that this is not all of it."""


def split_series(headers: Sequence[SliceHeader]) -> list[Scan]:
    """The scans of the slices of one Series Instance UID."""
    groups, apart = _separated(list(headers))
    scans = []
    for group in groups:
        parts, mixed = _unmixed(group)
        scans += [Scan(headers=tuple(part), apart_by=(*apart, *mixed)) for part in parts]
    return scans


def _separated(headers: Group) -> tuple[list[Group], list[str]]:
    """Groups that agree in all that a scan has once, and the names of what differs."""
    tests: dict[str, Callable[[SliceHeader], Hashable]] = {
        "kind of object": lambda header: header.sop_class,
        "image type": lambda header: header.image_type,
        "matrix": lambda header: header.shape,
        "pixel spacing": _rounded_spacing,
    }
    for name in SEPARATING:
        if not (name in MEANINGLESS_IF_OWN and _is_own(headers, name)):
            tests[name] = lambda header, name=name: header.traits[name]  # type: ignore[misc]
    groups, apart = [headers], []
    for name, test in tests.items():
        parts = [part for group in groups for part in _parts(group, test).values()]
        apart += [name] if len(parts) > len(groups) else []
        groups = parts
    parts = [part for group in groups for part in _by_orientation(group)]
    return parts, apart + (["orientation"] if len(parts) > len(groups) else [])


def _rounded_spacing(header: SliceHeader) -> Hashable:
    return None if header.pixel_spacing_mm is None else tuple(round(value, 3) for value in header.pixel_spacing_mm)


def _is_own(headers: Sequence[SliceHeader], trait: str) -> bool:
    """Whether nearly every slice has a value of its own, which then says nothing."""
    return len({header.traits[trait] for header in headers}) > len(headers) / 2


def _parts(headers: Group, test: Callable[[SliceHeader], Hashable]) -> Mapping[Hashable, Group]:
    parts: dict[Hashable, Group] = defaultdict(list)
    for header in headers:
        parts[test(header)].append(header)
    return parts


def _by_orientation(headers: Group) -> list[Group]:
    groups: list[Group] = []
    for header in headers:
        home = next((group for group in groups if _same_direction(header, group[0])), None)
        if home is None:
            groups.append([header])
        else:
            home.append(header)
    return groups


def _same_direction(header: SliceHeader, other: SliceHeader) -> bool:
    if header.orientation is None or other.orientation is None:
        return header.orientation is other.orientation
    return bool(np.allclose(header.orientation, other.orientation, rtol=0, atol=SAME_DIRECTION))


def _unmixed(headers: Group) -> tuple[list[Group], list[str]]:
    """Groups among which no slice lies within another group, and the names of what told them apart."""
    along = places(headers)
    if along is None:
        return [headers], []
    for name, labels in _labels(headers, along).items():
        parts: dict[Hashable, Group] = defaultdict(list)
        for header, label in zip(headers, labels, strict=True):
            parts[label].append(header)
        if 2 <= len(parts) <= len(headers) / 2 and _is_mixed(along, labels):
            taken, apart = [], [name]
            for part in parts.values():
                further, names = _unmixed(part)
                taken += further
                apart += [other for other in names if other not in apart]
            return taken, apart
    return [headers], []


def places(headers: Sequence[SliceHeader]) -> list[float] | None:
    """Where the slices lie along their normal, in mm; None where one of them does not say it."""
    if headers[0].orientation is None or any(header.position_mm is None for header in headers):
        return None
    row, column = np.array(headers[0].orientation).reshape(2, 3)
    normal = np.cross(row, column)
    return [float(np.dot(normal, header.position_mm or ())) for header in headers]


def _labels(headers: Group, along: Sequence[float]) -> dict[str, Sequence[Hashable]]:
    """For everything that may tell scans apart, its value for every slice."""
    found: dict[str, Sequence[Hashable]] = {name: [header.traits[name] for header in headers] for name in MIXING}
    found["time"] = _by_pauses([header.seconds for header in headers])
    found["instance number"] = _by_passes([header.instance_number for header in headers], along)
    return found


def _is_mixed(along: Sequence[float], labels: Sequence[Hashable]) -> bool:
    """Whether slices of different labels lie at one place, or slices of two labels among each other.

    A label whose slices lie within those of one other (A A B A A) is no mixture.
    """
    order = np.argsort(along, kind="stable")
    steps = list(zip(order, order[1:], strict=False))
    changes = [(first, second) for first, second in steps if labels[first] != labels[second]]
    if any(along[second] - along[first] < SAME_POSITION_MM for first, second in changes):
        return True
    return len(changes) > len(set(labels))


def _by_pauses(seconds: Sequence[float | None]) -> list[int]:
    """Number of the period between long pauses; 0 for all where a slice has no time."""
    if any(second is None for second in seconds):
        return [0] * len(seconds)
    times = np.array(seconds, float)
    order = np.argsort(times, kind="stable")
    pauses = np.diff(times[order])
    longest = max(LEAST_PAUSE_SECONDS, PAUSE_OF_MEDIANS * float(np.median(pauses))) if pauses.size else 0.0
    periods = np.zeros(len(times), int)
    periods[order[1:]] = np.cumsum(pauses > longest)
    return [int(period) for period in periods]


def _by_passes(numbers: Sequence[int | None], along: Sequence[float]) -> list[int]:
    """Number of the run through the body, in the order of the instance numbers: each step back begins a new one.

    0 for all where numbers are missing, there twice, or in no order of space at all.
    """
    if None in numbers or len(set(numbers)) < len(numbers):
        return [0] * len(numbers)
    order = np.argsort(np.array(numbers, int), kind="stable")
    steps = np.diff(np.array(along)[order])
    back = steps * float(np.sign(np.median(steps))) < -SAME_POSITION_MM if steps.size else np.zeros(0, bool)
    if (back.sum() + 1) * SLICES_OF_A_PASS > len(numbers):
        return [0] * len(numbers)
    passes = np.zeros(len(numbers), int)
    passes[order[1:]] = np.cumsum(back)
    return [int(run) for run in passes]
