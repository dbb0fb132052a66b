"""MulKI's re-weighting of two teachers (Multi-Stage Knowledge Integration, arXiv 2411.06764).

    w_u = max p_t / (max p_t + max p_0),      target = w p_t + (1 - w) p_0

with p_t the teacher and p_0 the client's own prediction at the start of the phase: KL+DP's choice,
made softly.

Confidence: a reconstruction (the abstract is certain; it re-weights the original and the previous
model per sample, and its formulas are not confirmed). Logits are mixed as probabilities of
temperature 1 and returned as

    ln target + w logsumexp(z_t) + (1 - w) logsumexp(z_0)

which are logits of the mixture on the scale of the two: with w = 1 it would be z_t itself.
"""

import torch
from torch import Tensor

from ...knowledge import kind_named
from .base import Guard, Lesson, Target, every, log_p


class MulKI(Guard):
    """Mixes the teacher with the client's own prediction, by how sure each of them is.

    Examples
    --------
    >>> teacher, own = (Target(torch.tensor([p])) for p in ([0.6, 0.3, 0.1], [0.3, 0.3, 0.4]))
    >>> MulKI()(teacher, own)[0]
    tensor([[0.4800, 0.3000, 0.2200]])
    """

    def __call__(self, teacher: Target, own: Target, y: Tensor | None = None) -> Lesson:
        """Return the mixture, and all rows."""
        theirs, mine = log_p(teacher), log_p(own)
        sure, other = (log.amax(dim=-1, keepdim=True).exp() for log in (theirs, mine))
        w = sure / (sure + other)
        if kind_named(teacher.kind).simplex:
            return w * teacher.values + (1 - w) * own.values, every(teacher)
        mixture = torch.logaddexp(w.log() + theirs, (1 - w).log() + mine)
        scale = w * _scale(teacher) + (1 - w) * _scale(own)
        return mixture + scale, every(teacher)


def _scale(target: Target) -> Tensor:
    return target.values.logsumexp(dim=-1, keepdim=True)
