"""Running a method's pure functions: in blocks, on the pool, and checked."""

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import fusion
from ..admission import Rejected, check_values
from ..engine import BlockPool
from ..engine.base import BLOCK
from ..errors import FedkdError, RunError
from ..knowledge import ON_SAMPLES, KnowledgeStack, Teacher

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
    sharded = strategy.per_sample or type(strategy).fuse is FusionStrategy.fuse
    sharded &= knowledge.kind in ON_SAMPLES
    ids = knowledge.sample_ids
    parts = [knowledge.block(part) for part in _parts(len(ids))] if sharded else [knowledge]
    try:
        if type(strategy).fuse is FusionStrategy.fuse:
            weights = _checked_weights(strategy, knowledge)
            fused = blocks.map(partial(fusion.mix, weights), [part.values for part in parts])
        elif sharded:
            fused = blocks.map(strategy.fuse, parts)
        else:
            fused = [strategy.fuse(knowledge)]
    except FedkdError:
        raise
    except Exception as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(f"strategy {type(strategy).__name__} raised {cause}") from error
    checked = [_teacher(strategy, *pair) for pair in zip(parts, fused, strict=True)]
    return _joined(knowledge, checked), weights


def _joined(knowledge: KnowledgeStack, parts: list[tuple[Tensor, Tensor | None]]) -> Teacher:
    """Put the blocks of a teacher together."""
    values = [value for value, _ in parts]
    masks = [mask for _, mask in parts if mask is not None]
    joined = torch.cat(values, dim=-2).contiguous() if len(values) > 1 else values[0].contiguous()
    mask = torch.cat(masks, dim=-1) if masks else None
    return Teacher(knowledge.kind, joined, knowledge.clients, mask)


def _parts(samples: int) -> list[slice]:
    """Return the blocks of so many samples; one empty block where a method asked for none."""
    starts = range(0, max(samples, 1), BLOCK)
    return [slice(start, min(start + BLOCK, samples)) for start in starts]


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


def _teacher(
    strategy: "FusionStrategy", part: KnowledgeStack, values: object
) -> tuple[Tensor, Tensor | None]:
    """Return what `fuse` made of one block, and its mask, if it is a teacher."""
    one = tuple(part.values.shape[1:])
    try:
        if not isinstance(values, Tensor):
            raise Rejected(f"type: got {type(values).__name__}, expected Tensor")
        values = values.detach()
        shape = (len(part.clients), *one) if values.dim() > len(one) else one
        if part.kind == "soft_labels" and values.is_floating_point() and values.shape == shape:
            values = _normalised(values)
        mask = strategy.covered(part, values)
        if mask is None:
            check_values(part.kind, values, shape)
        else:
            values = _within(values, mask, shape)
            check_values(part.kind, values[..., mask, :], (*shape[:-2], int(mask.sum()), shape[-1]))
    except Rejected as reason:
        raise RunError(f"strategy {type(strategy).__name__}: fuse() {reason}") from None
    return values, mask


def _within(values: Tensor, mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return values, 0 outside the mask, if their shapes are right."""
    if values.shape != shape:
        raise Rejected(f"shape: got {list(values.shape)}, expected {list(shape)}")
    if mask.dtype != torch.bool or mask.shape != shape[-2:-1]:
        raise Rejected(f"mask: covered() must be bool of shape {list(shape[-2:-1])}")
    return torch.where(mask.unsqueeze(-1), values, 0.0)


def _normalised(values: Tensor) -> Tensor:
    """Scale non-negative rows to sum 1 where they do not, as after a median.

    What is negative, not finite or all zero is left as it is, for the checks to refuse. So are rows
    that are off by no more than rounding: a mean of soft labels passes unchanged.
    """
    sums = values.sum(dim=-1, keepdim=True)
    usable = (values >= 0).all(dim=-1, keepdim=True) & (sums > 0) & torch.isfinite(sums)
    return torch.where(usable & ((sums - 1).abs() > ROUNDING), values / sums, values)
