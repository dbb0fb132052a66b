"""Codecs: how far off, how small, what they refuse; in records and in messages."""

from math import prod

import numpy as np
import pytest
import torch
from fedkd.clients.mods import compressing
from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedkd.codecs import Undecodable
from fedkd.codecs.compression import Compression
from fedkd.codecs.encoding import decoded, encoded, nbytes
from fedkd.codecs.float16 import Float16
from fedkd.codecs.none import NONE
from fedkd.codecs.quantisation import quantised
from fedkd.codecs.quantised import Quantised
from fedkd.codecs.topk import TopK
from fedkd.flower import identity
from fedkd.knowledge import Knowledge, to_arrays, to_record, to_tensor
from fedkd.knowledge.admission import Expected, admit
from fedkd.maths.mixing import simplex_error

CODECS = {
    "float16": Float16(),
    "topk": TopK(k=3),
    "bits8": Quantised(),
    "bits3": Quantised(bits=3),
    "bit": Quantised(bits=1),
    "unit": Quantised(bits=4, scale="unit"),
}
numbers = st.floats(-1000, 1000, width=32)
tables = hnp.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(4, 12)), elements=numbers)
shapes = hnp.array_shapes(min_dims=1, max_dims=4, max_side=9)
anything = hnp.arrays(np.float32, shapes, elements=numbers)
seeds = st.integers(0, 999)


def soft(seed, rows=60, classes=7, sharpness=2.0):
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(rows, classes, generator=generator)).softmax(dim=-1)


def there_and_back(codec, values):
    return codec.decode(codec.encode(values), values.numel())


# -- how far off ---------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(anything)
def test_float16_has_eleven_bits(values):
    values = torch.from_numpy(values)
    back = there_and_back(Float16(), values)
    assert back.dtype == torch.float32
    assert back.shape == values.shape
    assert ((back - values).abs() <= (values.abs() * 2**-11).clamp_min(2**-25)).all()


def test_quantised_rows_of_one_number_share_their_ends():
    column = torch.linspace(-1, 1, 300)[:, None]  # predictions of one target
    parts = Quantised(bits=4).encode(column)
    assert sum(values.nbytes for values in parts.values()) < 300
    assert len(Quantised(bits=4).decode(parts, 300).unique()) <= 2 * 2**4


@settings(max_examples=60, deadline=None)
@given(anything, st.integers(1, 16))
def test_quantised_is_off_by_half_a_step(values, bits):
    values = torch.from_numpy(values)
    parts = Quantised(bits=bits).encode(values)
    back = Quantised(bits=bits).decode(parts, values.numel())
    assert back.shape == values.shape
    rows = values if values.dim() == 2 and values.shape[1] != 1 else None
    low, high = torch.from_numpy(parts["ends"].astype(np.float32)).T
    if rows is None:  # rows of 256
        width = -(-values.numel() // len(low))
        assert width <= 256
        more = len(low) * width - values.numel()
        flat = torch.nn.functional.pad(values.flatten(), (0, more))
        error = torch.nn.functional.pad((back - values).flatten(), (0, more))
        rows, errors = flat.view(-1, width), error.view(-1, width)
    else:
        errors = back - values
        assert (low <= rows.amin(dim=1)).all()
        assert (rows.amin(dim=1) - low <= rows.amin(dim=1).abs() * 2**-10 + 2**-24).all()
        assert (high >= rows.amax(dim=1)).all()
        assert (high - rows.amax(dim=1) <= rows.amax(dim=1).abs() * 2**-10 + 2**-24).all()
    half_step = (high - low) / (2 * (2**bits - 1))
    slack = 1e-6 * rows.abs().amax(dim=1) + 1e-9
    assert (errors.abs().amax(dim=1) <= half_step + slack).all()


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(1, 16))
def test_unit_steps_sum_to_one_and_pass_unchanged(seed, bits):
    codec, values = Quantised(bits=bits, scale="unit"), soft(seed)
    back = there_and_back(codec, values)
    assert torch.equal(back, quantised(values, bits))
    assert torch.equal(there_and_back(codec, back), back)
    assert simplex_error(back) < 1e-5
    assert ((back - values).abs() < 1 / (2**bits - 1) + 1e-6).all()


def test_one_bit_in_the_unit_interval_is_the_likeliest_class():
    values = torch.tensor([[0.3, 0.4, 0.3], [0.2, 0.2, 0.6]])
    parts = Quantised(bits=1, scale="unit").encode(values)
    assert parts["codes"].tolist() == [[0b010 << 5], [0b001 << 5]]
    assert set(parts) == {"codes", "shape"}


