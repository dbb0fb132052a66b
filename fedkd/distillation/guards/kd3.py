"""KD^3's confidence filter (Distribution Shift Matters for KD, ICCV 2023, arXiv 2307.11469).

    u is learnt from  if  max_c ( p_t + p_0 )_c / 2  >  tau

with p_t the teacher and p_0 the client's own prediction at the start of the phase.

Confidence: a stand-in (the abstract is certain: samples are selected by the combined prediction of
teacher and student; thresholds and weights are not confirmed). What else the paper does (weighted
features, a shared classifier, contrast of perturbed data) is left out.
"""

from torch import Tensor

from .base import Guard, Lesson, Target, log_p


class KD3(Guard):
    """Learns from samples of which teacher and client together are sure.

    Parameters
    ----------
    tau : float
        How sure, in [0, 1): the mean of both has a larger probability than that for some class.

    Examples
    --------
    >>> import torch
    >>> teacher = Target(torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.1, 0.8]]))
    >>> own = Target(torch.tensor([[0.3, 0.3, 0.4], [0.2, 0.2, 0.6]]))
    >>> KD3(tau=0.5)(teacher, own)[1]
    tensor([False,  True])
    """

    def __init__(self, *, tau: float = 0.5) -> None:
        if not 0 <= tau < 1:
            raise ValueError(f"tau={tau} must be in [0, 1)")
        self.tau = tau

    def __call__(self, teacher: Target, own: Target, y: Tensor | None = None) -> Lesson:
        """Return the teacher, and the rows that both are sure of."""
        mean = (log_p(teacher).exp() + log_p(own).exp()) / 2
        return teacher.values, mean.amax(dim=-1) > self.tau
