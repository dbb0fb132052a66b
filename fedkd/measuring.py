"""Accuracies, calibration and seconds of a round."""

import copy
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, RecordDict

from .protocol import Outcome, RoundPlan

ACCURACIES = ("local", "global", "validation", "ece")
"""Numbers per client; each has its mean and standard deviation over clients in the tables."""

WORST = ("local", "global")
"""Those that also have the mean of the clients that fare worst: a tenth, at least one."""


class Measurements:
    """Every client's last measured accuracies; only models that changed are measured again.

    Parameters
    ----------
    clients : int
        Number of clients.

    Attributes
    ----------
    stale : set of int
        Clients whose model changed since it was measured.
    """

    def __init__(self, clients: int) -> None:
        self.clients = clients
        self.current: dict[int, dict[str, float]] = {}
        self.stale = set(range(clients))

    def save(self) -> dict[str, Any]:
        """Return what `load` takes, JSON-ready."""
        return {"current": copy.deepcopy(self.current), "stale": sorted(self.stale)}

    def load(self, saved: dict[str, Any]) -> None:
        """Go on from what `save` returned."""
        self.current = {int(client): numbers for client, numbers in saved["current"].items()}
        self.stale = set(saved["stale"])

    def update(self, plan: RoundPlan, outcome: Outcome, model: ArrayRecord | None) -> float:
        """Bring every client's accuracy up to date; return the seconds that took.

        Clients that the round itself measured are done. The others are measured now, if their
        model changed since.

        Parameters
        ----------
        plan, outcome
            The round; the new numbers are added to ``outcome.metrics``.
        model : ArrayRecord or None
            The server's model, where it is every client's.
        """
        fresh = {k: numbers for k, numbers in outcome.metrics.items() if "local" in numbers}
        self.current |= fresh
        due = set(range(self.clients)) if model else self.stale
        return self._measure(sorted(due - set(fresh)), plan, outcome, model)

    def complete(self, plan: RoundPlan, outcome: Outcome, model: ArrayRecord | None) -> float:
        """Measure everybody on the whole test split; return the seconds that took."""
        return self._measure(range(self.clients), replace(plan, evaluate=0), outcome, model)

    def _measure(
        self, due: Sequence[int], plan: RoundPlan, outcome: Outcome, model: ArrayRecord | None
    ) -> float:
        began = time.perf_counter()
        content: dict[str, Any] = {"config": plan.options(**plan.evaluation())}
        if model is not None:
            content["arrays"] = model
        contents = dict.fromkeys(due, RecordDict(content))
        for reply in plan.fleet.call("query.evaluate", contents, plan.number):
            numbers: dict[str, Any] = dict(reply.ok.metric_records["metrics"])
            self.current[reply.client] = numbers
            outcome.metrics.setdefault(reply.client, {}).update(numbers)
        self.stale.clear()
        return time.perf_counter() - began

    def columns(self, evaluated: bool) -> dict[str, float | None]:
        """Return mean and deviation over clients, and the worst, of each, for the tables."""
        columns: dict[str, float | None] = {}
        for name in ACCURACIES:
            values = [
                self.current[k][name] for k in sorted(self.current) if name in self.current[k]
            ]
            if name not in WORST and not values:
                continue
            known = evaluated and bool(values)
            columns[f"alma_{name}"] = float(np.mean(values)) if known else None
            columns[f"alma_{name}_std"] = float(np.std(values)) if known else None
            if name in WORST:
                columns[f"alma_{name}_worst"] = worst(values) if known else None
        return columns


def worst(values: Sequence[float]) -> float:
    """Return the mean of the worst tenth, at least one: what an average hides.

    Examples
    --------
    >>> worst([0.9] * 18 + [0.1, 0.3]), worst([0.5, 0.7])
    (0.2, 0.5)
    """
    return float(np.mean(sorted(values)[: max(1, len(values) // 10)]))


def phase_seconds(outcome: Outcome) -> dict[str, float]:
    """Return seconds per phase; what clients measured inside a phase moves to ``evaluate``.

    Clients measure their models in the call that trained them. That call's wall-clock time is
    shared out as the clients' own clocks say.
    """
    seconds = dict.fromkeys(("fit", "fuse", "distil", "evaluate"), 0.0) | outcome.seconds
    phase = "distil" if seconds["distil"] else "fit"
    asked = [numbers for numbers in outcome.metrics.values() if "seconds_phase" in numbers]
    spent = sum(numbers["seconds_phase"] for numbers in asked)
    measuring = sum(numbers.get("seconds_evaluate", 0.0) for numbers in asked)
    moved = seconds[phase] * measuring / spent if spent else 0.0
    seconds[phase] -= moved
    seconds["evaluate"] += moved
    return seconds
