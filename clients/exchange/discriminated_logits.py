"""Logits, and for each sample what a discriminator thinks of it: DaFKD's scores."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...rng import scoped
from .logits import Logits
from .phase import Phase
from .scoring import Scored, seed_from

HIDDEN = 64
"""Hidden units of a discriminator."""

BATCH = 32
"""Private samples of one step, and as many public ones."""


class DiscriminatedLogits(Scored, Logits):
    """Scores samples by a small network that tells private from public samples.

    Parameters
    ----------
    steps : int
        Training steps of the discriminator, at least 0; it is trained once.
    lr : float
        Its learning rate (Adam), > 0.
    """

    def __init__(self, steps: int = 300, lr: float = 1e-3) -> None:
        if steps < 0:
            raise ValueError(f"steps={steps} must be at least 0")
        if not lr > 0:
            raise ValueError(f"lr={lr} must be greater than 0")
        self.steps, self.lr = steps, lr

    def reckons(self) -> str | None:
        """Say what is done with samples beside giving them to models."""
        return "tells private from public samples by a network on them"

    def scores(self, phase: Phase, x: Tensor) -> Tensor:
        """Return the discriminator's probability that samples are private, ``[samples]``."""
        client = phase.client
        return self.judged(x, client.x, client.generator)

    def judged(self, public: Tensor, private: Tensor, generator: torch.Generator) -> Tensor:
        """Train a discriminator; return its probabilities for the public samples, ``[samples]``.

        Parameters
        ----------
        public, private : Tensor
            ``[samples, *shape]`` and ``[n, *shape]``.
        generator : torch.Generator
            Draws the batches and the first weights.
        """
        public, private = public.flatten(1), private.flatten(1)
        with scoped(seed_from(generator)):
            layers = nn.Linear(public.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1)
        network = nn.Sequential(*layers)
        optimizer = torch.optim.Adam(network.parameters(), self.lr)
        truth = torch.tensor([1.0, 0.0]).repeat_interleave(BATCH)
        for _ in range(self.steps):
            rows = [torch.randint(len(x), (BATCH,), generator=generator) for x in (private, public)]
            batch = torch.cat([private[rows[0]], public[rows[1]]])
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(network(batch).squeeze(1), truth).backward()
            optimizer.step()
        with torch.no_grad():
            return network(public).squeeze(1).sigmoid()
