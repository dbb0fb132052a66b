"""Which runs the table of all methods consists of, and what those that are done decide of it."""

from collections.abc import Sequence
from itertools import chain, product
from operator import itemgetter
from typing import Any

from .cells import Row
from .fusion_settings import first_settings, next_settings, setting

ALPHAS = (0.1, 1.0)
SEEDS, TUNING_SEED = 5, 100
TEST, VALIDATION = "test", "validation"

TRIALS = 8
"""Settings of which each method has the best, where it is tuned."""


def cell(data: str, seed: int, alpha: float, name: str, settings: str) -> Row:
    """Return what identifies a run."""
    return {"data": data, "seed": seed, "alpha": alpha, "strategy": name, "settings": settings}


def score(row: Row) -> float:
    """Return the mean of local and global accuracy."""
    return float(row["local"] + row["overall"]) / 2


class Done:
    """What has been run, and what that decides.

    Parameters
    ----------
    rows : list of dict
        A row a run.
    """

    def __init__(self, rows: list[Row]) -> None:
        self.rows = {self._key(row): row for row in rows}

    @staticmethod
    def _key(one: Row) -> tuple[Any, ...]:
        return tuple(one[name] for name in cell("", 0, 0, "", ""))

    def found(self, cells: list[Row]) -> list[Row]:
        """Return the rows of those cells that have been run."""
        return [self.rows[key] for key in map(self._key, cells) if key in self.rows]

    def trials(self, alpha: float, name: str) -> list[Row]:
        """Return the runs that choose a method's settings: the first of them, then all."""
        first = [cell(VALIDATION, TUNING_SEED, alpha, name, one) for one in first_settings(name)]
        found = self.found(first)
        if len(found) < len(first):
            return first
        more = next_settings(name, max(found, key=score)["settings"])
        return first + [cell(VALIDATION, TUNING_SEED, alpha, name, one) for one in more]

    def chosen(self, alpha: float, name: str) -> str | None:
        """Return the best of a method's settings, the first of equals; None = not known yet."""
        found = self.found(self.trials(alpha, name))
        return max(found, key=score)["settings"] if len(found) == TRIALS else None

    def finals(self, alpha: float, name: str, settings: str | None, seeds: int) -> list[Row]:
        """Return the runs on the test split with these settings, none as long as they are open."""
        if settings is None:
            return []
        return [cell(TEST, seed, alpha, name, settings) for seed in range(seeds)]


def wanted(done: Done, rows_of: Sequence[str], seeds: int = SEEDS) -> list[Row]:
    """Return what identifies each run, as far as those that are done decide.

    Seeds are outermost, so that rows are balanced always; what is tuned comes last.
    """
    pairs = list(product(ALPHAS, rows_of))
    plain = [done.finals(*pair, setting(pair[1]), seeds) for pair in pairs]
    trials = [each for pair in pairs for each in done.trials(*pair)]
    tuned = [done.finals(*pair, done.chosen(*pair), seeds) for pair in pairs]
    by_seed = [sorted(chain(*runs), key=itemgetter("seed")) for runs in (plain, tuned)]
    every = [*by_seed[0], *trials, *by_seed[1]]
    return list({str(one): one for one in every}.values())  # the default may be the best


def estimate(done: Done, asked: Sequence[str], jobs: int) -> list[str]:
    """Return how long what is left of each row will take at most, by what is done of it."""
    lines, total = [], 0.0
    for name in asked:
        own = [row["cpu_seconds"] for row in done.rows.values() if row["strategy"] == name]
        left = len(ALPHAS) * (TRIALS + 2 * SEEDS) - len(own)
        seconds = left * sum(own) / max(len(own), 1)
        total += seconds
        each = f"{seconds / left:.1f} s each" if own and left else "nothing measured" * bool(left)
        lines.append(f"{name:20} {left:3} runs left  {each}")
    took = f"{total / 3600:.1f} hours of CPU, {total / 3600 / jobs:.1f} hours with --jobs {jobs}"
    return [*lines, f"at most {took}"]
