"""Logits, and for each sample the probability that it is private: FedAUX's scores."""

import math

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from .logits import Logits
from .phase import Phase
from .scoring import Scored

LAMBDA = 0.01
"""The penalty of the paper and of the official code."""


class LikenessLogits(Scored, Logits):
    """Scores samples by a logistic regression between private and public samples.

    Parameters
    ----------
    regularisation : float or None
        L2 penalty lambda of the mean loss over m samples, > 0. None is 0.01 with a budget, and
        0.01 / m without one.
    epsilon : float or None
        Budget of the Gaussian mechanism on the coefficients, > 0; None = no noise. It is spent
        once: a client computes its scores in its first round and keeps them. The mechanism's
        formula is a guarantee up to 1.
    delta : float
        Its failure probability, in (0, 1).
    """

    def __init__(
        self,
        regularisation: float | None = None,
        epsilon: float | None = None,
        delta: float = 1e-5,
    ) -> None:
        if regularisation is not None and not regularisation > 0:
            raise ValueError(f"regularisation={regularisation} must be greater than 0")
        if epsilon is not None and not epsilon > 0:
            raise ValueError(f"epsilon={epsilon} must be greater than 0")
        if not 0 < delta < 1:
            raise ValueError(f"delta={delta} must be in (0, 1)")
        self.regularisation, self.epsilon, self.delta = regularisation, epsilon, delta

    def reckons(self) -> str | None:
        """Say what is done with samples beside giving them to models."""
        return "tells private from public samples by a regression on them"

    def scores(self, phase: Phase, x: Tensor) -> Tensor:
        """Return the estimated probability that samples are private, ``[samples]``."""
        client = phase.client
        return self.likeness(x, client.x, client.generator)

    def likeness(self, public: Tensor, private: Tensor, generator: torch.Generator) -> Tensor:
        """Return ``P(private | x)`` of public samples, ``[samples]``.

        Parameters
        ----------
        public, private : Tensor
            ``[samples, *shape]`` and ``[n, *shape]``.
        generator : torch.Generator
            Draws the noise of the Gaussian mechanism.
        """
        public, private = unit_ball(public, private)
        both = torch.cat([private, public])
        coefficients = self._fitted(both, torch.arange(len(both)) < len(private))
        if self.epsilon is not None:
            noise = torch.randn(coefficients.shape, dtype=both.dtype, generator=generator)
            coefficients = coefficients + self.noise(len(both)) * noise
        return (public @ coefficients).sigmoid()

    def penalty(self, m: int) -> float:
        """Return lambda for `m` samples."""
        if self.regularisation is not None:
            return self.regularisation
        return LAMBDA / m if self.epsilon is None else LAMBDA

    def noise(self, m: int) -> float:
        """Return the standard deviation of the noise for `m` samples."""
        assert self.epsilon is not None
        sensitivity = 2 / (m * self.penalty(m))
        return math.sqrt(2 * math.log(1.25 / self.delta)) * sensitivity / self.epsilon

    def _fitted(self, x: Tensor, private: Tensor) -> Tensor:
        """Return the coefficients ``[d]`` of the regression."""
        from sklearn.linear_model import LogisticRegression  # slow to import

        # scikit-learn sums the losses, so lambda of their mean is m * lambda of their sum.
        strength = 1 / (len(x) * self.penalty(len(x)))
        exact = 1e-5 if self.epsilon is None else 1e-8  # privacy is that of the minimum itself
        model = LogisticRegression(C=strength, fit_intercept=False, tol=exact, max_iter=1000)
        with threadpool_limits(1, user_api="blas"):  # the same last bit in every process
            model.fit(x.numpy(), private.numpy())
        return torch.from_numpy(model.coef_[0])


def unit_ball(public: Tensor, private: Tensor) -> tuple[Tensor, Tensor]:
    """Return samples as vectors of norm at most 1, with a constant for the intercept.

    The scale is that of the public samples, and longer private ones are shortened to it, so that
    nothing about private samples is in the scale.

    Examples
    --------
    >>> unit_ball(torch.tensor([[3.0], [4.0]]), torch.tensor([[-8.0]]))[1]
    tensor([[-0.7071,  0.7071]], dtype=torch.float64)
    """
    public, private = public.flatten(1).double(), private.flatten(1).double()
    longest = public.norm(dim=1).max().clamp_min(torch.finfo(public.dtype).tiny)

    def scaled(x: Tensor) -> Tensor:
        x = x / longest
        x = x / x.norm(dim=1, keepdim=True).clamp_min(1)
        return torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1) / math.sqrt(2)

    return scaled(public), scaled(private)
