"""The rooms of the house: imports run one way, the import is cheap, the wheel is whole."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMPOSITION = {
    *("runner", "preparing", "refusals", "securing"),
    *("cli", "commands", "checking", "listing", "plan", "leakage"),
}
"""The composition root, the command line and the attacks on runs may import every room."""


def imports(path, package):
    """Return the absolute names that a module imports at any level."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            yield (
                ".".join([*base, node.module] if node.module else base)
                if node.level
                else (node.module)
            )


def core_modules():
    modules = (ROOT / "fedkd").rglob("*.py")
    return [p for p in modules if p.stem not in COMPOSITION and p.parent.name != "leakage"]


@pytest.mark.parametrize("path", core_modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_core_knows_no_method(path):
    package = ".".join(path.relative_to(ROOT).parent.parts)
    rooms = ("fedkd.strategies", "fedkd.clients", "fedkd.experiments")
    assert not [name for name in imports(path, package) if name.startswith(rooms)]


@pytest.mark.parametrize("room", ["strategies", "clients"])
def test_rooms_do_not_import_the_composition_root(room):
    for path in (ROOT / room).rglob("*.py"):
        names = set(imports(path, f"fedkd.{room}"))
        assert not {f"fedkd.{name}" for name in COMPOSITION} & names, path
        assert not {name for name in names if name.startswith("fedkd.experiments")}, path


@pytest.mark.parametrize("path", core_modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_core_knows_no_attack_on_runs(path):
    package = ".".join(path.relative_to(ROOT).parent.parts)
    assert not [name for name in imports(path, package) if name.startswith("fedkd.leakage")]


def test_clients_know_no_strategy():
    for path in (ROOT / "clients").rglob("*.py"):
        assert not [n for n in imports(path, "fedkd.clients") if n.startswith("fedkd.strategies")]


def test_only_one_room_touches_what_flower_does_not_document():
    private = {"common", "compat", "server", "simulation", "supercore", "superlink", "supernode"}
    for room in ("fedkd", "strategies", "clients"):
        for path in (ROOT / room).rglob("*.py"):
            names = [name.split(".") for name in imports(path, "fedkd")]
            found = [n for n in names if n[0] == "flwr" and private & set(n[1:2])]
            assert not found or path.parent == ROOT / "fedkd" / "flower", (path, found)


def test_import_is_cheap():
    code = "import sys, fedkd; print(sorted({'torch', 'flwr', 'ray', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_wheel_is_whole_and_takes_no_foreign_names(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q"]
    source = tmp_path / "source"
    files = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    for name in files:
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([*build, "-w", str(tmp_path), str(source)], check=True, timeout=180)
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"fedkd"}
    rooms = {"fedkd": "fedkd", "strategies": "fedkd/strategies", "clients": "fedkd/clients"}
    for room, prefix in {**rooms, "experiments": "fedkd/experiments"}.items():
        wanted = {str(p.relative_to(ROOT / room)) for p in (ROOT / room).rglob("*.py")}
        wanted |= {str(p.relative_to(ROOT / room)) for p in (ROOT / room).rglob("*.yaml")}
        missing = {f"{prefix}/{name}" for name in wanted} - set(names)
        assert not missing
    assert "fedkd/py.typed" in names
    assert "fedkd/report/page.html.j2" in names
