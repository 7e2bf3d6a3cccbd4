"""Write all pages: `python -m documentation.generator`."""

from pathlib import Path

from documentation.generator.pages import PAGES

REFERENCE = Path(__file__).resolve().parents[1] / "reference"

for name, make in PAGES.items():
    (REFERENCE / name).write_text(make(), encoding="utf-8")
    print(REFERENCE / name)
