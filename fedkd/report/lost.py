"""Who fell out of runs: clients whose models diverged, or whose replies were rejected."""

from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from .reader import Run
from .statistics import Group

HEADINGS = ("run", "seed", "clients", "which", "rounds")

NAMED = 20
"""Clients that a row names; of more it has the number."""


def lost(groups: Sequence[Group]) -> list[list[str]]:
    """Return a row under `HEADINGS` for each run and misfortune; none where all went well."""
    return [
        [group.label, str(run.config["seed"]), *row]
        for group in groups
        for run in group.runs
        for row in _rows(run)
    ]


def _rows(run: Run) -> Iterator[list[str]]:
    """Yield what has become of a run's clients: how many of all, which, and when."""
    last = int(pc.max(run.rounds["round"]).as_py() or 0)
    diverged = _marks(run, "diverged")
    still = sorted(client for number, client in diverged if number == last)
    if still:
        rounds = sorted({number for number, client in diverged if client in still})
        yield [f"{_count(still, run)} diverged", _names(still), _span(rounds)]
    rejected = _marks(run, "rejected")
    if rejected:
        times = Counter(client for _, client in rejected)
        names = [
            f"{client} ({n} times)" if n > 1 else str(client) for client, n in sorted(times.items())
        ]
        rounds = sorted({number for number, _ in rejected})
        yield [f"{_count(times, run)} with replies rejected", _names(names), _span(rounds)]


def _marks(run: Run, metric: str) -> list[tuple[int, int]]:
    """Return round and client of the rows that say so."""
    rows = run.clients.filter(pc.equal(run.clients["metric"].cast(pa.string()), metric))
    return list(zip(rows["round"].to_pylist(), rows["client"].to_pylist(), strict=True))


def _count(clients: Sequence[int] | Counter[int], run: Run) -> str:
    return f"{len(clients)} of {run.summary['clients']}"


def _names(clients: Sequence[object]) -> str:
    more = f" and {len(clients) - NAMED} more" * (len(clients) > NAMED)
    return ", ".join(map(str, clients[:NAMED])) + more


def _span(rounds: Sequence[int]) -> str:
    """Return the rounds in which something was.

    Examples
    --------
    >>> _span([2]), _span([2, 5, 6])
    ('2', '3 from 2 to 6')
    """
    return str(rounds[0]) if len(rounds) == 1 else f"{len(rounds)} from {rounds[0]} to {rounds[-1]}"
