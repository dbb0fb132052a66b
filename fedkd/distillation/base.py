"""What a client distils from, and what a distillation objective is."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

_LOG_FLOOR = math.log(torch.finfo(torch.float32).tiny)


@dataclass(frozen=True)
class TeacherBatch:
    """The teacher's knowledge of one batch.

    Parameters
    ----------
    values : Tensor
        ``[B, C]`` soft labels (rows sum to 1), or logits.
    kind : {"soft_labels", "logits"}
        Which of the two.
    temperature : float
        Temperature that the soft labels have already, > 0; logits have none.

    Examples
    --------
    >>> TeacherBatch(torch.tensor([[0.8, 0.2, 0.0]])).probabilities(2.0)
    tensor([[0.6667, 0.3333, 0.0000]])
    >>> TeacherBatch(torch.tensor([[0.8, 0.2, 0.0]]), temperature=2.0).probabilities(2.0)
    tensor([[0.8000, 0.2000, 0.0000]])
    """

    values: torch.Tensor
    kind: str = "soft_labels"
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("soft_labels", "logits"):
            raise ValueError(f"kind={self.kind} must be soft_labels or logits")

    def probabilities(self, temperature: float = 1.0) -> torch.Tensor:
        """Return the teacher's softened probabilities.

        Logits give ``softmax(z / T)``; soft labels of temperature t give ``p ** (t / T)``,
        renormalised, which is the same thing, since ``t * log p`` are logits. A soft label of 0
        stays exactly 0 at every temperature.

        Parameters
        ----------
        temperature : float
            T, greater than 0.

        Returns
        -------
        Tensor
            ``[B, C]``, rows sum to 1.
        """
        if self.kind == "soft_labels" and temperature == self.temperature:
            return self.values
        return (self._logits() / temperature).softmax(dim=-1)

    def log_probabilities(self, temperature: float = 1.0) -> torch.Tensor:
        """Return the logarithm of `probabilities`, finite also where they are 0.

        Returns
        -------
        Tensor
            ``[B, C]`` in nats; never under -87.3 (the logarithm of the smallest normal float32)
            for soft labels, and never clipped for logits.
        """
        logarithm = (self._logits() / temperature).log_softmax(dim=-1)
        return logarithm if self.kind == "logits" else logarithm.clamp_min(_LOG_FLOOR)

    def paired(
        self, student_logits: torch.Tensor, temperature: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return student and teacher in the same form, for losses that compare numbers.

        With a teacher of logits, the raw logits. Soft labels fix logits only up to a constant:
        with such a teacher, the probabilities at `temperature`.

        Returns
        -------
        tuple of Tensor
            Student and teacher, both ``[B, C]``.
        """
        if self.kind == "logits":
            return student_logits, self.values
        student = (student_logits / temperature).softmax(dim=-1)
        return student, self.probabilities(temperature)

    def _logits(self) -> torch.Tensor:
        return self.values if self.kind == "logits" else self.temperature * self.values.log()


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

    Raises
    ------
    ValueError
        If the temperature is not positive and finite.
    """

    per_sample: ClassVar[bool] = False

    def __init__(self, temperature: float = 1.0) -> None:
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature={temperature} must be greater than 0 and finite")
        self.temperature = float(temperature)

    def __call__(
        self, student_logits: torch.Tensor, teacher: TeacherBatch, batch: Batch | None = None
    ) -> torch.Tensor:
        """Return the scalar loss of one batch.

        Parameters
        ----------
        student_logits : Tensor
            ``[B, C]``, with gradient.
        teacher : TeacherBatch
            The same samples, without gradient.
        batch : Batch, optional
            The samples themselves, for objectives that look at them; a run hands it always.
        """
        raise NotImplementedError(f"{type(self).__name__} must define __call__")

    def start(self, student: nn.Module) -> None:
        """Begin a distil phase of `student`: called before its first batch."""

    def progress(self, fraction: float) -> None:
        """Hear before each batch which `fraction` of the phase, in [0, 1], is done."""
