"""Accuracy of one model, locally and globally, from one pass over the test split."""

import torch
from numpy.typing import ArrayLike


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
