"""Numbers that change from round to round: the temperature and the weight of distillation.

With ``f`` the share of its rounds that is over, (round - 1) / (rounds - 1), at most 1::

    linear        start + f (end - start)
    cosine        the same with (1 - cos(pi f)) / 2 in place of f
    exponential   start^(1-f) end^f
    step          linear, but only every `every` rounds; the last of its levels is `end`

The first round has `start`, the last of its rounds and whatever comes after that `end`, exactly. A
round's number depends on nothing but the schedule and the round, so a run that was stopped goes on
as if it had not been.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Schedule:
    """Base of what a number does over rounds.

    Parameters
    ----------
    start, end : float
        In the first round, and from the last of its rounds on.
    rounds : int or None
        Of how many rounds it is, at least 1; None = the run's. A run writes here how many it has,
        so that one that goes on for longer stays at `end`.
    """

    start: float
    end: float
    rounds: int | None = None

    needs: ClassVar[str | None] = None
    """What it needs of `start` and `end`, beside what their key does."""

    def at(self, number: int) -> float:
        """Return the number of a round, counted from 1.

        Examples
        --------
        >>> [Linear(4.0, 1.0, rounds=4).at(number) for number in (1, 2, 4, 9)]
        [4.0, 3.0, 1.0, 1.0]
        """
        share = self.share(number)
        if share in (0.0, 1.0):
            return self.end if share else self.start
        low, high = sorted((self.start, self.end))
        return min(max(self.between(share), low), high)

    def share(self, number: int) -> float:
        """Return the share of its rounds that is over before a round, in [0, 1]."""
        if number <= 1:
            return 0.0
        return min(1.0, (number - 1) / max(1, (self.rounds or 1) - 1))

    def between(self, share: float) -> float:
        """Return the number where a `share` in (0, 1) of its rounds is over."""
        raise NotImplementedError

    def flaw(self) -> tuple[str, Any, str] | None:
        """Return a parameter, its value and what is wrong with it; None if nothing is."""
        if self.rounds is not None and self.rounds < 1:
            return "rounds", self.rounds, "must be at least 1"
        return None


class Constant(Schedule):
    """One number for all rounds.

    Examples
    --------
    >>> Constant.of(2.0).at(7)
    2.0
    """

    @classmethod
    def of(cls, number: float) -> "Constant":
        """Return the schedule that a plain number is."""
        return cls(number, number)

    def share(self, number: int) -> float:
        """Return 0: nothing changes."""
        del number
        return 0.0


class Linear(Schedule):
    """By the same amount each round."""

    def between(self, share: float) -> float:
        """Return ``start + f (end - start)``."""
        return self.start + share * (self.end - self.start)


class Cosine(Linear):
    """Along half a cosine: slowly at first and at last.

    Examples
    --------
    >>> [round(Cosine(1.0, 0.0, rounds=5).at(number), 4) for number in range(1, 6)]
    [1.0, 0.8536, 0.5, 0.1464, 0.0]
    """

    def between(self, share: float) -> float:
        """Return the linear schedule's number at ``(1 - cos(pi f)) / 2``."""
        return super().between((1 - math.cos(math.pi * share)) / 2)


class Exponential(Schedule):
    """By the same factor each round.

    Examples
    --------
    >>> [round(Exponential(4.0, 1.0, rounds=3).at(number), 9) for number in range(1, 4)]
    [4.0, 2.0, 1.0]
    """

    needs = "greater than 0: exponential multiplies"

    def between(self, share: float) -> float:
        """Return ``start^(1-f) end^f``."""
        return float(self.start ** (1 - share) * self.end**share)


@dataclass(frozen=True)
class Step(Linear):
    """Every so many rounds, each time by the same amount.

    Parameters
    ----------
    start, end, rounds
        See `Schedule`.
    every : int
        Rounds with one number, at least 1 and less than `rounds`.

    Examples
    --------
    >>> [Step(4.0, 1.0, rounds=5, every=2).at(number) for number in range(1, 6)]
    [4.0, 4.0, 2.5, 2.5, 1.0]
    """

    every: int = 1

    def share(self, number: int) -> float:
        """Return the share of its steps that is over, in [0, 1]."""
        rounds = max(self.rounds or 1, 1)
        steps = (rounds - 1) // self.every
        return (min(max(number, 1), rounds) - 1) // self.every / max(1, steps)

    def flaw(self) -> tuple[str, Any, str] | None:
        """Return a parameter, its value and what is wrong with it; None if nothing is."""
        if self.every < 1:
            return "every", self.every, "must be at least 1"
        if self.rounds is not None and 1 < self.rounds <= self.every:
            problem = f"lasts for all {self.rounds} rounds, so nothing changes; give less"
            return "every", self.every, problem
        return super().flaw()


SCHEDULES: dict[str, type[Schedule]] = {
    cls.__name__.lower(): cls for cls in (Linear, Cosine, Exponential, Step)
}
"""Those that there are, by name."""
