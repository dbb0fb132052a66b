"""Two models of one architecture a client: a shared one, and its own beside it. Base of exchanges.

The client's model is its own; the shared one is a vector that it keeps, `SHARED`.
"""

import copy

from torch import Tensor, nn

from ...knowledge import Target
from ...models.flat import unflatten
from .parameters import Parameters
from .phase import Phase

SHARED = "shared"
"""The tensor of a client that has the shared model, ``[size]``."""


class Beside(Parameters):
    """Uploads the shared model ``[size]``; the first that comes is what the client's own starts as.

    Override `fit`, or `fitting`, to train both.
    """

    from_model = False  # both models are trained, and noise for one fit would not cover two

    def shared(self, phase: Phase) -> nn.Module:
        """Return the shared model as it is at the client: a model of its own memory."""
        model = copy.deepcopy(phase.client.model)
        return unflatten(model, phase.client.tensors[SHARED])

    def vector(self, phase: Phase) -> Tensor:
        """Return the shared model's parameters."""
        return phase.client.tensors[SHARED]

    def receive(self, phase: Phase, target: Target) -> None:
        """Go on with the server's model as the shared one; the own stays, once there is one."""
        if SHARED not in phase.client.tensors:
            unflatten(phase.client.model, target.values)
        phase.client.tensors[SHARED] = target.values
