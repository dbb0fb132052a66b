"""What a task measures of the clients' models, round by round."""

import copy
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, RecordDict

from ..engine import Reply
from ..errors import RunError
from ..knowledge.lazily import LazyMapping
from ..tasks import Task
from ..tasks.classification import Classification
from .plan import Outcome, RoundPlan

Standing = Mapping[int, Mapping[str, ArrayRecord]]
"""By what clients are measured in place of the model that they have: see `Strategy.standing`."""

WORST = ("local", "global")
"""The numbers per client that a task always has, and that also have the mean of the clients that
fare worst: a tenth, at least one."""

ERRORS = {name: f"{name}_se" for name in WORST}
"""Standard errors, where a subset of the test split stands for all. Clients are measured on the
same samples, so those of means are at most the mean of the clients'."""


class Measurements:
    """Every client's last measured numbers; only models that changed are measured again.

    Parameters
    ----------
    clients : int
        Number of clients.
    whole : int
        Samples of the test split.
    task : Task, optional
        Says what is measured; default classification.

    Attributes
    ----------
    samples : int or None
        Test samples on which they were measured (0 = all); None = not known.
    stale : set of int
        Clients whose model changed since it was measured.
    diverged : set of int
        Clients whose model was not finite when it was last seen.
    """

    def __init__(self, clients: int, whole: int, task: Task | None = None) -> None:
        self.clients, self.whole, self.task = clients, whole, task or Classification()
        self.names = (*WORST, "validation", *self.task.measures)
        self.samples: int | None = None
        self.current: dict[int, dict[str, float]] = {}
        self.stale = set(range(clients))
        self.diverged: set[int] = set()

    def save(self) -> dict[str, Any]:
        """Return what `load` takes, JSON-ready."""
        marks = {"stale": sorted(self.stale), "diverged": sorted(self.diverged)}
        return {"current": copy.deepcopy(self.current), "samples": self.samples, **marks}

    def load(self, saved: dict[str, Any]) -> None:
        """Go on from what `save` returned."""
        self.current = {int(client): numbers for client, numbers in saved["current"].items()}
        self.samples = saved.get("samples")  # older checkpoints do not know
        self.stale = set(saved["stale"])
        self.diverged = set(saved.get("diverged", []))

    def note(self, outcome: Outcome) -> None:
        """Take in whose models turned out in a round to be finite, and whose not."""
        self.diverged -= outcome.diverged.keys()
        self.diverged |= {client for client, found in outcome.diverged.items() if found}

    def update(self, plan: RoundPlan, outcome: Outcome, standing: Standing) -> float:
        """Bring every client's accuracy up to date; return the seconds that took.

        Clients that the round itself measured are done. The others are measured now, if their
        model changed since, or another counts in its place. Who cannot be measured counts as
        rejected, and has no accuracy until it can.

        Parameters
        ----------
        plan, outcome
            The round; the new numbers are added to ``outcome.metrics``.
        standing : mapping
            By what clients are measured in place of their own model.

        Raises
        ------
        RunError
            If nobody can be measured.
        """
        found = outcome.metrics.items()
        fresh = {k: numbers for k, numbers in found if self._problem(numbers) is None}
        self.current |= fresh
        everybody = self.samples != plan.evaluate
        due = set(range(self.clients)) if everybody else self.stale | standing.keys()
        return self._measure(sorted(due - set(fresh)), plan, outcome, standing)

    def complete(self, plan: RoundPlan, outcome: Outcome, standing: Standing) -> float:
        """Measure everybody on the whole test split; return the seconds that took."""
        return self._measure(range(self.clients), replace(plan, evaluate=0), outcome, standing)

    def _measure(
        self, due: Sequence[int], plan: RoundPlan, outcome: Outcome, standing: Standing
    ) -> float:
        began = time.perf_counter()
        self.samples = plan.evaluate
        contents = requests(due, standing, plan.number, plan.evaluation())
        failed: dict[int, str] = {}
        for reply in plan.fleet.call("query.evaluate", contents, plan.number):
            problem = self._take(reply, outcome)
            if problem is not None:
                failed[reply.client] = problem
        if not self.current:
            cause = next(iter(failed.values()), "no replies")
            raise RunError(f"every client failed in query.evaluate; the first: {cause}")
        outcome.rejected = failed | outcome.rejected
        self.stale = set(failed)
        return time.perf_counter() - began

    def _take(self, reply: Reply, outcome: Outcome) -> str | None:
        """Put a client's new accuracies in the place of the old; say why there are none."""
        found = {} if reply.content is None else outcome.numbers(reply)
        problem = (reply.error or "no reply") if reply.content is None else self._problem(found)
        numbers = outcome.metrics.setdefault(reply.client, {})
        for name in self.names:
            numbers.pop(name, None)
        self.current.pop(reply.client, None)
        if problem is None:
            self.current[reply.client] = found
            numbers.update(found)
        return problem

    def columns(self, evaluated: bool) -> dict[str, float | None]:
        """Return on how many samples they are, and of each mean, deviation and worst."""
        tested = (self.samples or self.whole) if evaluated and self.current else None
        columns: dict[str, float | None] = {"evaluated": tested}
        for name in self.names:
            every = [self.current[k].get(name, math.nan) for k in sorted(self.current)]
            values = [value for value in every if not math.isnan(value)]  # nan: nothing to test
            if name not in WORST and not values:
                continue
            known, column = evaluated and bool(values), self.task.column(name)
            columns[column] = float(np.mean(values)) if known else None
            columns[f"{column}_std"] = float(np.std(values)) if known else None
            if name in WORST:
                tenth = worst(values, self.task.score.more) if known else None
                columns[f"{column}_worst"] = tenth
                errors = [one[ERRORS[name]] for one in self.current.values() if ERRORS[name] in one]
                columns[f"{column}_se"] = float(np.nanmean(errors)) if known and errors else None
        return columns

    def _problem(self, numbers: Mapping[str, float]) -> str | None:
        """Say why numbers are not those of a measured client; None if they are."""
        for name in (*WORST, *(set(self.names) & numbers.keys())):
            value, (low, high) = numbers.get(name), self.task.span(name)
            if value is None or not (low <= value <= high or math.isnan(value)):
                return f"{name}: got {value}, expected a number from {low:g} to {high:g}"
        return None


def requests(
    clients: Iterable[int], standing: Standing, number: int, evaluation: Mapping[str, int]
) -> Mapping[int, RecordDict]:
    """Return what clients are sent to be measured.

    Parameters
    ----------
    clients : iterable of int
        Who.
    standing : mapping
        By what they are measured in place of their own model; they are left with it.
    number : int
        The round.
    evaluation : mapping
        What `RoundPlan.evaluation` returns; without it they only take that model.
    """
    config = ConfigRecord({"round": number, "kind": "parameters", **evaluation})
    return LazyMapping(
        clients, lambda client: RecordDict({"config": config, **standing.get(client, {})})
    )


def worst(values: Sequence[float], more: bool = True) -> float:
    """Return the mean of the worst tenth, at least one: what an average hides.

    `more` says whether more is better.

    Examples
    --------
    >>> worst([0.9] * 18 + [0.1, 0.3]), worst([0.5, 0.7]), worst([0.5, 0.7], more=False)
    (0.2, 0.5, 0.7)
    """
    ordered = sorted(values, reverse=not more)
    return float(np.mean(ordered[: max(1, len(values) // 10)]))