@settings(max_examples=60, deadline=None)
@given(tables, st.integers(1, 3))
def test_topk_keeps_the_largest_and_the_mean_of_the_rest(values, k):
    values = torch.from_numpy(values)
    back = there_and_back(TopK(k=k), values)
    top = values.sort(dim=1, descending=True, stable=True).indices[:, :k]
    kept = torch.zeros_like(values).scatter(1, top, 1).bool()
    assert torch.isclose(back[kept], values[kept], rtol=2**-11, atol=2**-24).all()
    rest = values.double().masked_fill(kept, 0).sum(dim=1) / (values.shape[1] - k)
    off = (back - rest.unsqueeze(1)).masked_fill(kept, 0).abs().amax(dim=1)
    assert (off <= 2**-10 * values.abs().amax(dim=1) + 1e-6).all()


def test_topk_by_hand():
    parts = TopK(k=2).encode(torch.tensor([[0.5, 0.0625, 0.25, 0.1875]]))
    assert parts["place"].dtype == np.uint8
    assert (parts["top"].tolist(), parts["place"].tolist()) == ([[0.5, 0.25]], [[0, 2]])
    assert parts["rest"].tolist() == [0.125]
    back = TopK(k=5).decode(parts, 4)  # the sender's k counts
    assert back.tolist() == [[0.5, 0.125, 0.25, 0.125]]


@pytest.mark.parametrize(
    ("width", "dtype"), [(256, "u1"), (257, "u2"), (2**16, "u2"), (2**16 + 1, "u4")]
)
def test_topk_places_take_no_more_bytes_than_they_need(width, dtype):
    values = torch.arange(width, dtype=torch.float32)[None] / width
    parts = TopK(k=1).encode(values)
    assert parts["place"].dtype == dtype
    assert TopK().decode(parts, width)[0, -1] == values[0, -1].half()


def test_topk_at_its_limits():
    whole = {"top": np.ones((1, 4), np.float16), "place": np.arange(4, dtype=np.uint8)[None]}
    whole |= {"rest": np.zeros(1, np.float16), "shape": np.array([1, 4], np.int32)}
    assert TopK().decode(whole, 4).tolist() == [[1.0] * 4]
    with pytest.raises(Undecodable, match="place 4, there are 4"):
        TopK().decode(whole | {"place": whole["place"] + np.uint8(1)}, 4)
    for broken in ({"top": whole["top"][0, :1]}, {"shape": np.array([1, 3], np.int32)}):
        with pytest.raises(Undecodable, match="top is "):
            TopK().decode(whole | broken, 4)
    with pytest.raises(Undecodable, match=r"top is \[1, 4\], for values \[4\]"):
        TopK().decode(whole | {"shape": np.array([4], np.int32)}, 4)
    assert not TopK(k=3).fits(torch.ones(2, 3))
    assert TopK(k=3).fits(torch.ones(2, 4))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 16), st.integers(1, 5), st.integers(2, 40), seeds)
