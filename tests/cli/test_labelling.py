"""nnanomaly_label_reports as typed: files, lines and exit statuses."""

from pathlib import Path

import pytest

from nnanomaly.cli import label_reports


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    folder = tmp_path / "reports"
    folder.mkdir()
    (folder / "case_1.txt").write_text("There is a cyst in the left kidney.", encoding="utf-8")
    return folder


def test_labels_are_written_and_counted(reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "organ_labels.csv"
    assert label_reports([str(reports), "-o", str(output)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "kidney_left: 1 unhealthy",
        "kidney_right: 1 healthy (1 of the healthy not mentioned)",
        f"{output}, reasons in {tmp_path / 'organ_labels_evidence.csv'}",
    ]
    assert output.read_text(encoding="utf-8").splitlines()[1] == "case_1,kidney_left,unhealthy,report"


def test_an_empty_report_ends_in_status_4_and_is_named(
    reports: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (reports / "case_2.txt").touch()
    assert label_reports([str(reports), "-o", str(tmp_path / "labels.csv")]) == 4
    assert "case_2: [NNA-REPORT-EMPTY]" in caplog.text


def test_a_missing_folder_is_one_line_and_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert label_reports([str(tmp_path / "none"), "-o", str(tmp_path / "labels.csv")]) == 2
    assert capsys.readouterr().err.startswith("error: [NNA-CFG-REPORTS]")


def test_unmentioned_organs_are_uncertain_where_asked(reports: Path, tmp_path: Path) -> None:
    output = tmp_path / "labels.csv"
    assert label_reports([str(reports), "-o", str(output), "-unmentioned", "uncertain", "-lang", "en"]) == 0
    assert "case_1,kidney_right,uncertain,report" in output.read_text(encoding="utf-8")


def test_a_table_that_is_there_is_counted_and_what_was_kept_or_not_read_ends_in_status_4(
    reports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "organ_labels.csv"
    before = "case,organ,label,source,patient\ncase_1,kidney_left,healthy,report,p1\ncase_2,kidney_left,healthy,me,p2\n"
    output.write_text(before, encoding="utf-8")
    (reports / "case_3.pdf").touch()
    assert label_reports([str(reports), "-o", str(output)]) == 4
    lines = capsys.readouterr().out.splitlines()
    assert "organ_labels.csv before: 2 labels kept, 0 changed; 1 new" in lines
    assert f"the table of before: {output}.bak" in lines
    assert "[NNA-LABELS-KEPT]" in caplog.text
    assert "[NNA-REPORT-FILES] not read: case_3.pdf" in caplog.text
    (reports / "case_3.pdf").unlink()
    assert label_reports([str(reports), "-o", str(output), "--overwrite"]) == 0
    assert output.read_text(encoding="utf-8").splitlines()[1:] == [
        "case_1,kidney_left,unhealthy,report,p1",
        "case_2,kidney_left,healthy,me,p2",
        "case_1,kidney_right,healthy,report,p1",
    ]


def test_escaped_line_ends_give_the_labels_of_real_ones(tmp_path: Path) -> None:
    text = "Left kidney is normal.\nNo stones in the left kidney.\nRight kidney: cyst."
    tables = []
    for name, report in (("real", text), ("escaped", text.replace("\n", "\\n"))):
        (tmp_path / f"{name}.csv").write_text(f'case,report\nr0,"{report}"\n', encoding="utf-8")
        assert label_reports([str(tmp_path / f"{name}.csv"), "-o", str(tmp_path / f"{name}.out.csv")]) == 0
        tables.append((tmp_path / f"{name}.out.csv").read_text(encoding="utf-8"))
    assert tables[0] == tables[1]
