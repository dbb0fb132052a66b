"""Show where a run is under a notebook's cell: one line, which is written anew."""

import io
import sys
import time
from collections.abc import Sequence
from typing import Any
from warnings import catch_warnings, filterwarnings

from markupsafe import Markup
from rich.console import Console

from .base import Callback, RunInfo
from .progress import Progress, duration

PAUSE_SECONDS = 0.2
"""Between two states of the line: each is a message to the browser."""

NOTES = 8
"""Lines below it, at most; the others are counted."""


def in_notebook() -> bool:
    """Say whether this process is a notebook's kernel; IPython is not imported for that.

    Examples
    --------
    >>> in_notebook()
    False
    """
    ask = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = ask() if ask else None
    return any(cls.__name__ == "ZMQInteractiveShell" for cls in type(shell).__mro__)


def settled_notebook() -> bool:
    """Say whether this is a notebook, in which libraries do not warn that widgets are missing.

    tqdm does when it is imported; nobody needs its bars here.
    """
    if not in_notebook():
        return False
    with catch_warnings():
        filterwarnings("ignore", "IProgress not found")
        import tqdm.auto  # noqa: F401
    return True


def shown(callbacks: Sequence[Callback], progress: bool | None) -> list[Callback]:
    """Return callbacks with one before them that shows the run, if one is wanted.

    Parameters
    ----------
    callbacks : sequence of Callback
        One of them may be a `Progress`: then that will do.
    progress : bool or None
        Whether it is wanted; None = in a notebook.
    """
    here = settled_notebook()
    there = any(isinstance(one, Progress) for one in callbacks)
    if there or progress is False or not (progress or here):
        return list(callbacks)
    return [CellProgress() if here else Progress(), *callbacks]


class CellLine:
    """A line under a cell, and notes below it.

    Parameters
    ----------
    title : str
        What stands at the front.
    """

    def __init__(self, title: str = "") -> None:
        self.title = title
        self._handle: Any = None
        self._fields: dict[str, Any] = {}
        self._notes: list[str] = []
        self._when = 0.0

    def update(self, task: int = 0, **fields: Any) -> None:
        """Change what rich's bar has: description, completed, total, headline, ends."""
        self._fields |= fields
        if time.monotonic() - self._when > PAUSE_SECONDS:
            self.show()

    def note(self, text: str) -> None:
        """Add a line below."""
        self._notes.append(text.strip())
        self.show()

    def say(self, text: str) -> None:
        """Have a text in place of what moves."""
        self._fields = {"description": text}
        self.show()

    def stop(self) -> None:
        """Show it as it is."""
        self.show()

    def show(self) -> None:
        """Send it to the notebook."""
        from IPython.display import display

        self._when = time.monotonic()
        if self._handle is None:
            self._handle = display(self, display_id=True)
        else:
            self._handle.update(self)

    @property
    def _words(self) -> str:
        known = self._fields
        ends, total = known.get("ends"), known.get("total")
        parts = [self.title, str(known.get("description", ""))]
        parts += [f"{known.get('completed', 0)}/{total}"] if total else []
        parts += [known.get("headline", "")]
        parts += [f"left {duration(max(0.0, ends - time.monotonic()))}"] if ends else []
        return "  ".join(part for part in parts if part)

    @property
    def _below(self) -> list[str]:
        more = len(self._notes) - NOTES
        return self._notes[:NOTES] + ([f"and {more} more lines"] if more > 0 else [])

    def __repr__(self) -> str:
        return "\n".join([self._words, *self._below])

    def _repr_html_(self) -> str:
        done, total = self._fields.get("completed", 0), self._fields.get("total")
        bar = '<progress value="{}" max="{}" style="vertical-align:middle"></progress> '
        lines = Markup("").join(Markup("<br>{}").format(line) for line in self._below)
        line = (Markup(bar).format(done, total) if total else Markup("")) + self._words
        return str(Markup("<div>{}{}</div>").format(line, lines))


class CellProgress(Progress):
    """Follow a run under a notebook's cell.

    Parameters
    ----------
    line : CellLine, optional
        Where, if there is one already, such as that of a study.
    """

    def __init__(self, line: CellLine | None = None) -> None:
        super().__init__(Console(file=io.StringIO()))  # nothing is written to it
        self.live, self._given, self._line = True, line, line or CellLine()
        self._ended = ""

    def on_run_start(self, run: RunInfo) -> None:
        """Begin the line."""
        self._line = self._given or CellLine()
        super().on_run_start(run)

    def on_run_end(self, summary: dict[str, Any] | None, error: BaseException | None) -> None:
        """Say how it ended."""
        took = duration(time.monotonic() - self._started)
        rounds = f"{self._seen} round{'s' * (self._seen != 1)} in {took}"
        if error is not None:
            stopped = isinstance(error, KeyboardInterrupt)
            rounds = f"{'interrupted' if stopped else 'failed'} after {rounds}"
        self._display = None
        self._line.say("  ".join(part for part in (rounds, self._headline) if part))

    def close(self) -> None:
        """Leave the line as it is."""
        self._display = None

    def _open(self) -> None:
        self._display = self._line
        self._line.update(description="starting", completed=0, total=None)

    def _print(self, line: str) -> None:
        self._line.note(line)
