"""The tables of ``fedkd list``: everything that can be chosen by name, and every key."""

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..config import settings as config
from ..errors import ConfigError
from ..plugins import REQUIRED, available, describe

Row = tuple[str, str, str]
"""Name, what it is, its parameters with defaults."""


def show(what: str, console: Console) -> None:
    """Print one of `KINDS`.

    Raises
    ------
    ConfigError
        If `what` is not one of them.
    """
    if what not in KINDS:
        raise ConfigError("list", what, "cannot be listed", KINDS)
    rows = list(KINDS[what]())
    titles = ["name", "what it is", "parameters"]
    if what == "keys":
        titles = ["key", "meaning", "type and default"]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(titles[0], style="bold", no_wrap=True)
    table.add_column(titles[1])
    if any(parameters for _, _, parameters in rows):
        table.add_column(titles[2], style="cyan")
    for row in rows:
        table.add_row(*[escape(cell) for cell in list(row)[: len(table.columns)]])
    console.print(table)
    if what in _PLUG_IN:
        console.print(f"\nYour own: {escape(_PLUG_IN[what])}", style="dim")


def _room(room: str, base: type, hidden: tuple[str, ...] = ()) -> Iterator[Row]:
    for name, cls in available(room, base).items():
        yield _described(name, cls, hidden)


def _described(name: str, cls: Any, hidden: tuple[str, ...] = ()) -> Row:
    line, found = describe(cls)
    shown = [
        key if default is REQUIRED else f"{key}={_text(default)}"
        for key, default in found
        if key not in hidden
    ]
    return name, line, ", ".join(shown)


def _text(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _strategies() -> Iterator[Row]:
    from ..rounds.protocol import Strategy

    return _room("strategies", Strategy)


def _objectives() -> Iterator[Row]:
    from ..distillation import Objective

    return _room("distillation", Objective)


def _clients() -> Iterator[Row]:
    from ..clients import ClientLoop

    return _room("clients", ClientLoop, hidden=ClientLoop.from_run)


def _attacks() -> Iterator[Row]:
    from ..clients.attacks import Attack

    return _room("clients.attacks", Attack, hidden=Attack.from_run)


def _privacy_attacks() -> Iterator[Row]:
    from ..leakage import PrivacyAttack

    return _room("leakage", PrivacyAttack)


def _codecs() -> Iterator[Row]:
    from ..codecs import Codec

    return _room("codecs", Codec)


def _privacy() -> Iterator[Row]:
    from ..clients.privacy import Mechanism
    from ..privacy.budget import Budget

    yield from _room("clients.privacy", Mechanism)
    name, _, keys = _described("(all)", Budget)
    yield name, "Keys of the run, whatever the mechanisms.", keys


def _samplers() -> Iterator[Row]:
    from ..clients.samplers import Sampler

    return _room("clients.samplers", Sampler)


def _oracles() -> Iterator[Row]:
    from ..clients.oracles import Oracle

    return _room("clients.oracles", Oracle, hidden=Oracle.from_run)


def _models() -> Iterator[Row]:
    from ..models import ZOO

    return (_described(name, cls, ("shape", "classes")) for name, cls in ZOO.items())


def _data() -> Iterator[Row]:
    from ..data.sources import CATALOGUE, HUB

    for name in CATALOGUE:
        hub = f"huggingface.co/datasets/{HUB[name]}" if name in HUB else ""
        yield name, hub or "scikit-learn's 8 x 8 digits, no download", ""


def _engines() -> Iterator[Row]:
    from ..engine import engine_class

    for name in config._ONE_OF["engine.name"]:
        yield name, describe(engine_class(name))[0], ""


def _partitioners() -> Iterator[Row]:
    import flwr_datasets.partitioner as flower

    from ..data import SHORT_NAMES

    known = ("num_partitions", "partition_by", "seed")  # the run fills these in
    automatic = "iid if data.alpha is null, else dirichlet (of equal sizes where they are given)"
    for name, cls in SHORT_NAMES.items():
        yield _described(name, cls, known) if cls else (name, automatic, "")
    for name in sorted(flower.__all__):
        cls = getattr(flower, name)
        if cls not in SHORT_NAMES.values() and not inspect.isabstract(cls):
            yield _described(f"_target_=flwr_datasets.partitioner.{name}", cls, known)


def _experiments() -> Iterator[Row]:
    from ..config.overrides import presets

    for name, path in presets().items():
        yield name, _comment(path), ""


def _comment(path: Path) -> str:
    lines = [line[1:].strip() for line in path.read_text().splitlines() if line.startswith("#")]
    return next((line for line in lines if not line.startswith("@")), "")


def _keys() -> Iterator[Row]:
    """Yield every key with the docstring under its field, which only the source has."""
    tree = ast.parse(inspect.getsource(config))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    defaults = config.flatten(config.RunConfig())

    def walk(cls: ast.ClassDef, prefix: str) -> Iterator[Row]:
        for field, below in zip(cls.body, [*cls.body[1:], None], strict=True):
            if not isinstance(field, ast.AnnAssign):
                continue
            key, kind = prefix + ast.unparse(field.target), ast.unparse(field.annotation)
            if kind in classes:
                yield from walk(classes[kind], f"{key}.")
                continue
            doc = below.value if isinstance(below, ast.Expr) else None
            words = str(doc.value) if isinstance(doc, ast.Constant) else ""
            default = defaults[key]
            if isinstance(default, dict):
                key, kind, default = f"{key}, {key}.*", "name", default["name"]
            yield key, words, f"{kind.replace('None', 'null')} = {_text(default)}"

    return walk(classes["RunConfig"], "")


KINDS: dict[str, Callable[[], Iterator[Row]]] = {
    "strategies": _strategies,
    "objectives": _objectives,
    "models": _models,
    "data": _data,
    "clients": _clients,
    "attacks": _attacks,
    "privacy_attacks": _privacy_attacks,
    "codecs": _codecs,
    "privacy": _privacy,
    "samplers": _samplers,
    "oracles": _oracles,
    "engines": _engines,
    "partitioners": _partitioners,
    "experiments": _experiments,
    "keys": _keys,
}
"""What `show` can print."""
_PLUG_IN = {
    "strategies": "strategy=FILE.py:Class or strategy=package.module:Class",
    "objectives": "objective=FILE.py:Class or objective=package.module:Class",
    "models": "model=FILE.py:Class, or a list of models, dealt to the clients in turn",
    "data": "data=FOLDER with Parquet files as on the Hugging Face hub",
    "clients": "client=FILE.py:Class or client=package.module:Class",
    "attacks": "attack=FILE.py:Class or attack=package.module:Class",
    "privacy_attacks": "fedkd attack RUN_DIR --attack FILE.py:Class",
    "codecs": "compress=FILE.py:Class or compress=package.module:Class",
    "privacy": "privacy=FILE.py:Class or privacy=package.module:Class, or a list of mechanisms",
    "samplers": "sampler=FILE.py:Class or sampler=package.module:Class",
    "oracles": "oracle=FILE.py:Class or oracle=package.module:Class",
    "partitioners": "data.partitioner._target_=package.module.Class",
}
