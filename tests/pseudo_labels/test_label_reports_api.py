"""From reports on disk to the table that planning reads, and what is said of reports that cannot be read."""

import csv
import json
import logging
from pathlib import Path

import pytest

from nnanomaly.dataset.organ_labels import load_organ_labels
from nnanomaly.pseudo_labels.label_reports_api import LabelOptions, LabelSummary, label_reports
from nnanomaly.pseudo_labels.rule_pack import built_in_pack
from nnanomaly.utilities.errors import ConfigurationError

REPORTS = {
    "case_1": "There is a cyst of 2.4 cm in the left kidney. The right kidney is normal.",
    "case_2": "Status na nefrectomie rechts. Linker nier geen bijzonderheden.",
}


def _folder(tmp_path: Path, reports: dict[str, str]) -> Path:
    folder = tmp_path / "reportsTr"
    folder.mkdir()
    for case, text in reports.items():
        (folder / f"{case}.txt").write_text(text, encoding="utf-8")
    return folder


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _label(tmp_path: Path, reports: dict[str, str], options: LabelOptions | None = None) -> LabelSummary:
    return label_reports([_folder(tmp_path, reports)], tmp_path / "labels.csv", options or LabelOptions())


def _dataset(tmp_path: Path, cases: list[str], organs: list[str]) -> None:
    (tmp_path / "imagesTr").mkdir()
    for case in cases:
        (tmp_path / "imagesTr" / f"{case}_0000.nii.gz").touch()
    document = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "tumor": 1},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
        "nnanomaly": {"organs": organs},
    }
    (tmp_path / "dataset.json").write_text(json.dumps(document), encoding="utf-8")


def test_the_table_holds_a_label_per_case_and_organ(tmp_path: Path) -> None:
    summary = _label(tmp_path, REPORTS)
    assert [tuple(row.values()) for row in _rows(tmp_path / "labels.csv")] == [
        ("case_1", "kidney_left", "unhealthy", "report"),
        ("case_1", "kidney_right", "healthy", "report"),
        ("case_2", "kidney_left", "healthy", "report"),
        ("case_2", "kidney_right", "excluded", "report"),
    ]
    assert summary.faults == {}
    assert summary.counts["kidney_right"] == {"healthy": 1, "excluded": 1}


def test_the_evidence_holds_sentence_and_rule_of_every_label(tmp_path: Path) -> None:
    _label(tmp_path, REPORTS)
    rows = _rows(tmp_path / "labels_evidence.csv")
    assert {(row["case"], row["organ"]) for row in rows if row["decides"] == "yes"} == {
        (case, organ) for case in REPORTS for organ in ("kidney_left", "kidney_right")
    }
    assert rows[0] == {
        "case": "case_1",
        "organ": "kidney_left",
        "label": "unhealthy",
        "reason": "lesion",
        "decides": "yes",
        "rule": "lesion: cyst, affirmed",
        "line": "1",
        "sentence": "There is a cyst of 2.4 cm in the left kidney.",
    }


def test_sentences_can_stay_out_of_the_evidence(tmp_path: Path) -> None:
    _label(tmp_path, REPORTS, LabelOptions(with_sentences=False))
    rows = _rows(tmp_path / "labels_evidence.csv")
    assert {row["sentence"] for row in rows} == {""}
    assert rows[0]["rule"] == "lesion: cyst, affirmed"


def test_a_report_that_cannot_be_read_is_uncertain_and_named(tmp_path: Path) -> None:
    summary = _label(tmp_path, {"empty": " \r\n", "french": "Kyste du rein gauche.", **REPORTS})
    labels = {(row["case"], row["label"]) for row in _rows(tmp_path / "labels.csv")}
    assert {pair for pair in labels if pair[0] in ("empty", "french")} == {
        ("empty", "uncertain"),
        ("french", "uncertain"),
    }
    assert summary.faults["empty"].startswith("[NNA-REPORT-EMPTY]")
    assert summary.faults["french"].startswith("[NNA-REPORT-LANGUAGE]")
    reasons = {row["case"]: row["reason"] for row in _rows(tmp_path / "labels_evidence.csv")}
    assert reasons["empty"] == "REPORT-EMPTY"


def test_latin_1_is_read_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = _folder(tmp_path, {})
    (folder / "case_1.txt").write_bytes("Status na partiële nefrectomie links.".encode("latin-1"))
    with caplog.at_level(logging.WARNING):
        label_reports([folder], tmp_path / "labels.csv", LabelOptions())
    assert "[NNA-REPORT-ENCODING] case_1" in caplog.text
    assert _rows(tmp_path / "labels.csv")[0]["label"] == "excluded"


