"""What `fedkd check` holds a task to."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..plugins.table import Seam
from ..rng import torch_generator
from ..tasks import Task, Tested
from ..tasks.samples import Tokens, made_up
from ..tasks.targets import Targets
from .common import IN_RUNS, MADE
from .plugged import Plugged, plugged
from .promises import Promise, aside, expect, same, untouched

__all__ = ["SUITE", "subject"]

ROWS = 24
GROUPS = 3
TEXTS = [f"the {k} of {k * k} is less than that of {k % 7}, or so it is told" for k in range(99)]
"""What next tokens are predicted in."""


def subject(seam: Seam, target: str, overrides: Sequence[str] = (), **options: Any) -> Plugged:
    """Return a task that is to be checked, in runs of FedMD."""
    settings: dict[str, Any] = {"strategy": {"name": "fedmd"}}
    if any(text.startswith("strategy") for text in overrides):
        settings = {}
    if seam.resolve(target).targets == "tokens":
        settings |= {"data.length": 8, "data.vocabulary": 300, "transfer.size": 20}
        options["data"] = TEXTS, None
    return plugged(seam, target, overrides, settings, **options)


def about(task: Task) -> Targets:
    """Return labels that a task may have."""
    if task.needs_classes:
        return Targets(list("abc"), [], [])
    if task.targets == "tokens":
        return Targets(["next token"], [], [], tokens=(6, 11))
    return Targets(["a", "b"], [5.0, -1.0], [2.0, 0.5])


def batch(task: Task) -> tuple[Tensor, Tensor, Tensor]:
    """Return outputs, with gradient, labels, and the group of each sample."""
    generator, labels = torch_generator(1), about(task)
    groups = torch.arange(ROWS) % GROUPS
    noise = torch.randn(ROWS, labels.size, generator=generator)
    outputs = torch.randn(ROWS, *task.outputs(labels), generator=generator).requires_grad_()
    if labels.tokens:
        ids = made_up(Tokens(*labels.tokens), ROWS, generator)
        ids[:, 0] = ids[:, 0].clamp(min=1)  # every window has a token
        return outputs, ids, groups
    return outputs, groups if task.needs_classes else noise, groups


def condensed(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return what a task keeps of outputs, which is the same however many come together."""
    outputs = outputs.detach()
    with aside("condensed()"), untouched("condensed()", outputs=outputs, targets=targets):
        whole = task.condensed(outputs, targets)
    parts = zip(outputs.split(5), targets.split(5), strict=True)
    one_by_one = torch.cat([task.condensed(*part) for part in parts])
    near = whole.shape == one_by_one.shape and torch.allclose(whole, one_by_one)
    expect(near, "condensed() of some samples is not what it is of all")
    return whole


def shapes(subject: Plugged) -> str:
    """Look at what models are to return, and at what is said of other outputs."""
    task: Task = subject.make()
    labels = about(task)
    shape = task.outputs(labels)
    whole = bool(shape) and all(isinstance(size, int) and size > 0 for size in shape)
    expect(whole, f"outputs() is {shape}, no shape")
    outputs = batch(task)[0].detach()
    reason = task.check_outputs(outputs, ROWS, labels)
    expect(reason is None, f"check_outputs() refuses {list(outputs.shape)}: {reason}")
    for wrong in (outputs[:-1], outputs[..., :-1], torch.full_like(outputs, math.nan)):
        taken = task.check_outputs(wrong, ROWS, labels) is None
        seen = f"{list(wrong.shape)}, {wrong.flatten()[:1].tolist()}"
        expect(not taken, f"check_outputs() takes {seen}")
    return f"a prediction has shape {list(shape)}"


def learns(subject: Plugged) -> str:
    """Take the loss of a batch and its gradient; follow it."""
    task: Task = subject.make()
    outputs, targets, _ = batch(task)
    with aside("loss()"), untouched("loss()", outputs=outputs, targets=targets):
        loss = task.loss(outputs, targets)
    expect(isinstance(loss, Tensor) and loss.dim() == 0, "loss() returns no scalar")
    (gradient,) = torch.autograd.grad(loss, outputs)
    finite = bool(loss.isfinite() and gradient.isfinite().all())
    problem = f"the loss is {loss.item():.3g}, its gradient 0 or not finite"
    expect(finite and gradient.any(), problem)
    better = task.loss(outputs - 0.01 * gradient, targets)
    expect(better < loss, f"a step along the gradient leads from {loss:.3g} to {better:.3g}")
    return f"loss {loss.item():.3g}"


