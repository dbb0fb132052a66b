"""What the server lets in: good replies byte for byte, every kind of bad one with its reason."""

import io
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fedkd.knowledge import Knowledge, KnowledgeStack, Teacher, stack, to_record, to_tensor
from fedkd.knowledge.admission import Expected, Rejected, admit, check_count
from fedkd.knowledge.kinds import LARGEST, SIMPLEX_TOLERANCE

SAMPLES, CLASSES = 4, 3
IDS = torch.tensor([1, 3, 4, 9])
EXPECTED = Expected(client=2, round=5, kind="soft_labels", sample_ids=IDS, shape=(SAMPLES, CLASSES))
LOGITS = replace(EXPECTED, kind="logits")

Corrupt = Callable[[np.ndarray], np.ndarray]


def simplex(seed: int = 0, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape or (SAMPLES, CLASSES), generator=generator).softmax(dim=-1)


def reply(values: torch.Tensor | None = None, **changed: object) -> RecordDict:
    """Return a good reply, but for what is changed."""
    fields = {"client": 2, "kind": "soft_labels", "sample_ids": IDS} | changed
    round_ = int(fields.pop("round", 5))  # type: ignore[call-overload]
    values = simplex() if values is None else values
    return to_record(Knowledge(values=values, **fields), round_, {"loss_fit": 0.5})  # type: ignore[arg-type]


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def with_array(name: str, array: Array) -> RecordDict:
    record = reply()
    record.array_records["knowledge"][name] = array
    return record


def test_a_good_reply_survives_byte_for_byte() -> None:
    values = simplex()
    knowledge = admit(reply(values), EXPECTED)
    assert knowledge.values.numpy().tobytes() == values.numpy().tobytes()
    assert knowledge.values.data_ptr() != values.data_ptr()
    assert knowledge.values.is_contiguous()
    assert (knowledge.client, knowledge.kind) == (2, "soft_labels")
    assert knowledge.sample_ids.dtype == torch.int64
    assert torch.equal(knowledge.sample_ids, IDS)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), samples=st.integers(1, 20), classes=st.integers(1, 12))
def test_any_soft_labels_and_logits_round_trip(seed: int, samples: int, classes: int) -> None:
    ids = torch.arange(samples) * 2
    for kind in ("soft_labels", "logits"):
        values = simplex(seed, samples, classes)
        if kind == "logits":
            values = values.log() * 1000
        expected = Expected(2, 5, kind, ids, (len(ids), classes))
        knowledge = admit(reply(values, kind=kind, sample_ids=ids), expected)
        assert knowledge.values.numpy().tobytes() == values.numpy().tobytes()


def test_the_edges_of_the_simplex_are_admitted() -> None:
    corners = torch.eye(CLASSES)[torch.tensor([0, 1, 2, 0])]
    assert torch.equal(admit(reply(corners), EXPECTED).values, corners)
    nearly = corners * (1 + 0.5 * SIMPLEX_TOLERANCE)
    assert torch.equal(admit(reply(nearly), EXPECTED).values, nearly)
    minus_zero = corners.masked_fill(corners == 0, -0.0)
    assert admit(reply(minus_zero), EXPECTED).values.numpy().tobytes() == (
        minus_zero.numpy().tobytes()
    )


