import json
from pathlib import Path

from nnanomaly.report.folder_facts import comparison_section, evaluation_section, parse_markdown, run_section


def test_a_markdown_table_is_read_with_its_caption_and_escaped_bars() -> None:
    table = parse_markdown("| a   | b |\n| --- | - |\n| x\\|y | 1 |\n\nMean over cases.\n")
    assert table.header == ["a", "b"]
    assert table.rows == [["x|y", "1"]]
    assert table.caption == "Mean over cases."


def test_the_facts_of_a_run_hold_its_hashes_and_no_folder(tmp_path: Path) -> None:
    arguments = {
        "version": "1.2",
        "images": "/home/somebody/images",
        "organ_masks": "/home/somebody/masks",
        "plans_identity": "abc",
        "inference": {"sigma": 2.0},
        "folds": {"0": {"checkpoints": {"ddpm": "def"}, "calibration": {"threshold": 1.0}}},
    }
    (tmp_path / "predict_from_raw_data_args.json").write_text(json.dumps(arguments), encoding="utf-8")
    rows = run_section(tmp_path).tables[0].rows
    assert ["plans_identity", "abc"] in rows
    assert ["inference.sigma", "2"] in rows
    assert ["fold 0: SHA-256 of ddpm", "def"] in rows
    assert "somebody" not in str(rows)


def test_nothing_is_shown_of_what_is_not_there(tmp_path: Path) -> None:
    assert evaluation_section(tmp_path) is None
    assert comparison_section(tmp_path) is None
    assert run_section(tmp_path).tables == []


def test_an_evaluation_of_another_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "detection_summary.json").write_text('{"metrics": {"old": 1}}', encoding="utf-8")
    section = evaluation_section(tmp_path)
    assert section is not None
    assert "another version" in section.text