def mean(subject: Plugged) -> str:
    """Compare the loss of a batch with those of its samples, and with that of another order."""
    task: Task = subject.make()
    outputs, targets, _ = batch(task)
    whole = task.loss(outputs, targets).item()
    rows = range(ROWS)
    each = [task.loss(outputs[k : k + 1], targets[k : k + 1]).item() for k in rows]
    off = abs(sum(each) / ROWS - whole)
    expect(
        off < 1e-4 * max(1.0, abs(whole)), f"the loss of a batch is off its samples by {off:.3g}"
    )
    return f"up to {off:.1g}"


def measures(subject: Plugged) -> str:
    """Measure twice, other orders, and a sample twice in place of with twice the weight."""
    task: Task = subject.make()
    outputs, targets, _ = batch(task)
    labels, ones = about(task), torch.ones(ROWS, dtype=torch.float64)
    outputs = condensed(task, outputs, targets)
    with aside("metrics()"), untouched("metrics()", outputs=outputs, targets=targets):
        found = task.metrics(outputs, targets, ones, labels)
    expect(task.score.metric in found, f"metrics() lacks the headline {task.score.metric}")
    for name, value in found.items():
        low, high = task.span(name)
        expect(low <= value <= high, f"{name} is {value}, not from {low:g} to {high:g}")
    order = torch.arange(ROWS).roll(5).flip(0)
    _alike(task.metrics(outputs[order], targets[order], ones, labels), found, "in another order")
    twice = torch.cat([torch.arange(ROWS), torch.arange(3)])
    weights = ones.clone()
    weights[:3] = 2
    heavy = task.metrics(outputs, targets, weights, labels)
    double = task.metrics(outputs[twice], targets[twice], torch.ones(ROWS + 3).double(), labels)
    _alike(double, heavy, "of samples that are there twice, not weighing twice,")
    return ", ".join(f"{name} {value:.3g}" for name, value in found.items())


def _alike(found: dict[str, float], wanted: dict[str, float], what: str) -> None:
    for name, value in wanted.items():
        close = math.isclose(found[name], value, rel_tol=1e-4, abs_tol=1e-6)
        expect(close, f"{name} {what} is {found[name]:.6g}, not {value:.6g}")


def scores(subject: Plugged) -> str:
    """Score clients with some of the groups, on the whole test split and on a part of it."""
    task: Task = subject.make()
    outputs, targets, groups = batch(task)
    kept = task.condensed(outputs.detach(), targets)
    wanted = {"local", "global", "validation", *task.measures}
    for whole in (torch.bincount(groups).double(), 2 * torch.bincount(groups).double()):
        tested = Tested(targets, groups, whole)
        score = task.examined(kept, tested, about(task))
        for held in ([1.0, 2.0, 3.0], [0.0, 0.0, 4.0]):
            found = score(torch.tensor(held, dtype=torch.float64))
            more = found.keys() - wanted - {"local_se", "global_se"}
            expect({"local", "global"} <= found.keys(), "a client has no local and global score")
            expect(not more, f"a client has {', '.join(sorted(more))}, which measures() lacks")
        again = task.examined(kept, tested, about(task))(torch.tensor(held).double())
        values = [torch.tensor([one[name] for name in sorted(one)]) for one in (found, again)]
        expect(same(*values), "the same client has two scores")
    return f"{task.score.metric}, {'more' if task.score.more else 'less'} is better"


SUITE: tuple[Promise, ...] = (
    *MADE,
    Promise("shapes", "says what models return", shapes, vital=True),
    Promise("learns", "has a loss that can be followed", learns),
    Promise("mean", "has a loss that is a mean over samples", mean),
    Promise("measures", "has metrics that do not depend on the order of samples", measures),
    Promise("scores", "scores clients by what they hold", scores),
    *IN_RUNS,
)
"""The promises of a task."""
