"""What `fedkd check` holds a distillation objective to."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..config.overrides import merge
from ..distillation import Batch, Objective, Target
from ..distillation.base import NOTHING
from ..knowledge import CLASS_SCORES, kind_named, to_arrays, to_tensor
from ..plugins.table import Seam
from ..rng import scoped, torch_generator
from ..run.declared import undeclarable
from .common import IN_RUNS, MADE
from .plugged import CLASSES, Plugged, plugged
from .promises import Broken, Promise, Skipped, aside, expect, same, untouched

__all__ = ["SUITE", "subject"]

ROWS = 12
WIDTH = 6
TEMPERATURES = (0.5, 1.0, 4.0)
EXTREME = 1e4


def subject(
    seam: Seam, target: str, overrides: Sequence[str] = (), engines: bool = False
) -> Plugged:
    """Return an objective to check; where it needs labels, with runs in which it may see them."""
    found = plugged(seam, target, overrides, engines=engines)
    try:
        labelled = bool(found.make().needs_labels)
    except Exception:  # the first promise says what is wrong
        return found
    if labelled:
        found.config = merge(found.config, **{"transfer.labelled": True})
    return found


def declares(subject: Plugged) -> str:
    """Look at what it says of itself."""
    problem = undeclarable(subject.make())
    expect(problem is None, problem or "")
    return ""


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


def main(subject: Plugged) -> Target:
    """Return the first of them."""
    return next(teacher for _, teacher in teachers(subject))


def gap(logits: Tensor, teacher: Target) -> float:
    """Return how far a student is from a teacher."""
    if teacher.kind in CLASS_SCORES:
        return (logits.softmax(dim=-1) - teacher.values).abs().sum().item()
    student, wanted = teacher.paired(logits, 1.0)
    return (student - wanted).abs().sum().item()


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
            self.model = nn.Linear(2, CLASSES)
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


def finite(subject: Plugged) -> str:
    """Compare students with every teacher, at every temperature."""
    for temperature in TEMPERATURES:
        for name, teacher in teachers(subject):
            for who, logits in students():
                phase = Phase(subject.make(temperature=temperature))
                where = f"with {name}{who} and temperature={temperature:g}"
                loss = phase.loss(logits, teacher)
                expect(isinstance(loss, Tensor) and loss.dim() == 0, f"returns no scalar {where}")
                expect(loss.requires_grad, f"the loss has no gradient {where}")
                (gradient,) = torch.autograd.grad(loss, logits)
                expect(loss.isfinite(), f"the loss is {loss.item()} {where}")
                expect(gradient.isfinite().all(), f"the gradient is not finite {where}")
    return f"{len(list(teachers(subject)))} teachers, 3 students, temperatures 0.5 to 4"


def tempers(subject: Plugged) -> str:
    """Compare losses at two temperatures, with a teacher of each kind."""
    firsts: dict[str, Target] = {}
    for _, teacher in teachers(subject):
        firsts.setdefault(str(teacher.kind), teacher)
    heeds = []
    for kind, teacher in firsts.items():
        made = [subject.make(temperature=one) for one in (1.0, 3.0)]
        one, other = (Phase(objective).loss(student(), teacher).item() for objective in made)
        heeds += [kind] * (one != other)
        says = made[0].tempers(kind)
        told = "changes nothing; say so in" if says else "matters, whatever is said by"
        expect(says == (one != other), f"with {kind} the temperature {told} tempers()")
    return f"with {' and '.join(heeds) or 'no kind of teacher'}"


def teaches(subject: Plugged) -> str:
    """Follow the gradient from a student that knows nothing."""
    known = dict(teachers(subject))
    teacher = known.get("soft labels of temperature 1", main(subject))
    logits, phase = torch.zeros(ROWS, CLASSES, requires_grad=True), Phase(subject.make())
    phase.objective.progress(1.0)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    before = gap(logits, teacher)
    for _ in range(60):
        optimizer.zero_grad()
        phase.loss(logits, teacher).backward()
        optimizer.step()
    after = gap(logits, teacher)
    told = f"from {before / ROWS:.2g} to {after / ROWS:.2g} a sample (L1)"
    expect(after < before, f"60 steps lead away from the teacher: {told}")
    return told


def pure(subject: Plugged) -> str:
    """Ask twice, and look at student and teacher afterwards."""
    losses = []
    for seed in (1, 2):
        logits, teacher = student(), main(subject)
        phase = Phase(subject.make())
        with aside("a loss", seed), untouched("a loss", student=logits, teacher=teacher.values):
            losses.append(phase.loss(logits, teacher).detach())
    expect(same(*losses), "the same batch has two losses")
    return "neither student nor teacher changes"


def forgets(subject: Plugged) -> str:
    """Let one object serve a client, and then another."""
    teacher, phase = main(subject), Phase(subject.make())
    fresh = [phase.loss(student(k), teacher).item() for k in range(3)]
    phase.objective.progress(0.7)
    phase.loss(student(9), teacher)
    phase = Phase(copy.deepcopy(phase.objective))
    again = [phase.loss(student(k), teacher).item() for k in range(3)]
    expect(again == fresh, "remembers something of one client for the next; forget it in start()")
    return "each client begins anew"


def remembers(subject: Plugged) -> str:
    """Go through two phases, the second with what a checkpoint would have kept of the first."""
    if not subject.make().remembers:
        raise Skipped("not claimed")
    teacher, first = main(subject), Phase(subject.make())
    for k in range(3):
        first.objective.progress(k / 3)
        first.loss(student(k), teacher).backward()
    for name, value in first.memory.items():
        if not isinstance(value, Tensor) or value.requires_grad:
            raise Broken(f"memory[{name!r}] is no tensor without gradient")
        expect(value.isfinite().all(), f"memory[{name!r}] is not finite")
    kept = {name: to_tensor(array) for name, array in to_arrays(first.memory).items()}
    after = [Phase(copy.deepcopy(first.objective), dict(first.memory)), Phase(subject.make(), kept)]
    on, resumed = ([one.loss(student(k), teacher).item() for k in range(3)] for one in after)
    expect(on == resumed, "goes on otherwise from a checkpoint; keep all of it in the memory")
    return f"{', '.join(sorted(first.memory)) or 'nothing'}, in checkpoints"


def per_sample(subject: Plugged) -> str:
    """Compare the loss of a batch with those of its samples."""
    if not type(subject.make()).per_sample:
        raise Skipped("not claimed")
    teacher, logits, phase = main(subject), student(), Phase(subject.make())
    whole = phase.loss(logits, teacher)
    each = [
        phase.loss(logits[i : i + 1], teacher.part(teacher.values[i : i + 1]), torch.tensor([i]))
        for i in range(ROWS)
    ]
    off = (torch.stack(each).mean() - whole).abs().item()
    expect(off < 1e-4 * max(1.0, whole.abs().item()), f"a batch is off its samples by {off:.3g}")
    return f"up to {off:.1g}"


SUITE: tuple[Promise, ...] = (
    *MADE,
    Promise("declares", "declares what can be", declares, vital=True),
    Promise("finite", "has finite losses and gradients", finite),
    Promise("tempers", "heeds its temperature where it says so", tempers),
    Promise("teaches", "leads to the teacher", teaches),
    Promise("pure", "has no side effects, nor chance of its own", pure),
    Promise("forgets", "serves one client after the other", forgets),
    Promise("remembers", "keeps for a client what it says, in checkpoints", remembers),
    Promise("per_sample", "treats samples one by one if it says so", per_sample),
    *IN_RUNS,
)
"""The promises of an objective."""
