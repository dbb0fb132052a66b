"""What `fedkd check` holds a guard to."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..config.overrides import merge
from ..distillation import Target
from ..knowledge import CLASS_SCORES, kind_named
from ..plugins.table import Seam
from ..rng import torch_generator
from .common import IN_RUNS, MADE
from .plugged import CLASSES, Plugged, plugged
from .promises import Promise, aside, expect, same, untouched

__all__ = ["SUITE", "subject"]

ROWS = 12
EXTREME = 1e4
LABELS = torch.arange(ROWS) % CLASSES


def subject(
    seam: Seam, target: str, overrides: Sequence[str] = (), engines: bool = False
) -> Plugged:
    """Return a guard to check; where it needs labels, with runs in which it may see them."""
    found = plugged(seam, target, overrides, engines=engines, signs=("loss_distil", "guard_kept"))
    try:
        labelled = bool(found.make().needs_labels)
    except Exception:  # the first promise says what is wrong
        return found
    if labelled:
        found.config = merge(found.config, **{"transfer.labelled": True})
    return found


def pairs() -> Iterator[tuple[str, Target, Target]]:
    """Yield teachers with what a client predicts itself, as they come, and the extremes."""
    one, other = (torch.randn(ROWS, CLASSES, generator=torch_generator(k)) for k in (1, 2))
    sure = nn.functional.one_hot(LABELS, CLASSES).float()
    uniform = torch.full_like(sure, 1 / CLASSES)
    logits, soft = partial(Target, kind="logits"), partial(Target, temperature=2.0)
    yield "logits", logits(2 * one), logits(2 * other)
    yield "logits of +-1e4", logits(EXTREME * one.sign()), logits(EXTREME * other.sign())
    yield "soft labels", Target((2 * one).softmax(-1)), Target((2 * other).softmax(-1))
    yield "soft labels of temperature 2", soft(one.softmax(-1)), soft(other.softmax(-1))
    yield "a one-hot teacher", Target(sure), Target(other.softmax(-1))
    yield "a one-hot client", Target(one.softmax(-1)), Target(sure)
    yield "a uniform teacher", Target(uniform), Target(other.softmax(-1))
    yield "a teacher like the client", Target(one.softmax(-1)), Target(one.softmax(-1))


def asked(guard: Any, teacher: Target, own: Target) -> tuple[Tensor, Tensor]:
    """Return what a guard answers; it is given labels if it needs them."""
    found: tuple[Tensor, Tensor] = guard(teacher, own, LABELS if guard.needs_labels else None)
    return found


def answers(subject: Plugged) -> str:
    """Look at what it returns for every pair."""
    learnt = 0
    for name, teacher, own in pairs():
        values, mask = asked(subject.make(), teacher, own)
        where = f"for {name}"
        expect(values.shape == (ROWS, CLASSES), f"returns values {list(values.shape)} {where}")
        expect(values.dtype == torch.float32, f"returns values of {values.dtype} {where}")
        expect(not values.requires_grad, f"returns values with a gradient {where}")
        expect(values.isfinite().all(), f"returns values that are not finite {where}")
        wrong = kind_named(teacher.kind).check(values)
        expect(wrong is None, f"returns no {teacher.kind} {where}: {wrong}")
        expect(
            mask.shape == (ROWS,) and mask.dtype == torch.bool,
            f"returns a mask {list(mask.shape)} of {mask.dtype} {where}",
        )
        learnt += int(mask.sum())
    return f"{' and '.join(CLASS_SCORES)}: {learnt} of {ROWS * len(list(pairs()))} rows are learnt"


def pure(subject: Plugged) -> str:
    """Ask one object twice, about others in between, and look at what it was given."""
    guard, found = subject.make(), []
    (_, teacher, own), (_, *others), *_ = pairs()
    for seed in (1, 2):
        given = {"teacher": teacher.values, "own": own.values, "labels": LABELS}
        with aside("a guard", seed), untouched("a guard", **given):
            found.append(asked(guard, teacher, own))
        asked(guard, *others)
    alike = all(same(*parts) for parts in zip(*found, strict=True))
    expect(alike, "answers in two ways, or remembers what it was asked before")
    return "nothing that it is given changes"


SUITE: tuple[Promise, ...] = (
    *MADE,
    Promise("answers", "returns what can be learnt from, and which rows", answers),
    Promise("pure", "has no side effects, nor memory, nor chance of its own", pure),
    *IN_RUNS,
)
"""The promises of a guard."""
