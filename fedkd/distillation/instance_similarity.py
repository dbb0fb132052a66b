"""Cross-correlation, and how alike samples are to clients: FCCL+'s public loss (TPAMI 2023).

Huang, Ye, Shi, Du, "Generalizable Heterogeneous Federated Cross-Correlation and Instance Similarity
Learning". With A_b the cosines of sample b's features with those of the other samples of the batch,
of the student and on average of the clients::

    L = cross_correlation( logits ) + weight * mean_b KL( s(A_b of clients / tau) || s(A_b / tau) )

Confidence: certain (WenkeHuang/FCCL: tau 0.02 and weight 3, with Adam at 0.001, which is what it is
trained with where ``distil.*`` says nothing else: SGD at 0.05 leaves clients at chance). The
teacher has logits and the cosines of all pairs of the round's samples (`related_logits`), of which
a batch picks its own. A sample alone in its batch is like no other.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .base import Batch, Objective, Target, idle
from .cross_correlation import ADAM, decorrelation
from .divergences import within


class InstanceSimilarity(Objective):
    """Cross-correlation of logits, and the KL divergence of similarities in a batch.

    Parameters
    ----------
    weight : float
        Of the similarities, in [0, 10000].
    tau : float
        Softmax temperature of cosines, in [0.001, 1000].
    redundancy : float
        Weight of other classes' correlations, in [0, 10000].
    temperature : float
        Unused: logits are compared as they are.

    Examples
    --------
    >>> same = torch.eye(2) * 2 - 1  # logits, and features that point away from each other
    >>> batch = Batch(same, torch.arange(2), features={"head": same})
    >>> teacher = Target(torch.cat([same, same], dim=1), "related_logits")
    >>> InstanceSimilarity()(same, teacher, batch).round(decimals=4)
    tensor(0.)
    """

    kinds = ("related_logits",)
    layers = ("head",)
    trained_with = ADAM
    fewest = 2

    def __init__(
        self,
        *,
        weight: float = 3.0,
        tau: float = 0.02,
        redundancy: float = 0.0051,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(temperature)
        within({"weight": weight, "redundancy": redundancy}, 0, 10_000)
        within({"tau": tau}, 1e-3, 1e3)
        self.weight, self.tau, self.redundancy = weight, tau, redundancy

    def tempers(self, kind: str) -> bool:
        """Say no: it is for logits, and cosines have a temperature of their own."""
        del kind
        return False

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of the similarities', where they have no weight."""
        return {} if self.weight else idle("weight=0", "tau")

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Return the scalar loss of one batch; the teacher is ``[B, classes + samples]``."""
        features, classes = self.features(batch), student_logits.shape[-1]
        assert batch is not None
        logits, likeness = teacher.values[:, :classes], teacher.values[:, classes:]
        own = F.normalize(features.flatten(1), dim=1)
        apart = unlike(own @ own.T, likeness[:, batch.rows], self.tau)
        return decorrelation(student_logits, logits, self.redundancy) + self.weight * apart


def unlike(student: Tensor, teacher: Tensor, tau: float) -> Tensor:
    """Return ``mean_b KL(s(teacher_b / tau) || s(student_b / tau))``, diagonals left out, in nats.

    Examples
    --------
    >>> near, far = torch.tensor([[1.0, 0.9, 0.0]] * 3), torch.tensor([[1.0, 0.0, 0.0]] * 3)
    >>> unlike(near, near, 1.0), unlike(far, near, 1.0) > 0, unlike(far[:1, :1], near[:1, :1], 1.0)
    (tensor(0.), tensor(True), tensor(0.))
    """
    if len(student) == 1:
        return student.sum() * 0.0
    others = ~torch.eye(len(student), dtype=torch.bool, device=student.device)
    mine, theirs = (
        (one[others].view(len(student), -1) / tau).log_softmax(dim=1) for one in (student, teacher)
    )
    return F.kl_div(mine, theirs, reduction="batchmean", log_target=True)
