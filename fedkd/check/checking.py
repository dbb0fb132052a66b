"""What ``fedkd check`` does: hold a plug-in to what the rest of fedkd relies on."""

import time
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from ..config import RunConfig
from ..config.overrides import compose, merge
from ..errors import ConfigError
from ..plugins.table import SEAMS, Seam, seams_of
from ..rounds.protocol import Strategy
from ..run.objects import Objects
from ..run.preparing import prepare_run
from ..run.result import RunResult
from ..run.runner import run
from .plugged import brief
from .plugged import tiny as _tiny
from .promises import Promise, Verdict, checked
from .strategies import Subject
from .strategies.subject import Setting

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
    given, cls = config.strategy, SEAMS["strategies"].resolve(target)
    config = merge(config, strategy=brief(cls) | given)
    if getattr(cls, "needs_labels", False):
        config = merge(config, **{"transfer.labelled": True})

    def usual() -> Strategy:
        strategy: Strategy = SEAMS["strategies"].create(given)
        return strategy

    def make() -> Strategy:
        strategy: Strategy = SEAMS["strategies"].create(config.strategy)
        return strategy

    def tiny(strategy: Strategy | None = None, **settings: Any) -> RunResult:
        own, whole = Objects(strategy=strategy), _tiny(overrides) | settings
        if "fit.epochs" in whole:
            whole["fit.epochs"] = max(whole["fit.epochs"], make().least_epochs)
        return run(merge(config, **whole), objects=own, report=False)

    return Subject(target, usual, make, lambda: _setting(config), tiny, _resume, **options)


def subject_for(
    seam: Seam, target: str, overrides: Sequence[str] = (), **options: Any
) -> tuple[Any, tuple[Promise, ...]]:
    """Return a plug-in that is to be checked, and what it promises.

    Parameters
    ----------
    seam : Seam
        What it is.
    target : str
        A short name, ``FILE.py:Class`` or ``package.module:Class``.
    overrides : sequence of str
        ``KEY=VALUE`` as for ``fedkd run``.
    **options
        Such as ``engines``.

    Raises
    ------
    ConfigError
        If an override names another plug-in of that kind.
    """
    for key, _, value in (text.partition("=") for text in overrides):
        if key.lstrip("+").removesuffix(".name") == seam.key:
            raise ConfigError(seam.key, value, f"what is checked is {target}; leave it out")
    room = import_module(f"{__package__}.{seam.check}")
    make = SUBJECTS.get(seam.name) or partial(room.subject, seam)
    return make(target, overrides, **options), room.SUITE


SUBJECTS = {"strategies": subject_of}
"""What makes the subjects that are of a kind of their own."""


def check(target: str, overrides: Sequence[str], engines: bool, console: Console) -> None:
    """Print a verdict a line; exit with 1 if a promise is broken.

    Raises
    ------
    ConfigError
        If there is no such class, or it refuses what was given.
    """
    judged = [_judged(seam, target, overrides, engines, console) for seam in seams_of(target)]
    if not all(judged):
        raise typer.Exit(1)


def _judged(
    seam: Seam, target: str, overrides: Sequence[str], engines: bool, console: Console
) -> bool:
    """Print what came of a plug-in's promises; say whether none is broken."""
    began = time.perf_counter()
    subject, suite = subject_for(seam, target, overrides, engines=engines)
    console.print(f"[bold]{escape(target)}[/] [dim]({seam.name})[/]")
    verdicts = []
    given = [text.partition("=")[0].lstrip("+") for text in overrides]
    for verdict in checked(subject, suite, given):
        console.print(line(verdict, console.encoding), soft_wrap=not console.is_terminal)
        verdicts.append(verdict)
    held = [sum(verdict.held is value for verdict in verdicts) for value in (True, False, None)]
    words = [f"{n} {word}" for n, word in zip(held, ("hold", "broken", "skipped"), strict=True)]
    seconds = time.perf_counter() - began
    console.print(f"{', '.join(words)}, {seconds:.1f} s", style="bold red" if held[1] else "bold")
    return not held[1]


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
