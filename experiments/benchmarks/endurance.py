"""Does a long run, or a long series of runs, leak? ``make endurance``.

Two parts. One run of many rounds: driver, actors and object store must be flat in memory after
`WARM_UP` rounds, and file descriptors, threads and actors must not become more. Then many runs in
this one process: each must end in the same digest, and what it leaves behind (Ray, and actors that
wait for the next run) must not become more: no process, thread, file descriptor or memory.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console

from ...run.python import simulate
from .gauge import Gauge, Reading, actor_processes, grown, release, slopes

WARM_UP = 20
"""Rounds after which memory must be flat."""

WARM_UP_CALLS = 5
"""Runs in one process after which its memory must be flat."""

LARGEST_SLOPE = 0.01
"""Growth per 100 rounds that is still flat, as a share of the memory."""

LARGEST_GROWTH_PER_CALL = 0.005
"""Growth per run in one process that is still flat, as a share of its memory."""

Positive = Annotated[int, typer.Option(min=1)]


@dataclass(frozen=True)
class Finding:
    """One thing that was measured, and whether it is as it must be."""

    name: str
    value: str
    good: bool


def long_run(rounds: int, clients: int, strategy: str = "knfu") -> list[Reading]:
    """Run on Ray with checkpoints; return readings of every fifth round."""
    gauge = Gauge()
    with TemporaryDirectory(prefix="fedkd-endurance-") as folder:
        where: dict[str, Any] = {"run_dir": str(Path(folder) / "run"), "checkpoint.every": 10}
        simulate(strategy, clients=clients, rounds=rounds, engine="ray", callbacks=[gauge], **where)
    return gauge.readings


def judge_run(
    readings: list[Reading], after: int = WARM_UP, limit: float = LARGEST_SLOPE
) -> list[Finding]:
    """Return what a run's readings say."""
    last, more = readings[-1], grown(readings, after)
    findings = [
        Finding(
            name,
            f"{last.memory[name] / 1e6:.1f} MB, {slope:+.2%} per 100 rounds",
            slope < limit,
        )
        for name, slope in slopes(readings, after).items()
    ]
    for name, count in last.counts.items():
        value = f"{count}, at most {more[name][0]} before" if name in more else str(count)
        findings.append(Finding(name, value, name not in more))
    return findings


@dataclass(frozen=True)
class After:
    """What is left in this process after a run."""

    digest: str
    memory: int
    actors: int
    files: int
    threads: int
    children: int


def many_runs(calls: int, **settings: Any) -> list[After]:
    """Simulate again and again in this process."""
    found, process = [], psutil.Process()
    for _ in range(calls):
        digest = simulate(**settings).summary["digest"]
        release()
        actors = actor_processes()
        memory = process.memory_full_info().uss
        theirs = sum(one.memory_full_info().uss for one in actors)
        counts = (process.num_fds(), process.num_threads(), len(actors))
        found.append(After(digest, memory, theirs, *counts))
    return found


def judge_calls(found: list[After], warm_up: int = WARM_UP_CALLS) -> list[Finding]:
    """Return what many runs in one process say."""
    digests = {one.digest for one in found}
    before, last = found[warm_up - 1], found[-1]
    findings = [Finding("digests", f"{len(digests)} different", len(digests) == 1)]
    for name in ("memory", "actors"):
        then, now = getattr(before, name), getattr(last, name)
        growth = (now / then - 1) / max(1, len(found) - warm_up) if then else 0.0
        value = f"{now / 1e6:.1f} MB, {growth:+.2%} per run"
        findings.append(Finding(name, value, growth < LARGEST_GROWTH_PER_CALL))
    for name in ("files", "threads", "children"):
        then, now = getattr(before, name), getattr(last, name)
        findings.append(Finding(name, f"{now}, {then} before", now <= then))
    return findings


def show(title: str, findings: list[Finding], console: Console) -> bool:
    """Print findings; return whether all are good."""
    console.print(f"[bold]{title}[/]")
    for one in findings:
        mark = "[green]ok[/]" if one.good else "[red]NOT OK[/]"
        console.print(f"  {one.name:14} {one.value}  {mark}", highlight=False, soft_wrap=True)
    return all(one.good for one in findings)


def main(
    rounds: Positive = 300, clients: Positive = 100, calls: Positive = 20, strategy: str = "knfu"
) -> None:
    """Run both parts; the exit code is 1 if something grows that must not."""
    console = Console()
    readings = long_run(rounds, clients, strategy)
    title = f"{strategy}: {rounds} rounds with {clients} clients on Ray"
    good = show(title, judge_run(readings), console)
    for engine in ("ray", "inline"):
        found = many_runs(calls, strategy=strategy, clients=10, rounds=2, engine=engine)
        findings = judge_calls(found)
        good &= show(f"{calls} runs in one process, engine={engine}", findings, console)
    raise typer.Exit(0 if good else 1)


if __name__ == "__main__":
    typer.run(main)
