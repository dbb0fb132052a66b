"""KL divergence over the teacher's k likeliest classes, and all others as one. Ours.

With K the teacher's k likeliest classes, P = 1 - sum_{c in K} p_t and Q the same of the student::

    L = T^2 / B * sum_b [ sum_{c in K} p_t ln( p_t / p_s ) + P ln( P / Q ) ]

Named after TopKLD (arXiv 2501.06218), whose formula is not public: its abstract has a balance of
what the teacher says of its k likeliest classes and of the rest.

Confidence: ours, not known to be theirs; it is a plain divergence, which the codec `topk` loses
nothing of. With k of all classes but one, or more, it is `kl`. Trap avoided: Q is a sum in
logarithms, which does not underflow.
"""

import torch
from torch import Tensor

from .divergences import Divergence, kl


class TopKLD(Divergence):
    """KL divergence of the teacher's likeliest classes and one lump of the rest, in nats.

    Parameters
    ----------
    k : int
        How many of the teacher's classes count by themselves, at least 1.
    scale : bool
        Multiply by the squared temperature.
    temperature : float
        Softmax temperature of student and teacher.

    Examples
    --------
    >>> from fedkd.distillation import Target
    >>> student, teacher = torch.tensor([[0.3, 0.3, 0.4]]).log(), torch.tensor([[0.6, 0.3, 0.1]])
    >>> TopKLD(k=1)(student, Target(teacher))
    tensor(0.1920)
    """

    def __init__(self, *, k: int = 5, scale: bool = True, temperature: float = 1.0) -> None:
        super().__init__(scale=scale, temperature=temperature)
        if not k >= 1:
            raise ValueError(f"k={k} must be at least 1")
        self.k = self.tells_apart = k

    def each(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return each sample's divergence."""
        order = teacher.argsort(dim=-1, descending=True, stable=True)
        top, rest = order[:, : self.k], order[:, self.k :]
        if not rest.shape[1]:
            return kl(teacher, student)
        target, guess = (
            torch.cat(
                [p.gather(-1, top), p.gather(-1, rest).logsumexp(dim=-1, keepdim=True)], dim=-1
            )
            for p in (teacher, student)
        )
        return kl(target, guess)
