"""Tiny runs: a hostile client, a run that is resumed."""

from ...run.result import RunResult
from ..common import resumed
from ..promises import Broken, Skipped
from .subject import Subject

HOSTILE = "fedkd.clients.attacks.broken:NotANumber"


def hostile(subject: Subject) -> str:
    """Run with one of five clients replying with NaN."""
    if subject.make().exchange is None:
        raise Skipped("the method exchanges nothing")
    result = subject.run(rounds=2, attack={"name": HOSTILE, "fraction": 0.2})
    sent, lost = _rows(result, "spoilt"), _rows(result, "rejected")
    if sent != lost or not sent:
        raise Broken(f"NaN sent: {_spoken(sent)}; rejected: {_spoken(lost)}")
    return f"rejected: {_spoken(sent)}"


def resumes(subject: Subject) -> str:
    """Run four rounds; then the last two again, from the checkpoint; not all clients in a round."""
    return resumed(subject, "keep in self.state what the next round needs")


def _rows(result: RunResult, metric: str) -> list[tuple[int, int]]:
    """Return round and client where a metric is not 0."""
    rows = [row for row in result.clients.to_pylist() if row["metric"] == metric and row["value"]]
    return sorted((row["round"], row["client"]) for row in rows)


def _spoken(rows: list[tuple[int, int]]) -> str:
    return ", ".join(f"client {client} in round {number}" for number, client in rows) or "nobody"
