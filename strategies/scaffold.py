"""SCAFFOLD: control variates take out of a client's steps what sets it apart from the others.

Karimireddy, Kale, Mohri, Reddi, Stich, Suresh, "SCAFFOLD: Stochastic Controlled Averaging for
Federated Learning", ICML 2020, arXiv 1910.06378. Confidence: secondary (three re-implementations
and the paper's option II; the paper has no code of its own)::

    y    <- y - lr (g_k(y) + c - c_k)                    a step of client k, from y = w
    c_k+  = c_k - c + (w - y) / (a lr)                   a: the number of steps, without momentum
    w    <- w + server_lr * mean over S of (y_k - w)     S: this round's clients
    c    <- c + sum over S of (c_k+ - c_k) / K           K: all clients

Control variates start at 0. Who is away keeps its own; who comes is sent w and c first. Both ways
a message is twice FedAvg's.

With momentum ``c_k+ - c_k + c`` would be no mean gradient if it were divided by the number of
steps: here a also counts how far momentum carries each (`fedkd.maths.momentum`), so that it is one,
whose weights are the gradients' shares in the movement; the correction goes through momentum as the
gradient does. Re-implementations divide by the number of steps all the same, or by the epochs that
were planned, and correct BatchNorm's statistics: they are averaged here, and not corrected.

Deviation: a client keeps its new control variate once the server has answered its upload, or has
said in a later round that it counted; one whose upload was lost keeps the old. So c stays the mean
of all c_k whatever is lost on either way, as in the paper, where nothing is.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..knowledge import Knowledge
from ..rounds.protocol import RoundPlan
from ..rounds.server import Server
from .corrections import CorrectedFusion


class SCAFFOLD(CorrectedFusion):
    """FedAvg of corrected steps; the server keeps the mean of the clients' control variates.

    Parameters
    ----------
    server_lr : float
        Step of the server towards the clients' mean, > 0; 1 takes it over.
    **base
        See `FusionStrategy`.

    Attributes
    ----------
    state : dict
        See `CorrectedFusion`; ``shared.0`` is the model and c, ``[2 * size]``.

    Examples
    --------
    >>> before = torch.tensor([0.0, 0.0])  # one weight, and its c
    >>> SCAFFOLD().stepped(before, torch.tensor([0.19, -0.95]), share=0.5)
    tensor([ 0.1900, -0.4750])
    """

    exchange = "controlled"
    sums_only = True

    def __init__(self, server_lr: float = 1.0, **base: float | None) -> None:
        super().__init__(**base)
        if not server_lr > 0:
            raise ValueError(f"server_lr={server_lr} must be greater than 0")
        self.server_lr = server_lr

    def first(self, server: Server, client: int) -> Tensor:
        """Return the first model, and zeros for c, ``[2 * size]``."""
        model = super().first(server, client)
        return torch.cat([model, torch.zeros_like(model)])

    def polish(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], shared: dict[int, Tensor]
    ) -> dict[int, Tensor]:
        """Return the next model and c."""
        share = len(admitted) / plan.server.clients
        before = self.state["shared.0"]
        return {number: self.stepped(before, mean, share) for number, mean in shared.items()}

    def stepped(self, before: Tensor, mean: Tensor, share: float) -> Tensor:
        """Return w and c ``[2 * size]`` after a round.

        Parameters
        ----------
        before : Tensor
            ``[2 * size]``, w and c.
        mean : Tensor
            ``[2 * size]``, the mean over the round's clients of their models and changes of c_k.
        share : float
            The round's clients by all clients.
        """
        (w, c), (y, change) = before.chunk(2), mean.chunk(2)
        return torch.cat([w + self.server_lr * (y - w), c + share * change])
