"""Teachers, students and phases with which `fedkd check` tries an objective."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..distillation import Batch, Objective, Target
from ..distillation.base import NOTHING
from ..knowledge import CLASS_SCORES, kind_named
from ..rng import scoped, torch_generator
from .plugged import CLASSES, Plugged

ROWS = 12
WIDTH = 6
TEMPERATURES = (0.5, 1.0, 4.0)
EXTREME = 1e4


def teachers(subject: Plugged) -> Iterator[tuple[str, Target]]:
    """Yield teachers as they come, and the extremes, of kinds that it learns from."""
    noise = torch.randn(ROWS, CLASSES, generator=torch_generator(1))
    kinds = subject.make().kinds
    if kinds is not None and not set(kinds) & set(CLASS_SCORES):
        for kind in map(kind_named, kinds):
            wide = torch.randn(ROWS, kind.width(ROWS, CLASSES), generator=torch_generator(1))
            for size in (1.0, 0.1, 5.0):
                yield f"{kind} {size:g}", Target(kind.drawn(size * wide), kind)
        return
    sure = nn.functional.one_hot(torch.arange(ROWS) % CLASSES, CLASSES).float()
    yield "logits", Target(2 * noise, "logits")
    yield "large logits", Target(50 * noise, "logits")
    yield "logits of +-1e4", Target(EXTREME * noise.sign(), "logits")
    yield "one-hot soft labels", Target(sure)
    yield "uniform soft labels", Target(torch.full_like(sure, 1 / CLASSES))
    for temperature in TEMPERATURES:
        soft = (2 * noise / temperature).softmax(dim=-1)
        yield (
            f"soft labels of temperature {temperature:g}",
            Target(soft, "soft_labels", temperature),
        )


def firsts(subject: Plugged) -> dict[str, Target]:
    """Return a teacher of each kind."""
    found: dict[str, Target] = {}
    for _, teacher in teachers(subject):
        found.setdefault(str(teacher.kind), teacher)
    return found


def students() -> Iterator[tuple[str, Tensor]]:
    """Yield logits as they come, and the extremes: sure of one class, and of each sample's own."""
    yield "", student()
    far = EXTREME * student().detach().sign()
    yield " and logits of +-1e4", far.requires_grad_()
    one = torch.zeros(ROWS, CLASSES).index_fill_(1, torch.tensor([3]), EXTREME)
    yield " and a student that always says 3", one.requires_grad_()


@dataclass
class Phase:
    """A distil phase of an objective: it hears the beginning, and is given what it declares."""

    objective: Objective
    memory: dict[str, Tensor] = field(default_factory=dict)
    model: nn.Module = field(init=False)

    def __post_init__(self) -> None:
        with scoped(7):  # an objective may look at its student: each phase has the same
            self.model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, CLASSES))
        self.objective.start(self.model)
        self.objective.progress(0.0)

    def batch(self, rows: Tensor) -> Batch:
        """Return some of the samples, with labels, features and memory as in a run."""
        one, several = torch_generator(5), torch_generator(6)
        x = torch.randn(ROWS, 2, generator=one)
        labels = torch.randn(ROWS, CLASSES, generator=torch_generator(1)).argmax(dim=1)
        y = labels if self.objective.needs_labels else None
        features = {
            name: torch.randn(ROWS, WIDTH, generator=several)[rows].requires_grad_()
            for name in self.objective.looks_at(self.model)
        }
        memory = self.memory if self.objective.remembers else NOTHING
        return Batch(x[rows], rows, None if y is None else y[rows], features or None, memory)

    def loss(self, student: Tensor, teacher: Target, rows: Tensor | None = None) -> Tensor:
        """Return the loss of a batch, by default of all samples."""
        rows = torch.arange(len(student)) if rows is None else rows
        return self.objective(student, teacher, self.batch(rows))


def student(seed: int = 0) -> Tensor:
    """Return logits of a student, with gradient."""
    return torch.randn(ROWS, CLASSES, generator=torch_generator(seed)).requires_grad_()
