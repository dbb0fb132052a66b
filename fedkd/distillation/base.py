"""What a distillation objective is."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from ..knowledge import CLASS_SCORES, Target

TeacherBatch = Target
"""What a `Target` was called; the name by which objectives of your own may know it."""


@dataclass(frozen=True)
class Batch:
    """The samples of one batch.

    Parameters
    ----------
    x : Tensor
        ``[B, *shape]``, on the device where the student computes.
    rows : Tensor
        ``[B]`` int64, their places among the transfer samples of the phase.
    """

    x: torch.Tensor
    rows: torch.Tensor


class Objective:
    """Base class of distillation objectives: ``(student_logits, teacher, batch) -> loss``.

    An instance serves one client at a time. What it remembers it must forget in `start`, or a
    client's result would depend on which client came before it.

    Parameters
    ----------
    temperature : float
        Softmax temperature of student and teacher, greater than 0.

    Attributes
    ----------
    per_sample : bool
        Whether a batch's loss is the mean of its samples' losses, each a function of that sample
        alone. Batches of several clients may then be padded to one size.
    kinds : tuple of str or None
        The kinds of knowledge on samples that it can learn from; None = all.

    Raises
    ------
    ValueError
        If the temperature is not positive and finite.
    """

    per_sample: ClassVar[bool] = False
    kinds: ClassVar[tuple[str, ...] | None] = CLASS_SCORES

    def __init__(self, temperature: float = 1.0) -> None:
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature={temperature} must be greater than 0 and finite")
        self.temperature = float(temperature)

    def __call__(
        self, student_logits: torch.Tensor, teacher: Target, batch: Batch | None = None
    ) -> torch.Tensor:
        """Return the scalar loss of one batch.

        Parameters
        ----------
        student_logits : Tensor
            ``[B, C]``, with gradient.
        teacher : Target
            The same samples, without gradient.
        batch : Batch, optional
            The samples themselves, for objectives that look at them; a run hands it always.
        """
        raise NotImplementedError(f"{type(self).__name__} must define __call__")

    def start(self, student: nn.Module) -> None:
        """Begin a distil phase of `student`: called before its first batch."""

    def progress(self, fraction: float) -> None:
        """Hear before each batch which `fraction` of the phase, in [0, 1], is done."""


class Matching(Objective):
    """Base of objectives that compare the numbers of student and teacher, of any kind.

    Parameters
    ----------
    temperature : float
        Softmax temperature of student and teacher; unused where the teacher is logits.
    """

    per_sample = True
    kinds = None

    def __init__(self, *, temperature: float = 1.0) -> None:
        super().__init__(temperature)

    def __call__(
        self, student_logits: torch.Tensor, teacher: Target, batch: Batch | None = None
    ) -> torch.Tensor:
        """Return the scalar loss of one batch."""
        return self.compared(*teacher.paired(student_logits, self.temperature))

    def compared(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Return the loss of what the student says, given what it should, in the same form."""
        raise NotImplementedError(f"{type(self).__name__} must define compared")
