"""APFL at the client: a shared model and an own one, which predict together."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from ...models.flat import flatten
from ..base import Client
from ..standard import batches
from .phase import Phase
from .second_model import SHARED, Beside

MIX = "mix"
"""The tensor of a client that has the own model's share of predictions, ``[]``."""

DECAY = 0.02
"""What pulls the share to 0, as in the public code."""


class Mixed(nn.Module):
    """Two models whose outputs are mixed: ``mix * own + (1 - mix) * shared``.

    Parameters
    ----------
    own, shared : nn.Module
        Trained together, each by its own loss: no gradient of the mixture goes into `shared`.
    mix : float
        Share of `own`, in [0, 1].

    Attributes
    ----------
    apart : Tensor
        The shared model's outputs of the latest batch in training, with gradient.
    """

    apart: Tensor

    def __init__(self, own: nn.Module, shared: nn.Module, mix: float) -> None:
        super().__init__()
        self.own, self.shared, self.mix = own, shared, mix

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, *shape]`` to mixed outputs."""
        apart = self.shared(x)
        if self.training:  # else a loop may work on several clients' models at once
            self.apart = apart
        outputs: Tensor = self.mix * self.own(x) + (1 - self.mix) * apart.detach()
        return outputs


class Mixture(Beside):
    """Fits the shared model by its own loss, and the client's by that of their mixture.

    Parameters
    ----------
    mix : float
        Share of the own model in predictions, in [0, 1].
    adaptive : bool
        Whether each client's share is learnt, by a step in each of its fits.
    """

    def __init__(self, mix: float = 0.5, adaptive: bool = False) -> None:
        if not 0 <= mix <= 1:
            raise ValueError(f"mix={mix} must be in [0, 1]")
        self.mix, self.adaptive = mix, adaptive

    def mixed(self, phase: Phase) -> Mixed:
        """Return the client's two models as one."""
        mix = phase.client.tensors.get(MIX, torch.tensor(self.mix))
        return Mixed(phase.client.model, self.shared(phase), mix.item())

    @contextmanager
    def fitting(self, phase: Phase) -> Iterator[None]:
        """Put the mixture in place of the client's model; the shared one it ends with is kept."""
        client, model = phase.client, self.mixed(phase)
        if self.adaptive and len(client.y):
            lr, size = phase.loop.fit_config["lr"], phase.loop.fit_config["batch_size"]
            model.mix = stepped(client, model, lr, size, phase.loop.device)
            client.tensors[MIX] = torch.tensor(model.mix)
        client.extra_loss = lambda outputs, labels: client.loss(model.apart, labels)
        try:
            with client.standing(model):
                yield
            client.tensors[SHARED] = flatten(model.shared)
        finally:
            client.extra_loss = None

    def measuring(self, phase: Phase) -> AbstractContextManager[None]:
        """Have the mixture stand for the client's model, once there is one."""
        known = SHARED in phase.client.tensors
        return phase.client.standing(self.mixed(phase) if known else phase.client.model)


def stepped(client: Client, model: Mixed, lr: float, size: int, device: str) -> float:
    """Return the share after a step, on the first batch that the client's fit will draw.

    The gradients are those of the mixture's loss, by either model's parameters; see `moved`.
    """
    draws = torch.Generator()
    draws.set_state(client.generator.get_state())
    rows = batches(len(client.y), size, draws)[0]
    own, shared = copy.deepcopy(model.own).train(), copy.deepcopy(model.shared).train()
    x, y = client.x[rows].to(device), client.y[rows].to(device)
    loss = client.loss(model.mix * own(x) + (1 - model.mix) * shared(x), y)
    parts = [[p for p in one.parameters() if p.requires_grad] for one in (own, shared)]
    slopes = torch.autograd.grad(loss, parts[0] + parts[1], materialize_grads=True)
    count = len(parts[0])
    v, w, by_own, by_shared = map(_flat, (*parts, slopes[:count], slopes[count:]))
    return moved(model.mix, v - w, by_own, by_shared, lr)


def moved(mix: float, apart: Tensor, by_own: Tensor, by_shared: Tensor, lr: float) -> float:
    """Return ``clip(a - lr * (<v - w, a g_v + (1 - a) g_w> + 0.02 a), 0, 1)``.

    Examples
    --------
    >>> one = torch.ones(1)
    >>> round(moved(0.5, one, 0.2 * one, 0.4 * one, 0.1), 6)
    0.469
    """
    slope = (apart @ (mix * by_own + (1 - mix) * by_shared)).item() + DECAY * mix
    return min(1.0, max(0.0, mix - lr * slope))


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors as one vector."""
    return torch.cat([one.detach().flatten() for one in tensors])
