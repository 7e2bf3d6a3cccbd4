"""setup.py asks for what the code imports, constraints.txt pins it, and nothing else is asked for."""

import ast
import re
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

DISTRIBUTION = {  # where the name on the package index is not that of the module
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "cc3d": "connected-components-3d",
    "acvl_utils": "acvl-utils",
    "dynamic_network_architectures": "dynamic-network-architectures",
    "SimpleITK": "simpleitk",
    "yaml": "pyyaml",
    "mlflow": "mlflow-skinny",
}


@pytest.fixture(scope="module")
def setup_arguments(root: Path) -> dict[str, object]:
    tree = ast.parse((root / "setup.py").read_text(encoding="utf-8"))
    (call,) = (n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "setup")
    return {
        str(keyword.arg): ast.literal_eval(keyword.value)
        for keyword in call.keywords
        if keyword.arg in ("install_requires", "extras_require")
    }


def _name(requirement: str) -> str:
    return re.split(r"[<>=!~ ;\[]", requirement.strip(), maxsplit=1)[0].lower().replace("_", "-")


def _third_party(trees: Iterable[ast.Module]) -> set[str]:
    """Names on the package index of all that is imported and neither ours nor Python's."""
    modules = set()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.split(".")[0])
    modules -= {"nnanomaly", "__future__"} | set(sys.stdlib_module_names)
    return {DISTRIBUTION.get(module, module) for module in modules}


def test_every_import_is_asked_for_and_everything_asked_for_is_imported(
    trees: dict[str, ast.Module], setup_arguments: dict[str, object]
) -> None:
    asked, extras = setup_arguments["install_requires"], setup_arguments["extras_require"]
    assert isinstance(asked, list)
    assert isinstance(extras, dict)
    optional = ("nnanomaly/dicom/", "nnanomaly/training/trackers.py", "nnanomaly/cli/completion.py")
    ours = {name: tree for name, tree in trees.items() if not name.startswith(optional)}
    assert _third_party(ours.values()) == {_name(item) for item in asked}
    named = ("dicom", "wandb", "mlflow", "completion")  # torch loads TensorBoard
    loaded = [*asked, *(item for extra in named for item in extras[extra])]
    assert _third_party(trees.values()) == {_name(item) for item in loaded}


def test_the_tests_import_nothing_beyond_the_dev_extra(root: Path, setup_arguments: dict[str, object]) -> None:
    asked, extras = setup_arguments["install_requires"], setup_arguments["extras_require"]
    assert isinstance(asked, list)
    assert isinstance(extras, dict)
    tests = sorted((root / "tests").rglob("*.py"))
    # A test that starts a process may import its own module there; benchmarks import each other by their names.
    own = {"documentation", *(path.stem for path in [*tests, *(root / "benchmarks").glob("*.py")])}
    imported = _third_party(ast.parse(path.read_text(encoding="utf-8")) for path in tests)
    assert imported - own <= {_name(item) for item in [*asked, *extras["dev"]]}


def test_every_requirement_is_pinned_and_no_cuda_library_is(root: Path, setup_arguments: dict[str, object]) -> None:
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9.-]+==[^ ;]+( ; .+)?", line) for line in pins)
    pinned = {_name(line) for line in pins}
    asked, extras = setup_arguments["install_requires"], setup_arguments["extras_require"]
    assert isinstance(asked, list)
    assert isinstance(extras, dict)
    wanted = {_name(item) for item in [*asked, *(item for extra in extras.values() for item in extra)]}
    assert wanted <= pinned
    assert "torch==2.13.0" in pins
    assert not [line for line in pins if line.startswith(("nvidia", "cuda", "triton"))]
