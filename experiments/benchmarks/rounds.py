"""Seconds per round of several systems, as ratios to a plain loop: ``make bench``."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from ...errors import ConfigError, FedkdError
from .corpora import mnist, synthetic, write_tensors
from .facts import machine
from .measure import Measurement, measure
from .printing import show
from .results import document
from .works import LOOP, SYSTEMS, WORKS, Job, Size

Positive = Annotated[int, typer.Option(min=1)]
CACHE = "FEDKD_CACHE_DIR"
MEMORY_ROUNDS = 2
"""Steady rounds of a job whose memory is watched."""


def jobs(
    works: Sequence[str], systems: Sequence[str], template: Job, repeats: int = 1
) -> Iterator[Job]:
    """Yield the jobs in order: the loop before and after every system, work by work.

    After them, every system once more with few rounds, for its memory; messages have none, and on a
    GPU nobody looks.

    Examples
    --------
    >>> template = Job("loop", "W1", {"rounds": 5}, "mnist", "other")
    >>> found = list(jobs(["W1"], ["ray", "flower"], template))
    >>> [job.system for job in found if not job.memory]
    ['loop', 'ray', 'loop', 'flower', 'loop']
    >>> [job.system for job in found if job.memory]
    ['loop', 'ray', 'flower']
    """
    few = template.size | {"rounds": min(MEMORY_ROUNDS, template.size["rounds"])}
    for work in works:
        job = replace(template, work=work, system=LOOP)
        able = [system for system in systems if work in SYSTEMS[system].works]
        yield job
        for system in able * repeats:
            yield replace(job, system=system)
            yield job
        if not WORKS[work].messages and template.device == "cpu":
            for system in (LOOP, *able):
                yield replace(job, system=system, size=few, memory=True)


def bench(
    *,
    works: Sequence[str],
    systems: Sequence[str],
    repeats: int,
    size: Size,
    random: bool,
    actors: int | None,
    device: str,
    timeout: float,
) -> Iterator[Measurement]:
    """Measure every job, each alone in a fresh process; yield what it took."""
    with TemporaryDirectory(prefix="fedkd-bench-") as scratch:
        folder = Path(scratch)
        # Random images are not worth keeping; MNIST stays decoded where it always is.
        cache = {CACHE: str(folder / "cache")} if random else {}
        data, other = synthetic(folder, size) if random else mnist(folder)
        job = Job(LOOP, "W1", asdict(size), data, other, actors=actors, device=device)
        job = replace(job, tensors=str(write_tensors(job, folder, cache.get(CACHE))))
        for one in jobs(works, systems, job, repeats):
            yield measure(one, timeout, cache)


def _line(one: Measurement) -> str:
    name = f"{one.work:4}  {one.system:7}"
    if one.error:
        return f"{name} failed: {one.error}"
    if one.pss_mb is not None:
        return f"{name} peak PSS {one.pss_mb:,.0f} MB"
    message = "" if one.message_ms is None else f"{one.message_ms:.3f} ms/message, "
    return (
        f"{name} {one.round_seconds:8.3f} s/round "
        f"({min(one.seconds):.3f} to {max(one.seconds):.3f}), {message}CPU {one.cpu:.2f} s, "
        f"start-up {one.startup:.1f} s"
    )


def _names(key: str, text: str, known: Sequence[str]) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names or [text]:
        if name not in known:
            raise ConfigError(key, name, "not available", known)
    return list(dict.fromkeys(names))


def command(
    *,
    rounds: Positive = 5,
    repeats: Positive = 1,
    clients: Positive = 100,
    samples: Positive = 600,
    transfer: Positive = 2000,
    works: str = ",".join(WORKS),
    systems: str = "bare,ray,flower",
    actors: Annotated[int | None, typer.Option(min=1)] = None,
    device: str = "cpu",
    random: Annotated[bool, typer.Option("--synthetic")] = False,
    timeout: float = 900.0,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
    markdown: Annotated[bool, typer.Option("--markdown")] = False,
) -> None:
    """Measure seconds per round of several systems against a plain sequential torch loop.

    Needs $FEDKD_DATA_DIR/mnist, or --synthetic for random images of the same shape. --rounds are
    the steady rounds that count; --repeats are the times that each system runs; --timeout is per
    process, in seconds; --markdown prints the table for a README.
    """
    console, size, measured = Console(highlight=False), Size(clients, samples, transfer, rounds), []
    path = json_file or Path("runs") / f"bench-{time.strftime('%Y%m%d-%H%M%S')}.json"
    try:
        chosen = _names("works", works, list(WORKS))
        others = _names("systems", systems, [name for name in SYSTEMS if name != LOOP])
        facts = machine()
        for one in bench(
            works=chosen,
            systems=others,
            repeats=repeats,
            size=size,
            random=random,
            actors=actors,
            device=device,
            timeout=timeout,
        ):
            console.print(_line(one), markup=False, soft_wrap=True)
            measured.append(one)
            told = document(measured, size, facts, random)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(told, indent=2) + "\n")
    except FedkdError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(error.exit_code) from error
    show(told, console, markdown)
    console.print(f"written to {path}", markup=False, soft_wrap=True)
    if any(one.error for one in measured):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(command)
