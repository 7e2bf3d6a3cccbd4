import hashlib
import html
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel
import pytest

from nnanomaly.report.pages import HERE
from nnanomaly.report.report_api import ReportOptions, build_report
from nnanomaly.utilities.errors import ConfigurationError, DataError

NIIVUE_SHA256 = "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"


def _options(drawn: SimpleNamespace, *, max_mb: float = 3.0) -> ReportOptions:
    return ReportOptions(images=drawn.images, references=drawn.references, max_mb=max_mb)


@pytest.fixture
def pages(drawn: SimpleNamespace, tmp_path: Path) -> dict[str, str]:
    """All pages of the report of the drawn folder by name."""
    report = build_report(drawn.predictions, tmp_path / "report", _options(drawn))
    assert report.faults == {}
    return {name: (tmp_path / "report" / name).read_text("utf-8") for name in report.files if name.endswith("html")}


def test_candidates_and_lesions_are_counted_by_their_outcome(pages: dict[str, str]) -> None:
    assert "2 cases, 2 organs, 4 candidates: 2 matched, 2 false; lesions missed: 2." in pages["index.html"]
    rows = re.findall(r'<tr data-candidates="2" data-matched="1" data-false="1" data-missed="1"', pages["index.html"])
    assert len(rows) == 2


def test_a_reference_and_a_prediction_in_other_orders_are_shown_alike(
    drawn: SimpleNamespace, pages: dict[str, str], tmp_path: Path
) -> None:
    for path, axes in (
        (drawn.references, "SAR"),
        (drawn.predictions, "LPS"),
        (drawn.predictions / "anomaly_maps", "PIR"),
    ):
        own = nibabel.load(path / "case_a.nii.gz")
        wanted = nibabel.orientations.axcodes2ornt(tuple(axes))
        turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(own.affine), wanted)
        nibabel.save(own.as_reoriented(turn), path / "case_a.nii.gz")
    report = build_report(drawn.predictions, tmp_path / "other", _options(drawn))
    assert report.faults == {}
    page = (tmp_path / "other" / "cases" / "0001.html").read_text("utf-8")
    assert page == pages["cases/0001.html"]


def test_the_overview_says_what_a_lesion_is_in_the_masks_where_it_is_not_1(
    drawn: SimpleNamespace, pages: dict[str, str], tmp_path: Path
) -> None:
    said = "In the masks of the predictions a voxel of a lesion holds"
    assert said not in pages["index.html"]
    dataset = {"labels": {"background": 0, "lesion": [2, 3]}, "regions_class_order": [2], "file_ending": ".nii.gz"}
    (drawn.predictions / "dataset.json").write_text(json.dumps(dataset), encoding="utf-8")
    build_report(drawn.predictions, tmp_path / "other", ReportOptions(images=drawn.images))
    assert f"{said} 2, not 1" in (tmp_path / "other" / "index.html").read_text("utf-8")


def test_hostile_names_are_escaped_in_every_page(pages: dict[str, str], drawn: SimpleNamespace) -> None:
    for name, page in pages.items():
        assert "<script>alert" not in page, name
        assert "<img src=x" not in page, name
        assert page.count("</script>") == page.count("<script"), name
    assert html.escape(drawn.evil_case) in pages["index.html"]
    assert html.escape(drawn.evil_organ) in pages["index.html"]


def test_pages_forbid_the_network_and_name_no_address(pages: dict[str, str]) -> None:
    for name, page in pages.items():
        assert "default-src &#39;none&#39;" in page, name
        assert "connect-src &#39;none&#39;" in page, name
        assert not re.search(r"https?://", page), name
        assert not re.search(r'<script(?![^>]*(src="(\.\./)?assets/|type="application/json"))', page), name
        assert not re.search(r"\son[a-z]+=", re.sub(r'"[^"]*"|>[^<]*<', "", page)), name


def test_an_organ_over_the_cap_gets_larger_voxels_or_no_viewer_and_the_page_says_so(
    drawn: SimpleNamespace, tmp_path: Path
) -> None:
    none = build_report(drawn.predictions, tmp_path / "none", _options(drawn, max_mb=0))
    assert none.num_without_viewer == 2
    assert "No viewer" in (tmp_path / "none" / "cases" / "0001.html").read_text("utf-8")
    assert "volumes are left out" in (tmp_path / "none" / "index.html").read_text("utf-8")


def test_a_case_shows_the_round_trip_of_the_autoencoder_where_it_was_saved(pages: dict[str, str]) -> None:
    (with_it,) = (page for page in pages.values() if "<title>case_a" in page)
    (without,) = (page for name, page in pages.items() if name != "index.html" and page is not with_it)
    assert "encoded and decoded alone</figcaption>" in with_it
    assert '<option value="autoencoded">' in with_it
    assert "--save_autoencoded" in without
    assert "autoencoded</option>" not in without
    assert "figcaption>encoded" not in without


