"""Sizes that keep a reader's patience: 300 lines a file, 200 a class, 50 a function."""

import ast

MAX_FILE, MAX_CLASS, MAX_FUNCTION = 300, 200, 50
LARGER_FILES: set[str] = set()


def _length(node: ast.AST) -> int:
    assert isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_files_are_short(sources: dict[str, str]) -> None:
    long = {name: text.count("\n") for name, text in sources.items() if text.count("\n") > MAX_FILE}
    assert set(long) == LARGER_FILES, f"split, or take off the list: {long}"


def test_functions_and_classes_are_short(trees: dict[str, ast.Module]) -> None:
    budgets = {ast.FunctionDef: MAX_FUNCTION, ast.AsyncFunctionDef: MAX_FUNCTION, ast.ClassDef: MAX_CLASS}
    long = [
        f"{name}:{node.lineno} {getattr(node, 'name', '')} has {_length(node)} lines"
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if type(node) in budgets and _length(node) > budgets[type(node)]
    ]
    assert not long, "\n".join(long)
