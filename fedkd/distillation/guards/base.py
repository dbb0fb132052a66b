"""What a guard is: a look at the teacher, before a client learns from it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...knowledge import Target, kind_named
from ...plugins.given import Given

Lesson = tuple[Tensor, Tensor]
"""What is learnt from: values ``[U, C]`` like the teacher's, and which rows, bool ``[U]``."""


class Guard(Given):
    """Base class of guards: ``(teacher, own, y) -> (values, learnt)``.

    A guard is asked once, at the start of a distil phase, with all of its samples, and remembers
    nothing. What it returns takes the teacher's place under any objective. It draws no random
    numbers, and changes none of what it is given.

    Attributes
    ----------
    needs_labels : bool
        Whether it looks at the transfer set's labels.
    """

    needs_labels: bool = False

    def __call__(self, teacher: Target, own: Target, y: Tensor | None = None) -> Lesson:
        """Return what the client learns from.

        Parameters
        ----------
        teacher : Target
            ``[U, C]``, soft labels or logits.
        own : Target
            ``[U, C]``, what the client predicts of these samples before it learns, in evaluation
            mode: of the teacher's kind, and soft labels at the teacher's temperature.
        y : Tensor or None
            ``[U]`` int64, the samples' labels; None unless ``transfer.labelled=true``.

        Returns
        -------
        values : Tensor
            ``[U, C]``, finite; of the teacher's kind, and soft labels on the simplex.
        learnt : Tensor
            ``[U]`` bool; other rows are not trained on.
        """
        raise NotImplementedError(f"{type(self).__name__} must define __call__")

    def labels(self, y: Tensor | None) -> Tensor:
        """Return the labels.

        Raises
        ------
        ValueError
            If there are none.
        """
        if y is None:
            raise ValueError(f"{type(self).__name__} looks at labels, and was given none")
        return y


def every(teacher: Target) -> Tensor:
    """Return a mask of all rows."""
    return torch.ones(len(teacher.values), dtype=torch.bool)


def log_p(target: Target) -> Tensor:
    """Return log-probabilities ``[U, C]`` as they came: soft labels at their own temperature.

    Logits count at temperature 1. Logarithms tell apart what is 1 in float32.
    """
    return target.log_probabilities(target.temperature)


def log_p_of(target: Target, y: Tensor) -> Tensor:
    """Return the log-probability of each sample's label, ``[U]``.

    Examples
    --------
    >>> target = Target(torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
    >>> log_p_of(target, torch.tensor([1, 0])).exp()
    tensor([0.5000, 1.0000])
    """
    return log_p(target).gather(1, y[:, None]).squeeze(1)


def composed(
    guards: Sequence[Guard], teacher: Target, own: Target, y: Tensor | None = None
) -> Lesson:
    """Return what is left when one guard after the other has looked at the teacher.

    Each sees the values that those before it returned, of the rows that they left.

    Parameters
    ----------
    guards : sequence of Guard
        In order.
    teacher, own, y
        See `Guard`.

    Raises
    ------
    ValueError
        If a guard returns no such values, or no such mask.

    Examples
    --------
    >>> teacher, own = Target(torch.tensor([[0.9, 0.1]])), Target(torch.tensor([[0.6, 0.4]]))
    >>> composed([], teacher, own)
    (tensor([[0.9000, 0.1000]]), tensor([True]))
    """
    values, rows = teacher.values.clone(), torch.arange(len(teacher.values))
    for guard in guards:
        if not len(rows):
            break
        seen = teacher.part(values[rows]), own.part(own.values[rows])
        answer = guard(*seen, None if y is None else y[rows])
        found, learnt = _checked(type(guard).__name__, answer, teacher.values[rows].shape, teacher)
        values[rows] = found
        rows = rows[learnt]
    mask = torch.zeros(len(values), dtype=torch.bool).index_fill_(0, rows, True)
    return values, mask


def _checked(name: str, answer: Any, wanted: torch.Size, teacher: Target) -> Lesson:
    """Return a guard's answer, if something of the teacher's kind can be learnt from it."""
    pair = answer if isinstance(answer, tuple) else ()
    if len(pair) != 2 or not all(isinstance(part, Tensor) for part in pair):
        raise ValueError(f"{name} returns no tuple of two tensors, values and mask")
    values, learnt = pair
    if values.shape != wanted:
        got = f"{name} returns values {list(values.shape)}"
        raise ValueError(f"{got}, and the teacher is {list(wanted)}")
    if values.dtype != teacher.values.dtype:
        got = f"{name} returns values of {values.dtype}, and the teacher is {teacher.values.dtype}"
        raise ValueError(f"{got}; return values.to(teacher.values.dtype)")
    if values.requires_grad:
        raise ValueError(f"{name} returns values with a gradient; return values.detach()")
    if learnt.shape != wanted[:1] or learnt.dtype != torch.bool:
        got = f"{name} returns a mask {list(learnt.shape)} of {learnt.dtype}"
        raise ValueError(f"{got}, and it must be bool {list(wanted[:1])}")
    kept, kind = values[learnt], kind_named(teacher.kind)
    wrong = None if kept.isfinite().all() else "they are not finite"
    if wrong is None and kind.simplex and len(kept):
        wrong = kind.check(kept)
    if wrong is not None:
        raise ValueError(f"{name} returns values that are no {teacher.kind}: {wrong}")
    return values, learnt
