"""The pages of the API: one a room, its public modules in the order of their names."""

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

ROOMS = {
    "fedkd": "What `import fedkd` offers.",
    "strategies": "One file a fusion method: citation and formula, then the class.",
    "clients": "What runs at a client: the app, the training loop.",
    "clients.exchange": "A method's half at the client: what is uploaded, what a teacher is for.",
    "clients.samplers": "Active learning: which samples to label.",
    "clients.oracles": "Active learning: who labels them.",
    "clients.privacy": "Protections.",
    "clients.attacks": "Hostile clients, which spoil the fusion of a run under way.",
    "leakage": "Attacks on the privacy of a recorded run.",
    "codecs": "Making what travels smaller.",
    "distillation": "Objectives of the clients that learn from a teacher.",
    "distillation.guards": "What clients learn of a teacher, and what not.",
    "models": "The zoo; parameters as vectors, features.",
    "knowledge": "What travels: stacks and teachers, and what the server admits of it.",
    "maths": "Tensor functions that several methods share.",
    "privacy": "Mechanisms, accountants, scores and bounds: maths only.",
    "rounds": "The loop; what a strategy is to it.",
    "tasks": "What samples mean: loss, predictions, metrics.",
    "data": "Data sets, partitions, the transfer set.",
    "callbacks": "Observers of a run.",
    "report": "Reading, comparing and drawing run directories.",
    "run": "From a configuration to a result.",
    "run.study": "A study: many runs, from a definition to a comparison.",
    "engine.warm": "What outlives a run, until `fedkd.shutdown`.",
    "errors": "What is raised.",
    "rng": "The run's random streams.",
}
"""Those that people who write plug-ins look at, and what is in them."""

_TOP = ("strategies", "clients", "experiments")


def link(root: Path) -> None:
    """Link the packages where griffe finds them: it does not read the mapping in setup.cfg."""
    farm = root / "build/docs/fedkd"
    farm.mkdir(parents=True, exist_ok=True)
    wanted = {path.name: path for path in (root / "fedkd").iterdir()}
    wanted |= {name: root / name for name in _TOP}
    for old in farm.iterdir():
        old.unlink()
    for name, path in wanted.items():
        (farm / name).symlink_to(path)


def page(room: str) -> str:
    """Return the page of a room."""
    package = "fedkd" if room == "fedkd" else f"fedkd.{room}"
    head = f"# {package}\n\n{ROOMS[room]}\n\n"
    if room == "fedkd":
        return head + "\n".join(_exported())
    return head + "\n".join(f"::: {name}\n" for name in _modules(package))


def _exported() -> Iterator[str]:
    """Yield a line for each name that people import; it leads to where that is described."""
    for name in import_module("fedkd").__all__:
        found = getattr(import_module("fedkd"), name)
        about = (inspect.getdoc(found) or "").partition("\n")[0]
        yield f"- [`fedkd.{name}`][{found.__module__}.{name}]: {about}"


def _modules(package: str) -> list[str]:
    path = getattr(import_module(package), "__path__", None)
    if path is None:
        return [package]
    found = pkgutil.iter_modules(path)
    return [f"{package}.{each.name}" for each in found if not each.ispkg and each.name[0] != "_"]
