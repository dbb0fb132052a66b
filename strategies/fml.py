"""FML: each client's private model and a shared small one teach each other.

Shen et al., "Federated Mutual Learning", arXiv 2006.16765. Confidence: certain (a public
implementation)::

    loss_own  = alpha * CE(own)  + (1 - alpha) * KL(meme || own)
    loss_meme = beta  * CE(meme) + (1 - beta)  * KL(own || meme)
    meme      = sum_n samples_n * meme_n / sum_n samples_n

Public defaults of alpha = beta = 1 leave no KL at all: the models never meet, and what is
evaluated is local training. So ours are 0.5. The target of a KL is a constant here, so that each
loss trains its own model; the public code lets either loss train both. Its KL is a mean over batch
*and* classes, a tenth of ours with ten classes. A client loop with another private loss than
cross-entropy keeps it in full: only a share of cross-entropy is taken off.
"""

from typing import Any

from .mentees import MenteeFusion


class FML(MenteeFusion):
    """A small model that all clients share, and learn with, beside their own.

    Parameters
    ----------
    mentee : str
        The shared ("meme") model, as for ``model=``; auto = mlp, for texts embedding_bag.
    alpha, beta : float
        Share of cross-entropy in the loss of the own and of the shared model, in [0, 1]; the rest
        is what it learns from the other. 1 is training alone.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> FML(alpha=0.7).exchange_node()
    {'name': 'mentee', 'mentee': 'auto', 'alpha': 0.7, 'beta': 0.5}
    """

    exchange = "mentee"
    sums_only = True

    def __init__(
        self, mentee: str = "auto", alpha: float = 0.5, beta: float = 0.5, **base: float | None
    ) -> None:
        super().__init__(mentee, **base)
        if not 0 <= alpha <= 1 or not 0 <= beta <= 1:
            raise ValueError(f"alpha={alpha} and beta={beta} must be in [0, 1]")
        self.alpha, self.beta = alpha, beta

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with what it needs."""
        own = {"mentee": self.mentee, "alpha": self.alpha, "beta": self.beta}
        return {"name": self.exchange, **own}
