"""Every score that an adversary's models allow of the candidates of a membership attack."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ..privacy.membership import likelihood_ratio, logit_confidence, pairwise_ratio
from .base import Finding
from .shadows import log_probability
from .subject import Subject

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Trial:
    """Candidates to score, and the population that RMIA compares them with.

    Attributes
    ----------
    members : int
        The first so many candidates are members.
    x, y : Tensor
        The candidates.
    zx, zy : Tensor
        The population.
    unseen : ndarray
        bool ``[shadows, population]``, what no shadow model was trained on.
    """

    members: int
    x: Tensor
    y: Tensor
    zx: Tensor
    zy: Tensor
    unseen: NDArray[np.bool_]

    def split(self, scores: Array) -> tuple[Array, Array]:
        """Return the scores of members and of non-members."""
        return scores[: self.members], scores[self.members :]


def scores_of(
    subject: Subject,
    trial: Trial,
    model: nn.Module,
    outs: list[nn.Module],
    others: list[nn.Module],
    finding: Finding,
) -> dict[str, Array]:
    """Return every score that the given models allow, ``[candidates]`` each."""
    own = log_p(subject, model, trial.x, trial.y)
    scores = {"loss": own}
    if len(outs) > 1:
        against = _stacked(subject, outs, trial.x, trial.y)
        scores["lira"] = likelihood_ratio(logit_confidence(own), logit_confidence(against))
        scores |= _rmia(subject, trial, model, outs, own, against)
    if len(others) > 1:
        against = _stacked(subject, others, trial.x, trial.y)
        if np.ptp(np.vstack([own, against]), axis=0).any():
            phi = logit_confidence(against)
            scores["coop"] = likelihood_ratio(logit_confidence(own), phi)
        else:
            finding.note("No co-op LiRA on models: all clients have the same one.")
    return scores


def _rmia(
    subject: Subject,
    trial: Trial,
    model: nn.Module,
    outs: list[nn.Module],
    own: Array,
    against: Array,
) -> dict[str, Array]:
    reference = np.where(trial.unseen, np.exp(_stacked(subject, outs, trial.zx, trial.zy)), np.nan)
    usable = trial.unseen.any(axis=0)
    if not usable.any():
        return {}
    z = np.exp(log_p(subject, model, trial.zx, trial.zy))
    ratio = pairwise_ratio(np.exp(own), np.exp(against), z[usable], reference[:, usable])
    return {"rmia": ratio}


def log_p(subject: Subject, model: nn.Module, x: Tensor, y: Tensor) -> Array:
    """Return the log-probability of each sample's class, ``[samples]``."""
    return log_probability(subject, model, x, y).numpy()


def _stacked(subject: Subject, models: Sequence[nn.Module], x: Tensor, y: Tensor) -> Array:
    return np.stack([log_p(subject, model, x, y) for model in models])
