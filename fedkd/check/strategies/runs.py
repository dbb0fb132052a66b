"""Tiny runs: a hostile client, a run that is resumed, another engine."""

from pathlib import Path
from tempfile import TemporaryDirectory

from ...run.result import RunResult
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
    """Run four rounds; then two, and two more from the checkpoint; not all clients in a round."""
    settings = {"fraction": 0.6, "checkpoint.every": 2}
    whole = subject.run(rounds=4, **settings).summary["digest"]
    with TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        subject.run(rounds=2, run_dir=str(run_dir), **settings)
        parts = subject.resume(run_dir, rounds=4).summary["digest"]
    if parts != whole:
        raise Broken(
            f"four rounds end with {whole[:12]}, two and two more with {parts[:12]}: keep in "
            "self.state what the next round needs"
        )
    return f"2 rounds and 2 more end as 4 do ({whole[:12]})"


def engines(subject: Subject) -> str:
    """Run in this process and on two actors."""
    if not subject.engines:
        raise Skipped("add --engines to run on Ray too")
    inline = subject.run(rounds=2).summary["digest"]
    ray = subject.run(rounds=2, engine={"name": "ray", "actors": 2}).summary["digest"]
    if ray != inline:
        raise Broken(f"inline ends with {inline[:12]}, ray with {ray[:12]}")
    return f"inline and ray end with {inline[:12]}"


def _rows(result: RunResult, metric: str) -> list[tuple[int, int]]:
    """Return round and client where a metric is not 0."""
    rows = [row for row in result.clients.to_pylist() if row["metric"] == metric and row["value"]]
    return sorted((row["round"], row["client"]) for row in rows)


def _spoken(rows: list[tuple[int, int]]) -> str:
    return ", ".join(f"client {client} in round {number}" for number, client in rows) or "nobody"