def put(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(values: torch.Tensor) -> torch.Tensor:
        values[2, 1] = value
        return values

    return change


BAD_VALUES = {
    "nan": (put(float("nan")), "^finite"),
    "inf": (put(float("inf")), "^finite"),
    "-inf": (put(float("-inf")), "^finite"),
    "negative": (put(-0.01), "^simplex: smallest entry is -0.01, below 0"),
    "too much": (lambda v: v * 1.01, "^simplex: a row sums to 1 ± 0.01"),
    "too little": (lambda v: v * 0.9, "^simplex: a row sums"),
    "zeros": (torch.zeros_like, "^simplex"),
    "huge": (lambda v: v * 3e38, "^simplex"),
    "more samples": (lambda v: torch.cat([v, v[:1]]), r"^shape: got \[5, 3\], expected \[4, 3\]"),
    "more classes": (lambda v: torch.cat([v, v[:, :1]], dim=1), "^shape"),
    "transposed": (lambda v: v.T.contiguous(), "^shape"),
    "flat": (torch.flatten, "^shape"),
    "a batch": (lambda v: v[None], "^shape"),
    "empty": (lambda v: v[:0], "^shape"),
    "a scalar": (lambda v: v[0, 0], "^shape"),
    "float64": (torch.Tensor.double, "^dtype: got torch.float64"),
    "float16": (torch.Tensor.half, "^dtype: got torch.float16"),
    "int64": (lambda v: torch.eye(4, 3).long(), "^dtype: got torch.int64"),
}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_bad_values_are_rejected_with_the_reason(name: str) -> None:
    change, reason = BAD_VALUES[name]
    with pytest.raises(Rejected, match=reason):
        admit(reply(change(simplex())), EXPECTED)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"client": 3}, "^client: got 3, expected 2"),
        ({"round": 4}, "^round: got 4, expected 5"),
        ({"kind": "logits"}, "^kind: got 'logits', expected 'soft_labels'"),
        ({"sample_ids": torch.tensor([1, 3, 4, 8])}, "^sample ids"),
        ({"sample_ids": torch.tensor([3, 1, 4, 9])}, "^sample ids"),
        ({"sample_ids": torch.tensor([1, 3, 4])}, "^sample ids"),
        ({"sample_ids": torch.tensor([], dtype=torch.int64)}, "^sample ids"),
        ({"sample_ids": IDS[None]}, "^sample ids"),
    ],
)
def test_a_reply_to_another_question_is_rejected(changed: dict, reason: str) -> None:
    with pytest.raises(Rejected, match=reason):
        admit(reply(**changed), EXPECTED)


def test_extras_are_not_negative_unless_they_are_signed() -> None:
    sent = torch.tensor([-1.0, 2.0])
    expected = replace(EXPECTED, extras={"means": (2,)})
    record = to_record(Knowledge(2, "soft_labels", simplex(), IDS, extras={"means": sent}), 5, {})
    with pytest.raises(Rejected, match="means: smallest entry is -1, below 0"):
        admit(record, expected)
    found = admit(record, replace(expected, signed=("means",)))
    assert torch.equal(found.extras["means"], sent)
    bad = {"means": sent * torch.nan}
    record = to_record(Knowledge(2, "soft_labels", simplex(), IDS, extras=bad), 5, {})
    with pytest.raises(Rejected, match="means: finite"):
        admit(record, replace(expected, signed=("means",)))


def test_logits_have_their_own_checks() -> None:
    values = torch.linspace(-LARGEST, LARGEST, 12).reshape(SAMPLES, CLASSES)
    assert torch.equal(admit(reply(values, kind="logits"), LOGITS).values, values)
    for sign in (-1, 1):
        with pytest.raises(Rejected, match=r"^magnitude: 2e\+06 is above 1e\+06"):
            admit(reply(put(sign * 2e6)(values.clone()), kind="logits"), LOGITS)
    with pytest.raises(Rejected, match=r"^finite"):
        admit(reply(put(float("nan"))(values.clone()), kind="logits"), LOGITS)


@pytest.mark.parametrize("name", ["knowledge", "about"])
def test_a_missing_record_is_rejected(name: str) -> None:
    record = reply()
    del record[name]
    with pytest.raises(Rejected, match=r"^unreadable: KeyError"):
        admit(record, EXPECTED)
    with pytest.raises(Rejected, match=r"^unreadable"):
        admit(RecordDict(), EXPECTED)


