"""Knowledge as clients might upload it, of any kind, drawn from a seed."""

from dataclasses import replace

import torch
from torch import Tensor

from ...knowledge import Knowledge, KnowledgeStack, kind_named
from ...knowledge.admission import Expected
from ...rng import torch_generator


def drawn(expected: Expected, client: int, seed: int) -> Knowledge:
    """Return what a client might upload; the seed alone decides the numbers.

    Examples
    --------
    >>> made = drawn(Expected(0, 1, "soft_labels", torch.arange(3), (3, 4)), client=5, seed=0)
    >>> made.client, made.values.shape, made.mask
    (5, torch.Size([3, 4]), None)
    """
    generator = torch_generator(seed)
    values = kind_named(expected.kind).drawn(torch.randn(*expected.shape, generator=generator))
    mask, rows = None, expected.shape[0]
    if expected.masked:
        mask = torch.rand(rows, generator=generator) < 0.7
        mask[seed % max(rows, 1) :][:1] = True  # nobody has nothing
        values = values * _beside(mask, values.dim())
    scores = torch.rand(len(expected.sample_ids), generator=generator) if expected.scored else None
    extras = {}
    for name, shape in expected.extras.items():
        extras[name] = torch.randint(1, 21, shape, generator=generator).float()
        if mask is not None and shape[:1] == (rows,):  # nothing of a class that it lacks
            extras[name] = extras[name] * _beside(mask, len(shape))
    ids = expected.sample_ids
    return Knowledge(client, expected.kind, values, ids, mask, scores, extras)


def permuted(knowledge: KnowledgeStack, order: Tensor) -> KnowledgeStack:
    """Return a stack whose row i has what row ``order[i]`` had; the clients' ids stay in place."""
    return replace(
        knowledge,
        values=knowledge.values[order],
        mask=None if knowledge.mask is None else knowledge.mask[order],
        scores=None if knowledge.scores is None else knowledge.scores[order],
        extras={name: values[order] for name, values in knowledge.extras.items()},
    )


def tensors(knowledge: KnowledgeStack) -> dict[str, Tensor]:
    """Return all tensors of a stack, by name."""
    named = {name: getattr(knowledge, name) for name in ("values", "mask", "scores", "labels")}
    found = {name: value for name, value in named.items() if value is not None}
    return found | {"sample_ids": knowledge.sample_ids} | dict(knowledge.extras)


def _beside(mask: Tensor, dims: int) -> Tensor:
    """Return a mask of rows in a shape that multiplies values of so many dimensions."""
    return mask.view(-1, *[1] * (dims - 1))
