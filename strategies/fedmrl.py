"""FedMRL: a small model that all share puts its features before those of each client's own.

Yi, Yu, Shi, Wang, Liu, Li, "Federated Model Heterogeneous Matryoshka Representation Learning",
NeurIPS 2024, arXiv 2406.00488. Confidence: certain (official code, and the authors' of HtFLlib)::

    r        = P[e_s(x), e_n(x)]           d1 + d2 numbers to d2; s is shared, n the client's own
    loss     = CE(h_n(r)) + CE(h_s(r[:d1]))
    server   s = sum_n samples_n * s_n / sum_n samples_n
    measured h_n(r)

Own model and projector P stay with the client, also while it is away. One optimiser steps all of
them. Trap: the official code's small head is a view of the first columns of the large one, so that
two optimisers step the same numbers; here the heads are apart, as in HtFLlib. P is one linear layer
with a bias, which is inferred. Official defaults are d2 = 500 and d1 = 100 (with different
models 500), ``fit.lr=0.01`` and gradients clipped to norm 50: here d2 is what the own model has, d1
must not be more, and the norm is that of all that a client trains together. P and a head are two
linear layers in a row: unclipped (``clip=inf``), some clients diverge at ``fit.lr=0.05`` with
momentum.

`RunResult.model` returns the own model. Its head is used to r, so that by itself it is not what was
measured.
"""

from typing import Any

from ..clients.exchange.nested import shared_spec
from ..clients.exchange.scoring import needs_head
from ..models.features import head
from ..rounds.server import Server
from .mentees import MenteeFusion

WIDEST = 4096
"""Features of a model at most: its projector has 17 million numbers then."""


class FedMRL(MenteeFusion):
    """A small shared model, of whose features and its own each client makes new ones.

    Parameters
    ----------
    mentee : str
        The shared model, as for ``model=``; auto = mlp, for texts embedding_bag.
    dim : int
        Features of auto (d1), at least 1. No client's model may have fewer.
    clip : float
        Largest norm of a batch's gradient, of all that a client trains together, > 0.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> FedMRL(dim=32).exchange_node()
    {'name': 'nested', 'mentee': 'auto', 'dim': 32, 'clip': 50.0}
    """

    exchange = "nested"
    sums_only = True

    def __init__(
        self, mentee: str = "auto", dim: int = 50, clip: float = 50.0, **base: float | None
    ) -> None:
        super().__init__("auto", **base)
        if dim < 1:
            raise ValueError(f"dim={dim} must be at least 1")
        if not clip > 0:
            raise ValueError(f"clip={clip} must be above 0 (inf = as it is)")
        self.named, self.dim, self.clip = mentee, dim, clip
        self.mentee: Any = shared_spec(mentee, dim)

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with what it needs."""
        own = {"mentee": self.named, "dim": self.dim, "clip": self.clip}
        return {"name": self.exchange, **own}

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of `dim`, where the shared model is named."""
        why = f"has no effect: {self.named} has as many features as it has; leave it out"
        return super().unused(kind) | ({} if self.named == "auto" else {"dim": why})

    def refusal(self, server: Server) -> str | None:
        """Refuse a shared model that cannot be built, or has more features than a client's."""
        if (problem := super().refusal(server)) is not None:
            return problem
        mentee = server.model(self.mentee)
        if (problem := needs_head({f"strategy.mentee={self.named}": mentee})) is not None:
            return problem
        inner = head(mentee).in_features
        widths = [head(model).in_features for model in server.instances]
        if (widest := max(widths)) > WIDEST:
            problem = f"a projector has as many numbers as a model's features squared, of {widest}"
            return f"{problem}; take models whose last layer reads at most {WIDEST}"
        if inner <= (outer := min(widths)):
            return None
        remedy = "the own model's features must hold it: take a smaller one, or larger models"
        return f"the shared model has {inner} features, and a client's {outer}; {remedy}"