@pytest.mark.parametrize("name", ["values", "sample_ids"])
def test_a_missing_array_is_rejected(name: str) -> None:
    record = reply()
    del record.array_records["knowledge"][name]
    with pytest.raises(Rejected, match=r"^unreadable: KeyError"):
        admit(record, EXPECTED)


@pytest.mark.parametrize("name", ["client", "round", "kind"])
def test_missing_or_odd_words_about_a_reply_are_rejected(name: str) -> None:
    record = reply()
    del record.config_records["about"][name]
    with pytest.raises(Rejected, match=r"^unreadable: KeyError"):
        admit(record, EXPECTED)
    for odd in ([1, 2], b"x", float("nan"), "", -1):
        record.config_records["about"][name] = odd
        with pytest.raises(Rejected, match=f"^{name}: got"):
            admit(record, EXPECTED)


def test_the_metrics_are_not_needed() -> None:
    record = reply()
    del record["metrics"]
    assert admit(record, EXPECTED).client == 2


HOSTILE = {
    "no bytes": b"",
    "not npy": b"hello",
    "truncated header": npy(simplex().numpy())[:20],
    "truncated data": npy(simplex().numpy())[:-1],
    "a zip": b"PK\x03\x04" + bytes(40),
    "a pickle": b"\x80\x04K\x01.",
    "objects": npy(np.array([[1, "a"]], dtype="U1")).replace(b"'<U1'", b"'|O' "),
    "strings": npy(np.full((SAMPLES, CLASSES), "a")),
    "dates": npy(np.zeros((SAMPLES, CLASSES), "M8[s]")),
    "a structure": npy(np.zeros((SAMPLES, CLASSES), [("a", "<f4")])),
    "big-endian": npy(simplex().numpy().astype(">f4")),
    "long double": npy(simplex().numpy().astype(np.longdouble)),
    "a header that lies": npy(simplex().numpy()).replace(b"(4, 3)", b"(9, 3)"),
    "a header that evaluates": npy(simplex().numpy()).replace(b"(4, 3)", b"exit()"),
    "negative shape": npy(simplex().numpy()).replace(b"(4, 3)", b"(-4,3)"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("which", ["values", "sample_ids"])
def test_hostile_bytes_are_rejected(name: str, which: str) -> None:
    array = Array("float32", (SAMPLES, CLASSES), "numpy.ndarray", HOSTILE[name])
    with pytest.raises(Rejected):
        admit(with_array(which, array), EXPECTED)


@pytest.mark.parametrize("offset", [0.5, 1j])
def test_sample_ids_are_integers(offset: complex) -> None:
    """Ids of another type are not the ones asked for, whatever they round to."""
    array = Array(IDS.numpy() + np.asarray(offset))
    with pytest.raises(Rejected):
        admit(with_array("sample_ids", array), EXPECTED)


def test_the_bytes_count_not_what_the_array_says_of_itself() -> None:
    good = npy(simplex().numpy())
    lying = Array("float64", (7,), "numpy.ndarray", good)
    assert torch.equal(admit(with_array("values", lying), EXPECTED).values, simplex())
    honest_looking = Array("float32", (SAMPLES, CLASSES), "numpy.ndarray", npy(np.zeros(3, "f4")))
    with pytest.raises(Rejected, match=r"^shape"):
        admit(with_array("values", honest_looking), EXPECTED)
    with pytest.raises(Rejected, match=r"^unreadable: TypeError"):
        admit(with_array("values", Array("float32", (4, 3), "torch.tensor", good)), EXPECTED)


def test_fortran_order_is_put_right() -> None:
    array = Array(np.asfortranarray(simplex().numpy()))
    values = admit(with_array("values", array), EXPECTED).values
    assert values.is_contiguous()
    assert torch.equal(values, simplex())


def admitted_or_rejected(record: RecordDict, expected: Expected) -> None:
    """Admit, and hold what comes out to every promise."""
    try:
        knowledge = admit(record, expected)
    except Rejected:
        return
    values = knowledge.values
    assert values.dtype == torch.float32
    assert values.shape == expected.shape
    assert values.isfinite().all()
    assert torch.equal(knowledge.sample_ids, expected.sample_ids)
    assert (knowledge.client, knowledge.kind) == (expected.client, expected.kind)
    if expected.kind == "soft_labels":
        assert values.min() >= 0
        assert ((values.double().sum(-1) - 1).abs() <= 1.001 * SIMPLEX_TOLERANCE).all()
    else:
        assert values.abs().max() <= LARGEST


names = st.sampled_from(["values", "sample_ids"])
expectations = st.sampled_from([EXPECTED, LOGITS])


@settings(max_examples=150, deadline=None)
@given(names, expectations, st.data())
def test_fuzzed_bytes(name: str, expected: Expected, data: st.DataObject) -> None:
    record = reply(kind=expected.kind)
    old = record.array_records["knowledge"][name]
    bytes_ = bytearray(old.data)
    for _ in range(data.draw(st.integers(1, 6))):
        bytes_[data.draw(st.integers(0, len(bytes_) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(bytes_))) if data.draw(st.booleans()) else len(bytes_)
    # A header may name any size, and numpy believes it: do not let the test eat the machine.
    assume(b"000" not in bytes_[:128])
    array = Array(old.dtype, old.shape, old.stype, bytes(bytes_[:cut]))
    record.array_records["knowledge"][name] = array
    admitted_or_rejected(record, expected)


@settings(max_examples=80, deadline=None)
@given(
    names,
    expectations,
    st.binary(max_size=200),
    st.text(max_size=10),
    st.lists(st.integers(-5, 9), max_size=3).map(tuple),
    st.sampled_from(["numpy.ndarray", "torch.tensor", "", "pickle"]),
)
def test_fuzzed_records(
    name: str, expected: Expected, junk: bytes, dtype: str, shape: tuple[int, ...], stype: str
) -> None:
    record = reply(kind=expected.kind)
    for data in (junk, record.array_records["knowledge"][name].data, b"\x93NUMPY\x01\x00" + junk):
        record.array_records["knowledge"][name] = Array(dtype, shape, stype, data)
        admitted_or_rejected(record, expected)


dtypes = ["f2", "f4", "f8", ">f4", "i1", "i4", "u2", "u8", "?", "c8", "U3", "S2", "M8[s]"]


@settings(max_examples=80, deadline=None)
@given(
    names,
    expectations,
    st.sampled_from(dtypes),
    st.lists(st.integers(0, 5), max_size=4),
    st.integers(0, 9999),
)
def test_fuzzed_arrays(
    name: str, expected: Expected, dtype: str, shape: list[int], seed: int
) -> None:
    # Complex ids warn in torch, see test_sample_ids_are_integers.
    assume((name, dtype) != ("sample_ids", "c8"))
    raw = np.random.default_rng(seed).bytes(int(np.prod(shape)) * np.dtype(dtype).itemsize)
    array = np.frombuffer(raw, dtype=dtype).reshape(shape)
    record = reply(kind=expected.kind)
    record.array_records["knowledge"][name] = Array("float32", (), "numpy.ndarray", npy(array))
    admitted_or_rejected(record, expected)


@settings(max_examples=60, deadline=None)
@given(expectations, st.lists(st.floats(width=32), min_size=12, max_size=12))
def test_fuzzed_values(expected: Expected, numbers: list[float]) -> None:
    values = torch.tensor(numbers, dtype=torch.float32).reshape(SAMPLES, CLASSES)
    admitted_or_rejected(reply(values, kind=expected.kind), expected)


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["client", "round", "kind", "more"]),
        st.one_of(st.integers(-3, 9), st.floats(), st.text(max_size=3), st.binary(max_size=3)),
    )
)
def test_fuzzed_words_about_a_reply(words: dict) -> None:
    record = reply()
    record["about"] = ConfigRecord(words)
    admitted_or_rejected(record, EXPECTED)


