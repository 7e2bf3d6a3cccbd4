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
