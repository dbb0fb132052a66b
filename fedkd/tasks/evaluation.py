"""Accuracy and calibration of one model, from one pass over the test split."""

import torch
from numpy.typing import ArrayLike

BINS = 15
"""Bins of `calibration_error`: as many as the literature mostly has."""


def recall(output: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
    r"""Return the share of each class's samples that a model recognises.

    .. math:: recall[y] = |\{i : \hat y_i = y_i = y\}| \; / \; |\{i : y_i = y\}|

    Parameters
    ----------
    output : tensor, shape [samples, classes] or [samples]
        Logits or probabilities, or predicted classes.
    labels : int64 tensor, shape [samples]
        True classes.
    classes : int
        Number of classes.

    Returns
    -------
    float64 tensor, shape [classes]
        In [0, 1]; nan for a class that has no samples.

    Examples
    --------
    >>> recall(torch.tensor([0, 1, 1, 1]), torch.tensor([0, 0, 1, 1]), classes=3).tolist()
    [0.5, 1.0, nan]
    """
    predicted = output.argmax(dim=-1) if output.ndim > 1 else output
    hits = torch.bincount(labels[predicted == labels], minlength=classes)
    return hits.double() / torch.bincount(labels, minlength=classes)


def local_accuracy(recall: torch.Tensor, histogram: ArrayLike | torch.Tensor) -> float:
    r"""Return a model's accuracy under a client's own label distribution, without sampling noise.

    .. math:: \sum_y \pi_k[y] \, recall[y], \qquad \pi_k = histogram / \sum_y histogram[y]

    Parameters
    ----------
    recall : tensor, shape [classes]
        From `recall`, on the test split. Classes with nan (absent from it) count for nothing.
    histogram : array, shape [classes]
        The client's class counts, or shares.

    Returns
    -------
    float
        In [0, 1]; nan if the client has none of the classes tested.

    Examples
    --------
    >>> local_accuracy(torch.tensor([0.5, 1.0, 0.0]), [3, 1, 0])
    0.625
    """
    weights = torch.as_tensor(histogram, dtype=torch.float64, device=recall.device)
    tested = ~recall.isnan()
    weights = weights * tested
    return float((weights * recall.nan_to_num()).sum() / weights.sum())


def sampling_error(
    recall: torch.Tensor, tested: torch.Tensor, whole: ArrayLike, histogram: ArrayLike
) -> float:
    r"""Return the standard error of a `local_accuracy` that stems from testing on a subset.

    .. math::
        \sqrt{\sum_y \pi[y]^2 \; \frac{p[y] (1 - p[y])}{n[y]} \; (1 - n[y] / N[y])}, \qquad
        p[y] = \frac{n[y] \, recall[y] + 1}{n[y] + 2}

    That of a stratified draw without replacement (Cochran, "Sampling Techniques", 3rd ed., 5.3),
    with Laplace's rule of succession: that all of a few were right does not make it certain.

    Parameters
    ----------
    recall : tensor, shape [classes]
        On the subset.
    tested, whole : array, shape [classes]
        Samples of each class in the subset (n) and in the whole test split (N).
    histogram : array, shape [classes]
        As for `local_accuracy`.

    Returns
    -------
    float
        At least 0; 0 where the subset is the whole.

    Examples
    --------
    >>> half, tested = torch.tensor([0.5, 0.5]), torch.tensor([100, 100])
    >>> round(sampling_error(half, tested, [10_000, 10_000], [1, 1]), 4)
    0.0352
    >>> sampling_error(half, tested, [100, 100], [1, 1])
    0.0
    """
    n, n_all = tested.double(), torch.as_tensor(whole, dtype=torch.float64)
    weights = torch.as_tensor(histogram, dtype=torch.float64) * (n > 0)
    rate = (n * recall.nan_to_num() + 1) / (n + 2)
    missed = 1 - n / n_all.clamp(min=1)
    variances = rate * (1 - rate) / n.clamp(min=1) * missed
    return float(((weights / weights.sum()).square() * variances).sum().sqrt())


def calibration_error(
    logits: torch.Tensor,
    labels: torch.Tensor,
    bins: int = BINS,
    weights: torch.Tensor | None = None,
) -> float:
    r"""Return how far a model's confidence is from its accuracy: the expected calibration error.

    .. math:: ECE = \sum_b \frac{|B_b|}{n} \; | accuracy(B_b) - confidence(B_b) |

    Samples are sorted into bins of equal width by the model's confidence, the probability of its
    likeliest class. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    ``torchmetrics`` has the same, but importing it takes every process more than a second.

    Parameters
    ----------
    logits : tensor, shape [samples, classes]
        At least one sample. What is not a number counts as certain.
    labels : int64 tensor, shape [samples]
        True classes.
    bins : int
        Number of bins.
    weights : float64 tensor, shape [samples], optional
        For how many samples each stands; None = one.

    Returns
    -------
    float
        In [0, 1]; 0 is best.

    Examples
    --------
    >>> sure = torch.tensor([[50.0, 0.0], [50.0, 0.0]])
    >>> calibration_error(sure, torch.tensor([0, 1]))
    0.5
    """
    best = logits.max(dim=-1)
    confidence = (best.values - logits.logsumexp(dim=-1)).exp().double().nan_to_num(1.0)
    right = (best.indices == labels).double()
    where = (confidence * bins).long().clamp(max=bins - 1)
    gap = right - confidence if weights is None else (right - confidence) * weights
    gaps = torch.bincount(where, weights=gap, minlength=bins)
    return float(gaps.abs().sum() / (len(labels) if weights is None else weights.sum()))
