"""The pages in a real browser: a headless Chromium, from disk, without a network. Skipped where there is none."""

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from nnanomaly.report.report_api import ReportOptions, build_report

pytestmark = pytest.mark.slow
WAIT_S = 180
"""A busy machine without a GPU draws slowly."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    browser, program = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or program is None:
        pytest.skip("no chromium with chromedriver on this machine (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    software = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,1400", *software):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(program))
    driver.set_page_load_timeout(WAIT_S)
    driver.set_script_timeout(WAIT_S)
    yield driver
    driver.quit()


@pytest.fixture
def report(drawn: SimpleNamespace, tmp_path: Path) -> Path:
    """The report of the drawn folder."""
    options = ReportOptions(images=drawn.images, references=drawn.references)
    build_report(drawn.predictions, tmp_path / "report", options)
    return tmp_path / "report"


def _open_case(chromium: Any, report: Path, number: int) -> None:
    chromium.get((report / "cases" / f"{number:04d}.html").as_uri())
    _wait(chromium, "return document.getElementById('viewer').dataset.ready === 'true'")


def _wait(chromium: Any, condition: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(chromium, WAIT_S).until(lambda driver: driver.execute_script(condition))


def _requests(chromium: Any) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def _canvas(chromium: Any) -> np.ndarray[Any, Any]:
    """What the canvas shows, `[height, width, 3]` from 0 to 1."""
    png = chromium.find_element("id", "canvas").screenshot_as_png
    return np.asarray(imread(io.BytesIO(png)))[..., :3]


def _wait_for_crosshair(chromium: Any, mm: tuple[float, float, float]) -> None:
    """Wait until the line below the planes tells a place within a voxel of `mm`."""
    shown = "document.getElementById('readout').dataset.mm.split(',').map(Number)"
    _wait(chromium, f"return {shown}.every((value, axis) => Math.abs(value - {list(mm)}[axis]) <= 3)")


def test_a_case_opens_from_disk_shows_its_volume_and_jumps_to_its_candidates(chromium: Any, report: Path) -> None:
    _requests(chromium)
    _open_case(chromium, report, 2)
    picture = _canvas(chromium)
    gray = np.ptp(picture, axis=-1) < 0.02
    assert len(np.unique(np.rint(picture[gray][:, 0] * 255))) > 50  # the image is a ramp of grey

    buttons = chromium.find_elements("css selector", "button.jump")
    assert [button.text for button in buttons] == ["candidate 1", "candidate 2", "lesion 1", "lesion 2"]
    chromium.execute_script("arguments[0].click()", buttons[1])
    # The false candidate spans voxels (20..24, 25..30, 20..25) of 3 mm; NIfTI's mm are (-x, -y, z).
    _wait_for_crosshair(chromium, (-97.5, -102.5, 56.0))
    orange = _canvas(chromium)
    assert np.count_nonzero((orange[..., 0] > orange[..., 2] + 0.25) & (orange[..., 0] > orange[..., 1] + 0.1)) > 50

    chromium.execute_script("arguments[0].click()", buttons[3])
    _wait_for_crosshair(chromium, (-109.5, -51.5, 57.5))  # the missed lesion: voxels (20..25, 8..13, 24..29)

    chromium.execute_script(
        "const base = document.getElementById('base'); base.value = 'autoencoded';"
        "for (const name of ['anomaly', 'candidates', 'reference']) {"
        "  const slider = document.getElementById(`opacity-${name}`);"
        "  slider.value = 0; slider.dispatchEvent(new Event('input'));"
        "}"
        "base.dispatchEvent(new Event('change'));"
    )
    _wait(chromium, "return document.getElementById('readout').textContent.includes('autoencoded 40.00')")
    flat = np.rint(_canvas(chromium) * 255)
    assert np.mean(np.all(np.abs(flat - 127) <= 2, axis=-1)) > 0.2  # 40 HU is the middle of the window

    errors = [entry for entry in chromium.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
    assert errors == []
    assert {url.split(":")[0] for url in _requests(chromium)} <= {"file", "data", "blob"}


def test_the_overview_sorts_filters_and_runs_no_hostile_name(chromium: Any, report: Path, drawn: Any) -> None:
    chromium.get((report / "index.html").as_uri())
    rows = "return [...document.querySelectorAll('#overview tbody tr')]"
    assert chromium.execute_script(f"{rows}.map(r => r.cells[0].textContent)") == [drawn.evil_case, "case_a"]
    chromium.execute_script("document.querySelector('#overview th button').click()")
    assert len(chromium.execute_script(f"{rows}.map(r => r.cells[0].textContent)")) == 2
    search = chromium.find_element("id", "search")
    search.send_keys("case_a")
    assert chromium.execute_script(f"{rows}.filter(r => !r.hidden).map(r => r.cells[0].textContent)") == ["case_a"]
    assert chromium.get_log("browser") == []
