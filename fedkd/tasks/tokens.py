r"""Next token: a sample is a window of running text; models return logits at each of its places.

Logits ``z[t]`` are those after reading tokens 0 to t, and predict token t + 1, target ``y[t]``.
Places behind the end of a text are padded and count for nothing. With windows of L places and
weights w of windows::

    loss       = 1 / (B L) sum_i sum_t -log softmax(z_it)[y_it]       what models learn, of a batch
    nll        = sum_i w_i sum_t -log softmax(z_it)[y_it] / sum_i w_i n_i         n_i places with a
    perplexity = exp(nll)                                                         target, in nats
    next_token = the share of those places whose likeliest token is the right one

The loss of a batch of full windows is the mean over its tokens. A window that ends early counts for
as much as it has tokens: so every token weighs the same, and the loss is still a mean over samples,
as gradients of single samples (DP-SGD) and padded batches need it.
"""

import sys
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ..score import Score
from .base import Task
from .samples import PAD
from .targets import Targets

LARGEST = 50.0
"""Nats that a token costs at most in metrics: what has diverged must not drop out of a mean."""


class Tokens(Task):
    """Cross-entropy of the next token; perplexity; soft labels or logits travel, a row a place.

    Examples
    --------
    >>> about, task = Targets(["next token"], [], [], tokens=(2, 300)), Tokens()
    >>> task.outputs(about)
    (2, 300)
    >>> outputs, targets = torch.zeros(1, 2, 300), torch.tensor([[7, 0]])
    >>> kept, ones = task.condensed(outputs, targets), torch.ones(1).double()
    >>> {name: round(value, 3) for name, value in
    ...     task.metrics(kept, targets, ones, about).items()}
    {'perplexity': 300.0, 'nll': 5.704, 'next_token': 0.0}
    """

    targets = "tokens"
    kinds = ("soft_labels", "logits")
    score: ClassVar[Score] = Score("perplexity", more=False, label="perplexity")
    at_once = 16

    @property
    def measures(self) -> tuple[str, ...]:
        """Return loss and accuracy, each local and global."""
        return tuple(f"{name}_{at}" for name in ("nll", "next_token") for at in ("local", "global"))

    def span(self, name: str) -> tuple[float, float]:
        """Return 0 and 1 for the accuracy, finite and at least 0 for the others."""
        return 0.0, 1.0 if name.startswith("next_token") else sys.float_info.max

    def outputs(self, targets: Targets) -> tuple[int, ...]:
        """Return ``(length, vocabulary)``."""
        assert targets.tokens is not None
        return targets.tokens

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy in nats: its sum over the tokens by the places of the batch."""
        return self._costs(outputs, targets).sum() / targets.numel()

    def condensed(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return of each window the sum of costs, the tokens got right and all, ``[n, 3]``."""
        costs = self._costs(outputs, targets).double().sum(dim=1)
        there = targets != PAD
        right = (outputs.reshape(*targets.shape, -1).argmax(dim=-1) == targets) & there
        return torch.stack([costs, right.sum(dim=1).double(), there.sum(dim=1).double()], dim=1)

    def metrics(
        self, outputs: Tensor, targets: Tensor, weights: Tensor, about: Targets
    ) -> dict[str, float]:
        """Return ``perplexity``, ``nll`` in nats and ``next_token``, of `condensed` windows."""
        del targets, about
        costs, right, tokens = (weights.unsqueeze(-1) * outputs).unbind(dim=1)
        every = tokens.sum()
        # nan is a model that has diverged, or nothing to test
        most = torch.where(tokens > 0, LARGEST * tokens, 0.0)
        nll = torch.where(costs.isfinite(), costs.minimum(most), most).sum() / every
        found = {"perplexity": nll.exp(), "nll": nll, "next_token": right.sum() / every}
        return {name: value.item() for name, value in found.items()}

    @staticmethod
    def _costs(outputs: Tensor, targets: Tensor) -> Tensor:
        """Return what each place costs in nats, ``[n, length]``; 0 where there is no target."""
        logits = outputs.reshape(targets.numel(), -1)
        costs = F.cross_entropy(logits, targets.flatten(), ignore_index=PAD, reduction="none")
        return costs.view(targets.shape)