def test_any_number_of_bits_is_packed_without_loss(bits, rows, width, seed):
    """Rows from 0 to 1: each number is a code's."""
    codes = np.random.default_rng(seed).integers(0, 2**bits, (rows, width))
    codes[:, 0], codes[:, -1] = 0, 2**bits - 1
    values = torch.from_numpy(codes / (2**bits - 1)).float()
    codec = Quantised(bits)
    parts = codec.encode(values)
    assert parts["codes"].dtype == np.uint8
    assert parts["codes"].shape == (rows, -(-width * bits // 8))
    found = codec.decode(parts, limit=values.numel()).double().numpy() * (2**bits - 1)
    assert (found.round() == codes).all()


# -- records -------------------------------------------------------------------------------------


def arrays(**tensors):
    return to_arrays(tensors)


@pytest.mark.parametrize("name", CODECS)
def test_a_record_comes_back_in_its_order_and_types(name):
    codec = CODECS[name]
    record = arrays(
        before=torch.arange(5),
        values=soft(0),
        sample_ids=torch.arange(100, dtype=torch.int32),
        counts=torch.arange(100).float(),
        mask=torch.ones(80, dtype=torch.uint8),
        double=torch.rand(80).double(),
        small=torch.rand(1),
    )
    sent = encoded(codec, record, "soft_labels")
    back = decoded(codec, sent, "soft_labels")
    assert list(back) == list(record)
    for key in set(record) - {"values", "small"}:
        assert torch.equal(to_tensor(back[key]), to_tensor(record[key]))
        assert to_tensor(back[key]).dtype == to_tensor(record[key]).dtype
    assert "counts" in sent  # whole numbers count something
    assert "sample_ids:narrow" in sent
    assert "values" not in sent
    values = to_tensor(back["values"])
    assert values.dtype == torch.float32
    assert not torch.equal(values, soft(0))
    assert simplex_error(values) < 1e-5


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from([*CODECS]), st.sampled_from([0.1, 2.0, 60.0]))
def test_soft_labels_are_admitted_after_any_codec(seed, name, sharpness):
    ids = torch.arange(60)
    made = to_record(
        Knowledge(3, "soft_labels", soft(seed, sharpness=sharpness), ids), 1, {"samples": 5}
    )
    sent = encoded(CODECS[name], made.array_records["knowledge"], "soft_labels")
    made["knowledge"] = decoded(CODECS[name], sent, "soft_labels")
    got = admit(made, Expected(3, 1, "soft_labels", ids, (60, 7))).values
    assert simplex_error(got) < 1e-5


def test_rows_off_the_simplex_are_only_put_right_if_that_makes_sense():
    for bad in (-soft(0), torch.zeros(60, 7) + torch.tensor([1e-5, -1e-3, 0, 0, 0, 0, 0])):
        record = encoded(Float16(), arrays(values=bad), "soft_labels")
        back = to_tensor(decoded(Float16(), record, "soft_labels")["values"])
        assert (back < 0).any()


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, 1e5])
def test_what_cannot_be_represented_travels_as_it_is(name, bad):
    values = soft(0)
    values[3, 2] = bad
    sent = encoded(CODECS[name], arrays(values=values), "soft_labels")
    assert list(sent) == ["values"]
    assert torch.equal(to_tensor(sent["values"]).nan_to_num(7), values.nan_to_num(7))


def test_a_codec_for_some_kinds_leaves_the_others_alone():
    record = arrays(values=torch.rand(90, 9), scores=torch.rand(90), more=torch.rand(90, 9))
    for kind in ("class_knowledge", "parameters"):
        assert list(encoded(TopK(), record, kind)) == ["values", "scores", "more"]
    sent = encoded(TopK(), record, "logits")
    assert {name.partition(":")[0] for name in sent if ":" in name} == {"values"}
    sent = encoded(Float16(), record, "parameters")
    assert list(sent) == ["values:half", "scores:half", "more:half"]


@pytest.mark.parametrize(
    ("name", "kind", "shape", "share"),
    [
        ("float16", "soft_labels", (1000, 10), 0.5),
        ("topk", "soft_labels", (1000, 10), 0.28),
        ("bits8", "soft_labels", (1000, 10), 0.36),
        ("bit", "soft_labels", (1000, 10), 0.16),
        ("unit", "soft_labels", (1000, 10), 0.13),
        ("float16", "parameters", (50_000,), 0.5),
        ("bits8", "parameters", (50_000,), 0.26),
        ("bits3", "class_knowledge", (10, 64), 0.12),
    ],
)
def test_bytes_are_really_saved(name, kind, shape, share):
    values = torch.rand(shape) / (1 if len(shape) == 1 else shape[-1])
    values = soft(0, *shape) if kind == "soft_labels" else values
    record = arrays(values=values)
    sent = encoded(CODECS[name], record, kind)
    headers = 150 * len(sent)
    assert sent.count_bytes() <= share * 4 * prod(shape) + headers
    told = nbytes(CODECS[name], kind, shape)
    assert 0 <= sent.count_bytes() - told <= headers
    assert nbytes(NONE(), kind, shape) == 4 * prod(shape)


# -- somebody hostile ----------------------------------------------------------------------------


def parts_of(codec):
    sent = encoded(codec, arrays(values=soft(0)), "soft_labels")
    return {name.partition(":")[2]: array.numpy() for name, array in sent.items()}


