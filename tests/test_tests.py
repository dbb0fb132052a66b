"""What all tests keep to: they end, and look at what is public."""

import ast
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = {str(path.relative_to(HERE)): path for path in sorted(HERE.rglob("*.py"))}

WAITING = ("subprocess.run", "ray.get", "process.wait", "process.communicate")
"""Calls that wait for what may never come."""

THEIRS = {"_exit", "_private", "_forward_hooks", "_forward_pre_hooks"}
THEIRS |= {"_repr_html_", "_repr_png_", "_render_traceback_"}  # what a notebook calls
"""Private names of other libraries, without a public way to what they tell."""


def endless(tree: ast.AST) -> list[str]:
    """Return the calls that wait without a limit; ``**options`` may hold one."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [
        f"line {call.lineno}: {ast.unparse(call.func)}"
        for call in calls
        if ast.unparse(call.func) in WAITING
        if not {"timeout", None} & {keyword.arg for keyword in call.keywords}
    ]


def private(tree: ast.AST) -> list[str]:
    """Return the private names of others: a class may use its own, and those it inherits."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "super()"):
            found[node.attr] = node.lineno
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fedkd"):
            found |= {alias.name: node.lineno for alias in node.names}
    secret = {name for name in found if name.startswith("_") and not name.startswith("__")}
    return [f"line {found[name]}: {name}" for name in sorted(secret - THEIRS)]


@pytest.mark.parametrize("name", FILES)
def test_nothing_waits_for_ever_or_looks_behind_the_door(name: str) -> None:
    tree = ast.parse(FILES[name].read_text())
    assert endless(tree) == []
    assert private(tree) == []


def test_what_is_wrong_is_found() -> None:
    tree = ast.parse("subprocess.run(['x'])\nray.get(y, timeout=3)\nhome._log\nself._own")
    assert endless(tree) == ["line 1: subprocess.run"]
    assert private(tree) == ["line 3: _log"]
