"""Divergences of class scores among some of the classes, a sample at a time."""

import torch
from torch import Tensor

ABSENT = -torch.inf
"""The log of a probability that is 0."""


def divergence_among(
    teacher: Tensor, student: Tensor, hidden: Tensor, label: Tensor, tau: float
) -> Tensor:
    """Return ``tau^2 KL(s(teacher / tau) || s(student / tau))`` among some classes, in nats.

    A mean over the batch. The student's softmax leaves out the true class; the teacher's leaves out
    what is hidden, too; a sample of which nothing is left to it counts 0. No gradient goes into the
    teacher.

    Parameters
    ----------
    teacher, student : Tensor
        Logits ``[batch, classes]``.
    hidden : Tensor
        ``[classes]`` bool, classes that the teacher is silent about.
    label : Tensor
        ``[batch]`` int64, the true classes.
    tau : float
        Softmax temperature, > 0.

    Examples
    --------
    >>> nothing = torch.zeros(4)
    >>> divergence_among(
    ...     nothing[None], nothing[None], torch.tensor([1, 1, 0, 0]).bool(), torch.tensor([0]), 1.0
    ... )
    tensor(0.4055)
    """
    true = torch.zeros_like(student, dtype=torch.bool).scatter(1, label.unsqueeze(1), True)
    silent = true | hidden
    heard = ~silent.all(dim=1)
    if not heard.any():
        return student.sum() * 0.0
    silent, true = silent[heard], true[heard]
    log_q = (teacher.detach()[heard] / tau).masked_fill(silent, ABSENT).log_softmax(dim=1)
    log_p = (student[heard] / tau).masked_fill(true, ABSENT).log_softmax(dim=1)
    terms = (log_q.exp() * (log_q - log_p)).masked_fill(silent, 0.0)  # 0 ln 0 is nan otherwise
    return tau**2 * terms.sum() / len(student)
