"""Several teachers, of which a client keeps the one that it learns best from.

It learns from each in turn, from where its fit has left it and by the same random stream, looks
how that does on samples of its own that it has not trained on (``data.validation``), and keeps the
best: also none of them, which is to stay as it is. What it chose stays with it.
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..knowledge import Target
from ..rng import Globals
from .base import Client
from .phase import Phase

CHOICE = "choice"
"""Which teacher a client has chosen, counted from 0; their number stands for none of them."""


@dataclass(frozen=True)
class Moment:
    """A client as it is at one moment."""

    model: dict[str, Tensor]
    tensors: dict[str, Tensor]
    stream: Tensor
    drawn: Globals
    """dropout draws from torch's own generator"""

    @classmethod
    def of(cls, client: Client) -> "Moment":
        """Copy what learning changes."""
        tensors = {name: value.clone() for name, value in client.tensors.items()}
        model = copy.deepcopy(client.model.state_dict())
        return cls(model, tensors, client.generator.get_state(), Globals.now())

    def back(self, client: Client) -> None:
        """Make the client as it was."""
        client.model.load_state_dict(self.model)
        client.tensors.clear()  # the same mapping: it is what the client remembers
        client.tensors.update({name: value.clone() for name, value in self.tensors.items()})
        client.generator.set_state(self.stream)
        self.drawn.put_back()


def choose(phase: Phase, target: Target, teachers: int) -> dict[str, float]:
    """Learn from each of several teachers; keep the best, the first of equals, or none.

    Parameters
    ----------
    phase : Phase
        The message being answered.
    target : Target
        ``[teachers * rows, classes]``, one teacher after the other.
    teachers : int
        How many there are.

    Returns
    -------
    dict
        Which is the best, and the numbers of learning from it, of which there are none where it is
        none of them. Either tells what was chosen by private samples: they are for the tables.
    """
    client, start = phase.client, Moment.of(phase.client)
    best, least, choice, numbers = start, held_out_loss(phase), teachers, dict[str, float]()
    for place, teacher in enumerate(parted(target, teachers)):
        start.back(client)
        found = phase.tools.parts.exchange.learn(phase, teacher)
        loss = held_out_loss(phase)
        if loss < least:
            best, least, choice, numbers = Moment.of(client), loss, place, found
    best.back(client)
    return numbers | {CHOICE: float(choice)}


def parted(target: Target, teachers: int) -> Iterator[Target]:
    """Yield the teachers that stand one after the other.

    Examples
    --------
    >>> [one.values.tolist() for one in parted(Target(torch.eye(2)), 2)]
    [[[1.0, 0.0]], [[0.0, 1.0]]]
    """
    masks: Any = [None] * teachers if target.mask is None else target.mask.chunk(teachers)
    for values, mask in zip(target.values.chunk(teachers), masks, strict=True):
        yield replace(target, values=values, mask=mask)


def held_out_loss(phase: Phase) -> float:
    """Return the task's loss on the client's held-out samples; infinite where it is no number."""
    x, y = phase.bench.federation.validation(phase.index)
    with torch.no_grad():
        outputs = phase.loop.predict([phase.client], x)[0]
        loss = phase.tools.parts.task.loss(outputs, y).item()
    return loss if math.isfinite(loss) else math.inf
