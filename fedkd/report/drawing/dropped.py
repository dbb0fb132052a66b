"""Who was dropped from a run, or diverged: when, and why."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...config.saved import readable
from ...rundir.rejections import reasons
from ..reader import Run
from ..remarks import shown
from .drawn import Drawn
from .style import GROUPS, INK, WIDTH, canvas, legend_below, styled

KINDS = {
    "dropped_out": "dropped out",
    "late": "late",
    "crashed": "crashed",
    "rejected": "reply not admitted",
    "diverged": "diverged",
}
"""Metrics of ``clients.parquet`` that tell of one, and what they are called. A reply that was
lost to a fault is not also called rejected."""

MARKS = dict(zip(KINDS, ("x", "^", "P", "s", "D"), strict=True))
COLOURS = dict(zip(KINDS, (INK, GROUPS[0], GROUPS[5], GROUPS[1], GROUPS[3]), strict=True))

NAMED = 30
"""Clients up to which the figure has a line for each who was dropped, and none for others."""

PIXELS = 3000
"""Marks of a kind beyond which they are pixels: as shapes they would make the page large."""

ROWS = 12
"""Reasons that the table has room for."""

HEADINGS = ("what", "why", "clients", "times", "rounds")

NOT_FINITE = "model or predictions are not finite"


@dataclass(frozen=True)
class Event:
    """A client dropped in a round, or diverged; ``kind`` is a key of `KINDS`."""

    round: int
    client: int
    kind: str
    reason: str


def events(run: Run) -> list[Event]:
    """Return who was dropped or diverged, in the order of rounds and clients; empty if nobody.

    Clients that were not drawn for a round are not dropped. Who has diverged is it in every round
    until its model is finite again.
    """
    names = run.clients["metric"].cast(pa.string())
    rows = run.clients.filter(pc.is_in(names, pa.array([*KINDS]))).to_pylist()
    found = {(row["round"], row["client"], row["metric"]) for row in rows if row["value"]}
    if not found:
        return []
    with readable("run", run.path / "log.txt"):
        why = reasons(run.path)
    result = []
    for number, client, kind in sorted(found):
        faults = {other for other in KINDS if (number, client, other) in found}
        if kind == "rejected" and faults - {"rejected", "diverged"}:
            continue
        reason = NOT_FINITE if kind == "diverged" else why.get((number, client), "not recorded")
        result.append(Event(number, client, kind, plain(reason)))
    return result


def plain(reason: str) -> str:
    """Return a reason without what is of one client and round only, so that like ones are one.

    Examples
    --------
    >>> plain("late (simulated): 20.02 s, deadline 15.23 s")
    'late (simulated)'
    >>> plain("client 0, round 3, train.fit: crash (simulated)")
    'train.fit: crash (simulated)'
    """
    known = re.sub(r"^client \d+, round \d+, ", "", reason)
    return re.sub(r"( \(simulated\)): .*", r"\1", known)


def table(found: Sequence[Event]) -> list[Sequence[str]]:
    """Return `HEADINGS` and a row for each kind and reason, the most frequent first.

    What is beyond `ROWS` is counted in a last row. Empty where nothing happened.
    """
    if not found:
        return []
    every: dict[tuple[str, str], list[Event]] = {}
    for event in found:
        every.setdefault((event.kind, event.reason), []).append(event)
    ordered = sorted(every.items(), key=lambda item: -len(item[1]))
    rows = [[KINDS[kind], reason[:200], *_counts(some)] for (kind, reason), some in ordered[:ROWS]]
    rest = [event for _, some in ordered[ROWS:] for event in some]
    if rest:
        rows.append(["other", f"{len(ordered) - ROWS} more reasons", *_counts(rest)])
    return [HEADINGS, *rows]


def _counts(found: Sequence[Event]) -> list[str]:
    clients = sorted({event.client for event in found})
    rounds = [event.round for event in found]
    first, last = min(rounds), max(rounds)
    span = str(first) if first == last else f"{first} to {last}"
    return [shown([*map(str, clients)], ", "), str(len(found)), span]


def drawn(run: Run) -> Iterator[Drawn]:
    """Yield the figure of who was dropped when, or diverged, if anybody did."""
    found = events(run)
    if found:
        skipped = rounds_skipped(run)
        caption = (
            "Who was dropped in which round, or diverged. A client that was not drawn is not shown."
        )
        caption += " Grey: too few were left, the round was skipped." * bool(skipped)
        yield Drawn(dropped_figure(run, found), caption, _told(run, found, skipped))


def rounds_skipped(run: Run) -> list[int]:
    """Return the rounds that changed nothing because too few clients were left."""
    return [int(number) for number in run.column("round")[run.column("skipped") == 1]]


def _told(run: Run, found: Sequence[Event], skipped: Sequence[int]) -> str:
    told = []
    for kind, name in KINDS.items():
        some = [event for event in found if event.kind == kind]
        if some:
            clients = _number(len({event.client for event in some}), "client")
            told.append(f"{name}: {_number(len(some), 'time')}, {clients}")
    more = f" Skipped: {_number(len(skipped), 'round')}." if skipped else ""
    return f"In {_number(run.rounds.num_rows, 'round')}, {'; '.join(told)}.{more}"


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count > 1)}"


@styled
def dropped_figure(run: Run, found: Sequence[Event]) -> Figure:
    """Draw a mark for each event: round against client, its shape and colour the kind."""
    clients = sorted({event.client for event in found})
    few = len(clients) <= NAMED
    line = {client: place if few else client for place, client in enumerate(clients)}
    height = 1.5 + 0.2 * len(clients) if few else 5.0
    figure, (axes,) = canvas(WIDTH, max(2.2, height))
    for number in rounds_skipped(run):
        axes.axvspan(number - 0.5, number + 0.5, color=INK, alpha=0.12, lw=0)
    for kind, name in KINDS.items():
        some = [event for event in found if event.kind == kind]
        if some:
            at = [event.round for event in some], [line[event.client] for event in some]
            size: Any = {"ms": 5.5 if few else 3, "mew": 1.3 if kind == "dropped_out" else 0}
            marks = axes.plot(
                *at, label=name, marker=MARKS[kind], color=COLOURS[kind], ls="", **size
            )
            marks[0].set_rasterized(len(some) > PIXELS)
    rounds = run.column("round")
    axes.set(xlabel="round", ylabel="client", xlim=(rounds.min() - 0.6, rounds.max() + 0.6))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if few:
        axes.set_yticks(range(len(clients)), [str(client) for client in clients], fontsize=8)
        axes.set_ylim(len(clients) - 0.4, -0.6)
    else:
        axes.set_ylim(int(run.summary["clients"]) - 0.5, -0.5)
    legend_below(figure, axes)
    return figure
