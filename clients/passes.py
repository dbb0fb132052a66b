"""How a model's test logits are computed soonest, where their last bits do not matter.

Convolutions on a CPU are quicker on few samples at a time, channels last. Whether a model can be
given its samples so, and whether its answer is then the same, is tried out once per architecture,
with made-up weights: every process comes to the same answer.
"""

import copy
from collections.abc import Hashable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..ending import contained
from ..rng import Globals, scoped
from ..tasks.rows import rows_of
from .architectures import architecture

PREDICT_BATCH = 512
"""Samples per forward pass in prediction: a constant, as the batch may decide the last bit."""

TRIED = 7
"""Samples that an architecture is tried out on; the last of them alone."""

MOST = 100
"""Architectures that are remembered: those that hold what they saw last look new each time."""


class Pass(NamedTuple):
    """How samples go through a model."""

    size: int
    """at a time"""
    layout: torch.memory_format

    def logits(self, model: nn.Module, x: Tensor) -> Tensor:
        """Return the logits of all samples, ``[rows, classes]``."""
        parts = (part.to(memory_format=self.layout) for part in x.split(self.size))
        return torch.cat([rows_of(model(part)) for part in parts])


EXACT = Pass(PREDICT_BATCH, torch.preserve_format)
"""As what is uploaded is computed, on every engine."""

CONVOLVED = Pass(64, torch.channels_last)


class Passes:
    """Knows the quickest pass of each architecture.

    Attributes
    ----------
    known : dict
        The passes of those that have been tried out.

    Examples
    --------
    >>> x, net = torch.ones(2, 3, 8, 8), nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten())
    >>> passes = Passes()
    >>> passes.quickest(net, x).size, passes.quickest(nn.Flatten(), x).size
    (64, 512)
    """

    def __init__(self) -> None:
        self.known: dict[Hashable, Pass] = {}

    def quickest(self, model: nn.Module, x: Tensor) -> Pass:
        """Return how samples ``[n, *shape]`` are best put through a model in evaluation mode."""
        if x.ndim != 4 or x.device.type != "cpu" or not _is_plain(model):
            return EXACT
        try:
            with contained():
                key = architecture(model), x.shape[1:], x.dtype
                if key not in self.known:
                    self.known = dict(list(self.known.items())[-MOST:])
                    self.known[key] = CONVOLVED if _agrees(model, x) else EXACT
                return self.known[key]
        except Exception:  # cannot be compared, copied or run so: the exact pass has the last word
            return EXACT


def _is_plain(model: nn.Module) -> bool:
    """Say whether a model has convolutions, and nothing of somebody else's that runs in it."""
    modules = list(model.modules())
    hooked = any("hooks" in name and found for one in modules for name, found in vars(one).items())
    return not hooked and any(isinstance(module, nn.Conv2d) for module in modules)


@torch.no_grad()
def _agrees(model: nn.Module, x: Tensor) -> bool:
    """Say whether a copy of a model gives made-up samples like these the same logits either way.

    It does not where it draws at random or keeps what it has seen, nor where samples depend on each
    other or on how they lie in memory.
    """
    with scoped(0):
        made = copy.deepcopy(model)
        for tensor in (*made.parameters(), *made.buffers()):
            _make_up(tensor)
        samples = torch.rand(TRIED, *x.shape[1:], dtype=x.dtype)
        state, drawn = copy.deepcopy(made.state_dict()), Globals.now()
        whole = EXACT.logits(made, samples)
        parts = CONVOLVED._replace(size=TRIED // 2).logits(made, samples)
        same = Globals.now().same(drawn)
    kept = all(torch.equal(value, state[name]) for name, value in made.state_dict().items())
    return same and kept and torch.allclose(whole, parts, rtol=1e-3, atol=1e-4)


def _make_up(tensor: Tensor) -> None:
    """Fill a parameter or buffer so that signals neither vanish nor explode; variances are > 0."""
    if tensor.is_floating_point() and tensor.ndim > 1:
        tensor.normal_(std=(len(tensor) / tensor.numel()) ** 0.5)
    elif tensor.is_floating_point():
        tensor.uniform_(0.5, 1.5)
