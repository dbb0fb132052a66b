"""Show where a run is: a live display on a terminal, a line a round elsewhere."""

import atexit
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rich.progress as rp
from rich.console import Console
from rich.filesize import decimal
from rich.table import Column
from rich.text import Text

from ..ending import outlasting
from ..score import ALMA, Score, spoken
from .base import Callback, RoundRecord, RunInfo

WIDE = 105
"""Columns of a terminal that has room for a long bar and the time since the start."""

NAMED = 5
"""Rejected clients that are named in a round; the others are counted."""


class Progress(Callback):
    """Follow a run on the console.

    On a terminal one live line shows the round, the phase, the clients done, the latest ALMA and
    the time. Anywhere else (a pipe, a log) each round prints one plain line without control codes.
    Either way, rejected clients are named with the reason. A notebook has `CellProgress`.

    Parameters
    ----------
    console : rich.console.Console, optional
        Where to print; standard error by default, so that standard output stays free for results.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console: Console = console or outlasting(Console(stderr=True))
        # Not console.is_terminal: FORCE_COLOR makes that true for a pipe.
        self.live = self.console.is_interactive and self.console.file.isatty()
        self._display: Any = None
        self._task = rp.TaskID(0)
        self._total: int | None = None
        self._started = time.monotonic()
        self._seen = 0  # rounds since then
        self._headline, self._score = "", ALMA
        self._diverged: set[int] = set()  # as of the last round

    def on_run_start(self, run: RunInfo) -> None:
        """Say what is to be known, and start the display."""
        self._started, self._seen = time.monotonic(), 0
        self._total, self._diverged = run.config.rounds, set()
        self._score = run.score
        for note in run.notes:
            self._print(f"note: {note}")
        if self.live:
            self._open()

    def on_phase(self, round_: int, phase: str, done: int, total: int) -> None:
        """Move the bar."""
        if self._display is None:
            return
        of = f"/{self._total}" if self._total else ""
        with self._shown():
            self._display.update(
                self._task,
                description=f"round {round_}{of}  {phase}",
                completed=done,
                total=total,
            )

    def on_round(self, record: RoundRecord) -> None:
        """Show the round's results and the time left."""
        self._total = record.rounds
        self._headline = headline(record.scalars, self._score) or self._headline
        now, own = time.monotonic(), record.scalars.get("seconds")
        if not self._seen and own is not None:
            self._started = now - own  # the start-up does not come again
        self._seen += 1  # a resumed run does not begin with round 1
        each = (now - self._started) / self._seen
        left = each * (record.rounds - record.round)
        with self._shown():
            if self._display is None:
                self._print(_line(record, left, self._score))
            else:
                ends = time.monotonic() + left
                self._display.update(self._task, headline=self._headline, ends=ends)
            for line in rejections(record.rejected):
                self._print(f"  {line}")
            if new := set(record.diverged) - self._diverged:
                self._print(f"  {spoken(new)}")
            self._diverged = set(record.diverged)

    def on_run_end(self, summary: dict[str, Any] | None, error: BaseException | None) -> None:
        """Stop the display and give the terminal back."""
        self.close()

    def close(self) -> None:
        """Give the terminal back; safe to call twice."""
        atexit.unregister(self.close)
        display, self._display = self._display, None
        if display is not None:
            with self._shown():
                display.stop()

    @contextmanager
    def _shown(self) -> Iterator[None]:
        """Go on in silence once the terminal has gone."""
        try:
            yield
        except OSError:
            self.console.quiet, self._display = True, None

    def _open(self) -> None:
        wide = self.console.width >= WIDE
        columns = (
            rp.TextColumn("{task.description}", markup=False),
            rp.BarColumn(bar_width=20 if wide else 6),
            rp.MofNCompleteColumn(),
            rp.TextColumn("{task.fields[headline]}", markup=False),
            *([rp.TimeElapsedColumn(Column(no_wrap=True))] if wide else []),
            _Left(Column(no_wrap=True)),
        )
        self._display = rp.Progress(*columns, console=self.console)
        self._task = self._display.add_task("starting", total=None, headline="", ends=None)
        # The last resort if the run dies without on_run_end: a hidden cursor would stay hidden.
        atexit.register(self.close)
        self._display.start()

    def _print(self, line: str) -> None:
        # out(), not print(): no markup, no highlighting, no wrapping.
        self.console.out(line, highlight=False)


class _Left(rp.ProgressColumn):
    """Time until the run ends, from the mean time of the rounds so far."""

    def render(self, task: rp.Task) -> Text:
        ends = task.fields["ends"]
        if ends is None:
            return Text("")
        return Text(
            f"left {duration(max(0.0, ends - time.monotonic()))}", style="progress.remaining"
        )


def rejections(rejected: dict[int, str]) -> list[str]:
    """Return one line for each of the first rejected clients, and how many there are beyond.

    Examples
    --------
    >>> rejections({3: "soft labels are not finite"})
    ['rejected client 3: soft labels are not finite']
    """
    lines = []
    for client, reason in sorted(rejected.items())[:NAMED]:
        # A reason may quote what a client sent: nothing of it may steer the terminal.
        plain = "".join(char if char.isprintable() else " " for char in reason)
        lines.append(f"rejected client {client}: {plain[:200]}")
    if len(rejected) > NAMED:
        lines.append(f"and {len(rejected) - NAMED} more rejected")
    return lines


def duration(seconds: float) -> str:
    """Return a short readable time.

    Examples
    --------
    >>> duration(1.44), duration(65), duration(3720)
    ('1.4 s', '1 min 5 s', '1 h 2 min')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def headline(scalars: dict[str, Any], score: Score) -> str:
    """Return a round's score, local and global; empty if there is none.

    Examples
    --------
    >>> headline({"alma_local": 0.5, "alma_global": 0.25}, ALMA)
    'ALMA local 0.500  global 0.250'
    """
    local, overall = (scalars.get(score.column(name)) for name in ("local", "global"))
    if local is None or overall is None:
        return ""
    return f"{score.title('local')} {score.plain(local)}  global {score.plain(overall)}"


def _line(record: RoundRecord, left: float, score: Score) -> str:
    scalars = record.scalars
    parts = [f"round {record.round}/{record.rounds}", headline(scalars, score)]
    for key in ("up", "down"):
        size = scalars.get(f"bytes_{key}")
        parts.append("" if size is None else f"{key} {decimal(int(size))}")
    seconds = scalars.get("seconds")
    parts.append("" if seconds is None else duration(seconds))
    parts.append(f"left {duration(left)}" if record.round < record.rounds else "")
    return "  ".join(part for part in parts if part)
