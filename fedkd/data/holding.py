"""Clients that come with the data: what each of them holds, and which of them take part."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..config import RunConfig
from ..errors import ConfigError
from ..rng import SERVER, stream

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Holding:
    """Clients that come with the data.

    Attributes
    ----------
    key : str
        What says so, as errors and notes have it.
    names : list of str
        What the clients are called; empty if they have no names.
    rows : list of ndarray of int64
        Each one's rows of the training split, ascending.
    free : ndarray of int64, optional
        The only rows that transfer samples may be drawn from; None = anybody's.
    tests : list of ndarray of int64, optional
        Each one's rows of the test split, if that says whose they are.
    notes : list of str
        What is worth saying.
    """

    key: str
    names: list[str]
    rows: list[Rows]
    free: Rows | None = None
    tests: list[Rows] | None = None
    notes: list[str] = field(default_factory=list)

    def of(self, config: RunConfig) -> "Holding":
        """Return those clients that take part: all of them, or as many as the run asks for.

        Raises
        ------
        ConfigError
            If there are not as many.
        """
        wanted, count = config.population, len(self.rows)
        if wanted > count:
            problem = f"{self.key} has {count}; give at most as many, or auto for all"
            raise ConfigError("clients", wanted, problem)
        if wanted == count:
            return self
        rng = np.random.default_rng(stream(config.seed, SERVER, 0, "clients"))
        drawn = np.sort(rng.choice(count, wanted, replace=False))
        note = f"{self.key}: {wanted} of {count} clients take part, drawn by the run's seed"
        return replace(
            self,
            names=[self.names[k] for k in drawn] if self.names else [],
            rows=[self.rows[k] for k in drawn],
            tests=None if self.tests is None else [self.tests[k] for k in drawn],
            notes=[*self.notes, note],
        )

    def without(self, taken: Rows, key: str = "transfer.size") -> list[Rows]:
        """Return what the clients hold beside the transfer samples; `key` says how many these are.

        Raises
        ------
        ConfigError
            If that is nothing for one of them.
        """
        if self.free is not None:
            return self.rows
        left = [np.setdiff1d(rows, taken) for rows in self.rows]
        empty = [k for k, rows in enumerate(left) if not len(rows)]
        if empty:
            who = self.names[empty[0]] if self.names else empty[0]
            problem = (
                f"leaves {len(empty)} clients without samples ({who}, for one); lower it, give "
                "transfer.data, or leave out clients with so few"
            )
            raise ConfigError(key, len(taken), problem)
        return left
