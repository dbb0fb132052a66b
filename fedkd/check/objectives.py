"""What `fedkd check` holds a distillation objective to."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from ..clients.recalling import travelling
from ..config.overrides import merge
from ..distillation import Target
from ..knowledge import CLASS_SCORES, to_arrays, to_tensor
from ..plugins.table import Seam
from ..run.declared import undeclarable
from .common import IN_RUNS, MADE
from .effects import effective
from .phases import ROWS, TEMPERATURES, Phase, firsts, student, students, teachers
from .plugged import CLASSES, Plugged, plugged
from .promises import Broken, Promise, Skipped, aside, expect, same, untouched

__all__ = ["SUITE", "subject"]


def subject(
    seam: Seam, target: str, overrides: Sequence[str] = (), engines: bool = False
) -> Plugged:
    """Return an objective to check; where it needs labels, with runs in which it may see them."""
    found = plugged(seam, target, overrides, engines=engines, signs=("loss_distil",))
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


def main(subject: Plugged) -> Target:
    """Return the first of them."""
    return next(teacher for _, teacher in teachers(subject))


def gap(logits: Tensor, teacher: Target) -> float:
    """Return how far a student is from a teacher."""
    if teacher.kind in CLASS_SCORES:
        return (logits.softmax(dim=-1) - teacher.values).abs().sum().item()
    student, wanted = teacher.paired(logits, 1.0)
    return (student - wanted).abs().sum().item()


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
    heeds = []
    for kind, teacher in firsts(subject).items():
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
        try:
            travelling(first.objective, name, value)  # as a run does
        except TypeError as error:
            raise Broken(str(error)) from None
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
    Promise("effective", "has no parameter without effect", effective),
    Promise("teaches", "leads to the teacher", teaches),
    Promise("pure", "has no side effects, nor chance of its own", pure),
    Promise("forgets", "serves one client after the other", forgets),
    Promise("remembers", "keeps for a client what it says, in checkpoints", remembers),
    Promise("per_sample", "treats samples one by one if it says so", per_sample),
    *IN_RUNS,
)
"""The promises of an objective."""
