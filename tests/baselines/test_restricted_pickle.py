"""Pickles of plain types and arrays are read and written; everything else is refused before it is imported."""

import pickle
import pickletools
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from nnanomaly.baselines import restricted_pickle
from nnanomaly.baselines.restricted_pickle import load_pickle, require_keys, save_pickle
from nnanomaly.utilities.errors import DataError, IntegrityError


class Payload:
    """Touches a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


def _content() -> dict[str, object]:
    return {
        "boxes": np.array([[1.5, 2.0]], dtype=np.float32),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
        "cases": np.array(["a", "bc"]),
        "flag": True,
        "number": np.float64(0.25),
        "split": OrderedDict(train=["a"], val=("b",)),
    }


@pytest.mark.parametrize("protocol", range(2, 6))
def test_every_protocol_is_read(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(_content(), protocol=protocol))
    content = load_pickle(path)
    assert content["boxes"].dtype == np.float32
    assert content["boxes"].tolist() == [[1.5, 2.0]]
    assert content["fortran"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert content["cases"].tolist() == ["a", "bc"]
    assert (content["flag"], content["number"]) == (True, 0.25)
    assert content["split"] == OrderedDict(train=["a"], val=("b",))


def test_what_is_written_names_the_core_of_numpy_as_numpy_1_does(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    save_pickle(path, _content())
    named = {argument for _, argument, _ in pickletools.genops(path.read_bytes()) if isinstance(argument, str)}
    assert {"numpy.core.multiarray _reconstruct", "numpy.core.multiarray scalar", "numpy dtype"} <= named
    assert not [name for name in named if "_core" in name]
    assert load_pickle(path)["cases"].tolist() == ["a", "bc"]


def test_a_payload_is_named_and_not_executed(tmp_path: Path) -> None:
    path, marker = tmp_path / "bad.pkl", tmp_path / "executed"
    path.write_bytes(pickle.dumps({"pred_boxes": Payload(marker)}))
    with pytest.raises(IntegrityError, match=r"PKL-TYPE.*bad\.pkl holds the type pathlib.*Path\.touch"):
        load_pickle(path)
    assert not marker.exists()
    pickle.loads(path.read_bytes())  # the payload works: the reader kept it from running
    assert marker.exists()


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
        (b"cnumpy\nload\n.", "numpy.load"),
        (b"cnumpy.core.multiarray\nfromfile\n.", "numpy.core.multiarray.fromfile"),
        (b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.", "numpy.ndarray.__class__"),
    ],
)
def test_other_names_are_refused(data: bytes, named: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.pkl"
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=f"PKL-TYPE.* {named}, "):
        load_pickle(path)


def test_arrays_of_objects_and_records_are_refused(tmp_path: Path) -> None:
    for array in (np.array([{}, None], dtype=object), np.zeros(2, dtype=[("a", "f4")])):
        path = tmp_path / "bad.pkl"
        path.write_bytes(pickle.dumps([array]))
        with pytest.raises(IntegrityError, match=r"PKL-TYPE.*bad\.pkl holds an array of the type"):
            load_pickle(path)


@pytest.mark.parametrize("data", [b"", b"not a pickle", pickle.dumps(_content())[:-20], b"\x80\x04]\x94h\x00a."])
def test_what_is_no_whole_pickle_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.pkl"
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"PKL-DAMAGED.*bad\.pkl"):
        load_pickle(path)


def test_a_large_file_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restricted_pickle, "MAX_BYTES", 10)
    path = tmp_path / "large.pkl"
    path.write_bytes(pickle.dumps("more than ten bytes"))
    with pytest.raises(IntegrityError, match=r"PKL-SIZE.*large\.pkl has 34 bytes"):
        load_pickle(path)


def test_a_small_file_that_asks_for_a_large_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pkl"
    path.write_bytes(b"\x80\x03cnumpy\nndarray\n(J\x00\x00\x00\x10K\x01\x86cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85RtR.")
    with pytest.raises(IntegrityError, match=r"PKL-SIZE.*2147483648 bytes"):
        load_pickle(path)


def test_a_pickle_cannot_change_the_functions_it_names(tmp_path: Path) -> None:
    path = tmp_path / "bad.pkl"
    path.write_bytes(
        b"\x80\x03ccollections\nOrderedDict\ncnumpy.core.numeric\n_frombuffer\nN}X\x01\x00\x00\x00aK\x01s\x86b\x86."
    )
    with pytest.raises(IntegrityError, match="PKL-TYPE"):
        load_pickle(path)
    assert not hasattr(np.ndarray([]).__reduce_ex__(5)[0], "a")


def test_keys_must_be_the_expected_ones(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    assert require_keys({"a": 1, "b": 2}, path, required={"a"}, optional={"b"}) == {"a": 1, "b": 2}
    for content in ({"b": 2}, {"a": 1, "c": 3}, [1]):
        with pytest.raises(DataError, match=r"PKL-KEYS.*a\.pkl"):
            require_keys(content, path, required={"a"}, optional={"b"})


def test_the_pickles_of_every_protocol_and_numpy_are_read(baselines_sample: Path) -> None:
    paths = sorted((baselines_sample / "compat").glob("*.pkl"))
    assert len(paths) == 8
    contents = [load_pickle(path) for path in paths]
    for content in contents:
        assert content["pred_boxes"].shape == (6, 6)
        np.testing.assert_array_equal(content["pred_boxes"], contents[0]["pred_boxes"])


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("malicious_exec", "builtins.exec"),
        ("malicious_system", "posix.system"),
        ("object_dtype", "builtins.object"),
        ("torch_tensor", "torch._utils._rebuild_tensor_v2"),
    ],
)
def test_the_traps_are_refused_by_file_and_type(name: str, named: str, baselines_sample: Path) -> None:
    path = baselines_sample / "traps" / f"{name}_boxes.pkl"
    with pytest.raises(IntegrityError, match=rf"{name}_boxes\.pkl holds the type {named}"):
        load_pickle(path)


def doubled(levels: int) -> list[object]:
    """Lists that hold the one below twice: 2^levels values in a few bytes."""
    value: list[object] = ["a"]
    for _ in range(levels):
        value = [value, value]
    return value


def test_shared_lists_that_stand_for_endless_values_are_refused_soon(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(doubled(40)))
    with pytest.raises(IntegrityError, match="PKL-SIZE.*stands for more than"):
        load_pickle(path)


def test_a_list_that_is_shared_within_reason_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(doubled(5)))
    assert load_pickle(path) == doubled(5)
