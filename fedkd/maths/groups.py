"""Group distillation: a divergence taken apart into the true class and two groups of the others."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .masked import ABSENT


def group_divergence(
    teacher: Tensor,
    student: Tensor,
    labels: Tensor,
    rich: Tensor,
    alphas: tuple[float, float, float],
) -> Tensor:
    """Return ``a_t TC + a_r RC + a_f FC``, a mean over the batch, in nats.

    With q a softmax, t the true class and ``q'_i = q_i / (1 - q_t)`` for the others: TC is the
    divergence of ``(q_t, 1 - q_t)``, RC that among the rich classes with the others lumped
    together, FC that among the others with the rich ones lumped together. The true class is in
    neither. No gradient goes into the teacher.

    Parameters
    ----------
    teacher, student : Tensor
        Logits ``[batch, classes]``.
    labels : Tensor
        ``[batch]`` int64.
    rich : Tensor
        bool ``[classes]``; the others are few.
    alphas : tuple of float
        a_t, a_r, a_f.

    Examples
    --------
    >>> teacher, student = torch.tensor([[5.0, 3.0, 1.0]]).log(), torch.zeros(1, 3)
    >>> label, rich = torch.tensor([0]), torch.tensor([False, True, False])
    >>> group_divergence(teacher, student, label, rich, (0.0, 1.0, 0.0))
    tensor(0.1308)
    """
    true = torch.zeros_like(student, dtype=torch.bool).scatter(1, labels.unsqueeze(1), True)
    teacher = teacher.detach()
    logs = [one.log_softmax(dim=1) for one in (teacher, student)]
    others = [one.masked_fill(true, ABSENT).log_softmax(dim=1) for one in logs]
    value = alphas[0] * _lumped(logs, true, ~true)
    value = value + alphas[1] * _lumped(others, rich & ~true, ~rich & ~true)
    value = value + alphas[2] * _lumped(others, ~rich & ~true, rich & ~true)
    return value.mean()


def _lumped(logs: Sequence[Tensor], kept: Tensor, lump: Tensor) -> Tensor:
    """Return the divergence ``[batch]`` of some classes, and of all others taken as one."""
    log_q, log_p = (
        torch.cat([one.masked_fill(~kept, ABSENT), _mass(one, lump)], dim=1) for one in logs
    )
    terms = log_q.exp() * (log_q - log_p)
    return terms.masked_fill(log_q == ABSENT, 0.0).sum(dim=1)  # 0 ln 0 is nan otherwise


def _mass(logs: Tensor, of: Tensor) -> Tensor:
    """Return the log ``[batch, 1]`` of what some classes have together."""
    return logs.masked_fill(~of, ABSENT).logsumexp(dim=1, keepdim=True)
