"""The round that every fusion method runs.

To write a method, subclass `FusionStrategy` and override one of two pure functions: `fuse` (stacked
knowledge -> teacher) or `weights` (stacked knowledge -> mixing weights). The other hooks are for
methods that need more: a model at the server (`refine`), a cache (`asked`, `lessons`), a first
model for everybody (`before_fit`).
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from flwr.app import Array, ArrayRecord, RecordDict
from torch import Tensor

from ..errors import RunError
from ..knowledge import Knowledge, KnowledgeStack, Teacher, kind_named, stack
from ..knowledge.lazily import LazyMapping
from ..maths.mixing import effective_neighbours
from ..rounds.protocol import Outcome, RoundPlan, Strategy
from .collecting import collect
from .fusing import fuse_in_blocks

Records = dict[str, ArrayRecord]


class FusionStrategy(Strategy):
    """Base of the methods that fuse knowledge on a transfer set.

    Override `weights` (and let the base mix and log) or `fuse`. Both are pure: tensors in, tensors
    out, no files, no global random numbers, and nothing of the strategy is changed: blocks of
    samples may be fused elsewhere. What is to be remembered between rounds goes into `state`, in
    `refine` or `after_round`, which are called once a round.

    Parameters
    ----------
    temperature : float or None
        Softmax temperature of the uploaded soft labels, > 0; None = ``distil.temperature``.

    Attributes
    ----------
    per_sample : bool
        True if `fuse` treats samples independently; the engine then runs it in blocks.
    tempers : bool
        True if the method has a use for `temperature` whatever clients exchange.
    state : dict of Tensor
        What the method remembers between rounds; checkpoints have it, a resumed run begins with it.
    """

    exchange = "soft_labels"
    per_sample: ClassVar[bool] = False
    tempers: ClassVar[bool] = False
    fit_action: ClassVar[str] = "train.fit"

    def __init__(self, *, temperature: float | None = None) -> None:
        super().__init__()
        if temperature is not None and not temperature > 0:
            raise ValueError(f"temperature={temperature} must be greater than 0")
        self.temperature = temperature

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of the temperature, where there are no soft labels for it."""
        if kind_named(kind).simplex or self.tempers:
            return {}
        what = kind.replace("_", " ")
        why = f"has no effect: it softens soft labels, and clients exchange {what}; leave it out"
        return {"temperature": why}

    @property
    def mixes(self) -> bool:
        """Whether the method has mixing weights, in place of a `fuse` of its own."""
        return type(self).fuse is FusionStrategy.fuse

    def weights(self, knowledge: KnowledgeStack) -> Tensor:
        """Return mixing weights ``[clients, clients]``, rows on the simplex."""
        raise NotImplementedError(f"{type(self).__name__} must override weights() or fuse()")

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the teacher: for all clients, or with a leading dimension for one per client.

        It is of the kind the clients exchange, so for knowledge on the transfer set ``[samples,
        classes]`` or ``[clients, samples, classes]``. Soft labels are not negative; rows that do
        not sum to 1 (a median's) are normalised.
        """
        raise NotImplementedError

    def covered(self, knowledge: KnowledgeStack, teacher: Tensor) -> Tensor | None:
        """Return which rows of what `fuse` returned are a teacher; None = all.

        A bool tensor, one entry a row (a sample, or a class). By default the rows that some client
        sent, where clients may leave rows out.
        """
        del teacher
        return None if knowledge.mask is None else knowledge.mask.any(dim=0)

    def refine(self, plan: RoundPlan, knowledge: KnowledgeStack, teacher: Teacher) -> Teacher:
        """Return what the server makes of the fused knowledge, for instance by its own model."""
        del plan, knowledge
        return teacher

    def asked(self, plan: RoundPlan) -> Tensor:
        """Return the transfer samples that clients are to label in this round, ``[samples]``."""
        return plan.sample_ids

    def fit_options(self, plan: RoundPlan) -> dict[str, Any]:
        """Return what else to tell clients that fit; the exchange finds it in its options."""
        del plan
        return {}

    def before_fit(self, plan: RoundPlan) -> Mapping[int, Records]:
        """Return what clients need before they fit, a lesson for the exchange to receive."""
        del plan
        return {}

    def beside(self) -> dict[str, Tensor]:
        """Return what is sent with every teacher that is not for transfer samples, by name.

        It is of another kind, and in `state`; the exchange finds it in `Target.extras`.
        """
        return {}

    def lessons(self, plan: RoundPlan, teacher: Teacher) -> Mapping[int, Records]:
        """Return what each client is sent of the teacher: ``{client: {"teacher": record}}``."""
        del plan
        records = teacher.one_by_one()
        return LazyMapping(records, lambda client: {"teacher": records[client]})

    def after_round(self, plan: RoundPlan, outcome: Outcome) -> None:
        """Note what came of the round, also if it was skipped, and `outcome` has no knowledge.

        Clients that failed are in ``outcome.rejected``.
        """
        del plan, outcome

    def round_extras(self, knowledge: KnowledgeStack) -> dict[str, Tensor]:
        """Return numbers for the tables: scalars, or ``[clients]`` or ``[clients, k]`` tensors."""
        del knowledge
        return {}

    def round(self, plan: RoundPlan) -> Outcome:
        """Fit, admit, fuse, distil."""
        outcome = Outcome()
        ids = self.asked(plan)
        admitted = self._collect(plan, ids, outcome)
        if outcome.goes_on(admitted, self.fit_action, plan.min_clients):
            started = time.perf_counter()
            kind, lessons = self.teach(plan, admitted, outcome)
            outcome.seconds["fuse"] = time.perf_counter() - started
            self._distil(plan, kind, lessons, outcome)
        self.after_round(plan, outcome)
        return outcome

    def teach(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], outcome: Outcome
    ) -> tuple[str, Mapping[int, Records]]:
        """Fuse; return the teachers' kind, and what each client is sent."""
        labels = plan.labels if len(admitted[0].sample_ids) == len(plan.sample_ids) else None
        knowledge = stack(admitted, labels)
        teacher = self.fused(plan, knowledge, outcome)
        if self.offered > 1:
            self._all_there(knowledge, teacher)
        return teacher.kind, self.lessons(plan, teacher)

    def _all_there(self, knowledge: KnowledgeStack, teacher: Teacher) -> None:
        """Refuse anything but the teachers that clients are told to choose from."""
        dims = kind_named(teacher.kind).dims
        rows, own = teacher.values.shape[-dims], knowledge.values.shape[-dims]
        if rows != self.offered * own:
            who = f"strategy {type(self).__name__}: offered={self.offered}"
            problem = f"fused() must return {self.offered * own} rows, one teacher after the other"
            raise RunError(f"{who}, so {problem}; got {rows}")

    def _collect(self, plan: RoundPlan, ids: Tensor, outcome: Outcome) -> list[Knowledge]:
        """Let the cohort fit and upload its knowledge; admit what it sends."""
        return self._uploads(plan, self.fit_action, ids, outcome)

    def _uploads(
        self, plan: RoundPlan, action: str, ids: Tensor, outcome: Outcome
    ) -> list[Knowledge]:
        """Let the cohort do as a message says, and upload knowledge; admit what it sends."""
        started = time.perf_counter()
        kind = plan.expect(plan.cohort[0], ids).kind
        temperature = self.softness("soft_labels", plan.temperature)
        own = {"kind": str(self.lesson_kind or kind), **self.fit_options(plan)}
        options = plan.options(upload=True, temperature=temperature, **own)
        shared = {"config": options, **_transfer(plan, ids, kind)}
        first = self.before_fit(plan)
        if plan.record:
            outcome.exchanged.starts = _teachers(first)
        contents = dict.fromkeys(plan.cohort, RecordDict(shared)) | {
            client: RecordDict({**shared, **records}) for client, records in first.items()
        }
        admitted = collect(plan, action, contents, ids, outcome)
        outcome.seconds["fit"] = time.perf_counter() - started
        return admitted

    def fused(self, plan: RoundPlan, knowledge: KnowledgeStack, outcome: Outcome) -> Teacher:
        """Fuse, check, refine; note what there is to note."""
        teacher, weights = fuse_in_blocks(self, knowledge, plan.blocks)
        teacher = self.refine(plan, knowledge, teacher)
        outcome.knowledge = knowledge
        if weights is not None:
            outcome.weights = knowledge.clients, weights
            neighbours = effective_neighbours(weights)
            outcome.scalars["effective_neighbours"] = neighbours.mean().item()
            outcome.note(knowledge.clients, "effective_neighbours", neighbours)
        for name, values in self.round_extras(knowledge).items():
            outcome.note(knowledge.clients, name, torch.as_tensor(values))
        return teacher

    def _distil(
        self, plan: RoundPlan, kind: str, lessons: Mapping[int, Records], outcome: Outcome
    ) -> None:
        """Send every client its teacher."""
        started = time.perf_counter()
        if plan.record:  # the lessons of all clients at once
            outcome.exchanged.lessons = _teachers(lessons)
            outcome.exchanged.sample_ids = plan.sample_ids.repeat(self.offered)
        uploaded = plan.expect(plan.cohort[0], plan.sample_ids).kind
        temperature = self.teacher_softness(uploaded, plan.temperature)
        several = {"offered": self.offered} if self.offered > 1 else {}
        own = {"kind": str(kind), "temperature": temperature, **several}
        options = plan.options(**own, **plan.evaluation())
        shared = {"config": options, **_transfer(plan, plan.sample_ids, kind)}
        contents = LazyMapping(lessons, lambda client: RecordDict({**shared, **lessons[client]}))
        replies = plan.fleet.stream("train.distil", contents, plan.number)
        outcome.goes_on(outcome.take(replies), "train.distil")
        outcome.seconds["distil"] = time.perf_counter() - started


def _teachers(records: Mapping[int, Records]) -> dict[int, ArrayRecord]:
    """Return the teacher in what each client is sent."""
    return {client: each["teacher"] for client, each in records.items() if "teacher" in each}


def _transfer(plan: RoundPlan, ids: Tensor, kind: str) -> dict[str, Any]:
    """Return the record that names samples, if it matters and they are not simply all of them."""
    if not kind_named(kind).on_samples or (plan.all_samples and ids is plan.sample_ids):
        return {}
    return {"transfer": ArrayRecord({"sample_ids": Array(ids.to(torch.int32).numpy())})}
