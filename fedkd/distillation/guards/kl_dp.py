"""KL+DP: "Fantastic Gains and Where to Find Them" (Roth et al., ICLR 2024, arXiv 2310.17653).

    m_u = 1  if  conf(teacher_u) > conf(own_u),  else 0;      target = m teacher + (1 - m) own

conf is the largest probability, or that of the label. With the KL divergence, the gradient of a
sample whose own prediction is kept is 0 at the start of the phase, and holds the student there.

Confidence: the rule is secondary (the paper's abstract is certain; the official repository has no
code). A tie keeps the student's, as in relative Bi-KD. Our reading of it in a federation: the own
prediction is taken once a phase, and there is one teacher. Traps: teacher and student are compared
at one temperature, so a teacher that the server has sharpened (DS-FL's ERA) nearly always wins; and
a mean over skewed clients is flatter than each of them, so that the student nearly always wins:
clients then stay as they are, sure and wrong. ``labels=transfer`` compares what matters, and the
tables say how often the student won (``guard_changed``). Kept samples are in the batches all the
same: they count in the statistics of batch normalisation, and in objectives that compare samples.
"""

from typing import Literal

import torch
from torch import Tensor

from .base import Guard, Lesson, Target, every, log_p, log_p_of


class KLDP(Guard):
    """Keeps the client's own prediction where the teacher is not more confident.

    Parameters
    ----------
    labels : {"none", "transfer"}
        What confidence is: the largest probability, or that of the transfer set's label.

    Examples
    --------
    >>> teacher = Target(torch.tensor([[0.6, 0.3, 0.1], [0.4, 0.3, 0.3]]))
    >>> own = Target(torch.tensor([[0.3, 0.3, 0.4], [0.1, 0.8, 0.1]]))
    >>> KLDP()(teacher, own)[0]
    tensor([[0.6000, 0.3000, 0.1000],
            [0.1000, 0.8000, 0.1000]])
    """

    def __init__(self, *, labels: Literal["none", "transfer"] = "none") -> None:
        self.needs_labels = labels == "transfer"

    def __call__(self, teacher: Target, own: Target, y: Tensor | None = None) -> Lesson:
        """Return the surer of the two, and all rows."""
        surer = self._confidence(teacher, y) > self._confidence(own, y)
        return torch.where(surer[:, None], teacher.values, own.values), every(teacher)

    def _confidence(self, target: Target, y: Tensor | None) -> Tensor:
        if self.needs_labels:
            return log_p_of(target, self.labels(y))
        return log_p(target).amax(dim=-1)
