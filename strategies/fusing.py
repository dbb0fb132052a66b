"""Running a method's pure functions: in blocks, on the pool, and checked."""

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import fusion
from ..engine import BlockPool
from ..engine.base import BLOCK
from ..errors import FedkdError, RunError
from ..knowledge import KnowledgeStack, Rejected, Teacher, check_values

if TYPE_CHECKING:
    from .base import FusionStrategy

ROUNDING = 1e-5
"""How far from 1 a row of soft labels may be by rounding alone."""


def fuse_in_blocks(
    strategy: "FusionStrategy", knowledge: KnowledgeStack, blocks: BlockPool
) -> tuple[Teacher, Tensor | None]:
    """Return the teacher, and the mixing weights of a method that has them.

    Raises
    ------
    RunError
        If the method returns something that is no teacher: says which strategy, which property and
        which values.
    """
    from .base import FusionStrategy

    weights = None
    parts = [knowledge.block(part) for part in _parts(len(knowledge.sample_ids))]
    try:
        if type(strategy).fuse is FusionStrategy.fuse:
            weights = _checked_weights(strategy, knowledge)
            fused = blocks.map(partial(fusion.mix, weights), [part.values for part in parts])
        elif strategy.per_sample:
            fused = blocks.map(strategy.fuse, parts)
        else:
            parts, fused = [knowledge], [strategy.fuse(knowledge)]
    except FedkdError:
        raise
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(f"strategy {type(strategy).__name__} raised {cause}") from error
    checked = [_teacher(strategy, *pair) for pair in zip(parts, fused, strict=True)]
    joined = torch.cat(checked, dim=-2).contiguous()
    return Teacher(knowledge.kind, joined, knowledge.clients), weights


def _parts(samples: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, samples)) for start in range(0, samples, BLOCK)]


def _checked_weights(strategy: "FusionStrategy", knowledge: KnowledgeStack) -> Tensor:
    weights, n = strategy.weights(knowledge), len(knowledge.clients)
    try:
        if not isinstance(weights, Tensor):
            raise Rejected(f"type: got {type(weights).__name__}, expected Tensor")
        weights = weights.detach().float()
        check_values("soft_labels", weights, (n, n))
    except Rejected as reason:
        raise RunError(f"strategy {type(strategy).__name__}: weights() {reason}") from None
    return weights


def _teacher(strategy: "FusionStrategy", part: KnowledgeStack, values: object) -> Tensor:
    """Return what `fuse` made of one block, if it is a teacher."""
    n, samples, classes = part.values.shape
    try:
        if not isinstance(values, Tensor):
            raise Rejected(f"type: got {type(values).__name__}, expected Tensor")
        values = values.detach()
        shape = (n, samples, classes) if values.dim() == 3 else (samples, classes)
        soft = part.kind == "soft_labels" and values.is_floating_point()
        if soft and values.shape == shape:
            values = _normalised(values)
        check_values(part.kind, values, shape)
    except Rejected as reason:
        raise RunError(f"strategy {type(strategy).__name__}: fuse() {reason}") from None
    return values


def _normalised(values: Tensor) -> Tensor:
    """Scale non-negative rows to sum 1 where they do not, as after a median.

    What is negative, not finite or all zero is left as it is, for the checks to refuse. So are rows
    that are off by no more than rounding: a mean of soft labels passes unchanged.
    """
    sums = values.sum(dim=-1, keepdim=True)
    usable = (values >= 0).all(dim=-1, keepdim=True) & (sums > 0) & torch.isfinite(sums)
    return torch.where(usable & ((sums - 1).abs() > ROUNDING), values / sums, values)
