"""OFA-KD: a target that is enhanced where the label is (Hao et al., 2023, arXiv 2310.19444).

With the label y as one-hot e, and both p at temperature T::

    w = ( p_t + e )^gamma - e
    L = -1/B * sum_b sum_c w ln p_s

gamma = 1 is soft cross-entropy, with the gradient of KL; above, a flat teacher is sharpened towards
the label. For architectures that differ, heads look at stages of the student, and each learns the
same: the loss is that of the student's own output plus the sum of theirs.

Confidence: certain for the loss and the sum (Hao840/OFAKD: T = 1, gamma 1 on CIFAR-100 and 1.5 on
ImageNet, four stages), ours for the heads: theirs are convolutional branches, here each is a linear
layer on a stage's means over positions (of a sequence: over either axis, its padding too), lives in
the client's memory and takes steps of plain SGD.
A stage's weight is 1 there and 0.02 here: at the default learning rate of distillation 1 leaves
clients at chance. Left out: the cross-entropy beside it. Traps: the targets do not sum to 1, and
the least loss is not 0; it is a sum, so more stages are a larger loss.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor, nn

from .base import Batch, Target, idle
from .divergences import within
from .nets import Net
from .stages import averaged, stages
from .targets import Labelled

MOST = 16
"""Stages at most."""


class OFA(Labelled):
    """Cross-entropy to a teacher that is enhanced at the label, in nats.

    Parameters
    ----------
    gamma : float
        The power, in [1, 10]; 1 = the teacher as it is.
    stages : list of str or int
        The student's layers that have a head too, by dotted name; or how many, in [0, 16], evenly
        spread over those before its last one, whatever its architecture. 0 = none.
    weight : float
        Of each head's loss, in [0, 10000].
    lr : float
        The heads' learning rate, in [0, 10].
    labels : {"transfer", "teacher"}
        The transfer set's labels, or the teacher's most likely class.
    temperature : float
        Softmax temperature of student and teacher.

    Examples
    --------
    >>> import torch
    >>> student, teacher = torch.tensor([[0.3, 0.3, 0.4]]).log(), torch.tensor([[0.6, 0.3, 0.1]])
    >>> OFA(labels="teacher")(student, Target(teacher))
    tensor(1.4595)
    """

    def __init__(
        self,
        *,
        gamma: float = 1.5,
        stages: Sequence[str] | int = 0,
        weight: float = 0.02,
        lr: float = 0.05,
        labels: Literal["transfer", "teacher"] = "transfer",
        temperature: float = 1.0,
    ) -> None:
        super().__init__(labels=labels, temperature=temperature)
        within({"gamma": gamma}, 1, 10)
        if isinstance(stages, int):
            within({"stages": stages}, 0, MOST)
        within({"weight": weight}, 0, 10_000)
        within({"lr": lr}, 0, 10)
        self.gamma, self.stages, self.weight, self.lr = gamma, stages, weight, lr
        self.remembers = self.one_row = bool(stages)

    def unused_by(self, models: Mapping[str, nn.Module]) -> dict[str, str]:
        """Say so of more stages than any model has layers."""
        most = max(len(stages(model, MOST)) for model in models.values())
        if not isinstance(self.stages, int) or self.stages <= most:
            return {}
        why = f"no model has more layers than {most} before its last; set it to that at most"
        return {"stages": why}

    def looks_at(self, student: nn.Module) -> tuple[str, ...]:
        """Return the stages of this student."""
        if isinstance(self.stages, int):
            return stages(student, self.stages)
        return tuple(self.stages)

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of the heads' parameters, where there are none, or nobody learns from them."""
        if not self.stages:
            return idle("stages=0", "weight", "lr")
        return {} if self.weight else idle("weight=0", "stages", "lr")

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Return the scalar loss of one batch; move the stages' heads for the next one."""
        own = self.chosen(teacher, batch).to(student_logits.dtype)
        weights = (teacher.probabilities(self.temperature) + own) ** self.gamma - own
        loss = self._taught(student_logits, weights)
        seen = batch.features if batch is not None and batch.features else {}
        if isinstance(self.stages, Sequence) and (
            lost := [n for n in self.stages if n not in seen]
        ):
            raise ValueError(f"stages={self.stages}: the batch has no features of {lost[0]!r}")
        for name, features in seen.items():
            pooled = averaged(name, features, None if batch is None else batch.there)
            net = Net(self.memory(batch), name, (pooled.shape[1], own.shape[1]), pooled)
            stage = self._taught(net(pooled), weights)
            net.learn(stage, self.lr)
            loss = loss + self.weight * stage
        return loss

    def _taught(self, logits: Tensor, weights: Tensor) -> Tensor:
        student = (logits / self.temperature).log_softmax(dim=-1)
        return -(weights * student).sum(dim=-1).mean()
