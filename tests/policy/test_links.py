"""Links, anchors and images of the pages lead somewhere, titles are not taken twice, and shown options exist."""

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from documentation.generator.commands import parser_of
from nnanomaly.cli.overview import GROUPS

LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"nnanomaly[_ ](\w+)")
HTTPS = re.compile(r"https://[a-z0-9-]+(\.[a-z0-9-]+)+(/[\w.~/#?=&%+-]*)?")
OPTION = re.compile(r"--?[A-Za-z]\w*")
OPTIONS = {
    command.__name__: {name for action in parser_of(command)._actions for name in action.option_strings}
    for group in GROUPS.values()
    for command in group
}


@pytest.fixture(scope="module")
def pages(root: Path) -> dict[Path, str]:
    """Text of every page a user reads."""
    paths = [root / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    paths += sorted((root / "documentation").rglob("*.md"))
    return {path: path.read_text(encoding="utf-8") for path in paths}


def without_code(text: str) -> str:
    """The text without fenced blocks and without code in a line: no link and no heading stands there."""
    return re.sub(r"`[^`\n]*`", lambda match: "`" * len(match[0]), re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def slugs(text: str) -> set[str]:
    """Anchors of the headings as GitHub makes them: lower case, no punctuation, hyphens for spaces, numbered."""
    found: Counter[str] = Counter()
    anchors = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), flags=re.M):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        anchors.add(slug if not found[slug] else f"{slug}-{found[slug]}")
        found[slug] += 1
    return anchors


def test_anchors_are_made_as_github_makes_them() -> None:
    text = "# A title\n## `organ_labels.csv`\n### See [the page](x.md), twice?\n## Twice\n## Twice\n```\n# none\n```\n"
    assert slugs(text) == {"a-title", "organ_labelscsv", "see-the-page-twice", "twice", "twice-1"}


def test_anchors_lead_to_headings(root: Path, pages: dict[Path, str]) -> None:
    broken = []
    for page, text in pages.items():
        for target in LINK.findall(without_code(text)):
            name, _, anchor = target.partition("#")
            other = (page.parent / name).resolve() if name else page
            if anchor and not target.startswith("http") and anchor not in slugs(pages.get(other, "")):
                broken.append(f"{page.relative_to(root)} -> {target}")
    assert not broken, "\n".join(broken)


def test_addresses_are_well_formed(root: Path, pages: dict[Path, str]) -> None:
    targets = [(page, target) for page, text in pages.items() for target in LINK.findall(without_code(text))]
    external = [(page, target) for page, target in targets if re.match(r"\w+:", target)]
    assert external
    wrong = [f"{page.relative_to(root)}: {target}" for page, target in external if not HTTPS.fullmatch(target)]
    assert not wrong, "\n".join(wrong)


def test_every_image_is_shown_somewhere(root: Path, pages: dict[Path, str]) -> None:
    shown = {
        (page.parent / target).resolve()
        for page, text in pages.items()
        for target in re.findall(r"!\[[^\]]+\]\(([^)\s]+)\)", text)
    }
    stored = set((root / "documentation" / "images").iterdir())
    assert stored
    assert stored <= shown, f"shown nowhere: {stored - shown}"
    assert all(path.is_file() for path in shown)


def test_every_page_has_one_title_and_none_is_taken_twice(pages: dict[Path, str]) -> None:
    titles = []
    for page, text in pages.items():
        found = re.findall(r"^# (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), flags=re.M)
        assert len(found) == 1, page
        titles += [title.strip().lower() for title in found]
    assert not [title for title, number in Counter(titles).items() if number > 1]


def shown_commands(text: str) -> Iterator[tuple[str, list[str]]]:
    """Commands and their words, of every line of code: fenced, indented, or in a sentence; lines are joined at a \\."""
    joined = text.replace("\\\n", " ")
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", joined, flags=re.M | re.S)
    rest = re.sub(r"^```.*?^```", "", joined, flags=re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r"^ {4,}(\S.*)$", rest, flags=re.M) + re.findall(r"`([^`\n]+)`", rest)
    for line in lines:
        for part in re.split(r"&&|\|\||[;|]|\s#\s", re.sub(r"\s#.*", "", line)):
            match = COMMAND.search(part)
            if match and match[1] in OPTIONS:
                yield match[1], words(part[match.end() :])


def words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError:  # a quote that is none
        return line.split()


def test_a_command_is_found_in_blocks_and_in_text() -> None:
    block = "```\nnnanomaly_predict -i a \\\n  -o b | tee  # -z\n```\n"
    text = f"`nnanomaly_train 501 ddpm --val -x`\n{block}\n    nnanomaly_doctor --json\n\n`nnanomaly train -q`"
    assert list(shown_commands(text)) == [
        ("predict", ["-i", "a", "-o", "b"]),
        ("doctor", ["--json"]),
        ("train", ["501", "ddpm", "--val", "-x"]),
        ("train", ["-q"]),
    ]


def test_every_option_that_is_shown_with_a_command_exists(root: Path, pages: dict[Path, str]) -> None:
    unknown, number = [], 0
    for page, text in pages.items():
        for command, shown in shown_commands(text):
            options = [word for word in (word.strip("[],.") for word in shown) if OPTION.fullmatch(word)]
            number += len(options)
            strange = [word for word in options if word not in OPTIONS[command]]
            unknown += [f"{page.relative_to(root)}: nnanomaly_{command} has no {word}" for word in strange]
    assert number > 100
    assert not unknown, "\n".join(unknown)


def test_every_option_in_a_table_belongs_to_a_command_of_the_page(root: Path, pages: dict[Path, str]) -> None:
    unknown = []
    for page, text in pages.items():
        named = {name for name in COMMAND.findall(text) if name in OPTIONS}
        known = set().union(*(OPTIONS[name] for name in named))
        for cell in re.findall(r"^\| *(`-[^|]*)\|", text, flags=re.M):
            options = [
                word for code in re.findall(r"`([^`]+)`", cell) for word in code.split() if OPTION.fullmatch(word)
            ]
            unknown += [f"{page.relative_to(root)}: {word}" for word in options if word not in known]
    assert not unknown, "\n".join(unknown)


def test_every_option_that_is_offered_in_place_of_one_of_nnunet_exists(pages: dict[Path, str]) -> None:
    (text,) = (text for page, text in pages.items() if page.name == "migrating-from-nnunet.md")
    flags = text.split("\n## Flags\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \|([^|]*)\|", flags, flags=re.M)
    ours = [theirs + here if "the same" in here else here for theirs, here in rows]
    options = {word for cell in ours for word in re.findall(r"(?<![\w-])--?[A-Za-z]\w*", cell)}
    assert len(options) > 20
    assert options - set().union(*OPTIONS.values()) == set()
