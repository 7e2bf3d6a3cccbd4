"""HTML from templates: every inserted text is escaped, and no page may load anything from a network."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

HERE = Path(__file__).parent
ASSETS = ("report.css", "overview.js", "viewer.js", "niivue.umd.js", "THIRD_PARTY_NOTICES.txt")
"""Files beside the pages. NiiVue is not repeated in every page: 100 cases would need 230 MB for it alone."""
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data: blob:; connect-src 'none'; "
    "base-uri 'none'; form-action 'none'"
)


def render(template: str, **values: Any) -> str:
    """A page. Texts are escaped; data for scripts goes through the filter `tojson`, which escapes `<`, `>` and `&`."""
    return _environment().get_template(template).render(content_policy=CONTENT_POLICY, **values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["map_value"] = map_value
    environment.filters["css_color"] = css_color
    return environment


def number(value: float | None, digits: int = 2) -> str:
    """A number with some decimals, or a dash."""
    return "–" if value is None else f"{value:.{digits}f}"


def map_value(value: float | None) -> str:
    """A value of the anomaly map in four figures, or a dash: thresholds on probabilities lie close to 1."""
    return "–" if value is None else f"{value:#.4g}"


def css_color(color: tuple[int, int, int]) -> str:
    """A colour as CSS writes it, without a sign that a page would have to escape."""
    return "rgb({}, {}, {})".format(*color)
