"""Tables of labels in the header: as TotalSegmentator writes them, in every kind of file, and damaged ones."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnanomaly.imageio.nifti import read_label_table, read_labels
from nnanomaly.imageio.nifti_extensions import label_table

TABLE = (
    '<?xml version="1.0" encoding="UTF-8"?> <CaretExtension>  <Date><![CDATA[2013]]></Date>\n<LabelTable>'
    '<Label Key="2" Red="1.0" Green="0.0"><![CDATA[kidney_right]]></Label>\n'
    '<Label Key="3" Red="0.0"><![CDATA[kidney_left]]></Label>\n</LabelTable></CaretExtension>\n              '
)
EXPECTED = {"kidney_right": 2, "kidney_left": 3}


def save(path: Path, *texts: str, kind: type = nibabel.Nifti1Image, byte_order: str = "<") -> Path:
    header = kind.header_class(endianness=byte_order)
    image = kind(np.arange(60, dtype=np.uint8).reshape(3, 4, 5), np.diag([-2.0, -2.0, 3.0, 1.0]), header)
    for text in texts:
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, text.encode()))
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("name", ["map.nii.gz", "map.nii"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_the_table_is_read_in_every_kind_of_file(tmp_path: Path, name: str, kind: type, byte_order: str) -> None:
    path = save(tmp_path / name, TABLE, kind=kind, byte_order=byte_order)
    assert read_label_table(path) == EXPECTED
    assert read_labels(path).array.ravel().tolist() == np.arange(60).reshape(3, 4, 5).T.ravel().tolist()


def test_it_is_found_behind_another_extension_and_when_it_is_long(tmp_path: Path) -> None:
    padding = "x" * 100_000
    assert read_label_table(save(tmp_path / "map.nii.gz", padding, TABLE)) == EXPECTED


@pytest.mark.parametrize(
    "text",
    [
        TABLE[: len(TABLE) // 2],
        TABLE.replace('Key="2"', ""),
        TABLE.replace('Key="2"', 'Key="two"'),
        TABLE.replace("<CaretExtension>", '<!DOCTYPE a [<!ENTITY b "bbbb">]><CaretExtension>'),
        "no table at all",
    ],
    ids=["cut off", "without a value", "no number", "entities", "text"],
)
def test_what_is_no_table_gives_none(tmp_path: Path, text: str) -> None:
    assert read_label_table(save(tmp_path / "map.nii.gz", text)) == {}


def test_a_file_without_extensions_has_none(tmp_path: Path) -> None:
    assert read_label_table(save(tmp_path / "map.nii.gz")) == {}


def test_a_size_that_does_not_move_on_ends_the_search() -> None:
    start = bytes(348) + b"\1\0\0\0" + bytes(8) + TABLE.encode()
    assert label_table(start, header_bytes=348, byte_order="<") == {}
