"""What a client uploads, one function per kind of knowledge."""

from collections.abc import Callable

from torch import Tensor

Extract = Callable[[Tensor, float], Tensor]
"""(logits ``[samples, classes]``, temperature) -> values ``[samples, classes]``."""


def soft_labels(logits: Tensor, temperature: float) -> Tensor:
    """Return ``softmax(logits / temperature)``.

    Examples
    --------
    >>> import torch
    >>> soft_labels(torch.tensor([[0.0, 0.0]]), 1.0)
    tensor([[0.5000, 0.5000]])
    """
    return (logits / temperature).softmax(dim=-1)


def logits(values: Tensor, temperature: float) -> Tensor:
    """Return the logits as they are; the temperature applies when they are distilled."""
    del temperature
    return values


KINDS: dict[str, Extract] = {"soft_labels": soft_labels, "logits": logits}