def test_in_a_dataset_its_organs_are_labelled_and_planning_reads_the_table(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _dataset(tmp_path, ["case_1", "case_3"], ["kidney_left"])
    folder = _folder(tmp_path, REPORTS)
    with caplog.at_level(logging.WARNING):
        summary = label_reports([folder], tmp_path / "organ_labels.csv", LabelOptions())
    assert load_organ_labels(tmp_path) == {("case_1", "kidney_left"): "unhealthy"}
    assert summary.faults["case_2"].startswith("[NNA-REPORT-CASE]")
    assert "[NNA-REPORT-MISSING] no report, and no row: case_3" in caplog.text


def test_an_edited_table_is_not_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="--overwrite") as error:
        _label(tmp_path, REPORTS)
    assert error.value.code == "CFG-OUTPUT"
    assert (tmp_path / "labels.csv").read_text(encoding="utf-8") == "mine"
    summary = label_reports([tmp_path / "reportsTr"], tmp_path / "labels.csv", LabelOptions(overwrite=True))
    assert len(_rows(tmp_path / "labels.csv")) == 4
    assert summary.backups == (tmp_path / "labels.csv.bak",)
    assert (tmp_path / "labels.csv.bak").read_text(encoding="utf-8") == "mine"


OLD = """case;organ;label;source;Patient;age
case_1;kidney_left;;;p1;61
case_1;kidney_right;uncertain;report;p1;61
case_3;kidney_left;healthy;me;p3;70
case_4;kidney_left;;;p4;
"""