@pytest.mark.parametrize("told", [-1, 0.5, 41, math.nan, 1e300, "12", None, [12]])
def test_a_count_is_a_number_within_its_bounds(told: object) -> None:
    assert check_count("n", 1, most=40, least=1) == 1.0
    assert check_count("n", 40, most=40) == 40.0
    with pytest.raises(Rejected, match=r"^n: got .*, expected a number from 1 to 40$"):
        check_count("n", told, most=40, least=1)


# -- the stack and the teacher -------------------------------------------------------------------


def test_to_tensor_copies_into_fresh_memory() -> None:
    array = Array(np.arange(6, dtype=np.float32).reshape(2, 3))
    one, two = to_tensor(array), to_tensor(array)
    one.zero_()
    assert two.tolist() == [[0, 1, 2], [3, 4, 5]]


def stacked(kind: str = "soft_labels", **more: torch.Tensor) -> KnowledgeStack:
    ids = torch.tensor([4, 5, 7, 8, 9])
    return KnowledgeStack(kind, simplex(1, 3, 5, 4), [0, 2, 9], ids, **more)  # type: ignore[arg-type]


def test_views_of_a_stack() -> None:
    soft, raw = stacked(), stacked("logits")
    assert soft.soft_labels is soft.values
    with pytest.raises(AttributeError, match="exchanges soft_labels: declare exchange = 'logits'"):
        _ = soft.logits
    assert raw.logits is raw.values
    torch.testing.assert_close(raw.soft_labels, raw.values.softmax(dim=-1))


