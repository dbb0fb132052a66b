"""Several clients' training as one: every client's loss on its own slice of stacked parameters.

The gradient of the sum of the clients' losses by the stacked parameters is, slice by slice, each
client's own gradient, and optimisers work on each number alone. One optimiser on the stack thus
does what one for each client would do, up to the order in which floats are added up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap

from .optimisers import OPTIMIZERS, Optimizer
from .stack import Stack, Tensors
from .standard import batches

Loss = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""Logits ``[batch, classes]``, targets ``[batch, ...]``, labels ``[batch]``, samples
``[batch, *shape]`` and rows ``[batch]`` to a scalar."""


@dataclass(frozen=True)
class Training:
    """One client's training.

    Parameters
    ----------
    model : nn.Module
        In training mode; changed in place.
    x, target : Tensor
        ``[n, *shape]`` samples and ``[n, ...]`` what the loss compares their logits with.
    generator : torch.Generator
        Draws the batches.
    prior : Tensor or None
        ``[classes]``, added to the logits.
    mu : float
        FedProx's weight of the distance from the first parameters.
    labels : Tensor or None
        ``[n]``, what the loss is told beside the target; None = nothing. Either all have labels or
        none.
    """

    model: nn.Module
    x: Tensor
    target: Tensor
    generator: torch.Generator
    prior: Tensor | None = None
    mu: float = 0.0
    labels: Tensor | None = None

    def rows(self, settings: Mapping[str, Any]) -> list[Tensor]:
        """Draw all batches of all epochs, as `Standard` does one after the other."""
        size, n = settings["batch_size"], len(self.x)
        epochs = range(settings["epochs"])
        return [rows for _ in epochs for rows in batches(n, size, self.generator)]


