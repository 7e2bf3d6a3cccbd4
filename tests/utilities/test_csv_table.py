"""Tables as people save them."""

from pathlib import Path

import pytest

from nnanomaly.utilities.csv_table import Row, read_table, write_table
from nnanomaly.utilities.errors import DataError


def read(path: Path, content: bytes) -> list[Row]:
    path.write_bytes(content)
    return read_table(path, required=("case",), optional=("split",), codes=("T-TABLE", "T-ROWS"), example="case / a")


@pytest.mark.parametrize(
    "content",
    [
        b"case,split,Mask_L1\na,train,m\n",
        b"\xef\xbb\xbfCase;Split;Mask_L1\r\na;train;m\r\n",
        b'"case"\t"SPLIT"\t"Mask_L1"\n\n "a" \t train \t m \n',
    ],
    ids=["commas", "mark, semicolons, Windows", "tabs, quotes, spaces, empty line"],
)
def test_every_form_gives_the_same_row_and_unknown_columns_keep_their_case(tmp_path: Path, content: bytes) -> None:
    (row,) = read(tmp_path / "t.csv", content)
    assert row.values == {"case": "a", "split": "train", "Mask_L1": "m"}
    assert content.splitlines()[row.line - 1].strip(b' "').startswith(b"a")


@pytest.mark.parametrize("content", [b"", b"other\na\n", b"case,case\na,b\n", b"case\n\xff\n"])
def test_what_is_no_such_table_has_the_first_code(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match=r"T-TABLE.*t\.csv"):
        read(tmp_path / "t.csv", content)


def test_all_rows_of_another_length_are_listed_with_the_second_code(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"T-ROWS.*2 faults.*\n  line 2: 1 values for 2 columns\n  line 4: 3 values for 2 columns"
    ):
        read(tmp_path / "t.csv", b"case,split\na\nb,train\nc,d,e\n")


def test_no_written_cell_is_a_formula_and_reading_gives_the_text_as_it_was(tmp_path: Path) -> None:
    texts = ["=1+1", "+cmd", "-left kidney", "@sum", "-3.5", "'quoted'", "'=", "a=b", ""]
    write_table(tmp_path / "t.csv", ("case", "text"), [(f"c{index}", text) for index, text in enumerate(texts)])
    cells = [line.split(",")[1] for line in (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()[1:]]
    assert cells[:5] == ["'=1+1", "'+cmd", "'-left kidney", "'@sum", "-3.5"]
    rows = read_table(tmp_path / "t.csv", required=("case", "text"), codes=("T-TABLE", "T-ROWS"), example="case,text")
    assert [row.values["text"] for row in rows] == texts


def test_a_table_of_endless_width_or_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_text("case" + ",x" * 1_000_000 + "\n")
    with pytest.raises(DataError, match="has 1000001 columns, but at most 1000 are read"):
        read_table(path, required=("case",), codes=("A", "B"), example="case")
    monkeypatch.setattr("nnanomaly.utilities.csv_table.MAX_BYTES", 10)
    with pytest.raises(DataError, match="but at most 10 are read"):
        read_table(path, required=("case",), codes=("A", "B"), example="case")
