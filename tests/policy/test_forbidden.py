"""What no module may do, but the one that is named: read the environment, unpickle, run text as code."""

import ast
import re

FORBIDDEN = {
    r"weights_only\s*=\s*False": (),
    r"\bpickle\.(load|loads|dump|dumps|Unpickler)\b": ("nnanomaly/baselines/",),
    r"allow_pickle\s*=\s*True": (),
    r"\btorch\.load\(": ("nnanomaly/checkpoint.py",),
    r"(?<![\w.])(eval|exec)\(": (),
    r"\bos\.system\(|shell\s*=\s*True": (),
    r"\bextractall\(": (),
    r"\byaml\.(load|unsafe_load)\(": (),
    r"\bpydoc\b|\bimportlib\.import_module\(": (),
    r"\bos\.(environ|getenv|putenv)\b": ("nnanomaly/paths.py",),
    r"https?://": (),
}
"""Pattern, and the places (files or folders) that may hold it."""


def test_no_module_holds_a_forbidden_pattern(sources: dict[str, str]) -> None:
    found = [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1} {match.group()}"
        for name, text in sources.items()
        for pattern, allowed in FORBIDDEN.items()
        for match in re.finditer(pattern, text)
        if not name.startswith(allowed or ("nowhere",))
    ]
    assert not found, "\n".join(found)


def test_torch_load_is_always_safe(trees: dict[str, ast.Module]) -> None:
    calls = [
        node
        for node in ast.walk(trees["nnanomaly/checkpoint.py"])
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
    ]
    assert calls
    for call in calls:
        safe = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        assert safe.get("weights_only") == "True", ast.unparse(call)


def test_libraries_that_fail_or_load_for_seconds_are_not_imported(trees: dict[str, ast.Module]) -> None:
    banned = ("monai", "diffusers", "timm", "torchvision", "dynamic_network_architectures.architectures.primus")
    imported = {
        module
        for tree in trees.values()
        for node in ast.walk(tree)
        for module in _modules(node)
        if module.startswith(banned) or module.endswith((".eva", ".dinov2_eva"))
    }
    assert not imported


def _modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return [node.module or ""]
    return []
