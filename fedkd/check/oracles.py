"""What `fedkd check` holds an oracle to."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..clients.oracles import UNANSWERED
from ..plugins.table import Seam
from ..rng import torch_generator
from .common import IN_RUNS, MADE
from .plugged import ACTIVE, CLASSES, Plugged, plugged
from .promises import Promise, aside, expect, untouched

__all__ = ["SUITE", "subject"]


def subject(seam: Seam, target: str, overrides: Sequence[str] = (), **options: Any) -> Plugged:
    """Return an oracle that is to be checked, in runs of active learning."""
    return plugged(seam, target, overrides, ACTIVE, **options)


def answers(subject: Plugged) -> str:
    """Ask for nothing, for one label and for many."""
    told = ""
    for queries in (0, 1, 50):
        ids, truth = torch.arange(queries).flip(0), torch.arange(queries) * 7 % CLASSES
        labels, answered = subject.make().label(ids, truth, torch_generator(0))
        about = f"{queries} questions:"
        expect(labels.shape == answered.shape == ids.shape, f"{about} not [queries] each")
        expect(labels.dtype == torch.int64, f"{about} labels are {labels.dtype}, not int64")
        expect(answered.dtype == torch.bool, f"{about} answered is {answered.dtype}, not bool")
        silent = labels[~answered]
        expect((silent == UNANSWERED).all(), f"{about} labels without an answer are not -1")
        real = labels[answered]
        inside = ((real >= 0) & (real < CLASSES)).all()
        expect(inside, f"{about} answers are not among {CLASSES} classes")
        right = int((real == truth[answered]).sum())
        told = f"{len(real)} of {queries} answered, {right} rightly"
    return told


def pure(subject: Plugged) -> str:
    """Ask twice, with other global random numbers, and an oracle that has been asked before."""
    ids, truth, used = torch.arange(50), torch.arange(50) % CLASSES, subject.make()
    found: list[tuple[Tensor, Tensor]] = []
    for oracle in (used, subject.make(), used):
        with aside("label()", len(found)), untouched("label()", ids=ids, true_labels=truth):
            found.append(oracle.label(ids, truth, torch_generator(3)))
    same = all(torch.equal(a, b) for each in found[1:] for a, b in zip(each, found[0], strict=True))
    expect(same, "the same questions have two answers")
    return "the same answers each time"


SUITE: tuple[Promise, ...] = (
    *MADE,
    Promise("answers", "answers with classes, or not at all", answers),
    Promise("pure", "answers alike whenever it is asked", pure),
    *IN_RUNS,
)
"""The promises of an oracle."""
