"""Reports on disk: folders, tables, encodings."""

from pathlib import Path

import pytest

from nnanomaly.pseudo_labels.report_files import Report, decode, read_reports
from nnanomaly.utilities.errors import ConfigurationError, DataError, UserError


def test_a_folder_gives_one_report_per_text_file(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("Two.", encoding="utf-8")
    (tmp_path / "a.TXT").write_text("One.", encoding="utf-8")
    (tmp_path / ".hidden.txt").write_text("Three.", encoding="utf-8")
    (tmp_path / "notes.md").write_text("Four.", encoding="utf-8")
    assert read_reports([tmp_path]) == [Report("a", "One.", "utf-8"), Report("b", "Two.", "utf-8")]


def test_a_table_may_have_semicolons_quotes_and_lines_within(tmp_path: Path) -> None:
    path = tmp_path / "reports.csv"
    path.write_bytes('\ufeffCase;Report;age\r\ncase_1;"Cyst;\r\nleft kidney.";61\r\n'.encode())
    assert read_reports([path]) == [Report("case_1", "Cyst;\r\nleft kidney.", "utf-8-sig")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_text_is_read_in_the_encoding_it_has(encoding: str) -> None:
    text, name = decode("Partiële nefrectomie".encode(encoding))
    assert text == "Partiële nefrectomie"
    assert name == encoding


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("case,text\na,b\n", "REPORT-CSV"),
        ("case,report\na,Cyst, left\n", "REPORT-ROWS"),
        ("case,report\n,Cyst\n", "REPORT-ROWS"),
        ("case,report\na,One\na,Two\n", "REPORT-ROWS"),
        ("case,report\n", "REPORT-NONE"),
        ("", "REPORT-CSV"),
    ],
)
def test_a_table_with_a_fault_is_refused_by_line(content: str, code: str, tmp_path: Path) -> None:
    path = tmp_path / "reports.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match="reports.csv") as error:
        read_reports([path])
    assert error.value.code == code


def test_a_place_that_is_not_there_and_a_folder_without_reports_are_refused(tmp_path: Path) -> None:
    for source, kind, code in (
        (tmp_path / "none", ConfigurationError, "CFG-REPORTS"),
        (tmp_path, DataError, "REPORT-NONE"),
    ):
        with pytest.raises(UserError) as error:
            read_reports([source])
        assert type(error.value) is kind
        assert error.value.code == code
