"""Learning from the received model by groups of classes, and across heads: Song's FedDistill."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from ...maths.groups import group_divergence
from ...maths.imbalance import frequent
from ...models.features import head
from ...tasks.rows import rows_of
from .phase import Phase
from .received import LocalLoss, Loss, Sight, look, needs_top


class GroupDistillation(LocalLoss):
    """Adds three terms of Song's FedDistill to the private loss.

    Parameters
    ----------
    alpha_t, alpha_r, alpha_f : float
        Weights of the true class, of the rich and of the few classes in a group divergence, >= 0.
    beta_l, beta_e, beta_fc : float
        Weights, >= 0, of the divergence of the own model, of the received head on own features, and
        of the divergence of the own head on received features.
    gamma : float or None
        A class with a larger share of the client's samples is rich, in [0, 1); None = ``1 / C``.
    """

    on_features = True

    def __init__(
        self,
        alpha_t: float = 0.0,
        alpha_r: float = 0.5,
        alpha_f: float = 1.0,
        beta_l: float = 1.0,
        beta_e: float = 0.3,
        beta_fc: float = 0.3,
        gamma: float | None = None,
    ) -> None:
        weights = {"alpha_t": alpha_t, "alpha_r": alpha_r, "alpha_f": alpha_f}
        weights |= {"beta_l": beta_l, "beta_e": beta_e, "beta_fc": beta_fc}
        for name, value in weights.items():
            if not value >= 0:
                raise ValueError(f"{name}={value} must be at least 0")
        if gamma is not None and not 0 <= gamma < 1:
            raise ValueError(f"gamma={gamma} must be at least 0 and below 1")
        self.alphas = alpha_t, alpha_r, alpha_f
        self.beta_l, self.beta_e, self.beta_fc, self.gamma = beta_l, beta_e, beta_fc, gamma

    def refusal(self, models: Mapping[str, nn.Module]) -> str | None:
        """Refuse models whose last linear layer is not the last thing they do."""
        return needs_top(models, self.input_shape)

    def term(self, phase: Phase, sight: Sight) -> Loss | None:
        """Return the three terms."""
        client = phase.client
        rich = frequent(client.y, phase.classes, self.gamma).to(phase.loop.device)
        own, received = head(client.model), head(sight.received)

        def loss(logits: Tensor, labels: Tensor) -> Tensor:
            features, teacher = look(sight.received, sight.x)
            crossed = F.cross_entropy(rows_of(received(sight.features)), labels.flatten())
            pairs = (self.beta_l, logits), (self.beta_fc, own(features))
            about = labels.flatten(), rich, self.alphas
            value = self.beta_e * crossed
            for beta, student in pairs:
                value = value + beta * group_divergence(rows_of(teacher), rows_of(student), *about)
            return value

        return loss
