"""TGeo-KD: how far to trust the teacher, sample by sample (Hu et al., 2023, arXiv 2312.15112).

With S, T the softened probabilities of student and teacher, G the label y as one-hot, M the mean
teacher of class y, and net a small net with an output in (0, 1)::

    a = net( S, T, G, M, (M - S)^2, (G - S)^2, (S - T)^2, (T - G)^2, (M - G)^2 )
    L = 1/B * sum_b (1 - a) CE( y, student ) + a T^2 KL( teacher || student )

The net learns from samples that are held out, every fourth of a batch: the student takes a step on
the others that nobody keeps, and what the cross-entropy of the held-out ones says of that step goes
back to a. With v its gradient after the step of size xi, and B' the others::

    d CE / d a_i = -xi / B' * < v, grad( T^2 KL_i - CE_i ) >

of which the product is a central difference along v, as in DARTS: two passes without a gradient.

Confidence: certain for the idea, secondary for the net (9 C inputs, 32, 16, from a third party's
code), ours for how the two levels are solved, which the paper does not say, and for plain SGD where
that code has Adam. ``ratio=confidence`` is a stand-in without a net, inferred: p_t / (p_t + p_s) at
the label. M is a running mean, which lives in the client's memory with the net.

Traps: without the edge between S and T the paper is below plain distillation; trying the step costs
about three more passes of a batch.
"""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from .base import Batch, Target, idle
from .divergences import kl, within
from .nets import Net, class_means, evaluating
from .targets import Labelled, of_own

HIDDEN = (32, 16)
"""Widths of the net between its input and its output."""

NEAR = 1e-2
"""How far a central difference goes to either side."""


class TGeo(Labelled):
    """Cross-entropy and KL divergence in a ratio of each sample's own, in nats.

    Parameters
    ----------
    ratio : {"net", "confidence"}
        Where the ratio comes from.
    lr : float
        The net's learning rate, in [0, 1000]; 0 = the net stays as it begins.
    step : float
        Size xi of the step that is tried, in [1e-6, 10].
    labels : {"transfer", "teacher"}
        The transfer set's labels, or the teacher's most likely class.
    temperature : float
        Softmax temperature of student and teacher in the KL divergence.

    Examples
    --------
    >>> student, teacher = torch.tensor([[0.3, 0.3, 0.4]]).log(), torch.tensor([[0.6, 0.3, 0.1]])
    >>> TGeo(ratio="confidence", labels="teacher")(student, Target(teacher))
    tensor(0.5862)
    """

    per_sample = False
    remembers = True

    def __init__(
        self,
        *,
        ratio: Literal["net", "confidence"] = "net",
        lr: float = 1.0,
        step: float = 0.05,
        labels: Literal["transfer", "teacher"] = "transfer",
        temperature: float = 1.0,
    ) -> None:
        super().__init__(labels=labels, temperature=temperature)
        within({"lr": lr}, 0, 1000)
        within({"step": step}, 1e-6, 10)
        self.remembers = self.one_row = ratio == "net"
        self.lr, self.step = lr, step
        self.student: nn.Module | None = None

    def start(self, student: nn.Module) -> None:
        """Begin a phase of a student, with which steps are tried."""
        self.student = student

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of what is the net's, where there is none, or it does not learn."""
        if not self.remembers:
            return idle("ratio=confidence", "lr", "step")
        return {} if self.lr else idle("lr=0", "step")

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Return the scalar loss of one batch, and let the net learn for the next one."""
        own = self.chosen(teacher, batch)
        target = teacher.log_probabilities(self.temperature)
        label, soft = self.parts(student_logits, target, own)
        if not self.remembers:
            sure = of_own(teacher.log_probabilities(), own)
            trust = (sure - of_own(student_logits.detach().log_softmax(-1), own)).sigmoid()
            return ((1 - trust) * label + trust * soft).mean()
        geometry = self.geometry(student_logits, target, own, batch)
        net = Net(self.memory(batch), "net", (geometry.shape[1], *HIDDEN, 1), geometry)
        trust = net(geometry).squeeze(1).sigmoid()
        if self.student is not None and batch is not None and len(own) > 1 and self.lr:
            others = torch.arange(len(own), device=own.device) % 4 > 0
            held = ~others
            mixed = ((1 - trust) * label + trust * soft)[others].mean()
            worth = self.worth(mixed, batch.x, target, own, others, held)
            net.learn((trust[others] * worth).sum(), self.lr)
        trust = trust.detach()
        return ((1 - trust) * label + trust * soft).mean()

    def parts(self, logits: Tensor, target: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """Return each sample's cross-entropy and scaled KL divergence, ``[B]`` both."""
        label = -of_own(logits.log_softmax(dim=-1), own)
        student = (logits / self.temperature).log_softmax(dim=-1)
        return label, self.temperature**2 * kl(target, student)

    def geometry(self, logits: Tensor, target: Tensor, own: Tensor, batch: Batch | None) -> Tensor:
        """Return what the net sees, ``[B, 9 C]``."""
        student = (logits.detach() / self.temperature).softmax(dim=-1)
        probabilities, truth = target.exp(), own.to(student.dtype)
        means = class_means(self.memory(batch), "teachers", probabilities, own, 0.1)
        mean = truth @ means
        edges = (
            mean - student,
            truth - student,
            student - probabilities,
            probabilities - truth,
            mean - truth,
        )
        squares = [edge.square() for edge in edges]
        return torch.cat([student, probabilities, truth, mean, *squares], dim=1)

    def worth(
        self, loss: Tensor, x: Tensor, target: Tensor, own: Tensor, others: Tensor, held: Tensor
    ) -> Tensor:
        """Return the derivative by each other sample's ratio of the held-out cross-entropy."""
        student = self.student
        assert student is not None
        here = {n: weight for n, weight in student.named_parameters() if weight.requires_grad}
        slopes = gradients(loss, here.values())
        there = {
            name: (weight - self.step * slope).detach().requires_grad_()
            for (name, weight), slope in zip(here.items(), slopes, strict=True)
        }
        with evaluating(student):
            found = functional_call(student, there, (x[held],))
            label = -of_own(found.log_softmax(dim=-1), own[held]).mean()
            way = dict(zip(there, gradients(label, there.values()), strict=True))
        slope = self._along(way, x[others], target[others], own[others])
        return -self.step / int(others.sum()) * slope

    @torch.no_grad()
    def _along(self, way: dict[str, Tensor], x: Tensor, target: Tensor, own: Tensor) -> Tensor:
        """Return each sample's derivative of KL less cross-entropy along a way of the weights."""
        student = self.student
        assert student is not None
        length = torch.stack([part.square().sum() for part in way.values()]).sum().sqrt()
        reach = NEAR / length.clamp_min(NEAR)
        ends = []
        with evaluating(student):
            weights = dict(student.named_parameters())
            for sign in (1, -1):
                moved = {name: weights[name] + sign * reach * part for name, part in way.items()}
                label, soft = self.parts(functional_call(student, moved, (x,)), target, own)
                ends.append(soft - label)
        return (ends[0] - ends[1]) / (2 * reach)


def gradients(loss: Tensor, weights: Iterable[Tensor]) -> list[Tensor]:
    """Return the gradients of a loss, whose graph stays; 0 for what it does not depend on."""
    weights = list(weights)
    found = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True)
    pairs = zip(weights, found, strict=True)
    return [torch.zeros_like(weight) if slope is None else slope for weight, slope in pairs]
