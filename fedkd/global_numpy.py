"""The state of NumPy's global generator, saved and put back in microseconds.

``numpy.random.get_state`` and ``set_state`` copy 624 words one by one, 75 microseconds each, and
every message that a client answers needs both.
"""

import ctypes
from typing import Any

import numpy as np

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


def state() -> State:
    """Return the state.

    Examples
    --------
    >>> before = state()
    >>> first = np.random.normal(size=3)
    >>> put_back(before)
    >>> bool((np.random.normal(size=3) == first).all())
    True
    >>> put_back(before)
    """
    if (address := _address()) is None:
        return dict(np.random.get_state(legacy=False))
    size = 4 * (WORDS + 1)
    words = ctypes.string_at(address, size)
    number = np.random.standard_normal()  # normal numbers are made in pairs: is one left over?
    found = words, float(number) if ctypes.string_at(address, size) == words else None
    put_back(found)
    return found


def put_back(state: State) -> None:
    """Make the state what it was."""
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
