"""Values of single attributes of a DICOM file: of the right kind, or None. Nothing here raises for what a file says."""

import math
import re
from collections.abc import Callable
from typing import Any

import pydicom
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian


def syntax(dataset: pydicom.Dataset) -> str:
    """The transfer syntax; where the file names none, the one in which it could be parsed."""
    named = str(dataset.file_meta.get("TransferSyntaxUID", "") or "")
    if named:
        return named
    implicit, little_endian = dataset.original_encoding
    if implicit:
        return str(ImplicitVRLittleEndian)
    return str(ExplicitVRLittleEndian if little_endian else ExplicitVRBigEndian)


def rescale(dataset: pydicom.Dataset) -> tuple[tuple[float, float] | None, str]:
    """Slope and intercept where both are there, and what is wrong with them."""
    if dataset.get("ModalityLUTSequence"):
        return None, "values are given by a table (Modality LUT), not by slope and intercept"
    values = {keyword: numbers(dataset, keyword, 1) for keyword in ("RescaleSlope", "RescaleIntercept")}
    empty = [keyword for keyword in values if not several(dataset.get(keyword))]
    wrong = [keyword for keyword, value in values.items() if value is None and keyword not in empty]
    if wrong:
        return None, f"{wrong[0]} is not one number"
    if len(empty) == 1:
        return None, f"{empty[0]} is missing, and the other one is there"
    slope, intercept = values.values()
    if slope is None or intercept is None:
        return None, ""
    return (slope[0], intercept[0]), "" if slope[0] else "RescaleSlope is 0"


def padding(dataset: pydicom.Dataset, bits: int, *, signed: bool) -> tuple[int, int] | None:
    """The declared range, read with the sign of the pixels: many files give the value the other kind of number."""
    first = numbers(dataset, "PixelPaddingValue", 1)
    if first is None or bits < 1:
        return None
    last = numbers(dataset, "PixelPaddingRangeLimit", 1) or first
    ends = sorted(as_stored(int(value[0]), bits, signed=signed) for value in (first, last))
    return ends[0], ends[1]


def as_stored(value: int, bits: int, *, signed: bool) -> int:
    """The number that the lowest `bits` of a value mean."""
    value %= 1 << bits
    return value - (1 << bits) if signed and value >= 1 << (bits - 1) else value


def seconds(text: Callable[[str], Any]) -> float | None:
    """Time of the acquisition, else of the content; the day counts where the file says it."""
    stamp = text("AcquisitionDateTime") or text("AcquisitionDate").rjust(8, "0") + (
        text("AcquisitionTime") or text("ContentTime")
    )
    match = re.fullmatch(r"(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2}(?:\.\d+)?)(?:[+-]\d{4})?", stamp)
    if not match:
        return None
    year, month, day, hour, minute = (int(part) for part in match.groups()[:5])
    return (((year * 12 + month) * 31 + day) * 24 + hour) * 3600.0 + minute * 60 + float(match[6])


def reader(dataset: pydicom.Dataset, convert: Callable[[Any], Any], *, default: Any) -> Callable[[str], Any]:
    """A function from a keyword to its converted value, or to the default where there is none of that kind."""

    def read(keyword: str) -> Any:
        value = dataset.get(keyword)
        try:
            return default if value is None or value == "" else convert(value)
        except (TypeError, ValueError, ArithmeticError):
            return default

    return read


def numbers(dataset: pydicom.Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """That many finite numbers, or None."""
    try:
        values = tuple(float(value) for value in several(dataset.get(keyword)))
    except (TypeError, ValueError, ArithmeticError):
        return None
    return values if len(values) == count and all(math.isfinite(value) for value in values) else None


def several(value: Any) -> list[Any]:
    """The items of a value that may have none, one or several."""
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, (list, tuple, pydicom.multival.MultiValue)) else [value]