def test_a_block_of_a_stack_takes_every_per_sample_field() -> None:
    mask = torch.rand(3, 5, generator=torch.Generator().manual_seed(0)) > 0.5
    whole = stacked(mask=mask, labels=torch.arange(5))
    whole.extras["counts"] = torch.ones(3, 4)
    part = whole.block(slice(1, 3))
    assert torch.equal(part.values, whole.values[:, 1:3])
    assert part.values.is_contiguous()
    assert part.sample_ids.tolist() == [5, 7]
    assert part.labels is not None
    assert part.labels.tolist() == [1, 2]
    assert part.mask is not None
    assert torch.equal(part.mask, mask[:, 1:3])
    assert part.clients == [0, 2, 9]
    assert part.extras is whole.extras
    bare = stacked().block(slice(0, 2))
    assert bare.mask is None
    assert bare.labels is None


def test_stack_keeps_client_order_and_labels() -> None:
    items = [Knowledge(k, "logits", torch.full((4, 3), float(k)), IDS) for k in (1, 4, 6)]
    labels = torch.arange(4)
    made = stack(items, labels)
    assert made.clients == [1, 4, 6]
    assert made.kind == "logits"
    assert made.values[:, 0, 0].tolist() == [1, 4, 6]
    assert made.labels is labels
    assert torch.equal(made.sample_ids, IDS)


def test_a_shared_teacher_is_packed_once() -> None:
    values = simplex()
    records = Teacher("soft_labels", values, [1, 4, 6]).records()
    assert list(records) == [1, 4, 6]
    assert len({id(record) for record in records.values()}) == 1
    assert torch.equal(to_tensor(records[4]["values"]), values)


def test_a_personalised_teacher_gives_each_client_its_row() -> None:
    values = simplex(3, 3, SAMPLES, CLASSES)
    records: dict[int, ArrayRecord] = Teacher("soft_labels", values, [1, 4, 6]).records()
    assert len({id(record) for record in records.values()}) == 3
    for row, client in enumerate([1, 4, 6]):
        assert torch.equal(to_tensor(records[client]["values"]), values[row])
    with pytest.raises(ValueError, match="zip"):
        Teacher("soft_labels", values, [1, 4]).records()
