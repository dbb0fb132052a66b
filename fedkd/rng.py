"""Random streams: one seed per run, one independent stream per (client, round, phase).

Nothing in fedkd draws from a global generator. Code that cannot be told where its randomness
comes from (a model's initialisation, dropout, a user's training loop) runs inside `scoped`, which
lends it seeded global generators and puts the previous ones back.
"""

import pickle
import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from . import global_numpy

_memory: Any = torch.utils.deterministic

SERVER = 2**32 - 1
"""The ``client`` of streams that belong to the server."""


def stream(seed: int, client: int, round_: int, phase: str) -> int:
    """Return the 63-bit seed of one stream.

    Parameters
    ----------
    seed : int
        The run's seed, at least 0.
    client : int
        Client index, or `SERVER`.
    round_ : int
        Round number; 0 is before the first round.
    phase : str
        What the numbers are for, such as ``"fit"``.

    Examples
    --------
    >>> stream(0, 3, 1, "fit") == stream(0, 3, 1, "fit")
    True
    >>> len({stream(0, c, r, p) for c in range(9) for r in range(9) for p in ("fit", "distil")})
    162
    """
    key = (client, round_, zlib.crc32(phase.encode()))
    state = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def torch_generator(seed: int) -> torch.Generator:
    """Return a CPU generator started from `seed`."""
    return torch.Generator().manual_seed(seed)


@dataclass(frozen=True, eq=False)
class Globals:
    """The state of the global generators of random, numpy and torch, and torch's strictness."""

    python: Any
    numpy: Any
    cpu: torch.Tensor
    cuda: list[torch.Tensor]
    strictness: int
    filling: bool
    """whether torch fills memory that nobody has written to"""

    @classmethod
    def now(cls) -> "Globals":
        """Return what they are."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        strictness = torch.get_deterministic_debug_mode()
        return cls(
            random.getstate(),
            global_numpy.state(),
            torch.get_rng_state(),
            cuda,
            strictness,
            _memory.fill_uninitialized_memory,
        )

    def same(self, other: "Globals") -> bool:
        """Tell whether nothing was drawn in between."""
        return self._bytes() == other._bytes()

    def _bytes(self) -> bytes:
        tensors = [t.numpy() for t in (self.cpu, *self.cuda)]
        return pickle.dumps((self.python, self.numpy, tensors))

    def put_back(self) -> None:
        """Make them what they were."""
        torch.set_deterministic_debug_mode(self.strictness)
        _memory.fill_uninitialized_memory = self.filling
        random.setstate(self.python)
        global_numpy.put_back(self.numpy)
        torch.set_rng_state(self.cpu)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)


@contextmanager
def scoped(seed: int) -> Iterator[None]:
    """Seed the global generators of random, numpy and torch, and restore them afterwards.

    Inside, torch uses its deterministic algorithms, and warns where it has none (on a GPU only).
    """
    before = Globals.now()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    # Not torch.manual_seed: before CUDA is up, it formats a stack trace on every call.
    torch.default_generator.manual_seed(seed)
    if before.cuda:
        torch.cuda.manual_seed_all(seed)
    torch.set_deterministic_debug_mode("warn")
    _memory.fill_uninitialized_memory = False  # half the cost of a copy
    try:
        yield
    finally:
        before.put_back()
