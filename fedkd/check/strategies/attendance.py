"""Who comes late learns what there is to know; who is absent is left alone."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from flwr.app import ConfigRecord, RecordDict
from torch import Tensor

from ...engine.faults import Fault
from ...knowledge import kind_named
from ...rounds.protocol import Outcome, RoundPlan, Strategy
from ...run.result import RunResult
from ...strategies.local import Local
from ..promises import Broken, Skipped
from .subject import SAMPLES, Subject

THERE, BACK, LATE, NEW = 0, 1, 2, 3
"""In all rounds; away in the second; lost in the second, after its fit; in the third only."""

PARTNERS = ((4, 5), (6, 7))
"""Who else is there in the second round, of two runs that are the same but for that."""

ALL = sorted({THERE, BACK, LATE, NEW, *PARTNERS[0], *PARTNERS[1]})

COMERS = {BACK: "back", LATE: "lost in round 2 and back", NEW: "new"}

REMEDY = "send what it lacks in before_fit(), as ClassFusion and ParameterFusion do"


@dataclass(frozen=True)
class Attended:
    """A run, and what clients uploaded in its last round, where the server saw it."""

    result: RunResult
    uploads: dict[int, Tensor]

    def model(self, client: int) -> list[Tensor]:
        """Return a client's model at the end."""
        return [value.flatten() for value in self.result.model(client).state_dict().values()]

    def fit(self, client: int) -> list[Tensor]:
        """Return what there is to see of a client's last fit: its loss, and what it uploaded."""
        fits = [row for row in self.result.clients.to_pylist() if row["metric"] == "loss_fit"]
        losses = [row["value"] for row in fits if (row["round"], row["client"]) == (3, client)]
        return [torch.tensor(losses), self.uploads.get(client, torch.zeros(0))]


def newcomers(subject: Subject) -> str:
    """Make two runs with other clients in their second round; see who hears of it in the third.

    And a run in which nothing is exchanged: a client that was always there shows how much there is
    to hear. A teacher on transfer samples may come after the fit, any other has to come before.
    """
    strategy = subject.make()
    if strategy.exchange is None:
        raise Skipped("the method exchanges nothing")
    kind = strategy.lesson_kind or subject.setting.expect(0, 1, torch.arange(SAMPLES)).kind
    early = not kind_named(kind).on_samples
    one, other = (attended(subject, subject.usual(), partners) for partners in PARTNERS)
    alone = attended(subject, Local(), PARTNERS[0])

    def same(run: Attended, client: int) -> bool:
        pairs = zip(*((r.fit if early else r.model)(client) for r in (one, run)), strict=True)
        return all(torch.equal(a, b) for a, b in pairs if len(a) and len(b))

    if same(alone, NEW) and not same(alone, THERE):
        raise Broken(f"client {NEW}, new in round 3, does as it would alone; {REMEDY}")
    if same(other, THERE):
        return "new clients learn; in round 2 there was nothing to miss"
    deaf = [client for client in COMERS if same(other, client)]
    if deaf and (early or len(deaf) == len(COMERS)):  # a teacher of its own may be its own words
        who = f"client {deaf[0]}, {COMERS[deaf[0]]} in round 3,"
        raise Broken(f"{who} hears nothing of round 2, as client {THERE} does; {REMEDY}")
    return "in round 3 who was away, lost or is new hears of round 2; absent clients do not change"


def attended(subject: Subject, strategy: Strategy, partners: Iterable[int]) -> Attended:
    """Run three rounds with such clients in the second.

    Raises
    ------
    Broken
        If what an absent client remembers changes.
    """
    cohorts = [[k for k in ALL if k != NEW], [THERE, LATE, *partners], [THERE, *COMERS]]
    uploads: dict[int, Tensor] = {}
    changed: list[str] = []
    run_round = strategy.round

    def watched(plan: RoundPlan) -> Outcome:
        if plan.number == 2:
            plan.fleet.begin({LATE: Fault("late", "late (simulated)")})
        absent = sorted(set(ALL) - set(plan.cohort)) if plan.number > 1 else []
        before = _memories(plan, absent)
        outcome = run_round(replace(plan, record=True))  # Flower's strategies note uploads then
        changed.extend(_changes(before, _memories(plan, absent)))
        stack = outcome.knowledge
        if plan.number == len(cohorts) and stack and len(stack.clients) == len(stack.values):
            uploads.update(zip(stack.clients, stack.values, strict=True))
        return outcome

    vars(strategy).update(round=watched, cohort=lambda number, *_: cohorts[number - 1])
    result = subject.run(strategy, rounds=len(cohorts), clients=len(ALL))
    if changed:
        raise Broken(changed[0])
    return Attended(result, uploads)


def _memories(plan: RoundPlan, clients: Iterable[int]) -> dict[int, RecordDict]:
    """Return all that these clients remember."""
    asked = dict.fromkeys(clients, RecordDict({"config": ConfigRecord()}))
    return {r.client: r.ok for r in plan.fleet.call("query.snapshot", asked, plan.number)}


def _changes(before: dict[int, RecordDict], after: dict[int, RecordDict]) -> Iterator[str]:
    """Say what of it has changed."""
    for client, records in before.items():
        old, new = _flat(records), _flat(after[client])
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                yield f"client {client} was absent from a round, and its {name} has changed"


def _flat(records: RecordDict) -> dict[str, Any]:
    """Return the entries of all records, but for the time that it took to make them."""
    kept = {name: record for name, record in records.items() if name != "metrics"}
    return {f"{name}.{key}": v for name, record in kept.items() for key, v in record.items()}
