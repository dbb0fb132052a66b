"""Seconds per round or run of several systems, as ratios to a plain loop: ``make bench``."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Annotated

import typer
from rich.console import Console

from ...errors import ConfigError, FedkdError
from .corpora import Dealt
from .facts import machine
from .measure import Measurement, measure
from .printing import show
from .results import document
from .systems import LOOP, LOOP_ALL, ROUNDS, SYSTEMS
from .works import WORKS, Job, sized

Positive = Annotated[int, typer.Option(min=1)]
Own = Annotated[int | None, typer.Option(min=1)]
CACHE = "FEDKD_CACHE_DIR"
MEMORY_ROUNDS = 2
"""Steady rounds of a job whose memory is watched."""
EMPTY: Mapping[str, int | None] = MappingProxyType({})


def jobs(
    works: Sequence[str],
    systems: Sequence[str],
    template: Job,
    repeats: int = 1,
    given: Mapping[str, int | None] = EMPTY,
) -> Iterator[Job]:
    """Yield the jobs in order, work by work, of the size that is given or their work's own.

    The loop comes before and after every system; of whole runs, which take minutes, only after
    all systems, and the loop with all test samples before them. After rounds, every system comes
    once more with few of them, for its memory; messages have none, and on a GPU nobody looks.

    Examples
    --------
    >>> template = Job("loop", "W1", {}, "mnist", "other")
    >>> found = list(jobs(["W1", "W4"], ["ray", "flower"], template))
    >>> [job.system for job in found if job.work == "W1" and not job.memory]
    ['loop', 'ray', 'loop', 'flower', 'loop']
    >>> [job.system for job in found if job.memory]
    ['loop', 'ray', 'flower']
    >>> [job.system for job in found if job.work == "W4"]
    ['loop_all', 'ray', 'flower', 'loop']
    """
    for work in works:
        job = replace(template, work=work, system=LOOP, size=sized(work, given))
        able = [system for system in systems if SYSTEMS[system].can(work)]
        if WORKS[work].whole:
            order = [LOOP_ALL, *[*able, LOOP] * repeats]
        else:
            order = [LOOP, *[one for system in able * repeats for one in (system, LOOP)]]
        for system in order:
            if SYSTEMS[system].can(work):
                yield replace(job, system=system)
        if not (WORKS[work].messages or WORKS[work].whole) and template.device == "cpu":
            few = job.size | {"rounds": min(MEMORY_ROUNDS, job.size["rounds"])}
            for system in (LOOP, *able):
                yield replace(job, system=system, size=few, memory=True)


def bench(
    *,
    works: Sequence[str],
    systems: Sequence[str],
    repeats: int,
    given: Mapping[str, int | None],
    random: bool,
    actors: int | None,
    device: str,
    timeout: float,
) -> Iterator[Measurement]:
    """Measure every job, each alone in a fresh process; yield what it took."""
    with TemporaryDirectory(prefix="fedkd-bench-") as scratch:
        dealt = Dealt(Path(scratch), random)
        cache = {CACHE: dealt.cache} if dealt.cache else {}
        job = Job(LOOP, "W1", {}, "", "", actors=actors, device=device)
        tested: dict[str, list[int]] = {}  # by fedkd, whose samples the loop then takes
        for one in jobs(works, systems, job, repeats, given):
            asked = replace(dealt(one), tested=tested.get(one.work, []))
            yield (found := measure(asked, timeout, cache))
            if found.tested and one.system not in (LOOP, LOOP_ALL):
                tested[one.work] = found.tested


def _line(one: Measurement) -> str:
    name = f"{one.work:4}  {one.system:7}"
    if one.error:
        return f"{name} failed: {one.error}"
    if one.pss_mb is not None:
        return f"{name} peak PSS {one.pss_mb:,.0f} MB"
    if one.later_seconds is not None:
        return f"{name} {one.run_seconds:8.1f} s, {one.later_seconds:.2f} s each run but the first"
    run = "" if one.run_seconds is None else f"{one.run_seconds:.1f} s in all, "
    message = "" if one.message_ms is None else f"{one.message_ms:.3f} ms/message, "
    return (
        f"{name} {run}{one.round_seconds:8.3f} s/round "
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
    rounds: Own = None,
    repeats: Positive = 1,
    clients: Own = None,
    samples: Own = None,
    transfer: Own = None,
    test: Own = None,
    works: str = ",".join(ROUNDS),
    systems: str = "bare,ray,flower",
    actors: Own = None,
    device: str = "cpu",
    random: Annotated[bool, typer.Option("--synthetic")] = False,
    timeout: float = 900.0,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
    markdown: Annotated[bool, typer.Option("--markdown")] = False,
) -> None:
    """Measure seconds per round, or of whole runs, of several systems against a plain torch loop.

    Needs $FEDKD_DATA_DIR/mnist, or --synthetic for random images of the same shape. Sizes are each
    work's own unless given: --rounds are the steady rounds that count (one before and one after
    them are run, too), --test the test samples of --synthetic. --repeats are the times that each
    system runs; --timeout is per process, in seconds; --markdown prints the table for a README.
    """
    console, measured = Console(highlight=False), []
    given = {
        "clients": clients,
        "samples": samples,
        "transfer": transfer,
        "rounds": rounds,
        "test": test,
    }
    path = json_file or Path("runs") / f"bench-{time.strftime('%Y%m%d-%H%M%S')}.json"
    try:
        chosen = _names("works", works, list(WORKS))
        others = _names(
            "systems", systems, [name for name in SYSTEMS if name not in (LOOP, LOOP_ALL)]
        )
        facts = machine()
        for one in bench(
            works=chosen,
            systems=others,
            repeats=repeats,
            given=given,
            random=random,
            actors=actors,
            device=device,
            timeout=timeout,
        ):
            console.print(_line(one), markup=False, soft_wrap=True)
            measured.append(one)
            told = document(measured, {w: sized(w, given) for w in chosen}, facts, random)
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
