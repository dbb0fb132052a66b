"""Records with some of their arrays encoded by a codec.

An encoded array ``values`` travels as arrays ``values:codes``, ``values:shape`` and so on, if those
are smaller, headers included. Sample ids lose nothing: as ``sample_ids:narrow`` they have two bytes
each where those suffice. All other arrays stay as they are that are not float32, that count things,
and that the codec cannot represent, NaN above all, which admission then refuses.
"""

from math import prod

import numpy as np
import torch
from flwr.app import Array, ArrayRecord
from torch import Tensor

from ..knowledge import kind_named, to_tensor
from . import Codec, Undecodable
from .base import part

MARK = ":"
"""Between the name of an array and that of one of its parts."""

IDS, NARROW = "sample_ids", "narrow"
"""An array of whole numbers below 2^16 as a rule, and what it is called then."""

MEANT = ("values", "scores")
"""Arrays that are encoded even if they happen to be whole numbers, such as one-hot soft labels."""


def encoded(codec: Codec, record: ArrayRecord, kind: str) -> ArrayRecord:
    """Return a record with what is worth it encoded.

    Parameters
    ----------
    codec : Codec
        Makes numbers smaller.
    record : ArrayRecord
        Is not changed.
    kind : str
        Kind of the knowledge in it; one that the codec is not for stays as it is.
    """
    if codec.kinds is not None and kind not in codec.kinds:
        return record
    made: dict[str, Array] = {}
    for name, array in record.items():
        whole = ArrayRecord({name: array})
        parts = _parts(codec, name, array).items()
        small = ArrayRecord({f"{name}{MARK}{k}": Array(np.ascontiguousarray(v)) for k, v in parts})
        made |= small if parts and small.count_bytes() < whole.count_bytes() else whole
    return ArrayRecord(made)


def decoded(codec: Codec, record: ArrayRecord, kind: str, limit: int = 2**62) -> ArrayRecord:
    """Return a record with all that was encoded as float32 again, in the order it was in.

    Soft labels are put back on the simplex, from where a codec with few bits moves them: rows
    without a negative number are divided by their sum.

    Parameters
    ----------
    codec, kind
        See `encoded`.
    record : ArrayRecord
        Perhaps from somebody hostile.
    limit : int
        Bytes that the decoded arrays may have.

    Raises
    ------
    Undecodable
        If something in it cannot be decoded.
    """
    groups: dict[str, dict[str, Array]] = {}
    made: dict[str, Array | None] = {}
    for name, array in record.items():
        whole, mark, end = name.rpartition(MARK)
        made[whole if mark else name] = None if mark else array
        if mark:
            groups.setdefault(whole, {})[end] = array
    for name, parts in groups.items():
        if name == IDS:
            made[name] = _widened(parts)
            continue
        values = _decode(codec, name, parts, limit // 4)
        limit -= 4 * values.numel()
        if name == "values":
            values = kind_named(kind).repaired(values)
        made[name] = Array(values.numpy())
    return ArrayRecord({name: array for name, array in made.items() if array is not None})


def nbytes(codec: Codec, kind: str, shape: tuple[int, ...]) -> int:
    """Return the bytes of knowledge of this kind and shape when it is encoded, without headers.

    Examples
    --------
    >>> from .float16 import Float16
    >>> nbytes(Float16(), "logits", (200, 10))
    4000
    """
    like = Array(kind_named(kind).blank(shape).numpy())
    record = encoded(codec, ArrayRecord({"values": like}), kind)
    return sum(array.numpy().nbytes for array in record.values())


def _parts(codec: Codec, name: str, array: Array) -> dict[str, np.ndarray]:
    """Return what an array is encoded as; nothing, if it stays as it is."""
    if not prod(array.shape):
        return {}
    if name == IDS:
        ids = array.numpy()
        return {NARROW: ids.astype(np.uint16)} if 0 <= ids.min() <= ids.max() < 2**16 else {}
    if array.dtype != "float32" or (codec.kinds is not None and name != "values"):
        return {}
    values = to_tensor(array)
    counts = name not in MEANT and torch.equal(values, values.round())
    return {} if counts or not codec.fits(values) else codec.encode(values)


def _widened(parts: dict[str, Array]) -> Array:
    """Return narrow sample ids as what they were."""
    try:
        ids = part({name: array.numpy() for name, array in parts.items()}, NARROW, np.uint16)
    except Exception as error:
        raise Undecodable(f"{IDS}: {type(error).__name__}") from error
    return Array(ids.astype(np.int32))


def _decode(codec: Codec, name: str, parts: dict[str, Array], limit: int) -> Tensor:
    try:
        values = codec.decode({end: array.numpy() for end, array in parts.items()}, limit)
        return values.clone(memory_format=torch.contiguous_format)  # see `to_tensor`
    except Undecodable as reason:
        raise Undecodable(f"{name}: {reason}") from None
    except Exception as error:  # whatever hostile parts make numpy raise
        raise Undecodable(f"{name}: {type(error).__name__}") from error
