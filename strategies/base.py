"""The round that every fusion method runs.

To write a method, subclass `FusionStrategy` and override one of two pure functions: `fuse` (stacked
knowledge -> teacher) or `weights` (stacked knowledge -> mixing weights).
"""

import time
from typing import Any, ClassVar

import torch
from flwr.app import Array, ArrayRecord, RecordDict
from torch import Tensor

from ..fusion import effective_neighbours
from ..knowledge import Expected, Knowledge, KnowledgeStack, Rejected, Teacher, admit, stack
from ..protocol import Outcome, RoundPlan, Strategy
from .fusing import fuse_in_blocks


class FusionStrategy(Strategy):
    """Base of the methods that fuse knowledge on a transfer set.

    Override `weights` (and let the base mix and log) or `fuse`. Both are pure: tensors in, tensors
    out, no files, no global random numbers.

    Parameters
    ----------
    temperature : float or None
        Softmax temperature of the uploaded soft labels, > 0; None = ``distil.temperature``.

    Attributes
    ----------
    per_sample : bool
        True if `fuse` treats samples independently; the engine then runs it in blocks.
    """

    exchange = "soft_labels"
    per_sample: ClassVar[bool] = False

    def __init__(self, *, temperature: float | None = None) -> None:
        super().__init__()
        if temperature is not None and not temperature > 0:
            raise ValueError(f"temperature={temperature} must be greater than 0")
        self.temperature = temperature

    def weights(self, knowledge: KnowledgeStack) -> Tensor:
        """Return mixing weights ``[clients, clients]``, rows on the simplex."""
        raise NotImplementedError(f"{type(self).__name__} must override weights() or fuse()")

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the teacher, ``[samples, classes]`` or ``[clients, samples, classes]``.

        It is of the kind the clients exchange: logits, or soft labels. Soft labels are not
        negative; rows that do not sum to 1 (a median's) are normalised.
        """
        raise NotImplementedError

    def round_extras(self, knowledge: KnowledgeStack) -> dict[str, Tensor]:
        """Return numbers for the tables: scalars, or ``[clients]`` or ``[clients, k]`` tensors."""
        del knowledge
        return {}

    def round(self, plan: RoundPlan) -> Outcome:
        """Fit, admit, fuse, distil."""
        outcome = Outcome()
        admitted = self._collect(plan, outcome)
        if outcome.goes_on(admitted, "train.fit", plan.min_clients):
            teacher = self._fuse(plan, stack(admitted, plan.labels), outcome)
            self._distil(plan, teacher, outcome)
        return outcome

    def _collect(self, plan: RoundPlan, outcome: Outcome) -> list[Knowledge]:
        """Let the cohort fit and label the transfer samples; admit what it sends."""
        started = time.perf_counter()
        kind = str(self.exchange)
        options = plan.options(kind=kind, temperature=self.temperature or plan.temperature)
        request = RecordDict({"config": options, **_transfer(plan)})
        replies = plan.fleet.call("train.fit", dict.fromkeys(plan.cohort, request), plan.number)
        admitted: list[Knowledge] = []
        for reply in outcome.take(replies):
            asked = Expected(reply.client, plan.number, kind, plan.sample_ids, plan.classes)
            try:
                admitted.append(admit(reply.ok, asked))
            except Rejected as reason:
                outcome.rejected[reply.client] = str(reason)
        outcome.seconds["fit"] = time.perf_counter() - started
        return admitted

    def _fuse(self, plan: RoundPlan, knowledge: KnowledgeStack, outcome: Outcome) -> Teacher:
        started = time.perf_counter()
        teacher, weights = fuse_in_blocks(self, knowledge, plan.blocks)
        outcome.knowledge = knowledge
        if weights is not None:
            outcome.weights = knowledge.clients, weights
            neighbours = effective_neighbours(weights)
            outcome.scalars["effective_neighbours"] = neighbours.mean().item()
            _note(outcome, knowledge.clients, "effective_neighbours", neighbours)
        for name, values in self.round_extras(knowledge).items():
            _note(outcome, knowledge.clients, name, torch.as_tensor(values))
        outcome.seconds["fuse"] = time.perf_counter() - started
        return teacher

    def _distil(self, plan: RoundPlan, teacher: Teacher, outcome: Outcome) -> None:
        """Send every client its teacher."""
        started = time.perf_counter()
        options = plan.options(kind=teacher.kind, **plan.evaluation())
        shared: dict[str, Any] = {"config": options, **_transfer(plan)}
        contents = {
            client: RecordDict({**shared, "teacher": record})
            for client, record in teacher.records().items()
        }
        replies = plan.fleet.call("train.distil", contents, plan.number)
        outcome.goes_on(outcome.take(replies), "train.distil")
        outcome.seconds["distil"] = time.perf_counter() - started


def _transfer(plan: RoundPlan) -> dict[str, ArrayRecord]:
    """Return the record that names the round's samples, if they are not simply all of them."""
    if plan.all_samples:
        return {}
    ids = Array(plan.sample_ids.to(torch.int32).numpy())
    return {"transfer": ArrayRecord({"sample_ids": ids})}


def _note(outcome: Outcome, clients: list[int], name: str, values: Tensor) -> None:
    """Put a method's extra numbers where they belong: a column, or a metric per client."""
    if values.dim() == 0:
        outcome.scalars[name] = values.item()
        return
    for client, row in zip(clients, values, strict=True):
        numbers = outcome.metrics.setdefault(client, {})
        if row.dim() == 0:
            numbers[name] = row.item()
        else:
            numbers |= {f"{name}_{i}": item for i, item in enumerate(row.tolist())}
