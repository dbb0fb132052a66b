"""Arrays of messages: Flower's, without copies and headers that are parsed again and again.

`NpyArray` has the bytes that Flower's ``Array`` has. It differs in what they cost: it is made with
one copy, read with none (`values_of`), and pickled beside the pickle (protocol 5), so that Ray's
processes share one copy of what is sent.
"""

import pickle
from collections.abc import Mapping
from functools import lru_cache
from io import BytesIO
from math import prod
from typing import Any, cast

import numpy as np
import torch
from flwr.app import Array, ArrayRecord
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

NUMPY = "numpy.ndarray"
"""Flower's name for bytes in the ``.npy`` format."""

MAGIC = npy.magic(1, 0)
LONGEST = 4096
"""Longest header in bytes that is read here; numpy reads the others."""


class NpyArray(Array):
    """A Flower ``Array`` over any buffer.

    Parameters
    ----------
    dtype : str
        numpy's name of it.
    shape : tuple of int
        As it says; `numpy` looks into the bytes.
    stype : str
        ``"numpy.ndarray"``; others cannot be read.
    buffer : bytes or any buffer
        The serialised array.

    Examples
    --------
    >>> array = NpyArray.of(np.arange(3.0))
    >>> array.data == Array(np.arange(3.0)).data, array.numpy()
    (True, array([0., 1., 2.]))
    """

    def __init__(self, dtype: str, shape: tuple[int, ...], stype: str, buffer: Any) -> None:
        self.dtype, self.shape, self.stype, self.buffer = dtype, shape, stype, buffer

    @classmethod
    def of(cls, values: NDArray[Any]) -> "NpyArray":
        """Return an array with a copy of these values."""
        values = np.asarray(values, order="C")
        data = b"".join((_header(values.dtype, values.shape), values.data))
        return cls(str(values.dtype), values.shape, NUMPY, data)

    @property
    def data(self) -> bytes:  # type: ignore[override]
        """The serialised array; a copy, if the buffer is not bytes."""
        return bytes(self.buffer)

    def numpy(self) -> NDArray[Any]:
        """Return a copy of the values, to write to as with Flower's; `values_of` makes none."""
        return values_of(self).copy()

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        if protocol < 5:
            return type(self), (self.dtype, self.shape, self.stype, self.data)
        buffer = pickle.PickleBuffer(self.buffer)
        return type(self), (self.dtype, self.shape, self.stype, buffer)


def values_of(array: Array) -> NDArray[Any]:
    """Return an array's values, read-only, where they lie.

    Raises
    ------
    ValueError, TypeError
        If the bytes are no array of plain numbers.
    """
    if array.stype != NUMPY:
        raise TypeError(f"cannot read arrays of type {array.stype!r}")
    return _view(array.buffer if isinstance(array, NpyArray) else array.data)


def to_tensor(array: Array) -> Tensor:
    """Return a Flower array as a tensor in fresh torch memory.

    The copy matters: vectorised sums may round differently for differently aligned memory, and the
    buffers that arrive from Ray or from Flower are aligned as chance has it.
    """
    return _filled(values_of(array))


def to_arrays(tensors: Mapping[str, Tensor]) -> ArrayRecord:
    """Pack tensors into a record."""
    record = ArrayRecord()
    for name, value in moved(tensors, "cpu").items():
        record[name] = NpyArray.of(value.detach().numpy())
    return record


def moved(tensors: Mapping[str, Tensor], device: str) -> dict[str, Tensor]:
    """Return tensors on a device, those from elsewhere with one copy for each type of number.

    Examples
    --------
    >>> moved({"w": torch.ones(2, 3), "b": torch.ones(2)}, "meta")["w"]
    tensor(..., device='meta', size=(2, 3))
    """
    groups: dict[torch.dtype, list[str]] = {}
    for name, value in tensors.items():
        if value.device.type != device:
            groups.setdefault(value.dtype, []).append(name)
    found = dict(tensors)
    for names in groups.values():
        flat = torch.cat([tensors[name].detach().flatten() for name in names]).to(device)
        parts = flat.split([tensors[name].numel() for name in names])
        pairs = zip(names, parts, strict=True)
        found |= {name: part.view(tensors[name].shape) for name, part in pairs}
    return found


def nbytes(array: Array) -> int:
    """Return the serialised size of an array, in bytes."""
    return memoryview(array.buffer).nbytes if isinstance(array, NpyArray) else len(array.data)


def _filled(values: NDArray[Any]) -> Tensor:
    dtype = torch.from_numpy(np.empty(0, values.dtype)).dtype
    made = torch.empty(values.shape, dtype=dtype)
    np.copyto(made.numpy(), values)
    return made


@lru_cache(maxsize=512)
def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return the bytes that ``np.save`` puts before the values."""
    if dtype.hasobject:
        raise ValueError("arrays of Python objects do not travel")
    file = BytesIO()
    about = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(file, about)
    return file.getvalue()


def _view(buffer: Any) -> NDArray[Any]:
    """Return the array that the bytes of ``np.save`` stand for."""
    data = memoryview(buffer).cast("B").toreadonly()
    start = len(MAGIC) + 2
    end = start + int.from_bytes(data[len(MAGIC) : start], "little")
    if data[: len(MAGIC)] != MAGIC or end > LONGEST:
        return cast(NDArray[Any], np.load(BytesIO(data), allow_pickle=False))
    dtype, shape, fortran = _layout(bytes(data[:end]))
    if any(side < 0 for side in shape):
        raise ValueError(f"an array cannot have the shape {shape}")
    count = prod(shape)
    if count * dtype.itemsize > len(data) - end:
        raise ValueError(f"{len(data) - end} bytes are too few for an array {list(shape)}")
    values = np.frombuffer(data, dtype, count, end) if count else np.empty(0, dtype)
    return values.reshape(shape, order="F" if fortran else "C")


@lru_cache(maxsize=512)
def _layout(header: bytes) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    file = BytesIO(header)
    npy.read_magic(file)
    shape, fortran, dtype = npy.read_array_header_1_0(file)
    if dtype.hasobject:
        raise ValueError("arrays of Python objects are not read")
    return dtype, shape, fortran
