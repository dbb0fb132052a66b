"""LSKD: logit standardisation (Sun et al., 2024, arXiv 2403.01427).

    Z = ( z - mean_c z ) / ( eps + std_c z )                of student and teacher, std over C - 1
    L = T^2 / B * sum_b KL( softmax( Z_t / T ) || softmax( Z_s / T ) )

The student learns the order and the proportions of the teacher's logits, not their scale: teachers
of unlike confidence become alike, and the temperature of soft labels plays no part.

Confidence: certain (sunshangquan/logit-standardization-KD: T = 2; its weight of 9 stands beside a
cross-entropy, which there is none of here).

Traps: two classes leave nothing but the sign of the margin; soft labels of 0 have no logarithm, and
tiny ones rule the deviation, so those are mixed with ``smoothing`` of the uniform distribution
first (logits are taken as they are); where a student's logits are all but equal its gradient is
large, up to 1 / eps. The student's deviation is inside the gradient, as in the source.
"""

from torch import Tensor

from ..knowledge import kind_named
from .base import Batch, Objective, Target, smoothing_of
from .divergences import kl, within


class LSKD(Objective):
    """KL divergence of standardised logits, in nats.

    Parameters
    ----------
    eps : float
        Added to the deviation of logits, in [1e-9, 1].
    smoothing : float
        Share of the uniform distribution in a teacher of soft labels, in [0, 0.5]; 0 with soft
        labels of 0 has them at the smallest float32.
    temperature : float
        Softmax temperature of the standardised logits.

    Examples
    --------
    >>> import torch
    >>> student, teacher = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[2.0, 1.0, 0.0]])
    >>> LSKD(temperature=2.0)(student, Target(teacher, "logits"))
    tensor(1.2806)
    """

    per_sample = True

    def __init__(
        self, *, eps: float = 1e-7, smoothing: float = 1e-4, temperature: float = 1.0
    ) -> None:
        super().__init__(temperature)
        within({"eps": eps}, 1e-9, 1)
        within({"smoothing": smoothing}, 0, 0.5)
        self.eps, self.smoothing = eps, smoothing

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of smoothing, where teachers are no soft labels."""
        return smoothing_of(kind)

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Return the scalar loss of one batch."""
        pair = self._logits(teacher), student_logits
        target, student = (self.standardised(z).log_softmax(dim=-1) for z in pair)
        return kl(target, student).mean() * self.temperature**2

    def standardised(self, logits: Tensor) -> Tensor:
        """Return logits of mean 0 and deviation 1 / T in each row."""
        centred = logits - logits.mean(dim=-1, keepdim=True)
        return centred / (self.eps + logits.std(dim=-1, keepdim=True)) / self.temperature

    def _logits(self, teacher: Target) -> Tensor:
        if self.smoothing and kind_named(teacher.kind).simplex:
            uniform = self.smoothing / teacher.values.shape[-1]
            return ((1 - self.smoothing) * teacher.values + uniform).log()
        return teacher.log_probabilities()
