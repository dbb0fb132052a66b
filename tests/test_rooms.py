"""The rooms of the house: imports run one way, and the import is cheap."""

import ast
import graphlib
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import LIMIT

ROOT = Path(__file__).parents[1]
ROOMS = {"fedkd": "fedkd"} | {
    name: f"fedkd.{name}" for name in ("strategies", "clients", "experiments")
}
"""Folders at the root, and what they import as."""

PUBLIC = {
    "fedkd": "ConfigError FedkdError KnowledgeStack RunError RunResult Study attack compare "
    "resume shutdown simulate study",
    "fedkd.callbacks": "Callback RoundRecord RunInfo TensorBoard",
    "fedkd.clients": "Parts",
    "fedkd.clients.attacks": "Attack",
    "fedkd.clients.base": "Client ClientLoop",
    "fedkd.clients.exchange": "Exchange SoftLabels",
    "fedkd.clients.oracles": "Oracle",
    "fedkd.clients.privacy": "Mechanism Protection",
    "fedkd.clients.samplers": "Sampler",
    "fedkd.codecs": "Codec",
    "fedkd.config": "RunConfig",
    "fedkd.data": "Federation",
    "fedkd.distillation.base": "Objective TeacherBatch",
    "fedkd.errors": "ConfigError RunError",
    "fedkd.knowledge": "Knowledge KnowledgeStack Teacher",
    "fedkd.models": "ZOO build",
    "fedkd.strategies": "FusionStrategy Strategy",
    "fedkd.strategies.knfu": "KnFu",
}
"""What people's plug-ins import, and where from: these stay."""


def modules():
    """Return every module: its name and its file."""
    for folder, package in ROOMS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join([package, *(part for part in parts if part != "__init__")]), path


MODULES = dict(modules())


def imports(module, path):
    """Return the names that a module imports at any level; of fedkd's own, the modules."""
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            yield from (
                full if (full := f"{base}.{alias.name}") in MODULES else base
                for alias in node.names
            )


ARROWS = {
    module: {name for name in imports(module, path) if name in MODULES}
    for module, path in MODULES.items()
}


def room(module):
    """Return the room that a module is in: the folder below ``fedkd``, or the loose module."""
    if module == "fedkd.__main__":
        return "cli"
    return module.split(".")[1] if "." in module else "fedkd"


def table():
    """Return the rooms and what each may import, as CONTRIBUTING says, in its order."""
    rows = re.findall(
        r"^\| `(\w+)` \|[^|]+\|([^|]*)\|$", (ROOT / "CONTRIBUTING.md").read_text(), re.M
    )
    return {name: set(allowed.split()) for name, allowed in rows}


def test_imports_follow_the_table_of_rooms():
    found = {name: set() for name in table()}
    for module, names in ARROWS.items():
        if module != "fedkd":  # which imports what it exports when somebody asks for it
            found[room(module)] |= {room(name) for name in names} - {room(module), "fedkd"}
    assert found == table()


def test_arrows_between_rooms_run_one_way():
    before = set()
    for name, allowed in table().items():
        assert allowed <= before, name
        before.add(name)


def test_there_are_no_circles_between_files():
    order = graphlib.TopologicalSorter(
        {module: names - {module} for module, names in ARROWS.items() if module != "fedkd"}
    )
    order.prepare()  # raises, and names a circle


def test_the_house_is_small():
    floors = {}
    for name, allowed in table().items():
        floors[name] = 1 + max((floors[other] for other in allowed), default=0)
    assert len(floors) <= 30
    assert max(floors.values()) <= 10
    loose = list((ROOT / "fedkd").glob("*.py"))
    assert len(loose) <= 12, loose


@pytest.mark.parametrize("module", PUBLIC)
def test_what_plug_ins_import_stays_where_it_is(module):
    found = importlib.import_module(module)
    assert [name for name in PUBLIC[module].split() if not hasattr(found, name)] == []


def test_only_one_room_touches_what_flower_does_not_document():
    private = {"common", "compat", "server", "simulation", "supercore", "superlink", "supernode"}
    for module, path in MODULES.items():
        names = [name.split(".") for name in imports(module, path)]
        found = [n for n in names if n[0] == "flwr" and private & set(n[1:2])]
        assert not found or room(module) in ("flower", "experiments"), (path, found)


def test_import_is_cheap():
    code = "import sys, fedkd; print(sorted({'torch', 'flwr', 'ray', 'numpy'} & set(sys.modules)))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT)
    assert done.stdout.strip() == "[]"