MALFORMED = {
    "missing": lambda p: p.pop(next(iter(p))),
    "another type": lambda p: p.update({k: v.astype(np.float64) for k, v in p.items()}),
    "a row less": lambda p: p.update({k: v[:-1] for k, v in p.items()}),
    "empty": lambda p: p.update({k: v[:0] for k, v in p.items()}),
    "no dimension": lambda p: p.update({k: v.reshape(-1)[0] for k, v in p.items()}),
    "huge": lambda p: p.update(shape=np.array([2**31 - 1] * 4, np.int32)),
    "negative": lambda p: p.update(shape=np.array([-60, -7], np.int32)),
    "flat": lambda p: p.update(shape=np.array([420], np.int32)),
    "too wide": lambda p: p.update(shape=np.array([60, 8_000_000], np.int32)),
    "another place": lambda p: p.update(place=p["place"] + 200),
}
CASES = [
    (name, case)
    for name in CODECS
    for case in MALFORMED
    if not (name == "float16" and case in ("a row less", "empty", "no dimension", "flat"))
    and not (name == "float16" and case in ("huge", "negative", "too wide"))  # it has no shape
    and not (name != "topk" and case == "another place")
]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_malformed_parts_are_refused(name, case):
    parts = parts_of(CODECS[name])
    MALFORMED[case](parts)
    with pytest.raises(Undecodable, match=r"\w+ .*"):
        CODECS[name].decode(parts, 1000)


@pytest.mark.parametrize("name", CODECS)
def test_too_much_is_refused_before_it_is_made(name):
    sent = encoded(CODECS[name], arrays(values=soft(0)), "soft_labels")
    decoded(CODECS[name], sent, "soft_labels", 4 * 420)
    with pytest.raises(Undecodable, match="values: stands for 420 numbers, expected at most 419"):
        decoded(CODECS[name], sent, "soft_labels", 4 * 419)
    twice = ArrayRecord({f"{x}{k}": v for x in ("", "more") for k, v in sent.items()})
    with pytest.raises(Undecodable):
        decoded(CODECS[name], twice, "soft_labels", 4 * 420)


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from([*CODECS]),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 999), st.integers(0, 255)), max_size=4),
)
def test_bytes_gone_wrong_never_raise_anything_else(name, changes):
    sent = encoded(CODECS[name], arrays(values=soft(0), sample_ids=_ids()), "soft_labels")
    keys = list(sent)
    for which, place, byte in changes:
        key = keys[which % len(keys)]
        array, data = sent[key], bytearray(sent[key].data)
        data[place % len(data)] = byte
        sent[key] = Array(array.dtype, array.shape, array.stype, bytes(data))
    try:
        back = decoded(CODECS[name], sent, "soft_labels", 4 * 500)
    except Undecodable:
        return
    assert to_tensor(back["values"]).numel() <= 500


def _ids():
    return torch.arange(80, dtype=torch.int32)


def test_names_that_mean_nothing_are_refused():
    for record in (
        arrays(**{"values:": soft(0)}),
        arrays(**{":": soft(0)}),
        arrays(**{"sample_ids:codes": soft(0)}),
    ):
        with pytest.raises(Undecodable):
            decoded(Float16(), record, "soft_labels")
    assert list(decoded(Float16(), arrays(values=soft(0)), "soft_labels")) == ["values"]


# -- messages ------------------------------------------------------------------------------------


def message_of(content, kind="train.distil", node=7):
    return Message(content, node, kind, group_id="1")


def test_what_messages_share_is_encoded_once_and_left_as_it_was():
    record = arrays(values=soft(0))
    content = RecordDict({"teacher": record})
    with identity():
        messages = [message_of(content, node=node) for node in (1, 2)]
        Compression(Float16(), lambda client: 0, "soft_labels").outgoing(messages)
    first, second = (message.content.array_records["teacher"] for message in messages)
    assert first is second
    assert list(first) == ["values:half"]
    assert content.array_records["teacher"] is record


@pytest.mark.parametrize("kind", ["query.restore", "query.snapshot", "query.hello"])
def test_what_clients_remember_is_not_touched(kind):
    with identity():
        message = message_of(RecordDict({"arrays": arrays(w=torch.rand(90))}), kind)
        Compression(Float16(), lambda client: 0, "soft_labels").outgoing([message])
        assert list(message.content.array_records["arrays"]) == ["w"]
        assert (
            Compression(Float16(), lambda client: 0, "soft_labels").incoming(0, message, 0) is None
        )

        def answer(message, context):
            assert list(message.content.array_records["arrays"]) == ["w"]
            content = RecordDict({"arrays": arrays(w=torch.rand(90))})
            return Message(content, reply_to=message)

        context = Context(1, 7, {"partition-id": 0}, RecordDict(), {})
        reply = compressing(Float16(), "parameters", message, context, answer)
        assert list(reply.content.array_records["arrays"]) == ["w"]
