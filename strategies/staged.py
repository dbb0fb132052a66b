"""Staged: clients join a sum of logits one by one, each for what those before it have left over.

Medina, Hadachi, Honeine, Bensrhair, "Mamba base PKD for efficient knowledge compression", 2025,
arXiv 2503.01727.
Confidence: secondary for the paper's idea, a construction as a fusion method. The paper distils a
teacher into small students, one after the other; each learns what the sum of those before it has
left over, and their sum predicts. Its loss mixes labels and the teacher: ``a hard + (1 - a) soft``.

Here the weak learners are the clients, as they come. With z_n ``[samples, classes]`` the logits of
client n, centred, q the target and F the sum so far::

    q = hard * onehot(y) + (1 - hard) * softmax(mean_n z_n)
    F = keep * (the sum of the round before)
    for stages times, or until nothing is gained:
        r = q - softmax F                                        what is left over
        n = argmax <r, z_n> / ||z_n||                            of those not yet added
        F = F + rate * a * z_n     a = argmin over a grid of CE(q, softmax(F + a z_n))
    teacher = F

which is forward stagewise boosting (Friedman, "Greedy Function Approximation", 2001) with the
clients' models as base learners. **Ours**: that the order is greedy, the search for a, and
``keep``: clients that are away speak through the sum that they have joined. With ``hard=0`` the
labels are not looked at: q is then the clients' own consensus, and the sum selects who says it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from ..knowledge import KnowledgeStack, Teacher
from ..rounds.protocol import RoundPlan
from .base import FusionStrategy, Records

LARGEST, STEPS = 2.0, 20
"""End and steps of the grid for a, which begins at 0."""


class Staged(FusionStrategy):
    """A sum of the clients' logits, built up by what is left over; it is the teacher of all.

    Parameters
    ----------
    stages : int
        Clients that join in a round at most, at least 1.
    rate : float
        Share of the best step that is taken, in (0, 1].
    keep : float
        What the sum of the round before counts, in [0, 1).
    hard : float
        Weight of the labels, in [0, 1]; 0 needs none.
    **base
        See `FusionStrategy`.

    Attributes
    ----------
    state : dict
        ``sum`` ``[U, classes]``, F on the whole transfer set.

    Examples
    --------
    >>> logits = torch.tensor([[[1.0, -1.0]], [[-1.0, 1.0]]])
    >>> knows = KnowledgeStack("logits", logits, [0, 1], torch.arange(1), labels=torch.tensor([0]))
    >>> strategy = Staged(stages=1, hard=1.0)
    >>> strategy.state["sum"] = torch.zeros(1, 2)
    >>> strategy.fuse(knows)  # the first client, as far as the grid goes
    tensor([[ 2., -2.]])
    """

    exchange = "logits"
    needs_labels = True

    def __init__(
        self,
        stages: int = 10,
        rate: float = 1.0,
        keep: float = 0.5,
        hard: float = 0.5,
        **base: float | None,
    ) -> None:
        super().__init__(**base)
        if stages < 1:
            raise ValueError(f"stages={stages} must be at least 1")
        if not 0 < rate <= 1:
            raise ValueError(f"rate={rate} must be above 0 and at most 1")
        if not 0 <= keep < 1:
            raise ValueError(f"keep={keep} must be at least 0 and below 1")
        if not 0 <= hard <= 1:
            raise ValueError(f"hard={hard} must be in [0, 1]")
        self.stages, self.rate, self.keep, self.hard = stages, rate, keep, hard
        self.needs_labels = hard > 0

    def before_fit(self, plan: RoundPlan) -> Mapping[int, Records]:
        """Begin with an empty sum; send nothing."""
        if "sum" not in self.state:
            size = plan.server.transfer_rows
            self.state["sum"] = torch.zeros(size, plan.server.width)
        return {}

    def target(self, knowledge: KnowledgeStack) -> Tensor:
        """Return q ``[samples, classes]``."""
        soft = knowledge.logits.mean(dim=0).softmax(dim=-1)
        if not self.hard:
            return soft
        assert knowledge.labels is not None
        return self.hard * F.one_hot(knowledge.labels, soft.shape[-1]) + (1 - self.hard) * soft

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the sum's logits ``[samples, classes]``."""
        return self.added(knowledge)[0]

    def added(self, knowledge: KnowledgeStack) -> tuple[Tensor, Tensor]:
        """Return the sum ``[samples, classes]``, and what each client adds to it, ``[clients]``."""
        logits = knowledge.logits - knowledge.logits.mean(dim=-1, keepdim=True)
        start = self.keep * self.state["sum"][knowledge.sample_ids]
        return joined(logits, self.target(knowledge), start, self.stages, self.rate)

    def round_extras(self, knowledge: KnowledgeStack) -> dict[str, Tensor]:
        """Log what each client has added to the sum, 0 for those that did not join."""
        return {"added": self.added(knowledge)[1]}

    def refine(self, plan: RoundPlan, knowledge: KnowledgeStack, teacher: Teacher) -> Teacher:
        """Keep the sum for the next round."""
        del plan
        made = self.state["sum"].clone()
        made[knowledge.sample_ids] = teacher.values
        self.state["sum"] = made
        return teacher


def joined(
    logits: Tensor, target: Tensor, start: Tensor, stages: int, rate: float
) -> tuple[Tensor, Tensor]:
    """Return the sum after so many stages ``[samples, classes]``, and the steps ``[n]``.

    Parameters
    ----------
    logits : Tensor
        ``[n, samples, classes]``, centred.
    target : Tensor
        ``[samples, classes]``, rows on the simplex.
    start : Tensor
        ``[samples, classes]``.
    stages : int
        Clients that join at most.
    rate : float
        Share of the best step.
    """
    total, steps = start, torch.zeros(len(logits))
    grid = torch.linspace(0, LARGEST, STEPS + 1)
    norms = logits.flatten(1).norm(dim=1).clamp_min(torch.finfo(logits.dtype).tiny)
    for _ in range(min(stages, len(logits))):
        left = target - total.softmax(dim=-1)
        gain = torch.einsum("nsc,sc->n", logits, left) / norms
        gain = torch.where(steps == 0, gain, -torch.inf)
        chosen = int(gain.argmax())
        losses = torch.stack([cross_entropy(total + a * logits[chosen], target) for a in grid])
        best = grid[losses.argmin()]
        if best == 0:
            break
        steps[chosen] = rate * best
        total = total + steps[chosen] * logits[chosen]
    return total, steps


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return ``-sum_c target_c log softmax(logits)_c``, mean over samples, in nats.

    Examples
    --------
    >>> cross_entropy(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    tensor(0.6931)
    """
    return F.cross_entropy(logits, target)
