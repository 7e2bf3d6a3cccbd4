"""Damaged inputs of every format: a reader returns something sound or raises an error with a code, soon and small.

500 inputs per format from a fixed seed: bytes exchanged, cut out or put in, and in JSON and CSV also values of the
wrong kind at the right place, which random bytes hardly ever make.
"""

import copy
import gzip
import json
import random
import re
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from nnanomaly.dataset.organ_labels import load_organ_labels, patient_groups
from nnanomaly.dataset.patch_store import load_patch, save_patch
from nnanomaly.dataset.raw_dataset import load_description
from nnanomaly.dataset.splits import load_splits
from nnanomaly.imageio.nifti import read_grid, read_label_table, read_labels, read_volume
from nnanomaly.plans import Plans, load_plans, save_plans
from nnanomaly.utilities.errors import UserError
from nnanomaly.utilities.json_io import to_document
from nnanomaly.volume import Grid

NUM_INPUTS = 500
MAX_SECONDS = 1.0
MAX_BYTES = 300 << 20
STRANGE = (
    None,
    True,
    0,
    -1,
    10**30,
    0.5,
    -2.5,
    1e308,
    "",
    "../x",
    "\u0000",
    "x" * 2000,
    [],
    [[]],
    [None],
    {},
    {"a": {}},
)
STRANGE_CELLS = ("", '"', '"" x', "../case", "=1+1", "\x00", "é", "case_a", "healthy", "a,b", "\r", "x" * 200_000)

Read = Callable[[], object]


