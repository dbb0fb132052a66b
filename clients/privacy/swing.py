"""Swing: softer and noisier labels on samples that the model is likely to know from training.

Li et al., "Swing Distillation: A Privacy-Preserving Knowledge Distillation Framework", 2022, arXiv
2212.08349. Confidence: **experimental**, a reconstruction. Certain (abstract): the temperature of
the teacher adapts to the degree of private information in each sample, and noise is added to soft
labels; the formula is not public. Ours, with ``m`` the largest of C probabilities p::

    r = (m - 1/C) / (1 - 1/C)                     how sure the model is: 0 to 1
    p' = P( softmax( ln p / (1 + (T - 1) r) ) + noise * r * N(0, 1) )

P projects onto the simplex. **No formal guarantee**: temperature and noise depend on private data.
"""

from torch import Tensor

from ...maths.divergences import EPS
from ...privacy.mechanisms import projected
from ...privacy.noise import Source, normal
from .base import Mechanism, positive


class Swing(Mechanism):
    """Adaptive temperature and noise (experimental: the formula is a reconstruction).

    Parameters
    ----------
    hottest : float
        T, the temperature of a sample that the model is sure of, >= 1.
    noise : float
        Standard deviation of the noise there, >= 0.
    **base
        See `Mechanism`.

    Examples
    --------
    >>> import torch
    >>> rows = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    >>> Swing(hottest=20.0, noise=0.0).release(rows, "soft_labels", None)
    tensor([[0.7992, 0.2008],
            [0.5000, 0.5000]])
    """

    kinds = ("soft_labels",)

    def __init__(self, hottest: float = 4.0, noise: float = 0.1, **base: bool) -> None:
        super().__init__(**base)
        positive("hottest", hottest)
        if hottest < 1 or not 0 <= noise < float("inf"):
            raise ValueError(f"hottest={hottest} must be at least 1, and noise={noise} at least 0")
        self.hottest, self.noise = hottest, noise

    def release(self, values: Tensor, kind: str, source: Source) -> Tensor:
        """Return the softened, noisy soft labels."""
        del kind
        p, share = values.double(), 1 / values.shape[-1]
        sure = (p.max(dim=-1, keepdim=True).values - share).clamp_min(0) / max(1 - share, EPS)
        soft = (p.clamp_min(EPS).log() / (1 + (self.hottest - 1) * sure)).softmax(dim=-1)
        return projected(soft + self.noise * sure * normal(tuple(p.shape), source)).float()