def test_a_table_that_is_there_is_filled_and_keeps_patients_columns_and_rows_without_a_report(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(OLD, encoding="utf-8")
    summary = _label(tmp_path, REPORTS)
    assert [tuple(row.values()) for row in _rows(tmp_path / "labels.csv")] == [
        ("case_1", "kidney_left", "unhealthy", "report", "p1", "61"),
        ("case_1", "kidney_right", "uncertain", "report", "p1", "61"),
        ("case_3", "kidney_left", "healthy", "me", "p3", "70"),
        ("case_4", "kidney_left", "", "", "p4", ""),
        ("case_2", "kidney_left", "healthy", "report", "", ""),
        ("case_2", "kidney_right", "excluded", "report", "", ""),
    ]
    merged = summary.merged
    assert (merged.new, merged.changed, merged.kept, merged.differing_of_reports) == (3, 0, 2, 1)
    assert merged.differing == {("case_1", "kidney_right"): "healthy"}
    assert not summary.is_complete
    assert (tmp_path / "labels.csv.bak").read_text(encoding="utf-8") == OLD


def test_overwrite_renews_labels_from_reports_and_no_label_that_a_person_wrote(tmp_path: Path) -> None:
    _label(tmp_path, REPORTS)
    text = (tmp_path / "labels.csv").read_text(encoding="utf-8")
    text = text.replace("case_2,kidney_left,healthy,report", "case_2,kidney_left,uncertain,report")  # by hand
    (tmp_path / "labels.csv").write_text(text + "case_3,kidney_left,healthy,me\n", encoding="utf-8")
    for case in REPORTS:
        (tmp_path / "reportsTr" / f"{case}.txt").write_text("Both kidneys are atrophic.", encoding="utf-8")
    options = LabelOptions(overwrite=True)
    summary = label_reports([tmp_path / "reportsTr"], tmp_path / "labels.csv", options)
    labels = {(row["case"], row["organ"]): row["label"] for row in _rows(tmp_path / "labels.csv")}
    assert labels == {
        ("case_1", "kidney_left"): "excluded",
        ("case_1", "kidney_right"): "excluded",
        ("case_2", "kidney_left"): "uncertain",
        ("case_2", "kidney_right"): "excluded",
        ("case_3", "kidney_left"): "healthy",
    }
    assert (summary.merged.changed, summary.merged.kept) == (2, 3)
    assert summary.merged.differing == {("case_2", "kidney_left"): "excluded"}
    assert summary.is_complete
    reasons = {(row["case"], row["organ"]): row["label"] for row in _rows(tmp_path / "labels_evidence.csv")}
    assert reasons["case_2", "kidney_left"] == "healthy", "the evidence goes on to show that the label is a person's"
    again = label_reports([tmp_path / "reportsTr"], tmp_path / "labels.csv", options)
    assert (again.merged.changed, again.merged.kept, again.backups) == (0, 5, ())


def test_no_table_of_before_is_lost_however_often_it_changes(tmp_path: Path) -> None:
    for text in ("Normal kidneys.", "Both kidneys are atrophic.", "Bilateral renal cysts."):
        folder = tmp_path / "reportsTr"
        folder.mkdir(exist_ok=True)
        (folder / "case_1.txt").write_text(text, encoding="utf-8")
        label_reports([folder], tmp_path / "labels.csv", LabelOptions(overwrite=True))
    kept = [(tmp_path / f"labels.csv.bak{number}").read_text(encoding="utf-8") for number in ("", "2")]
    assert ["healthy" in text for text in kept] == [True, False]
    assert ["excluded" in text for text in kept] == [False, True]


def test_cases_without_a_report_and_other_files_are_said(tmp_path: Path) -> None:
    _dataset(tmp_path, ["case_1", "case_2", "case_3"], ["kidney_left"])
    (tmp_path / "imagesTs").mkdir()
    (tmp_path / "imagesTs" / "case_9_0000.nii.gz").touch()
    folder = _folder(tmp_path, REPORTS)
    summary = label_reports([folder], tmp_path / "organ_labels.csv", LabelOptions())
    assert (summary.missing, summary.is_complete) == (("case_3",), False)
    with (tmp_path / "organ_labels.csv").open("a", encoding="utf-8") as file:
        file.write("case_3,kidney_left,healthy,me\n")
    summary = label_reports([folder], tmp_path / "organ_labels.csv", LabelOptions())
    assert (summary.missing, summary.is_complete) == ((), True)
    (folder / "case_3.rtf").touch()
    (folder / "README.md").touch()
    summary = label_reports([folder], tmp_path / "organ_labels.csv", LabelOptions())
    assert (summary.unread, summary.is_complete) == ((folder / "case_3.rtf",), False)


def test_healthy_labels_of_organs_that_no_report_names_are_counted(tmp_path: Path) -> None:
    reports = {"a": "The liver is normal.", "b": "Horseshoe kidney.", "c": "There is a cyst in the right kidney."}
    summary = _label(tmp_path, reports)
    assert summary.not_mentioned == {"kidney_left": 2, "kidney_right": 1}
    reasons = {(row["case"], row["organ"]): row["reason"] for row in _rows(tmp_path / "labels_evidence.csv")}
    assert reasons["b", "kidney_left"] == "named, no finding"


def test_no_cell_of_either_table_is_a_formula(tmp_path: Path) -> None:
    (tmp_path / "reports.csv").write_text('case,report\n=a,"=Cyst in the left kidney."\n', encoding="utf-8")
    label_reports([tmp_path / "reports.csv"], tmp_path / "labels.csv", LabelOptions())
    for name in ("labels.csv", "labels_evidence.csv"):
        cells = [cell for row in _rows(tmp_path / name) for cell in row.values()]
        assert any(cell.startswith("'=") for cell in cells)
        assert not [cell for cell in cells if cell.startswith("=")]


def test_a_folder_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as error:
        label_reports([_folder(tmp_path, REPORTS)], tmp_path, LabelOptions())
    assert error.value.code == "CFG-OUTPUT"


@pytest.mark.parametrize(
    ("options", "code"),
    [(LabelOptions(language="fr"), "CFG-LANGUAGE"), (LabelOptions(organs=("spleen",)), "CFG-ORGAN")],
)
def test_what_no_pack_knows_is_refused(options: LabelOptions, code: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as error:
        _label(tmp_path, REPORTS, options)
    assert error.value.code == code


def test_an_organ_that_the_dataset_does_not_have_is_refused(tmp_path: Path) -> None:
    _dataset(tmp_path, ["case_1"], ["kidney_left"])
    with pytest.raises(ConfigurationError, match="dataset.json has no") as error:
        label_reports([_folder(tmp_path, REPORTS)], tmp_path / "organ_labels.csv", LabelOptions(organs=("liver",)))
    assert error.value.code == "CFG-ORGAN"


def test_a_pack_of_ones_own_takes_the_place_of_ours(tmp_path: Path) -> None:
    document = json.loads(built_in_pack("en").read_text(encoding="utf-8"))
    document["findings"]["stone"].append("wibble*")
    pack = tmp_path / "mine.json"
    pack.write_text(json.dumps(document), encoding="utf-8")
    _label(tmp_path, {"case_1": "There is a wibble in the left kidney."}, LabelOptions(packs=(pack,)))
    assert [row["label"] for row in _rows(tmp_path / "labels.csv")] == ["excluded", "healthy"]


def test_another_organ_is_labelled_by_name(tmp_path: Path) -> None:
    _label(tmp_path, {"case_1": "There is a lesion in the liver."}, LabelOptions(organs=("liver",)))
    assert [row["organ"] for row in _rows(tmp_path / "labels.csv")] == ["liver"]
    assert [row["label"] for row in _rows(tmp_path / "labels.csv")] == ["unhealthy"]
