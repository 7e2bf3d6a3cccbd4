"""The table of labels that a label map may carry in the extended header of its NIfTI file.

Caret defined the XML, and `TotalSegmentator --ml` writes it: `<Label Key="3" ...>kidney_left</Label>`.
"""

from collections.abc import Iterator
from xml.etree import ElementTree

FLAG_BYTES, PREFIX_BYTES = 4, 8
ROOT = b"<CaretExtension"


def label_table(start_of_file: bytes, *, header_bytes: int, byte_order: str) -> dict[str, int]:
    """Value of every named label; empty where the bytes before the voxels hold no readable table.

    `start_of_file`: everything before the voxels; `byte_order`: "<" or ">".
    """
    order = "little" if byte_order == "<" else "big"
    for content in _extensions(start_of_file, header_bytes, order):
        if ROOT in content and b"<!DOCTYPE" not in content:  # no entities: nothing can be blown up
            return _parse(content.strip(b"\0 \r\n\t"))
    return {}


def _extensions(start_of_file: bytes, position: int, order: str) -> Iterator[bytes]:
    """Contents of the extensions: a flag of four bytes, then size (prefix included), code and content of each."""
    if start_of_file[position : position + 1] in (b"", b"\0"):
        return
    position += FLAG_BYTES
    while position + PREFIX_BYTES < len(start_of_file):
        size = int.from_bytes(start_of_file[position : position + 4], order)  # type: ignore[arg-type]
        if size <= PREFIX_BYTES:
            return
        yield start_of_file[position + PREFIX_BYTES : position + size]
        position += size


def _parse(content: bytes) -> dict[str, int]:
    try:
        labels = ElementTree.fromstring(content).iter("Label")
        return {(label.text or "").strip(): int(label.attrib["Key"]) for label in labels}
    except (ElementTree.ParseError, KeyError, ValueError):
        return {}
