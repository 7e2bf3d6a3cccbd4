import json

import numpy as np
import pytest

from nnanomaly.dataset.patch_store import (
    list_patches,
    load_patch,
    patch_name,
    patches_of,
    read_metadata,
    remove_patches,
    save_patch,
)
from nnanomaly.utilities.errors import IntegrityError
from nnanomaly.utilities.json_io import to_document
from nnanomaly.volume import Grid

GRID = Grid((2, 3, 4), (1.0, 2.0, 3.0), (-5.0, 0.5, 7.0))
ARRAY = np.linspace(-1, 1, 72).reshape(3, 2, 3, 4).astype(np.float16)


def store(folder, name="c__k", array=ARRAY):
    save_patch(folder, name, array, metadata={"case": "c", "organ": "k", "grid": to_document(GRID)})


@pytest.mark.parametrize("verify", [True, False])
def test_a_patch_comes_back_with_its_geometry_and_facts(tmp_path, verify):
    store(tmp_path / "new")
    patch = load_patch(tmp_path / "new", "c__k", verify=verify)
    np.testing.assert_array_equal(patch.array, ARRAY)
    assert patch.grid == GRID
    assert (patch.metadata["case"], patch.metadata["organ"]) == ("c", "k")
    assert isinstance(patch.array, np.memmap) is not verify
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["c__k.json", "c__k.npy"]


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("size", [0, 40, 200])
def test_a_truncated_array_is_refused_with_the_remedy(tmp_path, verify, size):
    store(tmp_path)
    content = (tmp_path / "c__k.npy").read_bytes()
    assert size < len(content)
    (tmp_path / "c__k.npy").write_bytes(content[:size])
    with pytest.raises(IntegrityError, match="c__k.npy.*Run nnanomaly_preprocess again"):
        load_patch(tmp_path, "c__k", verify=verify)


def test_a_flipped_byte_is_found_by_the_hash(tmp_path):
    store(tmp_path)
    content = bytearray((tmp_path / "c__k.npy").read_bytes())
    content[-3] ^= 1
    (tmp_path / "c__k.npy").write_bytes(content)
    with pytest.raises(IntegrityError, match="PATCH-HASH.*Run nnanomaly_preprocess again"):
        load_patch(tmp_path, "c__k", verify=True)


def test_an_array_of_another_shape_is_refused_without_hashing(tmp_path):
    store(tmp_path)
    np.save(tmp_path / "c__k.npy", ARRAY[:2])
    with pytest.raises(IntegrityError, match="PATCH-ARRAY"):
        load_patch(tmp_path, "c__k", verify=False)


def test_an_array_of_objects_is_never_unpickled(tmp_path):
    store(tmp_path)
    np.save(tmp_path / "c__k.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for verify in (True, False):
        with pytest.raises(IntegrityError):
            load_patch(tmp_path, "c__k", verify=verify)


def test_a_patch_without_its_document_is_not_there(tmp_path):
    store(tmp_path)
    store(tmp_path, "d__k")
    (tmp_path / "c__k.json").unlink()
    (tmp_path / ".tmp-1-e__k.json").write_text("{}")
    assert list_patches(tmp_path) == ["d__k"]
    assert list_patches(tmp_path / "none") == []
    with pytest.raises(IntegrityError, match="PATCH-MISSING"):
        load_patch(tmp_path, "c__k", verify=False)


def test_the_document_is_gone_while_its_array_is_replaced(tmp_path, monkeypatch):
    store(tmp_path)

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr("nnanomaly.dataset.patch_store.write_atomically", fail)
    with pytest.raises(OSError, match="disk full"):
        store(tmp_path, array=-ARRAY)
    assert list_patches(tmp_path) == []


def test_another_format_is_refused(tmp_path):
    store(tmp_path)
    document = json.loads((tmp_path / "c__k.json").read_text())
    (tmp_path / "c__k.json").write_text(json.dumps({**document, "schema_version": 99}))
    with pytest.raises(IntegrityError, match="PATCH-VERSION"):
        read_metadata(tmp_path, "c__k")


@pytest.mark.parametrize("array", [ARRAY.astype(np.float32), ARRAY[0]])
def test_other_arrays_are_not_stored(tmp_path, array):
    with pytest.raises(ValueError, match="float16"):
        store(tmp_path, array=array)
    assert list(tmp_path.iterdir()) == []


def test_names_tell_tiles_apart():
    assert patch_name("c", "k", tile=0, num_tiles=1) == "c__k"
    assert patch_name("c", "k", tile=2, num_tiles=3) == "c__k__2"


def test_only_the_patches_of_one_organ_are_listed_and_removed(tmp_path):
    names = ["c__k__0", "c__k__1", "c__k__10", "c__k__2", "c__k_left", "c__kk", "cc__k", "b__c__k"]
    for name in names:
        store(tmp_path, name)
    assert patches_of(tmp_path, "c", "k") == ["c__k__0", "c__k__1", "c__k__2", "c__k__10"]
    remove_patches(tmp_path, "c", "k")
    assert list_patches(tmp_path) == ["b__c__k", "c__k_left", "c__kk", "cc__k"]
    assert not list(tmp_path.glob("c__k__*"))
