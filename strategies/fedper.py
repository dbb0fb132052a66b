"""FedPer: clients share the layers below, and have a last layer of their own.

Arivazhagan, Aggarwal, Singh, Choudhary, "Federated Learning with Personalization Layers", arXiv
1912.00818. Confidence: certain for the method, secondary for the code (no official one; as
``--alg fedper`` in FedRep's)::

    client   all layers are trained together
    upload   the body: all below the last linear layer
    server   body = sum_n samples_n * body_n / sum_n samples_n

The personal part is the last linear layer, where the paper tries several depths. It begins alike
for all clients, as in that code, and stays with a client that is away.
"""

from .bodies import BodyFusion


class FedPer(BodyFusion):
    """Averaged bodies below each client's own head.

    Parameters
    ----------
    **base
        See `CommonStart`.

    Examples
    --------
    >>> import torch
    >>> from ..knowledge import KnowledgeStack
    >>> bodies, trained = torch.tensor([[1.0], [3.0]]), torch.tensor([[30.0], [10.0]])
    >>> none = torch.zeros(0, dtype=torch.int64)
    >>> stack = KnowledgeStack("parameters", bodies, [0, 1], none, extras={"samples": trained})
    >>> FedPer().fuse(stack), FedPer(weighting="uniform").fuse(stack)
    (tensor([1.5000]), tensor([2.]))
    """
