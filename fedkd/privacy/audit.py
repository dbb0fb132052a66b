"""Empirical lower bounds on epsilon.

Steinke, Nasr and Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023, arXiv
2305.08846: canaries are in or out by independent fair coins, the auditor guesses some of the coins,
and an (epsilon, delta)-private mechanism lets it be right only so often.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.stats import binom
from torch import Tensor

from ..rng import SERVER, stream, torch_generator

LARGEST = 30.0
"""Bounds stop here: no number of guesses that fits a computer shows more."""


def audit_p_value(
    correct: int, guesses: int, epsilon: float, delta: float = 0.0, canaries: int | None = None
) -> float:
    r"""Return the chance of so many correct guesses against an (epsilon, delta)-private mechanism.

    .. math:: \Pr[V \ge v] \le f(v) + 2 m \delta \max_{1 \le i \le v} \frac{f(v - i) - f(v)}{i},
        \qquad f(v) = \Pr[Binomial(r, e^\epsilon / (1 + e^\epsilon)) \ge v]

    Theorem 5.2 of the paper, with r guesses about m canaries.

    Examples
    --------
    >>> round(audit_p_value(2, 2, 0.0), 6)  # two fair coins guessed
    0.25
    """
    canaries = _checked(correct, guesses, delta, canaries)
    share = 1 / (1 + np.exp(-epsilon))
    tail = float(binom.sf(correct - 1, guesses, share))
    if delta and correct:
        steps = np.arange(1, correct + 1)
        gains = np.cumsum(binom.pmf(correct - steps, guesses, share)) / steps
        tail += 2 * canaries * delta * float(gains.max())
    return min(tail, 1.0)


def audit_lower_bound(
    correct: int,
    guesses: int,
    delta: float = 0.0,
    confidence: float = 0.95,
    canaries: int | None = None,
) -> float:
    """Return the smallest epsilon that so many correct guesses do not rule out.

    If a mechanism is (epsilon, delta)-private, the bound is at most epsilon with the given
    confidence. How many guesses are made must not depend on whether they are correct.

    Parameters
    ----------
    correct, guesses : int
        ``0 <= correct <= guesses``.
    delta : float
        In [0, 1).
    confidence : float
        In (0, 1).
    canaries : int, optional
        All canaries, those that no guess was made about included; default `guesses`. Matters only
        with `delta`.

    Returns
    -------
    float
        In [0, 30]; 0 if the guesses are no better than chance allows.

    Examples
    --------
    >>> audit_lower_bound(50, 100)
    0.0
    >>> round(audit_lower_bound(100, 100), 3)
    3.493
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence} must be in (0, 1)")
    canaries = _checked(correct, guesses, delta, canaries)

    def excess(epsilon: float) -> float:
        return audit_p_value(correct, guesses, epsilon, delta, canaries) - (1 - confidence)

    if excess(0.0) >= 0:
        return 0.0
    return LARGEST if excess(LARGEST) < 0 else float(brentq(excess, 0.0, LARGEST, xtol=1e-9))


def audit_mechanism(
    release: Callable[[Tensor, torch.Generator], Tensor],
    absent: Tensor,
    present: Tensor,
    *,
    delta: float = 0.0,
    confidence: float = 0.95,
    canaries: int = 2000,
    guesses: int | None = None,
    seed: int = 0,
) -> float:
    """Return a lower bound on the epsilon of a noise mechanism, by attacking it.

    Each canary is a use of the mechanism on `present` or `absent` by a fair coin. What comes out is
    projected on their difference, and the auditor guesses the coins of the most extreme canaries,
    half of its guesses at either end. As every use concerns its own canary, the uses together are
    as private as one.

    Parameters
    ----------
    release : callable
        ``(values, generator) -> values``: the mechanism, with its clipping. It must draw from the
        generator only.
    absent, present : Tensor
        Two inputs that the mechanism must not let be told apart; the further apart the better.
    delta, confidence
        See `audit_lower_bound`.
    canaries, guesses : int
        By default a tenth of the canaries is guessed.
    seed : int
        The auditor's.

    Examples
    --------
    >>> def randomised_response(value, generator):
    ...     truthful = torch.rand(1, generator=generator) < 0.75  # epsilon = log 3 = 1.0986
    ...     return value if truthful else 1 - value
    >>> bound = audit_mechanism(randomised_response, torch.tensor([0.0]), torch.tensor([1.0]))
    >>> 0.5 < bound < 1.0986
    True
    """
    guesses = max(2, canaries // 10) if guesses is None else guesses
    coins = np.random.default_rng(stream(seed, SERVER, 0, "audit.coins")).random(canaries) < 0.5
    scores = np.empty(canaries)
    for canary, coin in enumerate(coins):
        generator = torch_generator(stream(seed, canary, 0, "audit"))
        out = release((present if coin else absent).clone(), generator)
        scores[canary] = float(((out - absent) * (present - absent)).sum())
    return audit_lower_bound(
        correct_guesses(scores, coins, guesses), guesses, delta, confidence, canaries
    )


def correct_guesses(scores: np.ndarray, coins: np.ndarray, guesses: int) -> int:
    """Return how many coins the most extreme scores tell: "in" at the top, "out" at the bottom.

    Examples
    --------
    >>> correct_guesses(np.array([3.0, 2.0, 1.0, 0.0]), np.array([True, False, True, False]), 2)
    2
    """
    order = np.argsort(-scores, kind="stable")
    top, bottom = order[: (guesses + 1) // 2], order[len(order) - guesses // 2 :]
    return int(coins[top].sum() + (~coins[bottom]).sum())


def _checked(correct: int, guesses: int, delta: float, canaries: int | None) -> int:
    canaries = guesses if canaries is None else canaries
    if not 0 <= correct <= guesses <= canaries:
        raise ValueError(f"{correct} correct of {guesses} guesses about {canaries} canaries")
    if not 0 <= delta < 1:
        raise ValueError(f"delta={delta} must be in [0, 1)")
    return canaries
