"""The mean features of each class go up, and a head that the server has trained comes down."""

from torch import nn

from ...knowledge import Knowledge
from ...models.features import head
from ...models.flat import count
from .head import Head
from .parameters import NO_SAMPLES
from .phase import Phase
from .received import tops
from .scoring import feature_means


class TaughtHead(Head):
    """Uploads class means of features ``[classes, dim]``; a teacher replaces the head."""

    kind = "class_knowledge"
    masked = True

    def __init__(self) -> None:
        super().__init__(weighting="uniform")

    def unfit(self, model: nn.Module) -> tuple[str, str] | None:
        """Refuse a model whose head is not the last thing it computes."""
        problem = super().unfit(model)
        if problem is None and not tops(model, self.input_shape):
            return "trains the last linear layer by itself", "computes something after it"
        return problem

    def shape(self, model: nn.Module, samples: int, classes: int) -> tuple[int, ...]:
        """Return ``(classes, dim)``, as many features as the model has."""
        del samples
        return classes, head(model).in_features

    def returned(self, model: nn.Module) -> tuple[int, ...]:
        """Return ``(size,)`` of the head."""
        return (count(self.part(model)),)

    def upload(self, phase: Phase) -> Knowledge:
        """Return the mean features of each class that the client has."""
        means, present = feature_means(phase)
        return Knowledge(phase.index, self.kind, means, NO_SAMPLES, present)
