"""Label-distribution inference: what a client's soft labels say about the classes that it holds.

Shi, Ouyang and Wang, arXiv 2502.08001 (idea and metric: certain, abstract; estimators: ours). The
mean soft label is KnFu's EPD, which the server computes as part of the method.
"""

import numpy as np
import torch
from torch import Tensor

from ..knowledge import CLASS_SCORES
from ..privacy.inference import debiased, errors, mean_soft_label
from .base import Finding, PrivacyAttack, metrics
from .subject import Subject


class LabelDistribution(PrivacyAttack):
    """Infer each client's class shares from what it uploads; KL and L1 to the truth.

    The adversary is the honest-but-curious server; it has each round's uploaded soft labels, or
    logits, on the transfer set, and nothing else. Two baselines know no upload: the uniform
    distribution, and the mean of the clients' true distributions (more than a server knows). An
    attack that does not beat them has learnt nothing about the single client.

    Parameters
    ----------
    strength : float
        Exponent of the debiasing, > 0; see `fedkd.privacy.inference.debiased`.
    """

    kinds = CLASS_SCORES
    access = "Honest-but-curious server: the knowledge that each client uploads."

    def __init__(self, strength: float = 1.0) -> None:
        if not strength > 0:
            raise ValueError(f"strength={strength} must be greater than 0")
        self.strength = strength

    def run(self, subject: Subject) -> Finding:
        """Infer from every round; the last one is the headline."""
        finding = Finding()
        for record in subject.recordings:
            if not record.clients:
                continue
            true = subject.distributions[record.clients].float()
            means = _means(record.soft_labels, record.mask)
            for variant, inferred in self._estimates(means, subject).items():
                kl, l1 = errors(inferred, true)
                finding.results[variant] = _summary(kl, l1)
                finding.details.append(
                    {"round": record.round, "variant": variant, **_summary(kl, l1)}
                )
        finding.note("Last recorded round; ± is the standard deviation over clients.")
        return finding

    def _estimates(self, means: Tensor, subject: Subject) -> dict[str, Tensor]:
        """Return estimates ``[n, classes]`` by name."""
        uniform = torch.full_like(means[0], 1 / means.shape[1])
        population = subject.distributions.mean(dim=0).float()
        return {
            "mean soft label": means,
            "debiased": debiased(means, uniform, self.strength),
            "prior: uniform": uniform.expand_as(means),
            "prior: population": population.expand_as(means),
        }


def _means(soft: Tensor, mask: Tensor) -> Tensor:
    """Return each client's mean over the samples that it labelled."""
    rows = [
        mean_soft_label(s[m] if m.any() else torch.full_like(s, 1 / s.shape[1]))
        for s, m in zip(soft, mask, strict=True)
    ]
    return torch.stack(rows)


def _summary(kl: np.ndarray, l1: np.ndarray) -> dict[str, float | None]:
    several = len(kl) > 1
    return metrics(
        kl=kl.mean(),
        kl_std=kl.std(ddof=1) if several else None,
        l1=l1.mean(),
        l1_std=l1.std(ddof=1) if several else None,
        clients=len(kl),
    )
