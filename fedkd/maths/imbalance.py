"""Learning from few, unequally many labels: the pure maths of KCFU.

Cao, Shi, Yu, Wang, Tao, "Knowledge-Aware Federated Active Learning with Non-IID Data", ICCV 2023,
arXiv 2211.13579. Confidence: certain (official code and its Algorithm 1).
"""

import torch
from torch import Tensor


def log_prior(counts: Tensor) -> Tensor:
    """Return ``log n_y``, -inf for a class without samples: the prior of balanced softmax.

    Added to the logits in training only, it makes the plain logits those of a class-balanced
    predictor; a class without samples gets neither probability nor gradient.

    Parameters
    ----------
    counts : Tensor
        ``[classes]`` samples of each class, >= 0.

    Examples
    --------
    >>> log_prior(torch.tensor([1.0, 0.0]))
    tensor([0., -inf])
    """
    return counts.float().log()


def frequent(labels: Tensor, classes: int, share: float | None = None) -> Tensor:
    """Return the classes that have more than a share of the samples, bool ``[classes]``.

    Parameters
    ----------
    labels : Tensor
        ``[n]`` int64.
    classes : int
        All there are, C.
    share : float or None
        In [0, 1); None = ``1 / C``, so that classes have more samples than on average.

    Examples
    --------
    >>> labels = torch.tensor([0, 0, 0, 1, 2])
    >>> frequent(labels, 4), frequent(labels, 4, 0.1)
    (tensor([ True, False, False, False]), tensor([ True,  True,  True, False]))
    """
    counts = torch.bincount(labels, minlength=classes)
    if share is None:
        return counts * classes > counts.sum()
    return counts > share * counts.sum()


def class_weights(counts: Tensor, absent: str = "zero") -> Tensor:
    """Return Gamma: inverse class frequencies, summing to 1 over the classes there are.

    ``Gamma_y = (1 / n_y) / sum_j (1 / n_j)``, j over the classes with n_j > 0.

    Parameters
    ----------
    counts : Tensor
        ``[classes]``, at least one above 0.
    absent : {"zero", "max"}
        Weight of a class without samples: 0 as published (so only rare classes are compensated
        for, not missing ones), or the largest weight there is.

    Examples
    --------
    >>> class_weights(torch.tensor([3.0, 1.0, 0.0]))
    tensor([0.2500, 0.7500, 0.0000])
    >>> class_weights(torch.tensor([3.0, 1.0, 0.0]), "max")
    tensor([0.2500, 0.7500, 0.7500])
    """
    inverse = torch.where(counts > 0, 1 / counts.float().clamp_min(1e-12), 0.0)
    weights = inverse / inverse.sum()
    return torch.where(counts > 0, weights, weights.max()) if absent == "max" else weights


def mixed_weights(teacher: Tensor, partner: Tensor, share: Tensor, gamma: Tensor) -> Tensor:
    """Return each mixed sample's weight: that of the teacher's pseudo-labels, mixed alike.

    ``omega_b = lambda_b * Gamma[c_b] + (1 - lambda_b) * Gamma[c_partner(b)]``.

    Parameters
    ----------
    teacher : Tensor
        ``[batch, classes]`` the teacher's logits on the mixed samples.
    partner : Tensor
        ``[batch]`` int64, whom each sample was mixed with.
    share : Tensor
        ``[batch]`` lambda in [0, 1].
    gamma : Tensor
        ``[classes]``.

    Examples
    --------
    >>> logits, gamma = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0.2, 0.8])
    >>> mixed_weights(logits, torch.tensor([1, 0]), torch.tensor([0.5, 1.0]), gamma)
    tensor([0.5000, 0.8000])
    """
    own = gamma[teacher.argmax(dim=-1)]
    return share * own + (1 - share) * own[partner]


def compensation(student: Tensor, teacher: Tensor, weights: Tensor) -> Tensor:
    """Return ``mean_b( omega_b / C * KL(softmax(teacher_b) || softmax(student_b)) )``, in nats.

    Parameters
    ----------
    student, teacher : Tensor
        ``[batch, classes]`` logits; the teacher's without gradient.
    weights : Tensor
        ``[batch]`` omega.

    Examples
    --------
    >>> compensation(torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1)).item()
    0.0
    """
    target, own = teacher.log_softmax(dim=-1), student.log_softmax(dim=-1)
    divergence = (target.exp() * (target - own)).sum(dim=-1)
    return (weights * divergence).mean() / student.shape[-1]
