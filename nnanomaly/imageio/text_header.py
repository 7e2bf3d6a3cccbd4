"""The text headers of NRRD and MetaImage files, and whether the voxels that they declare are all there.

SimpleITK reads these files, but takes damaged ones: a MetaImage whose compressed data cannot be inflated comes back
with other voxels, and bytes that are too many are passed over. So the header is read here as well, before anything is
allocated, and the data to their end. Formats: NRRD of the library Teem, MetaImage of ITK's MetaIO.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnanomaly.imageio.nifti_header import check_size
from nnanomaly.imageio.nifti_stream import GZIP_FRAME, ZLIB_FRAME, TruncatedError, first_bytes, inflate
from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Shape

LONGEST_HEADER = 1 << 20
NRRD_MAGIC = b"NRRD000"
SAVE_AGAIN = "Save it again as one file with raw or gzip data, such as .nrrd or .mha."
_NRRD_TYPES = {
    "int8": ("signed char", "int8", "int8_t"),
    "uint8": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "int16": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "uint16": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "int32": ("int", "signed int", "int32", "int32_t"),
    "uint32": ("uint", "unsigned int", "uint32", "uint32_t"),
    "float32": ("float",),
    "float64": ("double",),
}
_META_TYPES = {
    "MET_CHAR": "int8",
    "MET_UCHAR": "uint8",
    "MET_SHORT": "int16",
    "MET_USHORT": "uint16",
    "MET_INT": "int32",
    "MET_UINT": "uint32",
    "MET_FLOAT": "float32",
    "MET_DOUBLE": "float64",
}
_TYPES = {**{word: name for name, words in _NRRD_TYPES.items() for word in words}, **_META_TYPES}
_FRAMES = {"raw": None, "gzip": GZIP_FRAME, "gz": GZIP_FRAME, "zlib": ZLIB_FRAME}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextHeader:
    """What a header says of its voxels."""

    fields: Mapping[str, str]
    """All fields, names in lower case."""
    shape: Shape
    """`[Z, Y, X]`."""
    itemsize: int
    """Bytes of a voxel."""
    data: Path
    """The file with the voxels: the same one, or another beside it."""
    offset: int
    """Bytes before them."""
    encoding: str
    """`raw`, `gzip` or `zlib`."""

    @property
    def num_bytes(self) -> int:
        """Bytes of all voxels, uncompressed."""
        return math.prod(self.shape) * self.itemsize


def read_text_header(path: Path) -> TextHeader:
    """The header of an NRRD or MetaImage file, whichever it is by its content.

    Raises what `first_bytes` raises, and `DataError`: IO-FORMAT, IO-DTYPE, IO-SHAPE, GEO-4D, GEO-THIN, GEO-SPACING
    (a header that says not where its voxels lie), IO-TOOBIG, IO-BOMB.
    """
    start = first_bytes(path, LONGEST_HEADER)
    header = _nrrd(start, path) if start.startswith(NRRD_MAGIC) else _meta(start, path)
    if not header.data.is_file():
        raise FileNotFoundError(f"[NNA-IO-MISSING] {header.data}, which {path} names as its data, does not exist")
    check_size(header.num_bytes, path, compressed_bytes=header.data.stat().st_size - header.offset)
    return header


def check_data(header: TextHeader) -> None:
    """Refuse data that are not what the header declares: `DataError` (IO-TRUNCATED, IO-LENGTH, IO-CRC)."""
    frame, num_bytes = _FRAMES[header.encoding], header.data.stat().st_size - header.offset
    if frame is not None:
        with header.data.open("rb") as file:
            file.seek(header.offset)
            num_bytes = 0
            for block in inflate(file, header.data, frame=frame):
                num_bytes += len(block)
                if num_bytes > header.num_bytes:
                    break
    if num_bytes < header.num_bytes:
        raise TruncatedError(
            "IO-TRUNCATED",
            f"{header.data} holds {num_bytes} of the {header.num_bytes} bytes that its header declares. "
            "Copy the file again.",
        )
    if num_bytes > header.num_bytes:
        raise DataError(
            "IO-LENGTH",
            f"{header.data} holds more than the {header.num_bytes} bytes that its header declares. Its header or its "
            "data are damaged.",
        )


def _nrrd(start: bytes, path: Path) -> TextHeader:
    """Lines `field: value` and `key:=value` up to an empty line, or to the end of a header whose data lie apart."""
    text = re.split(rb"\r?\n\r?\n", start, maxsplit=1)
    fields: dict[str, str] = {}
    for line in text[0].decode("utf-8", errors="replace").splitlines()[1:]:
        name, mark, value = line.partition(":")
        if mark and not line.startswith("#"):
            fields[name.strip().lower()] = value.removeprefix("=").strip()
    apart = fields.get("data file") or fields.get("datafile")
    if apart is None and len(text) < 2:
        raise DataError("IO-FORMAT", f"{path} has an NRRD header without an end. The file is damaged.")
    if "space directions" not in fields or not ({"space", "space dimension"} & fields.keys()):
        raise DataError("GEO-SPACING", f"{path} says not where its voxels lie (no space directions). {SAVE_AGAIN}")
    if {fields.get(f"{kind} skip", "0") for kind in ("line", "byte")} != {"0"}:
        raise DataError("IO-FORMAT", f"{path} skips lines or bytes before its voxels. {SAVE_AGAIN}")
    offset = 0 if apart else len(start) - len(text[1])
    return _header(fields, path, sizes="sizes", kind="type", encoding=fields.get("encoding", ""), at=(apart, offset))


def _meta(start: bytes, path: Path) -> TextHeader:
    """Lines `Name = value`; the data follow `ElementDataFile = LOCAL`, or lie in the file that it names."""
    end = re.search(rb"(?m)^ElementDataFile[ \t]*=[ \t]*([^\r\n]*)\r?\n?", start)
    if end is None:
        raise DataError("IO-FORMAT", f"{path} is no NRRD and no MetaImage file. Convert it to .nii.gz.")
    fields: dict[str, str] = {}
    for line in start[: end.end()].decode("utf-8", errors="replace").splitlines():
        name, _, value = line.partition("=")
        fields[name.strip().lower()] = value.strip()
    if fields.get("elementnumberofchannels", "1") != "1":
        raise DataError("IO-SHAPE", f"{path} has {fields['elementnumberofchannels']} values a voxel, but needs one.")
    if not ({"elementspacing", "elementsize"} & fields.keys()):
        raise DataError("GEO-SPACING", f"{path} says not how large its voxels are (no ElementSpacing). {SAVE_AGAIN}")
    if fields.get("headersize", "0") != "0" or fields.get("binarydata", "True").lower() != "true":
        raise DataError("IO-FORMAT", f"{path} has HeaderSize or values as text. {SAVE_AGAIN}")
    local = fields["elementdatafile"].upper() == "LOCAL"
    encoding = "zlib" if fields.get("compresseddata", "False").lower() == "true" else "raw"
    at = (None, end.end()) if local else (fields["elementdatafile"], 0)
    return _header(fields, path, sizes="dimsize", kind="elementtype", encoding=encoding, at=at)


def _header(
    fields: dict[str, str], path: Path, *, sizes: str, kind: str, encoding: str, at: tuple[str | None, int]
) -> TextHeader:
    name, offset = at
    if encoding not in _FRAMES:
        raise DataError("IO-FORMAT", f"{path} has data of the encoding {encoding!r}. {SAVE_AGAIN}")
    if name is not None and (not name or Path(name).name != name or re.search(r"[%\0]|^LIST", name, re.IGNORECASE)):
        raise DataError("IO-FORMAT", f"{path} has its data in {name!r}, which is no file beside it. {SAVE_AGAIN}")
    word = fields.get(kind, "")
    if word not in _TYPES:
        raise DataError("IO-DTYPE", f"{path} stores values of type {word!r}. Convert it to int16 or float32.")
    return TextHeader(
        fields=fields,
        shape=_shape(fields.get(sizes, ""), path),
        itemsize=np.dtype(_TYPES[word]).itemsize,
        data=path if name is None else path.with_name(name),
        offset=offset,
        encoding=encoding,
    )


def _shape(text: str, path: Path) -> Shape:
    try:
        sizes = [int(word) for word in text.split()]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise DataError("IO-SHAPE", f"{path} declares the size {text!r}. The header is damaged.")
    if len(sizes) < 3:
        raise DataError("GEO-THIN", f"{path} is an image of {len(sizes)} axes. A volume is needed.")
    if len(sizes) > 3:
        raise DataError(
            "GEO-4D", f"{path} holds several volumes or layers (size {sizes}), but one is needed. Split it."
        )
    return sizes[2], sizes[1], sizes[0]
