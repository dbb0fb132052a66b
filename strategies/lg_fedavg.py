"""LG-FedAvg: clients share their classifiers and keep their representations.

Liang et al., "Think Locally, Act Globally: Federated Learning with Local and Global
Representations", arXiv 2001.01523. Confidence: certain (a public implementation for models of
several architectures shares the last layer, as here; how many upper layers are global is a choice
of the paper's experiments)::

    head_g = sum_n samples_n * head_n / sum_n samples_n     over the clients n with heads of shape g

Clients whose heads have one shape form a group, whatever their architecture below. A client that is
alone in its group shares nothing, and trains as it would locally; a run where that is everybody's
lot is refused.
"""

from torch import Tensor, nn

from ..models.features import head
from ..models.parts import top
from .sharing import PartFusion


class LGFedAvg(PartFusion):
    """Averaged last layers on top of each client's own representation.

    Parameters
    ----------
    **base
        See `FusionStrategy`.

    Attributes
    ----------
    state : dict
        See `ParameterFusion`; a group has heads of one shape.

    Examples
    --------
    >>> import torch
    >>> from ..knowledge import KnowledgeStack
    >>> heads, trained = torch.tensor([[0.0, 4.0], [4.0, 0.0]]), torch.tensor([[30.0], [10.0]])
    >>> none = torch.zeros(0, dtype=torch.int64)
    >>> stack = KnowledgeStack("parameters", heads, [0, 1], none, extras={"samples": trained})
    >>> LGFedAvg().fuse(stack)
    tensor([1., 3.])
    """

    exchange = "head"
    parts = "heads"
    kinds = None

    def part(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the head."""
        return top(model)

    def described(self, model: nn.Module) -> str:
        """Return the shape of the head's weight."""
        return " x ".join(str(length) for length in head(model).weight.shape)
