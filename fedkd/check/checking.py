"""What ``fedkd check`` does: hold a plug-in to what the rest of fedkd relies on."""

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from ..clients.samplers import Sampler
from ..config import RunConfig
from ..config.overrides import compose, merge
from ..plugins import available, create, load_object, resolve
from ..rounds.protocol import Strategy
from ..run.preparing import Objects, prepare_run
from ..run.result import RunResult
from ..run.runner import run
from ..strategies.flower_adapter import adapt
from . import samplers as sampling
from .promises import Promise, Verdict, checked
from .samplers import SamplerSubject
from .strategies import SUITE, Subject
from .strategies.subject import Setting

TINY: dict[str, Any] = {
    "clients": 5,
    "engine": "inline",
    "data.samples_per_client": 20,
    "transfer.size": 60,
    "fit.epochs": 1,
    "evaluate.every": 100,  # so only in the last round
}
"""Settings of the runs that a check makes; overrides come before them."""

SETTING: dict[str, Any] = {"clients": 7, "data.samples_per_client": 20, "transfer.size": 1000}
"""The run that is prepared, and never begins, for what concerns fusion alone."""

MARKS = {True: ("✓", "ok", "green"), False: ("✗", "NO", "bold red"), None: ("-", "-", "dim")}


def subject_of(target: str, overrides: Sequence[str] = (), **options: Any) -> Subject:
    """Return what is to be checked.

    Parameters
    ----------
    target : str
        A strategy: a short name, ``FILE.py:Class`` or ``package.module:Class``.
    overrides : sequence of str
        ``KEY=VALUE`` as for ``fedkd run``: its parameters, another model.
    **options
        See `Subject`.

    Raises
    ------
    ConfigError
        If there is no such class, or an override cannot be used.
    """
    config = compose([f"strategy={target}", *overrides])
    kind = resolve(target, "strategies", Strategy, adapt=adapt)
    if getattr(kind, "needs_labels", False):
        config = merge(config, **{"transfer.labelled": True})

    def make() -> Strategy:
        strategy: Strategy = create(config.strategy, "strategies", Strategy, "strategy", adapt)
        return strategy

    def tiny(strategy: Strategy | None = None, **settings: Any) -> RunResult:
        own = Objects(strategy=strategy)
        return run(merge(config, **TINY | settings), objects=own, report=False)

    return Subject(target, make, lambda: _setting(config), tiny, _resume, **options)


ACTIVE: dict[str, Any] = {
    "strategy": {"name": "kafal", "rounds_per_cycle": 2, "budget": 0.1, "initial": 0.2},
    "data.samples_per_client": 30,
}
"""Settings of the runs that check a sampler."""


def is_sampler(target: str) -> bool:
    """Say whether a plug-in is a sampler rather than a strategy."""
    if ":" in target or target.endswith(".py"):
        found = load_object(target, "plug-in")
        return isinstance(found, type) and issubclass(found, Sampler)
    return target in available("clients.samplers", Sampler)


def sampler_subject(target: str, overrides: Sequence[str] = (), **options: Any) -> SamplerSubject:
    """Return a sampler that is to be checked; parameters as for `subject_of`."""
    config = merge(compose([f"sampler={target}", *overrides]), **ACTIVE)

    def make() -> Sampler:
        sampler: Sampler = create(config.sampler, "clients.samplers", Sampler, "sampler")
        return sampler

    def tiny(**settings: Any) -> RunResult:
        own = {key: value for key, value in TINY.items() if key not in ACTIVE}
        return run(merge(config, **own | settings), report=False)

    resolve(target, "clients.samplers", Sampler, "sampler")
    return SamplerSubject(target, make, tiny, _resume, **options)


def check(target: str, overrides: Sequence[str], engines: bool, console: Console) -> None:
    """Print a verdict a line; exit with 1 if a promise is broken.

    Raises
    ------
    ConfigError
        If there is no such class.
    """
    began = time.perf_counter()
    subject: Any
    suite: tuple[Promise, ...]
    if is_sampler(target):
        subject, suite = sampler_subject(target, overrides, engines=engines), sampling.SUITE
    else:
        subject, suite = subject_of(target, overrides, engines=engines), SUITE
    console.print(f"[bold]{target}[/]")
    verdicts = []
    for verdict in checked(subject, suite):
        console.print(line(verdict, console.encoding), soft_wrap=True)
        verdicts.append(verdict)
    held = [sum(verdict.held is value for verdict in verdicts) for value in (True, False, None)]
    words = [f"{n} {word}" for n, word in zip(held, ("hold", "broken", "skipped"), strict=True)]
    seconds = time.perf_counter() - began
    console.print(f"{', '.join(words)}, {seconds:.1f} s", style="bold red" if held[1] else "bold")
    if held[1]:
        raise typer.Exit(1)


def line(verdict: Verdict, encoding: str = "utf-8") -> Text:
    """Return a verdict as one line.

    Examples
    --------
    >>> pure = Promise("pure", "fuses without side effects", lambda subject: "")
    >>> str(line(Verdict(pure, False, "fuse() changes its input: values")))
    '✗ pure           fuses without side effects: fuse() changes its input: values'
    """
    sign, word, style = MARKS[verdict.held]
    mark = sign if encoding.lower().startswith("utf") else word
    text = Text(f"{mark} ", style)
    text.append(f"{verdict.promise.name:<14}", "bold" if verdict.held is False else "not bold")
    text.append(f" {verdict.promise.claim}", "not bold")
    remark = f": {verdict.remark}" if verdict.remark else ""
    text.append(remark, "not bold" if verdict.held is False else "not bold dim")
    return text


def _setting(config: RunConfig) -> Setting:
    """Prepare a run as far as the server's means."""
    with TemporaryDirectory() as scratch:
        ready = prepare_run(merge(config, **SETTING), Path(scratch), Objects())
    return Setting(ready.server, ready.expect, ready.config)


def _resume(run_dir: Path, **settings: Any) -> RunResult:
    return run(merge(compose([f"resume={run_dir}"]), **settings), report=False)
