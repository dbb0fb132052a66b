"""What a guard leaves of a teacher, in the tables."""

from collections.abc import Mapping
from statistics import fmean

KEPT = "guard_kept"
"""Share of a client's samples in a round that it learnt from."""

CHANGED = "guard_changed"
"""Share of them that it learnt from, but not what the teacher says."""

IDLE = "guard_idle"
"""Clients of a round that had nothing left to learn from."""


def columns(metrics: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """Return means over a round's clients, and who was idle; nothing where there is no guard.

    Examples
    --------
    >>> columns({0: {KEPT: 1.0, CHANGED: 0.5}, 1: {KEPT: 0.0, CHANGED: 0.0}, 2: {"loss_fit": 1.0}})
    {'guard_kept': 0.5, 'guard_changed': 0.25, 'guard_idle': 1}
    """
    found = [numbers for _, numbers in sorted(metrics.items()) if KEPT in numbers]
    if not found:
        return {}
    means = {name: fmean(numbers[name] for numbers in found) for name in (KEPT, CHANGED)}
    return means | {IDLE: sum(numbers[KEPT] == 0 for numbers in found)}
