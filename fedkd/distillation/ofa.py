"""OFA-KD: a target that is enhanced where the label is (Hao et al., 2023, arXiv 2310.19444).

With the label y as one-hot e, and both p at temperature T::

    w = ( p_t + e )^gamma - e
    L = -1/B * sum_b sum_c w ln p_s

gamma = 1 is soft cross-entropy, with the gradient of KL; above, a flat teacher is sharpened towards
the label. Confidence: certain for the final head (Hao840/OFAKD: T = 1, gamma 1 on CIFAR-100 and 1.5
on ImageNet). Its heads at the stages of a network, for architectures that differ, are not here, nor
is the cross-entropy beside it. Traps: the targets do not sum to 1, and the least loss is not 0.
"""

from typing import Literal

from torch import Tensor

from .base import Batch, Target
from .divergences import within
from .targets import Labelled


class OFA(Labelled):
    """Cross-entropy to a teacher that is enhanced at the label, in nats.

    Parameters
    ----------
    gamma : float
        The power, in [1, 10]; 1 = the teacher as it is.
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
        labels: Literal["transfer", "teacher"] = "transfer",
        temperature: float = 1.0,
    ) -> None:
        super().__init__(labels=labels, temperature=temperature)
        within({"gamma": gamma}, 1, 10)
        self.gamma = gamma

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Return the scalar loss of one batch."""
        own = self.chosen(teacher, batch).to(student_logits.dtype)
        weights = (teacher.probabilities(self.temperature) + own) ** self.gamma - own
        student = (student_logits / self.temperature).log_softmax(dim=-1)
        return -(weights * student).sum(dim=-1).mean()
