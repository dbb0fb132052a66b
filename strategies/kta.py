"""KTA v2: clients learn most from those who say the same and are right. A construction.

"KTA v2", 2025, arXiv 2512.00841. Confidence: a construction. **Certain** (the abstract and an
outline of others): two stages a round, private training and distillation; logits on a labelled
reference set up, soft targets for each client down; weights from the similarity of predictions and
from accuracy on the reference set. **Inferred**: the formula, which is not publicly confirmed::

    s_nm      = cos( vec p_n, vec p_m )                    p_n = softmax(f_n / T), never negative
    w_nm      = s_nm acc_m / sum_k s_nk acc_k              acc_m: share of the labels m gets right
    teacher_n = sum_m w_nm p_m                             learnt from by KL at T

vec has all samples and classes of p_n in a row. Where all who are like a client get nothing right,
it takes them by likeness alone. Equal predictions leave weights in proportion to accuracy. Clients
upload soft labels: logits say nothing more that the server would use (``strategy.exchange=logits``
has them mixed).
"""

import torch
from torch import Tensor

from ..knowledge import KnowledgeStack
from ..maths.likeness import cosines
from .mixtures import MixingFusion


class KTA(MixingFusion):
    """Weights clients by their accuracy on the transfer set, and by how like a client's theirs is.

    Parameters
    ----------
    **base
        See `MixingFusion`.

    Examples
    --------
    >>> soft, labels = torch.tensor([[[0.8, 0.2], [0.6, 0.4]]] * 2), torch.tensor([0, 1])
    >>> KTA().weights(
    ...     KnowledgeStack("soft_labels", soft, [0, 1], torch.arange(2), labels=labels)
    ... )
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]])
    """

    personalised = True
    needs_labels = True

    def weights(self, knowledge: KnowledgeStack) -> Tensor:
        """Return likeness times accuracy ``[clients, clients]``, rows normalised."""
        likeness = cosines(knowledge.soft_labels.flatten(start_dim=1))
        scores = likeness * accuracies(knowledge)
        scores = torch.where(scores.any(dim=1, keepdim=True), scores, likeness)
        return (scores / scores.sum(dim=1, keepdim=True)).float()

    def round_extras(self, knowledge: KnowledgeStack) -> dict[str, Tensor]:
        """Log the accuracies."""
        return {"accuracy": accuracies(knowledge)}


def accuracies(knowledge: KnowledgeStack) -> Tensor:
    """Return the share of the transfer set's labels that each client gets right, ``[clients]``."""
    assert knowledge.labels is not None
    return (knowledge.values.argmax(dim=-1) == knowledge.labels).double().mean(dim=1)
