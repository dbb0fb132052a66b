"""All clients' models and what combines them: the client's half of FENS."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from flwr.app import ArrayRecord
from torch import Tensor, nn
from torch.nn import functional as F

from ...engine.state import tensors_of
from ...knowledge import Knowledge, Target
from ...models.flat import flatten, size, unflatten
from ...rng import torch_generator
from .parameters import NO_SAMPLES, Parameters
from .phase import Phase
from .scoring import seed_from

AGGREGATOR = "aggregator"
"""The message option that asks for a step of the aggregator in place of a fit."""

HELD, WHOLE = "held", "ensemble"
"""The tensors of a client with the models' logits on what it holds out, and with what it is
measured by."""


def aggregator(clients: int, classes: int, width: int) -> nn.Sequential:
    """Return what makes logits of all models' logits, ``[batch, clients * classes]``.

    Examples
    --------
    >>> size(aggregator(20, 10, 2))
    8450
    """
    hidden = clients * width
    layers = nn.Linear(clients * classes, hidden), nn.ReLU(), nn.Linear(hidden, classes)
    return nn.Sequential(*layers)


class Ensemble(Parameters):
    """Uploads the client's model ``[size]``, trained without what it holds out for the aggregator.

    Asked for `AGGREGATOR`, it uploads that after a step on the latter.

    Parameters
    ----------
    width : int
        Hidden numbers of the aggregator for each client, at least 1.
    held : float
        Share of a client's samples that only the aggregator learns from, in (0, 1).
    lr : float
        Rate of its steps, > 0.
    batch_size : int
        Samples of a step, at least 1.
    """

    def __init__(
        self, width: int = 2, held: float = 0.1, lr: float = 1.0, batch_size: int = 128
    ) -> None:
        self.width, self.held, self.lr, self.batch_size = width, held, lr, batch_size

    @contextmanager
    def fitting(self, phase: Phase) -> Iterator[None]:
        """Leave out the samples that the aggregator learns from."""
        client, whole = phase.client, (phase.client.x, phase.client.y)
        kept = torch.ones(len(client.y), dtype=torch.bool)
        kept[self.rows(phase)] = False
        client.x, client.y = client.x[kept], client.y[kept]
        try:
            yield
        finally:
            client.x, client.y = whole

    def rows(self, phase: Phase) -> Tensor:
        """Return the places of the samples held out, the same in all rounds; none of a single."""
        samples = len(phase.client.y)
        count = max(1, round(self.held * samples)) if samples > 1 else 0
        generator = torch_generator(phase.bench.seed_of(phase.index, 0, HELD))
        return torch.randperm(samples, generator=generator)[:count]

    def receive(self, phase: Phase, target: Target) -> None:
        """Take over the aggregator; where all models come with it, see what they say."""
        tensors, options = phase.client.tensors, phase.options
        count = size(self._made(phase, int(options["clients"])))
        tensors[AGGREGATOR] = target.values[:count]
        if len(target.values) > count:
            x, members = phase.client.x[self.rows(phase)], options["members"]
            clients, models = int(options["clients"]), target.values[count:]
            tensors[HELD] = answers(phase, models, members, clients, x)

    def upload(self, phase: Phase) -> Knowledge:
        """Return the model, or the aggregator after its step."""
        if phase.options.get("stage") != AGGREGATOR:
            return super().upload(phase)
        known = len(phase.client.tensors[HELD])
        vector = self._stepped(phase) if known else phase.client.tensors[AGGREGATOR]
        extras = {"samples": torch.tensor([float(known)])}
        return Knowledge(phase.index, self.kind, vector, NO_SAMPLES, extras=extras)

    def _stepped(self, phase: Phase) -> Tensor:
        """Return the aggregator ``[size]`` after a step of SGD on a batch of what is held out."""
        client, step = phase.client, int(phase.options["step"])
        model = self._made(phase, int(phase.options["clients"]))
        unflatten(model, client.tensors[AGGREGATOR])
        generator = torch_generator(seed_from(client.generator) // 2 + step)
        batch = torch.randperm(len(client.tensors[HELD]), generator=generator)[: self.batch_size]
        labels = client.y[self.rows(phase)][batch]
        loss = F.cross_entropy(model(client.tensors[HELD][batch]), labels)
        slopes = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for parameter, slope in zip(model.parameters(), slopes, strict=True):
                parameter.sub_(self.lr * slope)
        return flatten(model)

    def stand(self, phase: Phase, arrays: ArrayRecord) -> None:
        """Be measured by all models and the aggregator."""
        phase.client.tensors |= {f"{WHOLE}.{k}": v for k, v in tensors_of(arrays).items()}

    @contextmanager
    def measuring(self, phase: Phase) -> Iterator[None]:
        """Forget the models after they were measured."""
        try:
            yield
        finally:
            for name in [one for one in phase.client.tensors if one.startswith(WHOLE)]:
                del phase.client.tensors[name]

    def predict(self, phase: Phase, x: Tensor) -> Tensor:
        """Return the logits of the aggregator, or the client's own before there is one."""
        tensors = phase.client.tensors
        if f"{WHOLE}.values" not in tensors:
            return super().predict(phase, x)
        clients = int(tensors[f"{WHOLE}.clients"])
        model, values = self._made(phase, clients), tensors[f"{WHOLE}.values"]
        count, members = size(model), tensors[f"{WHOLE}.members"].tolist()
        unflatten(model, values[:count])
        with torch.no_grad():
            found: Tensor = model(answers(phase, values[count:], members, clients, x))
        return found

    def _made(self, phase: Phase, clients: int) -> nn.Sequential:
        return aggregator(clients, phase.classes, self.width)


def answers(
    phase: Phase, models: Tensor, members: Sequence[int], clients: int, x: Tensor
) -> Tensor:
    """Return what all models say of samples, ``[samples, clients * classes]``; 0 of who has none.

    Parameters
    ----------
    phase : Phase
        The message being answered.
    models : Tensor
        The members' parameters, one after the other.
    members : sequence of int
        Whose, ascending.
    clients : int
        Of the run.
    x : Tensor
        ``[samples, *shape]``.
    """
    client, found = phase.client, torch.zeros(len(x), clients, phase.classes)
    for member in members if len(x) else ():
        model = phase.other(member)
        vector, models = models.tensor_split([size(model)])
        with client.standing(unflatten(model, vector)):
            found[:, member] = phase.loop.predict([client], x)[0]
    return found.flatten(1)
