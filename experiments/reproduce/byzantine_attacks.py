"""What a hostile client can do to averaged parameters: lies of the three kinds of `byzantine`.

The shipped attacks poison predictions, and Flower's own strategies exchange the model: so these
tamper with the arrays of a reply. All keep to what an honest client could have sent by its size,
but for the last, which nothing but a server's limit of magnitude forbids::

    by chance         w = mean(w_n) + std(w_n) N(0, 1), tensor by tensor, of the honest reply w_n
    reversed          w = g - s (w_n - g), g being what the client received; s = 1
    reversed tenfold  the same with s = 10

Sign flips of updates are a common test of robust averaging; that these are the counterparts of what
is said of predictions there is ours.
"""

from typing import Any

import torch
from flwr.app import Context, Message
from flwr.clientapp.typing import ClientAppCallable
from torch import Tensor

from ...clients.attacks import Attack
from ...engine.base import round_of
from ...engine.state import tensors_of
from ...knowledge import to_arrays
from ...rng import stream, torch_generator


class ParameterAttack(Attack):
    """Base of the attacks on parameters; override `lie`."""

    kinds = ("parameters",)

    def lie(self, received: Tensor, trained: Tensor, generator: torch.Generator) -> Tensor:
        """Return what to send in place of a trained tensor, of its shape."""
        raise NotImplementedError

    def __call__(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        """Let an honest client be; replace what a hostile one sends."""
        given, round_ = message.content.array_records, round_of(message)
        reply = super().__call__(message, context, call_next)
        client, sent = int(context.node_config["partition-id"]), reply.content.array_records
        if client not in self.hostile or "arrays" not in sent:
            return reply
        generator = torch_generator(stream(self.seed, client, round_, "attack"))
        received, trained = (tensors_of(each["arrays"]) for each in (given, sent))
        reply.content["arrays"] = to_arrays(
            {name: self.lie(received[name], value, generator) for name, value in trained.items()}
        )
        return reply


class ByChance(ParameterAttack):
    """Numbers drawn by chance, with each tensor's own mean and deviation."""

    def lie(self, received: Tensor, trained: Tensor, generator: torch.Generator) -> Tensor:
        """Return such numbers."""
        del received
        noise = torch.randn(trained.shape, generator=generator)
        return trained.mean() + trained.std(correction=0) * noise


class Reversed(ParameterAttack):
    """The update that it has learned, turned round.

    Parameters
    ----------
    scale : float
        How long it becomes, > 0.
    **base
        See `Attack`.

    Examples
    --------
    >>> received, trained = torch.zeros(2), torch.tensor([1.0, -2.0])
    >>> Reversed(scale=10.0).lie(received, trained, torch.Generator())
    tensor([-10.,  20.])
    """

    def __init__(self, scale: float = 1.0, **base: Any) -> None:
        super().__init__(**base)
        if not scale > 0:
            raise ValueError(f"scale={scale} must be greater than 0")
        self.scale = scale

    def lie(self, received: Tensor, trained: Tensor, generator: torch.Generator) -> Tensor:
        """Return what lies on the other side of the received model."""
        del generator
        return received - self.scale * (trained - received)
