"""New datasets: all of it or nothing, and no number twice."""

from pathlib import Path

import pytest

from nnanomaly.dataset.new_dataset import LabelRow, free_dataset_folder, new_folder, write_organ_labels
from nnanomaly.utilities.errors import ConfigurationError


def test_a_number_that_is_taken_and_a_name_that_is_none_are_refused(tmp_path: Path) -> None:
    assert free_dataset_folder(tmp_path, 7, "Kidney") == tmp_path / "Dataset007_Kidney"
    (tmp_path / "Dataset007_Liver").mkdir()
    with pytest.raises(ConfigurationError, match=r"CFG-OUTPUT.*Dataset007_Liver exists"):
        free_dataset_folder(tmp_path, 7, "Kidney")
    for number, name in ((-1, "Kidney"), (8, ""), (8, "a/b")):
        with pytest.raises(ConfigurationError, match="CFG-OUTPUT"):
            free_dataset_folder(tmp_path, number, name)


def test_the_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "Dataset501_X"
    with new_folder(target) as work:
        (work / "file").touch()
        assert not target.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["Dataset501_X"]
    assert (target / "file").exists()


def test_nothing_is_left_behind_by_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), new_folder(tmp_path / "Dataset501_X") as work:
        (work / "file").touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_patients_have_a_column_where_there_are_any(tmp_path: Path) -> None:
    row = LabelRow("a", "liver", "healthy", "report")
    write_organ_labels(tmp_path, [row])
    assert (tmp_path / "organ_labels.csv").read_text() == "case,organ,label,source\na,liver,healthy,report\n"
    write_organ_labels(tmp_path, [row, row._replace(case="b", patient="p1")])
    assert (tmp_path / "organ_labels.csv").read_text().splitlines() == [
        "case,organ,label,source,patient",
        "a,liver,healthy,report,",
        "b,liver,healthy,report,p1",
    ]
