"""BSD: who teaches whom, sample by sample ("A Good Student ...", ICCV 2023, arXiv 2307.12574).

    u is learnt from  if  p_t(y_u) > p_0(y_u)  and  argmax p_t = y_u

with p_t the teacher, p_0 the client's own prediction at the start of the phase and y the label:
the teacher's cross-entropy is smaller than the client's own, and it is right.

Confidence: a reconstruction (the abstract is certain: CNN and transformer teach each other pixel by
pixel, whichever is the more reliable; here pixels are samples, and a client is taught, but does not
teach its teacher). Region-wise distillation of features is left out.
"""

from torch import Tensor

from .base import Guard, Lesson, Target, log_p, log_p_of


class BSD(Guard):
    """Learns only where the teacher is surer of the label than the client, and right.

    Examples
    --------
    >>> import torch
    >>> teacher, own = (Target(torch.tensor([p])) for p in ([0.6, 0.3, 0.1], [0.3, 0.3, 0.4]))
    >>> BSD()(teacher, own, torch.tensor([0]))[1], BSD()(teacher, own, torch.tensor([2]))[1]
    (tensor([True]), tensor([False]))
    """

    needs_labels = True

    def __call__(self, teacher: Target, own: Target, y: Tensor | None = None) -> Lesson:
        """Return the teacher, and the rows where it is the better of the two."""
        y = self.labels(y)
        right = log_p(teacher).argmax(dim=-1) == y
        return teacher.values, right & (log_p_of(teacher, y) > log_p_of(own, y))
