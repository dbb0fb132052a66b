"""A finished run in a line, and as a notebook shows it."""

from pathlib import Path
from typing import Any

from markupsafe import Markup
from rich.filesize import decimal

from ..score import Score
from .cell import Cell
from .notebook import card, code, link

BOTH = ("local", "global")


def in_a_line(summary: dict[str, Any], score: Score) -> str:
    """Return what was run, and what came out.

    Examples
    --------
    >>> from ..score import ALMA
    >>> known = {f"score_{name}": {"last": 0.5, "std": 0.1} for name in BOTH}
    >>> in_a_line({"strategy": "knfu", "data": "digits", "clients": 4, "rounds": 1} | known, ALMA)
    'knfu on digits: 4 clients, 1 round, ALMA local 50.0 %, global 50.0 %'
    """
    local, overall = (_last(summary, name, score) for name in BOTH)
    return f"{_title(summary)}: {_size(summary)}, {score.title('local')} {local}, global {overall}"


def run_card(run_dir: Path, summary: dict[str, Any], score: Score, passing: bool = False) -> str:
    """Return the HTML of a run: its headline, its digest, and where it is.

    Parameters
    ----------
    run_dir : Path
        Where it is.
    summary : dict
        The content of ``summary.json``.
    score : Score
        What its task is measured by.
    passing : bool
        Whether its directory lives only as long as its result.
    """
    heads = [*(score.title(name) + score.unit for name in BOTH), "rounds", "up", "down", "seconds"]
    cells = [_scored(summary, name, score) for name in BOTH]
    cells += [Cell(str(summary["rounds"]))]
    cells += [Cell(decimal(summary[f"bytes_{way}"])) for way in ("up", "down")]
    cells += [
        Cell(f"{summary['seconds']['total']:.1f}"),
        Cell(summary.get("digest", "unfinished")[:16]),
    ]
    about = f"{summary['clients']} clients, seed {summary['seed']}, engine {summary['engine']}"
    place = Markup("run directory: {}{}").format(
        code(run_dir), " (temporary: it lives as long as this result)" if passing else ""
    )
    spread = "± std over clients; dim: best round"
    lines = [spread, *_doubts(summary), place, report_line(run_dir, "fedkd report")]
    return card(_title(summary), about, [*heads, "digest"], [cells], *lines)


def report_line(folder: Path, command: str) -> Markup:
    """Return where a report is, or what makes it."""
    report = folder / "report.html"
    if report.is_file():
        return Markup("report: {}").format(link(report))
    return Markup("report: {} makes it").format(code(f"{command} {folder}"))


def _title(summary: dict[str, Any]) -> str:
    return f"{summary['strategy']} on {Path(summary['data']).name}"


def _size(summary: dict[str, Any]) -> str:
    rounds = summary["rounds"]
    return f"{summary['clients']} clients, {rounds} round{'s' * (rounds != 1)}"


def _last(summary: dict[str, Any], name: str, score: Score) -> str:
    last = summary[f"score_{name}"]["last"]
    return "not evaluated" if last is None else score.text(last) + score.unit


def _scored(summary: dict[str, Any], name: str, score: Score) -> Cell:
    values = summary[f"score_{name}"]
    if values["last"] is None:
        return Cell("not evaluated")
    last, std, best = (score.text(values[each]) for each in ("last", "std", "best"))
    return Cell(f"{last} ± {std}", best)


def _doubts(summary: dict[str, Any]) -> list[str]:
    """Return what is not as it should be."""
    clients, lines = summary["clients"], []
    if summary["diverged"]:
        lines.append(f"diverged: {summary['diverged']} of {clients} clients (models not finite)")
    if summary["rejected"]:
        lines.append(f"{summary['rejected']} replies rejected: see log.txt")
    return lines
