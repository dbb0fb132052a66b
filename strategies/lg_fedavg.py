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

from collections import Counter
from collections.abc import Hashable

from torch import Tensor

from ..models.features import head
from ..models.flat import flatten, layout
from ..rounds.server import Server
from .parametric import ParameterFusion


class LGFedAvg(ParameterFusion):
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
    homogeneous = False
    sums_only = True
    kinds = None

    def group(self, server: Server, client: int) -> Hashable:
        """Return the shapes of the client's head."""
        return layout(head(server.instances[client]))

    def first(self, server: Server, client: int) -> Tensor:
        """Return the head ``[size]`` that the client's group starts from."""
        return flatten(head(server.model(server.models[client])))

    def refusal(self, server: Server) -> str | None:
        """Refuse a run in which no two clients could share anything."""
        sizes = Counter(self.groups(server).values())
        if server.clients == 1 or max(sizes.values()) > 1:
            return None
        heads = (head(model).weight for model in server.instances)
        shapes = ", ".join(f"{outputs} x {inputs}" for outputs, inputs in (w.shape for w in heads))
        return f"no two clients have heads of one shape ({shapes}): there is nothing to share"
