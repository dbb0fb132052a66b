"""Sizes in bytes, as people write them."""

import re

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d*)?)\s*([kmgt]?i?)b?", re.IGNORECASE)


def parse_size(text: str | float) -> int:
    """Return a size in bytes.

    Parameters
    ----------
    text : str or number
        Bytes, or a number with kB, MB, GB, TB (powers of 1000) or KiB, MiB, GiB, TiB (of 1024).

    Raises
    ------
    ValueError
        If it is none of these, or less than a byte.

    Examples
    --------
    >>> parse_size("4GB"), parse_size("1.5 MiB"), parse_size(1000)
    (4000000000, 1572864, 1000)
    >>> parse_size("much")
    Traceback (most recent call last):
        ...
    ValueError: not a size: much
    """
    plain = f"{text:.0f}" if isinstance(text, float) else str(text).strip()
    found = _SIZE.fullmatch(plain)
    factor = (_UNITS | _BINARY).get(found[2].lower()) if found else None
    size = int(float(found[1]) * factor) if found and factor else 0
    if size < 1:
        raise ValueError(f"not a size: {text}")
    return size
