"""A cell of a table that people read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """A cell's text, what stands dimmed beside it, and whether it is the best of its column."""

    text: str
    note: str = ""
    best: bool = False
