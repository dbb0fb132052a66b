"""What the received model thinks of the wrong classes, as a term of the private loss: FedNTD."""

import torch
from torch import Tensor

from ...maths.masked import divergence_among
from ...tasks.rows import rows_of
from .phase import Phase
from .received import LocalLoss, Loss, Sight


class NotTrue(LocalLoss):
    """Adds ``beta tau^2 KL(s(received) || s(own))`` among the wrong classes to the private loss.

    Parameters
    ----------
    beta : float
        Weight, >= 0.
    tau : float
        Softmax temperature, > 0.
    """

    def __init__(self, beta: float = 1.0, tau: float = 1.0) -> None:
        if not beta >= 0:
            raise ValueError(f"beta={beta} must be at least 0")
        if not tau > 0:
            raise ValueError(f"tau={tau} must be greater than 0")
        self.beta, self.tau = beta, tau

    def hidden(self, phase: Phase) -> Tensor:
        """Return the classes that the received model is not asked about, bool ``[classes]``."""
        return torch.zeros(phase.classes, dtype=torch.bool)

    def taught(self, sight: Sight, own: Tensor) -> Tensor:
        """Return the teacher's logits on the batch at hand; `own` are ``[rows, classes]``."""
        del own
        with torch.no_grad():
            return rows_of(sight.received(sight.x))

    def term(self, phase: Phase, sight: Sight) -> Loss | None:
        """Return the divergence from the received model."""
        hidden = self.hidden(phase).to(phase.loop.device)

        def loss(logits: Tensor, labels: Tensor) -> Tensor:
            own, y = rows_of(logits), labels.flatten()
            teacher = self.taught(sight, own)
            return self.beta * divergence_among(teacher, own, hidden, y, self.tau)

        return loss if self.beta else None
