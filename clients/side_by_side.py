"""The training loop that takes clients side by side where it can: ``engine.stack``.

It does what `Standard` does, up to the order in which floats are added up, for several clients of
one architecture at once. A client goes alone, through `Standard` itself, where

- a method sets more for its fit than `STACKED`, or ``fit.augment`` is on,
- its model draws random numbers, as dropout does in training, or cannot be vectorised,
- the objective has a state of its own (`taid`), remembers something of the client (`ctkd`), or
  looks at features (`rkd` of ``rows=features``).

Where a sample's loss depends on the other samples of its batch (batch normalisation in training,
the objective `sinkd`), only clients with equally many samples are taken together: then no batch is
padded.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from ..distillation.base import Batch, Objective, Target
from ..distillation.weighing import Weighted
from ..ending import contained
from ..tasks.rows import by_sample, rows_at, rows_of
from .architectures import architecture, coupled
from .asked import ADDED
from .base import Client, ClientLoop
from .jobs import Job, Jobs
from .memory import footprint, free_bytes
from .passes import PREDICT_BATCH
from .stack import predictions
from .standard import Standard
from .training import Loss, Trainer, Training

STACKED = ("log_prior", "epochs")
"""What a method may set for clients that are fitted together; with more a client goes alone."""


def side_by_side(loop: ClientLoop, share: float | None) -> ClientLoop:
    """Return a loop that does the same for several clients at once; somebody's own is kept.

    Parameters
    ----------
    loop : ClientLoop
        The run's.
    share : float or None
        Share of a GPU's memory that it may fill; None = any, until memory runs out.
    """
    return StackLoop(loop, share) if type(loop) is Standard else loop


class StackLoop(ClientLoop):
    """Trains clients side by side, and says with how many: ``stack`` in the tables.

    Parameters
    ----------
    loop, share
        See `side_by_side`.
    """

    def __init__(self, loop: Standard, share: float | None = None) -> None:
        super().__init__(fit=loop.fit_config, distil=loop.distil_config, device=loop.device)
        self.loop = loop
        self.jobs = Jobs(None if share is None else partial(free_bytes, share))
        self._habits: dict[Hashable, bool | None] = {}

    def fit(self, clients: Sequence[Client]) -> list[dict[str, float]]:
        """Train on private data."""
        numbers: list[dict[str, float]] = self.jobs.answers([self._fit(one) for one in clients])
        return numbers

    def distil(
        self,
        clients: Sequence[Client],
        x: Tensor,
        teachers: Sequence[Target],
        objective: Objective,
    ) -> list[dict[str, float]]:
        """Train on the teachers with the objective."""
        pairs = zip(clients, teachers, strict=True)
        jobs = [self._distil(client, x, teacher, objective) for client, teacher in pairs]
        numbers: list[dict[str, float]] = self.jobs.answers(jobs)
        return numbers

    def predict(self, clients: Sequence[Client], x: Tensor) -> list[Tensor]:
        """Return logits in evaluation mode."""
        logits: list[Tensor] = self.jobs.answers([self._predict(one, x) for one in clients])
        return logits

    def _fit(self, client: Client) -> Job:
        mu, prior = float(client.options.get("proximal-mu", 0.0)), client.log_prior
        x, y = self.loop.resident(client.x), self.loop.resident(client.y)
        training = Training(client.model, x, y, client.generator, prior, mu)
        plain = all(getattr(client, name) is None for name in ADDED if name not in STACKED)
        plain = plain and not self.fit_config.get("augment")

        def loss(outputs: Tensor, target: Tensor, *rest: Tensor) -> Tensor:
            del rest
            return client.loss(outputs, target)

        return self._training(
            "fit",
            training,
            client.settings(self.fit_config),
            loss,
            per_sample=True,
            about=(prior is None, bool(mu)) if plain and not client.alone else None,
            alone=lambda: self.loop.fit([client])[0],
        )

    def _distil(self, client: Client, x: Tensor, teacher: Target, objective: Objective) -> Job:
        told, each = teacher.labels is not None, max(1, len(teacher.values) // len(x))

        def loss(logits: Tensor, target: Tensor, y: Tensor, x: Tensor, rows: Tensor) -> Tensor:
            batch = Batch(x, rows_at(rows, each), y.flatten() if told else None)
            return objective(rows_of(logits), teacher.part(rows_of(target)), batch)

        looks = teacher.mask is not None or objective.looks_at(client.model)
        alike = None if looks else _alike(objective)
        samples, values = self.loop.resident(x), by_sample(teacher.values, each)
        training = Training(client.model, samples, values, client.generator)
        labels = None if teacher.labels is None else by_sample(teacher.labels, each)
        return self._training(
            "distil",
            replace(training, labels=labels),
            self.loop.distil_settings(objective),
            loss,
            per_sample=objective.per_sample,
            about=None if alike is None else (teacher.kind, teacher.temperature, told, alike),
            alone=lambda: self.loop.distil([client], x, [teacher], objective)[0],
        )

    def _training(
        self,
        name: str,
        training: Training,
        settings: Mapping[str, Any],
        loss: Loss,
        *,
        per_sample: bool,
        about: Hashable | None,
        alone: Callable[[], dict[str, float]],
    ) -> Job:
        """Return a job; `about` is what clients must agree in beside data, or None."""
        x, n = training.x, len(training.x)
        kind = name, architecture(training.model.train())
        habit = self._habit(kind, training.model, x) if about and n else None
        padded = per_sample and not habit
        shapes = x.shape[1:], training.target.shape[1:], padded, 0 if padded else n

        def together(trainings: list[Training]) -> list[dict[str, float]]:
            before = [one.generator.get_state() for one in trainings]
            try:
                losses = Trainer(trainings, settings, loss, padded, self.device).train()
            except BaseException:
                for one, state in zip(trainings, before, strict=True):
                    one.generator.set_state(state)
                raise
            return [{f"loss_{name}": value, "stack": float(len(losses))} for value in losses]

        return Job(
            kind=kind,
            key=None if habit is None else (about, shapes, repr(sorted(settings.items()))),
            item=training,
            alone=lambda: alone() | {"stack": 1.0},
            together=together,
            samples=n,
            nbytes=lambda: footprint(training.model, x, settings["batch_size"]),
        )

    def _predict(self, client: Client, x: Tensor) -> Job:
        kind, x = ("predict", architecture(client.model.eval())), self.loop.resident(x)
        habit = self._habit(kind, client.model, x) if len(x) else None
        return Job(
            kind=kind,
            key=None if habit is None else (x.shape, x.dtype),
            item=(client.model, x),
            alone=lambda: self.loop.predict([client], x)[0],
            together=lambda items: predictions([m for m, _ in items], [x for _, x in items]),
            samples=len(x),
            nbytes=lambda: footprint(client.model, x[:PREDICT_BATCH], PREDICT_BATCH),
        )

    def _habit(self, kind: Hashable, model: nn.Module, x: Tensor) -> bool | None:
        """Return whether samples of a batch depend on each other; None = random, or it fails."""
        if kind not in self._habits:
            try:
                with contained():
                    self._habits[kind] = coupled(model, x[:1])
            except Exception:  # when it is alone, the client says so
                self._habits[kind] = None
        return self._habits[kind]


def _alike(objective: Objective) -> Hashable | None:
    """Return what makes two objectives the same; None if this one is for one client at a time."""
    cls = type(objective)
    if isinstance(objective, Weighted):
        weighted = _alike(objective.inner)
        return None if weighted is None else (cls, objective.weight, weighted)
    if objective.remembers or objective.layers:
        return None
    if cls.start is not Objective.start or cls.progress is not Objective.progress:
        return None
    inner = [
        (name, _alike(value) if isinstance(value, Objective) else value)
        for name, value in sorted(vars(objective).items())
        if name != "made_with"
    ]
    try:
        hash(tuple(inner))
    except TypeError:
        return None
    return cls, tuple(inner)
