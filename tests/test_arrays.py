"""Arrays of messages: the bytes that Flower's have, wherever they lie."""

import pickle

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedkd.knowledge.arrays import NpyArray, nbytes, to_arrays, to_tensor, values_of
from fedkd.knowledge.payload import payload_bytes

arrays = hnp.arrays(
    st.sampled_from(["float32", "float64", "float16", "int64", "int32", "uint8", "bool"]),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)


def shipped(array: NpyArray) -> NpyArray:
    """Return what comes out where Ray's object store goes in between."""
    buffers: list[pickle.PickleBuffer] = []
    stream = pickle.dumps(array, protocol=5, buffer_callback=buffers.append)
    assert len(buffers) == 1  # beside the pickle
    return pickle.loads(stream, buffers=[memoryview(bytes(b.raw())) for b in buffers])


@given(arrays)
def test_the_bytes_are_flowers(values: np.ndarray) -> None:
    ours, theirs = NpyArray.of(values), Array(values)
    assert (ours.dtype, ours.shape, ours.stype) == (theirs.dtype, theirs.shape, theirs.stype)
    assert ours.data == theirs.data
    for array in (ours, theirs, shipped(ours), pickle.loads(pickle.dumps(ours, protocol=4))):
        np.testing.assert_array_equal(values_of(array), values)
        assert not (values.size and values_of(array).flags.writeable)
        assert array.data == theirs.data
        assert nbytes(array) == len(theirs.data)
        np.testing.assert_array_equal(to_tensor(array).numpy(), values)


def test_a_transposed_array_and_one_in_fortran_order() -> None:
    values = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(values_of(NpyArray.of(values.T)), values.T)
    np.testing.assert_array_equal(values_of(Array(np.asfortranarray(values))), values)


@given(arrays, st.data())
def test_no_bytes_are_read_that_are_not_there(values: np.ndarray, data: st.DataObject) -> None:
    whole = Array(values).data
    short = whole[: data.draw(st.integers(0, len(whole) - 1))]
    if values.nbytes == 0 and len(short) >= len(whole):
        return
    with pytest.raises((ValueError, EOFError)):
        values_of(Array("float32", values.shape, "numpy.ndarray", short))


@given(st.binary(max_size=300))
def test_noise_is_refused_like_by_numpy(noise: bytes) -> None:
    with pytest.raises((ValueError, EOFError)):
        values_of(NpyArray("float32", (1,), "numpy.ndarray", noise))


def test_objects_are_neither_packed_nor_unpacked() -> None:
    with pytest.raises(ValueError, match="objects"):
        NpyArray.of(np.array([{}]))
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    data = np.lib.format.magic(1, 0) + len(header).to_bytes(2, "little") + header + bytes(8)
    with pytest.raises(ValueError, match="objects"):
        values_of(Array("object", (1,), "numpy.ndarray", data))
    with pytest.raises(TypeError, match="other"):
        values_of(NpyArray("float32", (1,), "other", b""))


def test_a_header_that_promises_the_moon_allocates_nothing() -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,), }"
    header = header.ljust(117) + b"\n"
    data = np.lib.format.magic(1, 0) + len(header).to_bytes(2, "little") + header
    with pytest.raises(ValueError, match="too few"):
        values_of(Array("float32", (2**62,), "numpy.ndarray", data))


def test_tensors_are_copies() -> None:
    weight = torch.ones(3)
    record = to_arrays({"w": weight})
    weight += 1
    read = to_tensor(record["w"])
    read += 5
    assert values_of(record["w"]).tolist() == [1.0, 1.0, 1.0]


def test_numpy_is_to_write_to_as_with_flower() -> None:
    array = NpyArray.of(np.zeros(3))
    array.numpy()[:] = 1
    assert array.numpy().tolist() == [0.0, 0.0, 0.0]


def test_payload_is_what_flower_counts() -> None:
    record = to_arrays({"w": torch.ones(3, 4), "step": torch.tensor(3)})
    theirs = ArrayRecord({"w": torch.ones(3, 4), "step": torch.tensor(3)})
    assert payload_bytes(RecordDict({"a": record, "b": record})) == 2 * theirs.count_bytes()
