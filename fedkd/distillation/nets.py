"""Small nets and running means that an objective keeps in a client's memory."""

import math
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SEED = 0x5EED
"""Every client's net begins alike: what differs afterwards is what it has seen."""


class Net:
    """Linear layers with leaky ReLUs between them, whose weights live in a memory.

    Parameters
    ----------
    memory : mutable mapping
        Where the weights are, and where `learn` leaves them.
    name : str
        What their names there begin with.
    widths : sequence of int
        Of its input, of the layers between, of its output.
    like : Tensor
        A tensor of the dtype and on the device that it works with.

    Examples
    --------
    >>> memory = {}
    >>> net = Net(memory, "ratio", (3, 2), torch.zeros(1))
    >>> net.learn(net(torch.ones(4, 3)).square().mean(), lr=0.1)
    >>> {name: tuple(value.shape) for name, value in memory.items()}
    {'ratio.0': (2, 4)}
    """

    def __init__(
        self,
        memory: MutableMapping[str, Tensor],
        name: str,
        widths: Sequence[int],
        like: Tensor,
    ) -> None:
        self.memory, self.own = memory, {}
        for place, (ins, outs) in enumerate(pairwise(widths)):
            key = f"{name}.{place}"
            kept = memory[key] if key in memory else _drawn(place, ins, outs)
            self.own[key] = kept.to(like.device, like.dtype, copy=True).requires_grad_()

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``[B, outs]`` of ``[B, ins]``."""
        *hidden, last = self.own.values()
        for weight in hidden:
            x = F.leaky_relu(F.linear(x, weight[:, :-1], weight[:, -1]))
        return F.linear(x, last[:, :-1], last[:, -1])

    def learn(self, loss: Tensor, lr: float) -> None:
        """Take a step of plain SGD on a loss, whose graph stays; none where it is not finite."""
        gradients = torch.autograd.grad(loss, list(self.own.values()), retain_graph=True)
        steps = zip(self.own.items(), gradients, strict=True)
        moved = {name: (weight - lr * gradient).detach() for (name, weight), gradient in steps}
        if all(value.isfinite().all() for value in moved.values()):
            self.memory.update(moved)


def _drawn(place: int, ins: int, outs: int) -> Tensor:
    generator = torch.Generator().manual_seed(SEED + place)
    drawn = torch.rand(outs, ins + 1, generator=generator, dtype=torch.float64)
    return (2 * drawn - 1) / math.sqrt(ins)


def class_means(
    memory: MutableMapping[str, Tensor], name: str, rows: Tensor, own: Tensor, rate: float
) -> Tensor:
    """Move the running means of classes by a batch, and return them, ``[C, D]``; 0 = not seen.

    Parameters
    ----------
    memory : mutable mapping
        Where they are.
    name : str
        Their name there.
    rows : Tensor
        ``[B, D]``; those that are not finite are passed over.
    own : Tensor
        bool ``[B, C]``, which class a row is of.
    rate : float
        Weight of the batch in (0, 1]; a class's first batch has all of it.

    Examples
    --------
    >>> memory, own = {}, torch.tensor([[True, False], [True, False]])
    >>> class_means(memory, "means", torch.tensor([[1.0], [3.0]]), own, 0.5).flatten()
    tensor([2., 0.])
    >>> class_means(memory, "means", torch.tensor([[4.0], [4.0]]), own, 0.5).flatten()
    tensor([3., 0.])
    """
    rows = rows.detach()
    usable = rows.isfinite().all(dim=1)
    rows, members = rows[usable], own[usable].to(rows.dtype)
    counts = members.sum(dim=0)
    batch = members.T @ rows / counts.clamp_min(1)[:, None]
    before = memory.get(name, torch.zeros_like(batch)).to(batch)
    seen = memory.get(f"{name}.seen", torch.zeros_like(counts)).to(counts)
    share = torch.where(seen > 0, rate, 1.0) * (counts > 0)
    memory[name] = before + share[:, None] * (batch - before)
    memory[f"{name}.seen"] = ((seen + counts) > 0).to(counts)
    return memory[name]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Have a model leave its running statistics alone, and draw nothing, for a while."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