class Trainer:
    """Trains several clients at once.

    A client without a batch left is out of the stack: nothing moves it any more.

    Parameters
    ----------
    trainings : sequence of Training
        At least one; see `Stack` for their models. Either all have a prior or none.
    settings : mapping
        ``epochs``, ``batch_size``, ``optimizer``, ``lr``, ``momentum``, ``weight_decay``.
    loss : callable
        See `Loss`.
    padded : bool
        Whether batches may differ in size: the loss must be a mean over samples, and no sample's
        logits may depend on another's. Padding then has no part in anybody's gradient.
    device : str
        Where to compute.
    """

    def __init__(
        self,
        trainings: Sequence[Training],
        settings: Mapping[str, Any],
        loss: Loss,
        padded: bool,
        device: str,
    ) -> None:
        self.loss, self.padded, self.settings, self.device = loss, padded, settings, device
        drawn = [training.rows(settings) for training in trainings]
        self.order = sorted(range(len(drawn)), key=lambda place: -len(drawn[place]))
        self.batches = [drawn[place] for place in self.order]
        ordered = [trainings[place] for place in self.order]
        self.stack = Stack([one.model for one in ordered])
        self.x, self.first = _joined([one.x for one in ordered], device)
        self.target, self.first_target = _joined([one.target for one in ordered], device)
        labels = [one.labels for one in ordered if one.labels is not None]
        self.labels = _joined(labels, device) if labels else None
        priors = [one.prior for one in ordered if one.prior is not None]
        self.prior = torch.stack(priors).to(device) if priors else None
        mus = [one.mu for one in ordered]
        dtype = next(iter(self.stack.parameters.values())).dtype
        self.mu = torch.tensor(mus, device=device, dtype=dtype)
        pulled = any(mus)
        self.start = {n: p.clone() for n, p in self.stack.parameters.items()} if pulled else {}

    def train(self) -> list[float]:
        """Train all, and return each client's mean loss over its steps, 0 without a step."""
        steps = [len(rows) for rows in self.batches]
        totals = torch.zeros(len(steps), device=self.device)
        rows, counts = self._plan()
        optimizer, parts, active = None, {}, 0
        for step in range(max(steps)):
            left = sum(count > step for count in steps)
            if left != active:
                active, parts = left, self._slices(left)
                optimizer = _optimizer(parts, self.settings, optimizer)
            assert optimizer is not None
            width = max(len(own[step]) for own in self.batches[:active])
            optimizer.zero_grad()
            losses = self._losses(parts, rows[:active, step, :width], counts[:active, step])
            losses.sum().backward()
            optimizer.step()
            totals[:active] += losses.detach()
        self.stack.write_back()
        means = (totals / torch.tensor(steps, device=self.device).clamp_min(1)).tolist()
        return [mean for _, mean in sorted(zip(self.order, means, strict=True))]

    def _plan(self) -> tuple[Tensor, Tensor]:
        """Return all batches' rows ``[clients, steps, rows]``, padded with 0, and their lengths."""
        steps = max(len(own) for own in self.batches)
        width = max((len(rows) for own in self.batches for rows in own), default=0)
        rows = torch.zeros(len(self.batches), steps, width, dtype=torch.int64)
        counts = torch.zeros(len(self.batches), steps, dtype=torch.int64)
        for place, own in enumerate(self.batches):
            for step, chosen in enumerate(own):
                rows[place, step, : len(chosen)] = chosen
                counts[place, step] = len(chosen)
        return rows.to(self.device), counts.to(self.device)

    def _slices(self, active: int) -> Tensors:
        """Return the first clients' parameters: leaves that share the stack's memory."""
        wanted = {n: p.requires_grad for n, p in self.stack.skeleton.named_parameters()}
        stacked = self.stack.parameters.items()
        return {n: p[:active].detach().requires_grad_(wanted[n]) for n, p in stacked}

    def _losses(self, parts: Tensors, rows: Tensor, counts: Tensor) -> Tensor:
        """Return each active client's loss on its batch, ``[active]``."""
        active = len(rows)
        x = self.x[rows + self.first[:active, None]]
        target = self.target[rows + self.first_target[:active, None]]
        labels = rows  # which nobody looks at, where there are none
        if self.labels is not None:
            every, first = self.labels
            labels = every[rows + first[:active, None]]
        mask = torch.arange(rows.shape[1], device=self.device) < counts[:, None]
        buffers = {name: buffer[:active] for name, buffer in self.stack.buffers.items()}
        logits = self.stack(parts, buffers, x, common=False)
        if self.prior is not None:
            logits = logits + self.prior[:active, None]
        losses: Tensor = vmap(self._loss)(logits, target, labels, x, rows, mask)
        if not self.start:
            return losses
        moved = [(p - self.start[n][:active]).square().flatten(1) for n, p in parts.items()]
        return losses + self.mu[:active] / 2 * torch.cat(moved, dim=1).sum(dim=1)

    def _loss(
        self,
        logits: Tensor,
        target: Tensor,
        labels: Tensor,
        x: Tensor,
        rows: Tensor,
        mask: Tensor,
    ) -> Tensor:
        given = logits, target, labels, x, rows
        if not self.padded:
            return self.loss(*given)
        each = vmap(self.loss)(*(one[:, None] for one in given))
        return torch.where(mask, each, 0.0).sum() / mask.sum()


def _optimizer(parts: Tensors, settings: Mapping[str, Any], before: Optimizer | None) -> Optimizer:
    """Return an optimiser of the clients still active, which goes on from the one before."""
    make, decay = OPTIMIZERS[settings["optimizer"]], settings.get("weight_decay", 0.0)
    optimizer = make(list(parts.values()), settings["lr"], settings["momentum"], decay)
    if before is not None:
        pairs = (one.param_groups[0]["params"] for one in (before, optimizer))
        for old, new in zip(*pairs, strict=True):
            for name, value in before.state[old].items():
                own = isinstance(value, Tensor) and value.dim() > 0  # Adam's step is all clients'
                optimizer.state[new][name] = value[: len(new)] if own else value
    return optimizer


def _joined(tensors: Sequence[Tensor], device: str) -> tuple[Tensor, Tensor]:
    """Return tensors one after the other, and where each begins; the same object only once."""
    if all(tensor is tensors[0] for tensor in tensors):
        return tensors[0].to(device), torch.zeros(len(tensors), dtype=torch.int64, device=device)
    lengths = torch.tensor([0, *(len(tensor) for tensor in tensors[:-1])])
    return torch.cat(list(tensors)).to(device), lengths.cumsum(0).to(device)