@pytest.mark.parametrize(
    ("status", "says"), [("truncated_roi", "only the part in the scan"), ("no_roi", "was not looked at")]
)
def test_a_cut_organ_is_told_from_one_that_was_not_looked_at(
    drawn: SimpleNamespace, tmp_path: Path, status: str, says: str
) -> None:
    path = drawn.predictions / "detections" / "case_a_boxes.json"
    path.write_text(path.read_text("utf-8").replace('"ok"', f'"{status}"'), encoding="utf-8")
    build_report(drawn.predictions, tmp_path / "report", _options(drawn))
    pages = [(tmp_path / "report" / "cases" / name).read_text("utf-8") for name in ("0001.html", "0002.html")]
    assert [says in page for page in pages].count(True) == 1
    other = (tmp_path / "report" / "index.html").read_text("utf-8").count('data-other="1"')
    assert other == (status == "no_roi")


def test_a_folder_of_something_else_is_refused_and_an_older_report_is_replaced(
    drawn: SimpleNamespace, tmp_path: Path
) -> None:
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="CFG-OUTPUT"):
        build_report(drawn.predictions, other, _options(drawn))
    report = tmp_path / "report"
    build_report(drawn.predictions, report, _options(drawn))
    (report / "report.json").write_text(
        json.dumps({"files": ["cases/0002.html", "../thesis/chapter.txt"]}), encoding="utf-8"
    )
    (drawn.predictions / "detections" / f"{drawn.evil_case}_boxes.json").unlink()
    build_report(drawn.predictions, report, _options(drawn))
    assert not (report / "cases" / "0002.html").exists()
    assert (other / "chapter.txt").exists()


def test_an_older_report_stays_whole_until_the_next_one_is(drawn: SimpleNamespace, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    def content() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in (tmp_path / "report").rglob("*") if path.is_file()}

    with pytest.raises(KeyboardInterrupt):
        build_report(drawn.predictions, tmp_path / "report", _options(drawn), progress=interrupt)
    assert not (tmp_path / "report").exists()
    assert build_report(drawn.predictions, tmp_path / "report", _options(drawn)).index.is_file()
    older = content()
    with pytest.raises(KeyboardInterrupt):
        build_report(drawn.predictions, tmp_path / "report", _options(drawn), progress=interrupt)
    with pytest.raises(DataError, match="RPT-FAILED"):
        build_report(drawn.predictions, tmp_path / "report", replace(_options(drawn), images=tmp_path))
    assert content() == older


def test_a_report_is_not_written_through_a_link(drawn: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "cases").symlink_to(tmp_path / "mine")
    with pytest.raises(DataError, match="IO-LINK"):
        build_report(drawn.predictions, tmp_path / "report", _options(drawn))
    assert not list((tmp_path / "mine").iterdir())


def test_a_case_without_its_image_is_listed_with_the_reason(drawn: SimpleNamespace, tmp_path: Path) -> None:
    (drawn.images / "case_a_0000.nii.gz").unlink()
    report = build_report(drawn.predictions, tmp_path / "report", _options(drawn))
    assert list(report.faults) == ["case_a"]
    assert "RPT-IMAGE" in report.faults["case_a"]
    assert "RPT-IMAGE" in report.index.read_text("utf-8")


def test_a_folder_without_predictions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="CFG-PREDS"):
        build_report(tmp_path, tmp_path / "report", ReportOptions())


def test_the_viewer_is_the_unchanged_file_of_its_package() -> None:
    viewer = (HERE / "assets" / "niivue.umd.js").read_bytes()
    assert hashlib.sha256(viewer).hexdigest() == NIIVUE_SHA256


def test_a_candidates_file_of_other_types_costs_only_its_case(drawn: SimpleNamespace, tmp_path: Path) -> None:
    path = sorted((drawn.predictions / "detections").glob("*_boxes.json"))[0]
    good = path.read_text()
    document = json.loads(good)
    document["patches"][0]["spacing_mm"] = ["1", 1, 1]
    path.write_text(json.dumps(document))
    try:
        report = build_report(drawn.predictions, tmp_path / "report", _options(drawn))
    finally:
        path.write_text(good)
    (fault,) = report.faults.values()
    assert "patches[0]: spacing_mm: expected float, found '1'. Predict the case again." in fault
    assert "1 cases, 1 organs" in (tmp_path / "report" / "index.html").read_text("utf-8")


@pytest.mark.parametrize("listed", ["notes.txt", "../notes.txt", "cases", "assets/../notes.txt", "cases/notes.txt"])
def test_a_list_of_files_of_others_removes_none_of_them(drawn: SimpleNamespace, tmp_path: Path, listed: str) -> None:
    output = tmp_path / "report"
    (output / "cases").mkdir(parents=True)
    kept = [tmp_path / "notes.txt", output / "notes.txt", output / "cases" / "notes.txt"]
    for path in kept:
        path.write_text("mine")
    (output / "report.json").write_text(json.dumps({"files": [listed]}))
    build_report(drawn.predictions, output, _options(drawn))
    assert [path.read_text() for path in kept] == ["mine"] * 3


@pytest.mark.parametrize("content", ["[]", '{"files": 1}', '{"files": [1]}', "{"])
def test_a_report_json_that_is_none_is_refused(drawn: SimpleNamespace, tmp_path: Path, content: str) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.json").write_text(content)
    with pytest.raises(DataError, match=r"JSON.*report\.json.*-o"):
        build_report(drawn.predictions, tmp_path / "report", _options(drawn))