def with_bytes_changed(content: bytes, numbers: random.Random, stop: int | None = None) -> bytes:
    """Some bytes of the first `stop` exchanged, or a piece cut out, doubled or replaced."""
    changed, length = bytearray(content), min(stop or len(content), len(content))
    kind = numbers.choice(["exchange", "exchange", "exchange", "cut", "double", "noise"])
    if kind == "exchange":
        for _ in range(numbers.choice([1, 1, 2, 4, 8])):
            changed[numbers.randrange(length)] = numbers.randrange(256)
    else:
        start = numbers.randrange(length)
        end = min(len(changed), start + numbers.choice([1, 3, 20, 200]))
        piece = {"cut": b"", "double": bytes(changed[start:end]) * 2, "noise": numbers.randbytes(end - start)}[kind]
        changed[start:end] = piece
    return bytes(changed)


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a JSON document, but the root."""
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def with_a_value_changed(document: Any, numbers: random.Random) -> Any:
    """A value replaced by one of another kind, taken away, or put under another key."""
    changed = copy.deepcopy(document)
    *way, last = numbers.choice(list(places(document)))
    parent = changed
    for key in way:
        parent = parent[key]
    kind = numbers.choice(["replace", "replace", "replace", "delete", "rename"])
    if kind == "replace" or isinstance(last, int):
        parent[last] = copy.deepcopy(numbers.choice(STRANGE))
    else:
        value = parent.pop(last)
        if kind == "rename":
            parent[numbers.choice(["", "x", last + "s", last.upper()])] = value
    return changed


def json_inputs(document: Any) -> Iterator[bytes]:
    numbers = random.Random(11)
    text = json.dumps(document).encode()
    for number in range(NUM_INPUTS):
        changed = json.dumps(with_a_value_changed(document, numbers)).encode()
        yield with_bytes_changed(text, numbers) if number % 4 == 0 else changed


def byte_inputs(content: bytes, stop: int | None = None) -> Iterator[bytes]:
    numbers = random.Random(12)
    for _ in range(NUM_INPUTS):
        yield with_bytes_changed(content, numbers, stop)


def table_inputs(text: str) -> Iterator[bytes]:
    numbers = random.Random(13)
    for number in range(NUM_INPUTS):
        rows = [row.split(",") for row in text.splitlines()]
        for _ in range(numbers.choice([1, 2, 5])):
            row = numbers.choice(rows)
            row[numbers.randrange(len(row))] = numbers.choice(STRANGE_CELLS)
        changed = "\n".join(map(",".join, rows)).encode()
        yield with_bytes_changed(text.encode(), numbers) if number % 4 == 0 else changed


def try_all(path: Path, inputs: Iterator[bytes], *readers: Read) -> tuple[int, int]:
    """Numbers of inputs that were read and refused by all readers; anything else fails."""
    read = refused = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for number, content in enumerate(inputs):
        path.write_bytes(content)
        for reader in readers:
            start = time.process_time()
            try:
                reader()
                read += 1
            except (UserError, FileNotFoundError) as error:
                refused += 1
                assert re.match(r"\[NNA-[A-Z]+(-[A-Z0-9]+)*\] ", str(error)), (number, error)
            except Exception as error:
                kept = path.with_name("kept")
                kept.write_bytes(content)
                raise AssertionError(f"input {number}, kept in {kept}, raised {error!r}") from error
            assert time.process_time() - start < MAX_SECONDS, number
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < MAX_BYTES
    assert read + refused == NUM_INPUTS * len(readers)
    return read, refused


@pytest.fixture
def nifti(tmp_path: Path) -> Path:
    path = tmp_path / "image.nii.gz"
    image = nibabel.Nifti1Image(np.arange(1080, dtype=np.int16).reshape(12, 10, 9) % 5, np.diag([2.0, 2.0, 3.0, 1.0]))
    image.header.set_xyzt_units("mm")
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, b'<C><Label Key="3">kidney_left</Label></C>'))
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize("compressed", [True, False])
def test_nifti_images_and_masks(nifti: Path, compressed: bool) -> None:
    content = gzip.decompress(nifti.read_bytes())
    path = nifti if compressed else nifti.with_name("image.nii")
    inputs = byte_inputs(content, stop=420)  # header and extension
    packed = (gzip.compress(changed, 1) for changed in inputs) if compressed else inputs
    readers = [lambda: check_image(path), lambda: read_labels(path), lambda: read_grid(path)]
    read, refused = try_all(path, iter(packed), *readers, lambda: read_label_table(path))
    assert min(read, refused) > 100


def check_image(path: Path) -> None:
    volume = read_volume(path)
    assert volume.array.dtype == np.float32 and np.isfinite(volume.array).all()


def test_the_compressed_stream_of_a_nifti_file(nifti: Path) -> None:
    read, refused = try_all(nifti, byte_inputs(nifti.read_bytes()), lambda: read_volume(nifti))
    assert refused > 400  # what is read is equal: names and times in the header of gzip


def test_dataset_json(tmp_path: Path) -> None:
    document = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "kidney": 1, "tumor": [2, 3]},
        "numTraining": 2,
        "file_ending": ".nii.gz",
        "nnanomaly": {"organs": ["a", "b"], "lesion_labels": ["tumor"], "organ_mask_labels": {"a": 1, "b": 2}},
    }
    read, refused = try_all(tmp_path / "dataset.json", json_inputs(document), lambda: load_description(tmp_path))
    assert min(read, refused) > 20


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_plans(tmp_path: Path, tiny_plans: Callable[..., Plans], preset: str) -> None:
    path = tmp_path / "plans.json"
    save_plans(path, tiny_plans(preset, dataset="Dataset501_Tiny"))
    document = json.loads(path.read_text())
    read, refused = try_all(path, json_inputs(document), lambda: load_plans(path).identity)
    assert min(read, refused) > 20


def test_splits(tmp_path: Path) -> None:
    path = tmp_path / "splits_final.json"
    document = [{"train": ["a", "b"], "val": ["c"]}, {"train": ["c"], "val": ["a", "b"]}]
    read, refused = try_all(path, json_inputs(document), lambda: load_splits(path))
    assert min(read, refused) > 20


def test_organ_labels(tmp_path: Path) -> None:
    (tmp_path / "imagesTr").mkdir()
    for case in ("case_a", "case_b"):
        (tmp_path / "imagesTr" / f"{case}_0000.nii.gz").touch()
    ours = {"channel_names": {"0": "CT"}, "labels": {"background": 0}, "numTraining": 2, "file_ending": ".nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps({**ours, "nnanomaly": {"organs": ["l", "r"]}}))
    text = "case,organ,label,patient\ncase_a,l,healthy,p1\ncase_a,r,unhealthy,p1\ncase_b,l,uncertain,p2\n"
    readers = (lambda: load_organ_labels(tmp_path), lambda: patient_groups(tmp_path))
    read, refused = try_all(tmp_path / "organ_labels.csv", table_inputs(text), *readers)
    assert min(read, refused) > 20


@pytest.fixture
def patches(tmp_path: Path) -> Path:
    grid = Grid((2, 3, 4), (1.0, 2.0, 3.0), (-5.0, 0.5, 7.0))
    array = np.linspace(-1, 1, 72).reshape(3, 2, 3, 4).astype(np.float16)
    save_patch(tmp_path, "c__k", array, metadata={"case": "c", "organ": "k", "grid": to_document(grid)})
    return tmp_path


def test_arrays_of_patches(patches: Path) -> None:
    path = patches / "c__k.npy"
    whole = path.read_bytes()
    # With its hash, nothing but the very bytes that were written is taken.
    read, _ = try_all(path, byte_inputs(whole, stop=140), lambda: load_patch(patches, "c__k", verify=True))
    assert read == sum(changed == whole for changed in byte_inputs(whole, stop=140))
    try_all(path, byte_inputs(whole, stop=140), lambda: load_patch(patches, "c__k", verify=False))


def test_documents_of_patches(patches: Path) -> None:
    path = patches / "c__k.json"
    document = json.loads(path.read_text())
    read, refused = try_all(path, json_inputs(document), lambda: load_patch(patches, "c__k", verify=False))
    assert min(read, refused) > 20
