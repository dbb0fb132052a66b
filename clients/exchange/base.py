"""What an exchange is: the client's half of a method. Subclass `Exchange` to write one.

A strategy names the exchange that it needs (``exchange = "prototypes"``, a module of this room, or
``FILE.py:Class``), and `Strategy.exchange_node` may pass it parameters. One class says on both
sides what travels: the server asks it what to expect, the client has it make that.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, ClassVar

from flwr.app import ArrayRecord
from torch import Tensor, nn

from ...engine.state import load_record
from ...knowledge import Knowledge, Target, kind_named
from ...knowledge.admission import Expected
from ...models.alone import suffices
from ...models.flat import size
from ...tasks.rows import known, rows_of
from ..asked import fitted
from .phase import Phase


class Exchange:
    """What a client uploads after its fit, and what it does with its teacher.

    An object serves many clients: what it must remember of one belongs into
    ``phase.client.tensors``.

    Attributes
    ----------
    kind : str
        Kind of knowledge: ``"soft_labels"``, ``"logits"``, ``"class_knowledge"``,
        ``"parameters"``, or a `fedkd.knowledge.Kind` of your own.
    masked : bool
        Whether a client may leave out rows (`Knowledge.mask`).
    scored : bool
        Whether it sends a score for each sample.
    from_model : bool
        Whether private data reach the client's memory and its uploads through ``phase.loop.fit``
        alone, as DP-SGD needs. A class that overrides one of `TOUCHES` must say so again.
    heaviest : float
        The largest weight that a client may have in a mean over clients.
    counted : tuple of str
        Those of its extras that count private samples: nobody can claim more than it has.
    signed : tuple of str
        Those that may be negative.
    power : float
        What scores are raised to for that weight.
    input_shape : tuple of int
        Shape of one sample of the run's data, set before the run starts.
    sizes : sequence of int
        How many samples each client trains on, set at the server before the run starts.
    """

    TOUCHES: ClassVar[frozenset[str]] = frozenset(
        ("fit", "fitting", "upload", "receive", "learn", "scores", "vector", "samples", "finish")
    )

    input_shape: tuple[int, ...] = ()
    sizes: Sequence[int] = ()
    kind: ClassVar[str] = "soft_labels"
    masked: ClassVar[bool] = False
    scored: ClassVar[bool] = False
    from_model: ClassVar[bool] = True
    heaviest: float = 1.0
    counted: ClassVar[tuple[str, ...]] = ()
    signed: ClassVar[tuple[str, ...]] = ()
    power: float = 1.0

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "from_model" in vars(cls):
            return
        bases = [base for base in cls.__bases__ if issubclass(base, Exchange)]
        known = {name: [getattr(base, name, None) for base in bases] for name in cls.TOUCHES}
        same = all(getattr(cls, name, None) in found for name, found in known.items())
        cls.from_model = same and all(base.from_model for base in bases)

    def shape(self, model: nn.Module, samples: int, classes: int) -> tuple[int, ...]:
        """Return the shape of the values that a client with such a model uploads.

        `samples` are rows of knowledge, `classes` the numbers of a row of predictions.
        """
        del model
        return samples, kind_named(self.kind).width(samples, classes)

    def returned(self, model: nn.Module) -> tuple[int, ...]:
        """Return the shape of what such a client gets, where it is of another kind: its model's.

        See `fedkd.rounds.protocol.Strategy.lesson_kind`.
        """
        return (size(model),)

    def extras(self, model: nn.Module, classes: int) -> Mapping[str, tuple[int, ...]]:
        """Return names and shapes of what else is uploaded: float32, finite, see `signed`."""
        del model, classes
        return {}

    def weights_of(self, knowledge: Knowledge) -> Tensor | None:
        """Return what a client's rows weigh in the mean over clients, where that is not the same.

        With secure aggregation the client itself multiplies by it: ``[rows]``, or ``[1]`` for
        parameters, at least 0. By default scores, raised to `power`, or the mask.
        """
        if knowledge.scores is not None:
            return knowledge.scores.double() ** self.power
        return knowledge.mask

    def refusal(self, models: Mapping[str, nn.Module]) -> str | None:
        """Say why this cannot work with these models (name -> an instance); None if it can."""
        del models
        return None

    def reckons(self) -> str | None:
        """Say what this does with samples as numbers, beside giving them to models; None = nothing.

        Token ids of texts are names and no numbers: a run on texts is then refused.
        """
        return None

    def fit(self, phase: Phase) -> dict[str, float]:
        """Train on private data; return numbers for the tables.

        Raises
        ------
        RuntimeError
            If the loop has not asked for what `fitting` sets, such as what it adds to the loss.
        """
        with self.fitting(phase):
            return fitted(phase.loop, phase.client)

    def fitting(self, phase: Phase) -> AbstractContextManager[None]:
        """Hold while the client fits; may set ``phase.client.extra_loss``."""
        del phase
        return nullcontext()

    def stand(self, phase: Phase, arrays: ArrayRecord) -> None:
        """Take what the server has every client measured by (`Strategy.broadcast`): a model.

        Where it is a teacher (`Strategy.standing`), `receive` takes it.
        """
        load_record(phase.memory.model, arrays)

    def measuring(self, phase: Phase) -> AbstractContextManager[None]:
        """Hold while the client is measured; may put another model in its place meanwhile.

        What it does there nobody but the simulation sees, and nothing of it is kept.
        """
        del phase
        return nullcontext()

    def upload(self, phase: Phase) -> Knowledge:
        """Return what the client uploads after its fit."""
        x, ids = phase.transfer()
        logits = rows_of(phase.loop.predict([phase.client], x)[0])
        values = self.values(logits, float(phase.options["temperature"]))
        return Knowledge(phase.index, self.kind, values, ids)

    def declared(self, phase: Phase, knowledge: Knowledge) -> Knowledge:
        """Return what is uploaded, if it is no more than the class declares.

        Raises
        ------
        RuntimeError
            If it is: the server would not look at it, and no mechanism has judged it.
        """
        allowed = self.extras(phase.client.model, phase.classes).keys()
        more = [name for name in knowledge.extras if name not in allowed]
        more += ["mask"] if knowledge.mask is not None and not self.masked else []
        more += ["scores"] if knowledge.scores is not None and not self.scored else []
        if more:
            who = type(self).__name__
            raise RuntimeError(f"{who} uploads {', '.join(more)}, which it does not declare")
        return knowledge

    def values(self, logits: Tensor, temperature: float) -> Tensor:
        """Return what is uploaded of logits ``[samples, classes]``."""
        raise NotImplementedError(f"{type(self).__name__} must define values() or upload()")

    def receive(self, phase: Phase, target: Target) -> None:
        """Take in what comes with the request to fit, before the fit."""
        raise NotImplementedError(f"{type(self).__name__} has no use for a target before the fit")

    def learn(self, phase: Phase, target: Target) -> dict[str, float]:
        """Learn from the teacher; return numbers for the tables."""
        x, ids = phase.transfer()
        if (mask := target.mask) is not None:
            x, ids, target = known(x, ids, target, mask)
        if not suffices(phase.client.model, x):
            return {}
        target = replace(target, labels=phase.bench.labels(ids))
        return phase.loop.distil([phase.client], x, [target], phase.objective())[0]

    def predict(self, phase: Phase, x: Tensor) -> Tensor:
        """Return the client's logits ``[rows, classes]`` for evaluation."""
        return rows_of(phase.loop.predict([phase.client], x)[0])

    def finish(self, phase: Phase) -> Knowledge:
        """Return what the client uploads once, after the last round (`Strategy.finishes`)."""
        raise NotImplementedError(f"{type(self).__name__} must define finish()")

    def finishing(self, expected: Expected, classes: int, model: nn.Module) -> Expected | None:
        """Return what the server accepts of that; None = nothing.

        `expected` is what it accepts in a round.
        """
        del expected, classes, model
        return None

    def expected(
        self, client: int, round_: int, ids: Tensor, classes: int, model: nn.Module
    ) -> Expected:
        """Return what the server accepts from a client with such a model."""
        extras = self.extras(model, classes)
        return Expected(
            client=client,
            round=round_,
            kind=self.kind,
            sample_ids=ids if kind_named(self.kind).on_samples else ids[:0],
            shape=self.shape(model, len(ids), classes),
            masked=self.masked,
            scored=self.scored,
            extras=extras,
            signed=self.signed,
            heaviest=self.heaviest,
            counted=tuple(name for name in self.counted if name in extras),
        )
