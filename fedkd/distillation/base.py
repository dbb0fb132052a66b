"""What a distillation objective is."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from ..knowledge import CLASS_SCORES, Target, kind_named
from ..plugins.given import Given

TeacherBatch = Target
"""What a `Target` was called; the name by which objectives of your own may know it."""


NOTHING: Any = MappingProxyType({})
"""The memory of an objective that declares none: to write to it is an error."""


LEAST, MOST = 1e-3, 1e4
"""Temperatures between which float32 has squares, and logits over them."""


@dataclass(frozen=True)
class Batch:
    """The samples of one batch, and what is known of them.

    Parameters
    ----------
    x : Tensor
        ``[B, *shape]``, on the device where the student computes; windows of text, whose every
        token has a row, are fewer than the B rows.
    rows : Tensor
        ``[B]`` int64, their places among the rows of the phase: its transfer samples, or each
        place of its windows.
    y : Tensor or None
        ``[B]`` int64, their labels; None unless ``transfer.labelled=true``.
    features : mapping or None
        What the student computes in the objective's `Objective.layers`, ``{layer: [B, ...]}``, with
        gradient; None if it declares none.
    memory : mutable mapping
        Tensors that live with the client, of an objective that `Objective.remembers`.
    """

    x: torch.Tensor
    rows: torch.Tensor
    y: torch.Tensor | None = None
    features: Mapping[str, torch.Tensor] | None = None
    memory: MutableMapping[str, torch.Tensor] = field(default_factory=lambda: NOTHING)

    @property
    def there(self) -> torch.Tensor | None:
        """Where texts have tokens, and no padding (0), bool ``[B, length]``; None of numbers."""
        return None if self.x.is_floating_point() else self.x != 0


class Objective(Given):
    """Base class of distillation objectives: ``(student_logits, teacher, batch) -> loss``.

    An instance serves one client at a time. What it remembers it must forget in `start`, or a
    client's result would depend on which client came before it; what is to outlive a phase it keeps
    in the batch's memory.

    Parameters
    ----------
    temperature : float
        Softmax temperature of student and teacher, in [0.001, 10000].

    Attributes
    ----------
    per_sample : bool
        Whether a batch's loss is the mean of its samples' losses, each a function of that sample
        alone. Batches of several clients may then be padded to one size.
    kinds : tuple of str or None
        The kinds of knowledge on samples that it can learn from; None = all.
    needs_labels : bool
        Whether it learns from the transfer set's labels too.
    layers : tuple of str
        Layers of the student that it looks at: ``"head"``, which is what goes into the last linear
        layer, or the dotted name of a module, which is what comes out of it.
    remembers : bool
        Whether it keeps tensors in the client's memory from one phase to the next: they are in
        checkpoints and move with the client. Such clients are trained one by one.
    most_rows : int or None
        Rows of a batch at most where samples have several, as texts have one for each token, if
        what it computes grows faster than with their number; None = any.
    one_row : bool
        Whether it can do nothing with samples of several rows.
    tells_apart : int or None
        How many of a row's largest numbers count by themselves, where it takes the rest as one;
        None = all.
    fewest : int
        Samples that a batch must have for it to teach anything.
    trained_with : mapping
        ``optimizer`` and ``lr`` that it is trained with where ``distil.*`` says nothing, if what
        suits private data does not suit it; what is missing is that of ``fit.*``.

    Raises
    ------
    ValueError
        If the temperature is outside.
    """

    per_sample: bool = False
    kinds: tuple[str, ...] | None = CLASS_SCORES
    needs_labels: bool = False
    layers: tuple[str, ...] = ()
    remembers: bool = False
    most_rows: int | None = None
    one_row: bool = False
    tells_apart: int | None = None
    fewest: int = 1
    trained_with: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, temperature: float = 1.0) -> None:
        if not LEAST <= temperature <= MOST:
            raise ValueError(f"temperature={temperature} must be in [{LEAST:g}, {MOST:g}]")
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

        Returns
        -------
        Tensor
            ``[]``, in nats where it is a divergence.
        """
        raise NotImplementedError(f"{type(self).__name__} must define __call__")

    def memory(self, batch: Batch | None) -> MutableMapping[str, torch.Tensor]:
        """Return the tensors that live with the client.

        Raises
        ------
        ValueError
            If there is no batch that brings them.
        """
        if batch is None or batch.memory is NOTHING:
            raise ValueError(f"{type(self).__name__} keeps tensors in a batch's memory; give one")
        return batch.memory

    def features(self, batch: Batch | None) -> torch.Tensor:
        """Return what goes into the student's last linear layer, ``[B, ..., D]``.

        Raises
        ------
        ValueError
            If there is no batch that brings it.
        """
        if batch is None or batch.features is None:
            raise ValueError(f"{type(self).__name__} needs a batch with the student's features")
        return batch.features["head"]

    def tempers(self, kind: str) -> bool:
        """Say whether its temperature plays a part with teachers of a kind; by default it does."""
        del kind
        return True

    def unused(self, kind: str) -> dict[str, str]:
        """Return the parameters that change nothing as the others are, and why: ``{name: why}``.

        A run that sets one is refused; `why` is its reason and remedy. `kind` is that of the
        teachers.
        """
        del kind
        return {}

    def unused_by(self, models: Mapping[str, nn.Module]) -> dict[str, str]:
        """Return the parameters that change nothing with these models, as `unused` does."""
        del models
        return {}

    def looks_at(self, student: nn.Module) -> tuple[str, ...]:
        """Return the layers of this student that it looks at, by default `layers`."""
        del student
        return self.layers

    def start(self, student: nn.Module) -> None:
        """Begin a distil phase of `student`: called before its first batch."""

    def progress(self, fraction: float) -> None:
        """Hear before each batch which `fraction` of the phase, in [0, 1], is done."""


