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

``strategy.beta=auto`` (ours; the paper has one beta for all) lets each client choose in each round:
it is sent the mixtures for every beta of `betas`, learns from each in turn, and keeps what has the
least loss on samples of its own that it does not train on (``data.validation``), or stays as its
fit has left it. What that costs: as many teachers to send and to learn from as there are betas, and
the held-out samples. Nothing more leaves a client: what it chose, and
what its learning came to, are for the tables of a simulation alone. Teachers are for
transfer samples and held-out samples are private, so a mixture cannot be judged without learning
from it; and as nothing is remembered, clients may be away, and a run may be resumed, at any time.
"""

import copy
import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ..knowledge import CLASS_SCORES, NUMBERS, KnowledgeStack, Teacher, kind_named
from ..maths.divergences import divergence
from ..maths.mixing import ROWS, epd, top_k
from ..rounds.protocol import Outcome, RoundPlan
from .fusing import fuse_in_blocks
from .mixtures import MixingFusion

AUTO = "auto"


class KnFu(MixingFusion):
    """Weights clients by how near their estimated class distributions are.

    Parameters
    ----------
    beta : float or "auto"
        Sharpness, >= 0; 10 in the paper. ``auto``: one of `betas`, chosen by each client in each
        round on its held-out samples.
    distance : {"kl", "reverse_kl", "js", "l2", "cosine"}
        Distance between EPDs. With JS, beta = 10 is much softer than with the others.
    epd_estimator : {"mean", "histogram"}
        EPD from mean soft labels, or from the histogram of argmax labels.
    include_self : bool
        Whether a client's own knowledge is part of its mixture.
    top_k : int or None
        Keep only this many clients per mixture, at least 1; None = all.
    betas : sequence of float
        What ``beta=auto`` chooses from, beside staying alone: different values, each >= 0.
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
        beta: float | Literal["auto"] = 10.0,
        distance: Literal["kl", "reverse_kl", "js", "l2", "cosine"] = "kl",
        epd_estimator: Literal["mean", "histogram"] = "mean",
        include_self: bool = True,
        top_k: int | None = None,
        betas: Sequence[float] = (0.0, 1.0, 10.0),
        **base: Any,
    ) -> None:
        super().__init__(**base)
        if beta != AUTO:
            _sharpness("beta", beta)
        elif len(betas) < 2 or len({*betas}) < len(betas):
            raise ValueError(f"betas={[*betas]} must be at least two, and different")
        if beta == AUTO and type(self).refine is not KnFu.refine:
            raise ValueError(f"beta={AUTO} has several teachers, and refine() is for one")
        for one in betas:
            _sharpness("betas", one)
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k={top_k} must be at least 1")
        self.beta, self.distance, self.epd_estimator = beta, distance, epd_estimator
        self.include_self, self.top_k, self.betas = include_self, top_k, tuple(betas)
        self.offered = len(betas) if beta == AUTO else 1

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of the estimator, where there are no classes, and of what nobody chooses from."""
        found = super().unused(kind)
        if self.offered == 1:
            found["betas"] = "has no effect: it is what strategy.beta=auto chooses from"
        if kind in NUMBERS:
            found["epd_estimator"] = "has no effect: it is for class scores; leave it out"
        return found

    def fused(self, plan: RoundPlan, knowledge: KnowledgeStack, outcome: Outcome) -> Teacher:
        """Fuse; where clients choose, for each beta, and put the teachers one after the other."""
        if self.offered == 1:
            return super().fused(plan, knowledge, outcome)
        found = [fuse_in_blocks(self.at(beta), knowledge, plan.blocks)[0] for beta in self.betas]
        outcome.knowledge = knowledge
        for name, values in self.round_extras(knowledge).items():
            outcome.note(knowledge.clients, name, values)
        rows = -kind_named(knowledge.kind).dims  # one teacher for all has no dimension before it
        values = torch.cat([teacher.values for teacher in found], dim=rows)
        masks = [teacher.mask for teacher in found if teacher.mask is not None]
        return Teacher(
            found[0].kind, values, knowledge.clients, torch.cat(masks) if masks else None
        )

    def at(self, beta: float) -> "KnFu":
        """Return the method with one of the betas."""
        fixed = copy.copy(self)
        fixed.beta = beta
        return fixed

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
            scores = -float(self.beta) * (distances - distances.amin(dim=-1, keepdim=True))
            scores[distances.isinf()] = -torch.inf  # also where beta = 0
            rows.copy_(scores.softmax(dim=-1))
        return weights if self.top_k is None else top_k(weights, self.top_k)

    def round_extras(self, knowledge: KnowledgeStack) -> dict[str, Tensor]:
        """Log the EPDs."""
        return {"epd": self.epd(knowledge)}


def _sharpness(name: str, beta: float | str) -> None:
    """Raise `ValueError` if that is no sharpness."""
    if isinstance(beta, str) or not 0 <= beta < math.inf:
        raise ValueError(f"{name}={beta} must be at least 0 and finite")
