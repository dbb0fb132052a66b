"""KnFu: each client learns from its semantic neighbours only.

Seyedmohammadi, Atapour, Abouei, Mohammadi, "KnFu: Effective Knowledge Fusion", arXiv 2403.11892.

Confidence: secondary, in part a reconstruction. **Certain** (the abstract): only the knowledge of
semantically closer neighbours is fused for each client. **Stated by several summaries**: an
estimated probability distribution (EPD) per client, pairwise weights from the similarity of EPDs
with a parameter beta (10 in all experiments), one personalised mixture per client, fine-tuning on
it. **A reconstruction** (the equations are not publicly confirmed), and therefore parameters: how
the EPD is estimated, which distance, that beta multiplies it, the softmax form, and that a client
counts itself among its neighbours::

    EPD_n  = mean over x of F_n(x)                  F_n [samples, classes]: soft labels
    d_nm   = KL(EPD_n || EPD_m)
    w_nm   = softmax over m of (-beta * d_nm)
    teacher_n = sum over m of w_nm * F_m

Of a regression, where F_n are predicted numbers, the EPD is how a client's predictions are spread
over bins between the quantiles of all clients' (ours: `fedkd.knowledge.predictions`); predictions
are mixed by the same weights, with variances to the moments of the mixture.

F_n may be logits instead (``strategy.exchange=logits``; ours): the EPD is then that of their
softmax. beta = 0 is the uniform mean; beta -> infinity leaves each client its own knowledge, as
long as no other client has the same EPD.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor

from ..knowledge import CLASS_SCORES, NUMBERS, KnowledgeStack
from ..maths.divergences import divergence
from ..maths.mixing import ROWS, epd, top_k
from .mixtures import MixingFusion


class KnFu(MixingFusion):
    """Weights clients by how near their estimated class distributions are.

    Parameters
    ----------
    beta : float
        Sharpness, >= 0; 10 in the paper.
    distance : {"kl", "reverse_kl", "js", "l2", "cosine"}
        Distance between EPDs. With JS, beta = 10 is much softer than with the others.
    epd_estimator : {"mean", "histogram"}
        EPD from mean soft labels, or from the histogram of argmax labels.
    include_self : bool
        Whether a client's own knowledge is part of its mixture.
    top_k : int or None
        Keep only this many clients per mixture, at least 1; None = all.
    **base
        See `MixingFusion`: ``exchange=logits`` mixes logits, by the EPDs of their softmax.

    Examples
    --------
    >>> labels = torch.tensor([[[1.0, 0.0]], [[0.5, 0.5]]])
    >>> stack = KnowledgeStack("soft_labels", labels, [0, 1], torch.arange(1))
    >>> KnFu(beta=0.0).weights(stack)
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]])
    """

    personalised = True
    kinds = (*CLASS_SCORES, *NUMBERS)

    def __init__(
        self,
        beta: float = 10.0,
        distance: Literal["kl", "reverse_kl", "js", "l2", "cosine"] = "kl",
        epd_estimator: Literal["mean", "histogram"] = "mean",
        include_self: bool = True,
        top_k: int | None = None,
        **base: Any,
    ) -> None:
        super().__init__(**base)
        if not 0 <= beta < math.inf:
            raise ValueError(f"beta={beta} must be at least 0 and finite")
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k={top_k} must be at least 1")
        self.beta, self.distance, self.epd_estimator = beta, distance, epd_estimator
        self.include_self, self.top_k = include_self, top_k

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of the estimator, where there are no classes."""
        found = super().unused(kind)
        if kind in NUMBERS:
            found["epd_estimator"] = "has no effect: it is for class scores; leave it out"
        return found

    def epd(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the EPDs ``[clients, classes]``; of numbers ``[clients, bins]``."""
        if knowledge.kind in NUMBERS:
            return knowledge.distribution()
        return epd(knowledge.soft_labels, self.epd_estimator)

    def weights(self, knowledge: KnowledgeStack) -> Tensor:
        """Return ``softmax(-beta * d)`` ``[clients, clients]``."""
        others = not self.include_self and len(knowledge.clients) > 1
        weights = divergence(self.epd(knowledge), kind=self.distance)
        if others:
            weights.fill_diagonal_(torch.inf)  # and nothing else is infinite
        for rows in weights.split(ROWS):
            distances = rows.double()
            # Counted from the nearest client, so that no beta drowns the whole row.
            scores = -self.beta * (distances - distances.amin(dim=-1, keepdim=True))
            scores[distances.isinf()] = -torch.inf  # also where beta = 0
            rows.copy_(scores.softmax(dim=-1))
        return weights if self.top_k is None else top_k(weights, self.top_k)

    def round_extras(self, knowledge: KnowledgeStack) -> dict[str, Tensor]:
        """Log the EPDs."""
        return {"epd": self.epd(knowledge)}
