"""Logits of each private sample, and once a hash of it: the client's half of FedCache."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...distillation.divergences import kl
from ...knowledge import Knowledge, Target
from ...knowledge.admission import Expected
from ...knowledge.kinds import Kind
from ...models.features import features_of
from ...rng import SERVER
from .base import Exchange
from .parameters import NO_SAMPLES
from .phase import Phase

SAMPLE_LOGITS = Kind("sample_logits")
"""``[private samples, classes]``, in the order in which the client has them."""

HASHES = "hashes"
"""The message option that asks for hashes in place of a fit."""


class SampleLogits(Exchange):
    """Uploads logits of the private samples; their fit leans towards those of their neighbours.

    Asked for `HASHES`, it uploads those, ``[samples, size]`` of length 1, and ``labels``.

    Parameters
    ----------
    alpha, temperature
        Weight and temperature of the distillation term.
    encoder : str or None
        Whose features are the hashes, as for ``model=``; None = a random projection of the sample.
    size : int
        Numbers of a projection.
    """

    kind = SAMPLE_LOGITS

    def __init__(
        self,
        alpha: float = 1.5,
        temperature: float = 1.0,
        encoder: str | None = None,
        size: int = 64,
    ) -> None:
        self.alpha, self.temperature = alpha, temperature
        self.encoder, self.size = encoder, size

    def reckons(self) -> str | None:
        """Say what a projection does with samples."""
        return None if self.encoder else "projects samples (name a strategy.encoder)"

    def extras(self, model: nn.Module, classes: int) -> dict[str, tuple[int, ...]]:
        """Declare the ``labels`` of hashes."""
        del model, classes
        return {"labels": ()}

    def expected(
        self, client: int, round_: int, ids: Tensor, classes: int, model: nn.Module
    ) -> Expected:
        """Return what to accept: a row of logits for each of the client's samples."""
        whole = super().expected(client, round_, ids, classes, model)
        shape = (self.sizes[client], classes) if self.sizes else whole.shape
        return replace(whole, shape=shape, extras={})

    @contextmanager
    def fitting(self, phase: Phase) -> Iterator[None]:
        """Add ``alpha * T^2 * KL(softmax(teacher / T) || softmax(z / T))`` of the batch's rows.

        A teacher is for one fit: who is sent none has none.
        """
        client, device = phase.client, phase.loop.device
        if "teacher" not in client.tensors:
            yield
            return
        teacher, known = (client.tensors.pop(name).to(device) for name in ("teacher", "known"))

        def loss(logits: Tensor, labels: Tensor) -> Tensor:
            rows = client.rows
            if rows is None or len(rows) != len(labels):
                raise RuntimeError("client: the loop does not say whose batch it is (Client.rows)")
            each = divergence(teacher[rows], logits, self.temperature)
            return self.alpha * (each * known[rows]).mean()

        client.extra_loss = loss
        yield

    def upload(self, phase: Phase) -> Knowledge:
        """Return the logits of all private samples, or their hashes with their labels."""
        client = phase.client
        if phase.options.get("stage") == HASHES:
            values, extras = self.hashes(phase), {"labels": client.y.float()}
        else:
            values, extras = phase.loop.predict([client], client.x)[0], {}
        return Knowledge(phase.index, self.kind, values, NO_SAMPLES, extras=extras)

    def hashes(self, phase: Phase) -> Tensor:
        """Return ``[samples, size]``, rows of length 1, by an encoder that all clients share."""
        x = phase.client.x
        encoder = phase.bench.model(SERVER, encoder_spec(self.encoder, x.shape[1:], self.size))
        return F.normalize(features_of(encoder, x.to(phase.loop.device)).flatten(1).cpu(), dim=1)

    def receive(self, phase: Phase, target: Target) -> None:
        """Keep the neighbours' logits for the fit."""
        known = torch.ones(len(target.values)).bool() if target.mask is None else target.mask
        phase.client.tensors |= {"teacher": target.values, "known": known}


def encoder_spec(name: str | None, shape: Any, size: int) -> str | Callable[[], nn.Module]:
    """Return what makes the encoder, whose features are the hashes."""
    if name is not None:
        return name

    def projection() -> nn.Module:
        linear = nn.Linear(prod(shape), size, bias=False)
        nn.init.normal_(linear.weight)
        return nn.Sequential(nn.Flatten(), linear, nn.Linear(size, 1))

    return projection


def divergence(teacher: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """Return ``T^2 KL(softmax(teacher / T) || softmax(logits / T))``, ``[batch]``, in nats.

    Examples
    --------
    >>> z = torch.tensor([[3.0, 0.0]])
    >>> divergence(torch.zeros(1, 2), z, 3.0) * 1.5  # 9 * 0.1201 * 1.5
    tensor([1.6215])
    """
    log_q, log_p = ((one / temperature).log_softmax(dim=-1) for one in (teacher, logits))
    return temperature**2 * kl(log_q, log_p)
