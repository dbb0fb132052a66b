"""Gaussian noise on knowledge.

Dwork, Roth, "The Algorithmic Foundations of Differential Privacy", 2014, section A. Certain. With U
rows F of C classes, c the clip, z the noise multiplier (`fedkd.privacy.mechanisms`)::

    soft labels   P( F + N(0, (z s)^2) ),    s = sqrt(2 U), or 2 c sqrt(U) where that is less
    logits        F' + N(0, (z s)^2),        s = 2 c sqrt(U), F' = F with rows scaled to norm <= c

    predictions   as logits: U rows of T numbers, in standard deviations of the training targets

P projects onto the simplex. Each release is (epsilon, delta) private for **any change of all that
a client holds**. That is much to ask: at epsilon 8 over ten rounds and U = 200 the noise has a
standard deviation of 40 on each probability. Few samples a round have less each:
``transfer.per_round``.
"""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from ...knowledge import CLASS_SCORES, kind_named
from ...privacy.accounting import History, Release
from ...privacy.mechanisms import Norm, noisy
from ...privacy.noise import Source
from ..exchange import Exchange
from .base import CLIENT, Facts, Noisy, only_values, positive


class Gaussian(Noisy):
    """Clips rows and adds Gaussian noise, calibrated to the L2 sensitivity of all rows together.

    Parameters
    ----------
    clip : float or None
        Bound on each row's norm, > 0; needed for logits and for predictions of a regression, where
        it is in standard deviations of the targets (that, and their mean, count as public). Soft
        labels are bounded by themselves:
        there it bounds the difference from the uniform row, and may be left out.
    repair : {"project", "renormalise"}
        How noisy soft labels return to the simplex.
    **noise
        See `Noisy`.

    Examples
    --------
    >>> import torch
    >>> rows = torch.tensor([[0.7, 0.3]])
    >>> source = torch.Generator().manual_seed(1)
    >>> Gaussian(noise_multiplier=0.1).release(rows, "soft_labels", source)
    tensor([[0.7279, 0.2721]])
    """

    kinds = (*CLASS_SCORES, "predictions")
    protects = CLIENT
    norm: Norm = 2

    def __init__(
        self,
        clip: float | None = None,
        repair: Literal["project", "renormalise"] = "project",
        **noise: float | bool | None,
    ) -> None:
        super().__init__(**noise)  # type: ignore[arg-type]
        if clip is not None:
            positive("clip", clip)
        self.clip, self.repair = clip, repair

    def refusal(self, exchange: Exchange, models: Mapping[str, nn.Module]) -> str | None:
        """Refuse what cannot be bounded, and uploads that noise on the values leaves bare."""
        if problem := super().refusal(exchange, models):
            return problem
        if self.clip is None and not kind_named(exchange.kind).simplex:
            return f"has no bound on {exchange.kind}; give privacy.clip"
        return only_values(exchange)

    def release(self, values: Tensor, kind: str, source: Source) -> Tensor:
        """Return the noisy knowledge."""
        how = self.clip, self.norm, source
        return noisy(values, kind, self.noise(), *how, self.repair)

    def cost(self, facts: Facts, multiplier: float | None) -> History:
        """Return one release."""
        del facts
        name = "gaussian" if self.norm == 2 else "laplace"
        return {Release(name, self.noise(multiplier)): 1}
