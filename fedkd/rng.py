"""Random streams: one seed per run, one independent stream per (client, round, phase).

Nothing in fedkd draws from a global generator. Code that cannot be told where its randomness
comes from (a model's initialisation, dropout, a user's training loop) runs inside `scoped`, which
lends it seeded global generators and puts the previous ones back.
"""

import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

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


@contextmanager
def scoped(seed: int) -> Iterator[None]:
    """Seed the global generators of random, numpy and torch, and restore them afterwards.

    Inside, torch uses its deterministic algorithms, and warns where it has none (on a GPU only).
    """
    mode = torch.get_deterministic_debug_mode()
    memory: Any = torch.utils.deterministic
    filling = memory.fill_uninitialized_memory
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    random.seed(seed)
    np.random.seed(seed % 2**32)
    # Not torch.manual_seed: before CUDA is up, it formats a stack trace on every call.
    torch.default_generator.manual_seed(seed)
    if cuda:
        torch.cuda.manual_seed_all(seed)
    torch.set_deterministic_debug_mode("warn")
    memory.fill_uninitialized_memory = False  # half the cost of a copy
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(mode)
        memory.fill_uninitialized_memory = filling
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