def idle(because: str, *names: str) -> dict[str, str]:
    """Return these parameters as `Objective.unused` does.

    Examples
    --------
    >>> idle("lr=0", "phases")
    {'phases': 'has no effect with objective.lr=0; leave it out'}
    """
    return dict.fromkeys(names, f"has no effect with objective.{because}; leave it out")


def smoothing_of(kind: str) -> dict[str, str]:
    """Return that `smoothing` has no effect where teachers are no soft labels, as `idle` does."""
    if kind_named(kind).simplex:
        return {}
    return {
        "smoothing": f"has no effect: it is for soft labels, and teachers are {kind}; leave it out"
    }


def phases_before(memory: MutableMapping[str, torch.Tensor]) -> int:
    """Count a phase that begins, in an objective's memory; return how many came before it.

    Examples
    --------
    >>> memory = {}
    >>> phases_before(memory), phases_before(memory)
    (0, 1)
    """
    before = int(memory.get("phases", torch.tensor(0)))
    memory["phases"] = torch.tensor(before + 1)
    return before


class Matching(Objective):
    """Base of objectives that compare the numbers of student and teacher, of any kind.

    Parameters
    ----------
    temperature : float
        Softmax temperature of student and teacher; unused where the teacher is logits.
    """

    per_sample = True
    kinds: tuple[str, ...] | None = None

    def __init__(self, *, temperature: float = 1.0) -> None:
        super().__init__(temperature)

    def __call__(
        self, student_logits: torch.Tensor, teacher: Target, batch: Batch | None = None
    ) -> torch.Tensor:
        """Return the scalar loss of one batch."""
        return self.compared(*teacher.paired(student_logits, self.temperature))

    def tempers(self, kind: str) -> bool:
        """Say so of soft labels: other numbers are compared as they are."""
        return kind_named(kind).simplex

    def compared(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Return the loss of what the student says, given what it should, in the same form."""
        raise NotImplementedError(f"{type(self).__name__} must define compared")
