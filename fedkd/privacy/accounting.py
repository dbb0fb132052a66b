"""What releases cost: epsilon at a given delta, by the accountants of ``dp-accounting``.

A client's history is how often it has made which `Release`. Releases of one client compose, over
rounds and over mechanisms: adaptively, in any order. Where the neighbouring relations differ, as
for DP-SGD (one record) and noise on knowledge (everything a client holds), the sum holds for the
weaker of them. It is then an upper bound, and not the smallest: what is computed from a DP-SGD
model alone would need no noise of its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from .curves import curve, epsilon_of, event, library

AccountantName = Literal["rdp", "pld"]

STEP = 1e-3
"""Discretisation of privacy loss distributions; a coarser one is faster and less tight."""


@dataclass(frozen=True, order=True)
class Release:
    """One use of a noise mechanism.

    Parameters
    ----------
    noise : {"gaussian", "laplace"}
        Its distribution.
    multiplier : float
        Standard deviation (scale) in units of the L2 (L1) sensitivity, > 0.
    rate : float
        Chance that a private record takes part, independently of others (Poisson sampling, Gaussian
        noise only), in (0, 1].
    """

    noise: str
    multiplier: float
    rate: float = 1.0


@dataclass(frozen=True, order=True)
class Fixed:
    """A guarantee that is given once, and holds for all that follows from it."""

    epsilon: float
    delta: float


Cost = Release | Fixed
History = Mapping[Cost, int]
"""How often what was released."""


def guarantee(
    history: History, delta: float, accountant: AccountantName = "rdp"
) -> tuple[float, float]:
    """Return the (epsilon, delta) of a history.

    Parameters
    ----------
    history : mapping
        ``{Release or Fixed: times}``.
    delta : float
        For all noise together, in (0, 1); what is `Fixed` adds its own epsilon and delta.
    accountant : {"rdp", "pld"}
        Renyi divergences, or privacy loss distributions: tighter and slower. Gaussian noise alone
        has an exact formula, which ``pld`` uses.

    Examples
    --------
    >>> round(guarantee({Release("gaussian", 4.0): 16}, 1e-5, "pld")[0], 3)
    4.377
    >>> guarantee({Fixed(0.5, 0.25): 1}, 1e-5)
    (0.5, 0.25)
    """
    fixed = {cost: n for cost, n in history.items() if isinstance(cost, Fixed)}
    noise = {cost: n for cost, n in history.items() if isinstance(cost, Release) and n}
    own = sum(cost.epsilon * n for cost, n in fixed.items())
    total = sum(cost.delta * n for cost, n in fixed.items())
    if not noise:
        return float(own), min(1.0, float(total))
    spent = _epsilon(tuple(sorted(_merged(noise).items())), delta, accountant)
    if all(cost.noise == "laplace" for cost in noise):  # pure: the sum is a bound as well
        spent = min(spent, sum(n / cost.multiplier for cost, n in noise.items()))
    return spent + own, min(1.0, delta + total)


def calibrate(
    history: Callable[[float], History],
    epsilon: float,
    delta: float,
    accountant: AccountantName = "rdp",
) -> float:
    """Return the smallest noise multiplier, to four digits, whose history keeps to an epsilon.

    Parameters
    ----------
    history : callable
        Noise multiplier -> history.
    epsilon, delta, accountant
        See `guarantee`; epsilon > 0.

    Raises
    ------
    ValueError
        If no amount of noise is enough.

    Examples
    --------
    >>> calibrate(lambda z: {Release("gaussian", z): 10}, epsilon=8.0, delta=1e-5)
    2.017
    """

    def spent(digits: int) -> float:
        return guarantee(history(_multiplier(digits)), delta, accountant)[0]

    low, high = -2 * 9000, 6 * 9000  # places of 0.01 and 1e6 among numbers of four digits
    if spent(high) > epsilon:
        raise ValueError(f"no amount of noise keeps to epsilon={epsilon} (accountant {accountant})")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if spent(middle) <= epsilon else (middle, high)
    return _multiplier(high)


def _multiplier(place: int) -> float:
    """Return the number of four digits at a place: 1.000 at 0, 1.001 at 1, 10.00 at 9000.

    Examples
    --------
    >>> [_multiplier(place) for place in (0, 1, 9000, -1)]
    [1.0, 1.001, 10.0, 0.9999]
    """
    power, rest = divmod(place, 9000)
    return float(f"{1000 + rest}e{power - 3}")


def saved(history: History) -> list[list[Any]]:
    """Return a history in JSON's types.

    Examples
    --------
    >>> loaded(saved({Release("gaussian", 2.0): 3, Fixed(1.0, 0.5): 1}))
    {Release(noise='gaussian', multiplier=2.0, rate=1.0): 3, Fixed(epsilon=1.0, delta=0.5): 1}
    """
    return [
        ["fixed", cost.epsilon, cost.delta, times]
        if isinstance(cost, Fixed)
        else [cost.noise, cost.multiplier, cost.rate, times]
        for cost, times in history.items()
    ]


def loaded(rows: list[list[Any]]) -> dict[Cost, int]:
    """Return the history that `saved` wrote."""
    return {
        Fixed(first, second) if name == "fixed" else Release(name, first, second): times
        for name, first, second, times in rows
    }


def _merged(noise: Mapping[Release, int]) -> dict[Release, int]:
    """Return a history with all plain Gaussian releases as one: their 1 / multiplier^2 add up."""
    plain = {cost: n for cost, n in noise.items() if cost.noise == "gaussian" and cost.rate == 1}
    others = {cost: n for cost, n in noise.items() if cost not in plain}
    if not plain:
        return others
    total = sum(n / cost.multiplier**2 for cost, n in plain.items())
    return {Release("gaussian", total**-0.5): 1} | others


@lru_cache(maxsize=4096)
def _epsilon(
    noise: tuple[tuple[Release, int], ...], delta: float, accountant: AccountantName
) -> float:
    dp = library()
    if accountant == "rdp":
        return epsilon_of(sum(n * curve(*_plain(cost)) for cost, n in noise), delta)
    if len(noise) == 1 and noise[0][0].noise == "gaussian" and noise[0][0].rate == 1:
        return float(dp.get_epsilon_gaussian(noise[0][0].multiplier, delta))
    spent = dp.pld.PLDAccountant(value_discretization_interval=STEP)
    for cost, times in noise:
        spent.compose(event(*_plain(cost)), times)
    return float(spent.get_epsilon(delta))


def _plain(cost: Release) -> tuple[str, float, float]:
    return cost.noise, cost.multiplier, cost.rate
