"""What is written is true: links lead somewhere, error codes, plan fields and commands are described."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest

import nnanomaly.plans
from nnanomaly.utilities import errors

CODE = re.compile(r"[A-Z0-9]+(-[A-Z0-9]+)*")
CODE_WITH_FAMILY = re.compile(r"[A-Z]+(-[A-Z0-9]+)+")
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "documentation")


def _pages(root: Path) -> list[Path]:
    found = [root / name for name in PAGES]
    return [page for path in found for page in ([path] if path.is_file() else sorted(path.rglob("*.md")))]


def _codes_in_source(sources: dict[str, str], trees: dict[str, ast.Module]) -> set[str]:
    """Codes written in messages, first arguments of error classes, and all other strings that look like a code."""
    codes = {code for text in sources.values() for code in re.findall(r"\[NNA-([A-Z0-9-]+)\]", text)}
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and re.search(r"(Error|Fault)$", ast.unparse(node.func)) and node.args:
                codes |= {text for text in _strings(node.args[0]) if CODE.fullmatch(text)}
            codes |= {text for text in _strings(node) if CODE_WITH_FAMILY.fullmatch(text)}
    return codes


def _strings(node: ast.AST) -> set[str]:
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


@pytest.fixture(scope="module")
def error_page(root: Path) -> str:
    return (root / "documentation" / "reference" / "error-codes.md").read_text(encoding="utf-8")


def test_every_error_code_is_documented_and_no_other(
    sources: dict[str, str], trees: dict[str, ast.Module], error_page: str
) -> None:
    documented = re.findall(r"^\| `([A-Z0-9-]+)` \|", error_page, flags=re.MULTILINE)
    assert len(documented) == len(set(documented))
    in_source = _codes_in_source(sources, trees)
    assert in_source - set(documented) == set(), "not documented"
    text = "\n".join(sources.values())
    assert [code for code in documented if f'"{code}"' not in text and f"[NNA-{code}]" not in text] == [], "not in use"


def test_the_exit_statuses_of_the_page_are_those_of_the_errors(error_page: str) -> None:
    rows = dict(re.findall(r"^\| (\d+) \| `(\w+)`", error_page, flags=re.MULTILINE))
    kinds = errors.UserError.__subclasses__()
    assert rows == {str(kind.exit_code): kind.__name__ for kind in kinds}


def test_links_between_pages_resolve(root: Path) -> None:
    broken = []
    for page in _pages(root):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if target.startswith(("http://", "https://", "mailto:", "#")):
                continue
            if not (page.parent / target.split("#")[0]).exists():
                broken.append(f"{page.relative_to(root)} -> {target}")
    assert not broken, "\n".join(broken)


def test_every_page_can_be_reached_from_the_map(root: Path) -> None:
    documentation = root / "documentation"
    text = (documentation / "README.md").read_text(encoding="utf-8")
    linked = {(documentation / target.split("#")[0]).resolve() for target in re.findall(r"\]\(([^)\s]+)\)", text)}
    lost = [page for page in documentation.rglob("*.md") if page.resolve() not in linked and page.name != "README.md"]
    assert not lost


def test_every_field_of_the_plans_has_a_sentence(root: Path) -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (root / "nnanomaly" / "plans").glob("*.py")]
    described = {name for name, kind in vars(nnanomaly.plans).items() if dataclasses.is_dataclass(kind)}
    classes = [
        node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef) and node.name in described
    ]
    assert {"Plans", "PreprocessingPlan", "InferencePlan"} <= described
    bare = []
    for node in classes:
        for field, after in zip(node.body, [*node.body[1:], None], strict=True):
            has_sentence = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if isinstance(field, ast.AnnAssign) and not has_sentence:
                bare.append(f"{node.name}.{ast.unparse(field.target)}")
    assert not bare
    assert {node.name for node in classes} == described


def test_every_command_named_in_the_documentation_exists(root: Path) -> None:
    commands = set(re.findall(r'^    "(\w+)",$', (root / "setup.py").read_text(encoding="utf-8"), flags=re.MULTILINE))
    variables = {"raw", "preprocessed", "results", "def_n_proc", "tracker"}
    named = {
        word for page in _pages(root) for word in re.findall(r"\bnnanomaly_(\w+)", page.read_text(encoding="utf-8"))
    }
    assert named - commands - variables == set()
    assert {"plan_and_preprocess", "train", "predict", "demo"} <= named


def test_the_readme_shows_the_commands_that_the_project_promises(root: Path) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    first_screen = "\n".join(text.splitlines()[:45])
    for command in (
        "pip install -c constraints.txt . && nnanomaly_demo",
        'pip install -c constraints.txt -e ".[dev]" && pytest',
        "nnanomaly_plan_and_preprocess -d 501",
        "nnanomaly_train 501 ddpm",
        "nnanomaly_predict -i imagesTs -o preds",
    ):
        assert re.search(rf"^{re.escape(command)}( +#.*)?$", first_screen, flags=re.MULTILINE), command
