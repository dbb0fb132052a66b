"""What `fedkd check` holds a distillation objective to."""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..distillation import Batch, Objective, Target
from ..knowledge import CLASS_SCORES, kind_named
from ..rng import torch_generator
from .common import IN_RUNS, MADE
from .plugged import CLASSES, Plugged
from .plugged import plugged as subject
from .promises import Promise, Skipped, aside, expect, same, untouched

__all__ = ["SUITE", "subject"]

ROWS = 12
TEMPERATURES = (0.5, 1.0, 4.0)


def teachers(subject: Plugged) -> Iterator[tuple[str, Target]]:
    """Yield teachers as they come, and the extremes, of kinds that it learns from."""
    noise = torch.randn(ROWS, CLASSES, generator=torch_generator(1))
    kinds = subject.make().kinds
    if kinds is not None and not set(kinds) & set(CLASS_SCORES):
        for kind in kinds:
            for size in (1.0, 0.1, 5.0):
                yield f"{kind} {size:g}", Target(kind_named(kind).drawn(size * noise), kind)
        return
    sure = nn.functional.one_hot(torch.arange(ROWS) % CLASSES, CLASSES).float()
    yield "logits", Target(2 * noise, "logits")
    yield "large logits", Target(50 * noise, "logits")
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


def begun(objective: Objective) -> Objective:
    """Return an objective at the beginning of a phase."""
    objective.start(nn.Linear(2, CLASSES))
    objective.progress(0.0)
    return objective


def loss_of(objective: Objective, student: Tensor, teacher: Target) -> Tensor:
    """Return the loss of a batch."""
    rows = torch.arange(len(student))
    return objective(student, teacher, Batch(torch.zeros(len(student), 2), rows))


def student(seed: int = 0) -> Tensor:
    """Return logits of a student, with gradient."""
    return torch.randn(ROWS, CLASSES, generator=torch_generator(seed)).requires_grad_()


def finite(subject: Plugged) -> str:
    """Compare a student with every teacher, at every temperature."""
    for temperature in TEMPERATURES:
        for name, teacher in teachers(subject):
            logits = student()
            loss = loss_of(begun(subject.make(temperature=temperature)), logits, teacher)
            where = f"with {name} and temperature={temperature:g}"
            expect(isinstance(loss, Tensor) and loss.dim() == 0, f"returns no scalar {where}")
            (gradient,) = torch.autograd.grad(loss, logits)
            expect(loss.isfinite(), f"the loss is {loss.item()} {where}")
            expect(gradient.isfinite().all(), f"the gradient is not finite {where}")
    return f"{len(list(teachers(subject)))} teachers, temperatures 0.5 to 4"


def teaches(subject: Plugged) -> str:
    """Follow the gradient from a student that knows nothing."""
    known = dict(teachers(subject))
    teacher = known.get("soft labels of temperature 1", main(subject))
    logits, objective = torch.zeros(ROWS, CLASSES, requires_grad=True), begun(subject.make())
    objective.progress(1.0)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    before = gap(logits, teacher)
    for _ in range(60):
        optimizer.zero_grad()
        loss_of(objective, logits, teacher).backward()
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
        objective = begun(subject.make())
        with aside("a loss", seed), untouched("a loss", student=logits, teacher=teacher.values):
            losses.append(loss_of(objective, logits, teacher).detach())
    expect(same(*losses), "the same batch has two losses")
    return "neither student nor teacher changes"


def forgets(subject: Plugged) -> str:
    """Let one object serve a client, and then another."""
    teacher, objective = main(subject), begun(subject.make())
    fresh = [loss_of(objective, student(k), teacher).item() for k in range(3)]
    objective.progress(0.7)
    loss_of(objective, student(9), teacher)
    objective = begun(copy.deepcopy(objective))
    again = [loss_of(objective, student(k), teacher).item() for k in range(3)]
    expect(again == fresh, "remembers something of one client for the next; forget it in start()")
    return "each phase begins anew"


def per_sample(subject: Plugged) -> str:
    """Compare the loss of a batch with those of its samples."""
    if not type(subject.make()).per_sample:
        raise Skipped("not claimed")
    teacher, logits, objective = main(subject), student(), begun(subject.make())
    whole = loss_of(objective, logits, teacher)
    each = [
        loss_of(objective, logits[i : i + 1], teacher.part(teacher.values[i : i + 1]))
        for i in range(ROWS)
    ]
    off = (torch.stack(each).mean() - whole).abs().item()
    expect(off < 1e-4 * max(1.0, whole.abs().item()), f"a batch is off its samples by {off:.3g}")
    return f"up to {off:.1g}"


SUITE: tuple[Promise, ...] = (
    *MADE,
    Promise("finite", "has finite losses and gradients", finite),
    Promise("teaches", "leads to the teacher", teaches),
    Promise("pure", "has no side effects, nor chance of its own", pure),
    Promise("forgets", "serves one client after the other", forgets),
    Promise("per_sample", "treats samples one by one if it says so", per_sample),
    *IN_RUNS,
)
"""The promises of an objective."""
