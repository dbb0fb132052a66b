"""What ``fedkd attack`` does: attack runs, print one table, draw the reports anew."""

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..callbacks.progress import duration
from ..config.grammar import read_value
from ..errors import ConfigError, FedkdError
from ..report import render
from ..report.findings import Row, found, rows
from ..report.reader import find_runs, load_runs
from ..report.statistics import group_runs
from .running import attack, make, short_name

QUIET_SECONDS = 5.0
"""What an attack may take before it says how far it is."""


def attack_runs(given: Sequence[str], name: str, console: Console) -> None:
    """Attack every run that `given` names, and print what was found, seeds averaged.

    A run that cannot be attacked does not stop the others; the command then ends with its exit
    code.

    Parameters
    ----------
    given : sequence of str
        Run directories, or folders of them, ``KEY=VALUE`` of the attack, and ``trust=true``.
    name : str
        The attack.
    console : Console
        Where to print.

    Raises
    ------
    ConfigError
        If a folder holds no run; if there is one run only, why it cannot be attacked.
    """
    folders, parameters = split(given)
    trust = parameters.pop("trust", False)
    if not isinstance(trust, bool):
        raise ConfigError("trust", trust, "must be true or false")
    if not folders:
        raise ConfigError("run", "", "give at least one run directory")
    made = make(name, parameters)  # a mistake in them is no run's
    fewer = "; less with fewer shadows" if getattr(made, "shadows", 0) else ""
    paths = find_runs(folders)
    attacked, codes = [], []
    for path in paths:
        try:
            attack(path, name, trust=trust, tell=_Telling(path.name, fewer), **parameters)
            attacked.append(path)
        except FedkdError as error:
            if len(paths) == 1:
                raise
            typer.echo(f"error: {error}", err=True)
            codes.append(error.exit_code)
    if attacked:
        _show(attacked, short_name(name), console)
    if codes:
        typer.echo(f"error: {len(codes)} of {len(paths)} runs could not be attacked", err=True)
        raise typer.Exit(max(codes))


class _Telling:
    """Says every few seconds how far an attack is, and about how long it still takes."""

    def __init__(self, name: str, fewer: str) -> None:
        self.name, self.fewer = name, fewer
        self.started = self.said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self.said < QUIET_SECONDS:
            return
        self.said = now
        left = duration((now - self.started) / done * (total - done))
        far = f"{done} of about {total} models trained, left {left}"
        typer.echo(f"{self.name}: {far}{self.fewer}", err=True)


def split(given: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Return folders, and the attack's parameters.

    Examples
    --------
    >>> split(["runs/a", "shadows=4"])
    (['runs/a'], {'shadows': 4})
    """
    folders: list[str] = []
    parameters: dict[str, Any] = {}
    for text in given:
        match = re.fullmatch(r"(\w+)=(.*)", text, re.DOTALL)
        if match is None or Path(text).is_dir():
            folders.append(text)
        else:
            parameters[match[1]] = read_value(match[1], match[2])
    return folders, parameters


def _show(paths: list[Path], name: str, console: Console) -> None:
    """Print the table, the notes and where to look."""
    groups = group_runs(load_runs(paths))
    console.print(_table(rows(groups, name)))
    findings = [found(run, name) for group in groups for run in group.runs]
    known = [one for one in findings if one]
    console.print(f"[bold]access[/]  {escape(known[0]['access'])}", soft_wrap=True)
    for note in dict.fromkeys(note for one in known for note in one["notes"]):
        console.print(f"[dim]{escape(note)}[/]", soft_wrap=True)
    for path in paths:
        page = render([path])
        console.print(f"[bold]report[/]  {escape(str(page))}", soft_wrap=True)


def _table(shown: list[Row]) -> Table:
    """Return a table with the columns that have something to say."""
    several = len({row.label for row in shown}) > 1
    names = list(dict.fromkeys(key for row in shown for key in row.cells))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in (["run"] if several else []) + ["variant"]:
        table.add_column(title, overflow="fold")
    for title in names:
        table.add_column(title, justify="right", no_wrap=True)
    for row in shown:
        cells = ([row.label] if several else []) + [row.variant]
        cells += [row.cells.get(key, "") for key in names]
        table.add_row(*(escape(cell) for cell in cells))
    return table
