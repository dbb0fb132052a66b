"""Random streams: one seed per run, one independent stream per (client, round, phase).

Nothing in fedkd draws from a global generator. Code that cannot be told where its randomness
comes from (a model's initialisation, dropout, a user's training loop) runs inside `scoped`, which
lends it seeded global generators and puts the previous ones back.
"""

import ctypes
import pickle
import random
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

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


def share(seed: int, client: int, round_: int, phase: str) -> float:
    """Return a number in (0, 1) of a stream; see `stream`.

    Examples
    --------
    >>> 0 < share(0, 3, 1, "faults.crash") < 1
    True
    """
    # 52 of the stream's 63 bits: with the half, a float holds them exactly.
    return ((stream(seed, client, round_, phase) >> 11) + 0.5) / 2**52


def torch_generator(seed: int) -> torch.Generator:
    """Return a CPU generator started from `seed`."""
    return torch.Generator().manual_seed(seed)


WORDS = 624
"""A Mersenne twister is so many words, and its place among them."""

State = tuple[bytes, float | None] | dict[str, Any]
"""Words and place, and the normal number that is left over if one is; or what NumPy returns."""


def _address() -> int | None:
    """Return where the generator's words are; None if it is another one, which a user has set."""
    generator = np.random.get_bit_generator()  # type: ignore[attr-defined]
    if not isinstance(generator, np.random.MT19937):
        return None
    return int(generator.ctypes.state_address)


def numpy_state() -> State:
    """Return the state of NumPy's global generator.

    ``numpy.random.get_state`` copies it word by word, which takes 75 microseconds, and so does
    ``set_state``: every message that a client answers needs both.

    Examples
    --------
    >>> before = numpy_state()
    >>> first = np.random.normal(size=3)
    >>> put_numpy_back(before)
    >>> bool((np.random.normal(size=3) == first).all())
    True
    >>> put_numpy_back(before)
    """
    if (address := _address()) is None:
        return dict(np.random.get_state(legacy=False))
    size = 4 * (WORDS + 1)
    words = ctypes.string_at(address, size)
    number = np.random.standard_normal()  # normal numbers are made in pairs: is one left over?
    found = words, float(number) if ctypes.string_at(address, size) == words else None
    put_numpy_back(found)
    return found


def put_numpy_back(state: State) -> None:
    """Make the state of NumPy's global generator what it was."""
    if isinstance(state, dict):
        np.random.set_state(state)
        return
    words, left = state
    address = _address()
    if address is None or left is not None:
        numbers = np.frombuffer(words, np.uint32)
        place = int(numbers[WORDS])
        np.random.set_state(("MT19937", numbers[:WORDS], place, int(left is not None), left or 0.0))
        return
    np.random.seed(0)  # drops a number that is left over
    ctypes.memmove(address, words, len(words))


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
            numpy_state(),
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
        put_numpy_back(self.numpy)
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
