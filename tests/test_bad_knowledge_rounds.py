"""A client that sends bad knowledge, in whole runs: dropped with the reason, and nothing else."""

import io
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from fedkd.clients import client_app
from fedkd.strategies.flower_adapter import FlowerStrategy
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import QFedAvg
from hypothesis import given, settings
from hypothesis import strategies as st

import fedkd
from fedkd.callbacks import Callback
from fedkd.engine.faults import Fault
from fedkd.engine.inline import InlineGrid
from fedkd.engine.replies import read
from fedkd.flower import error_reply, identity
from fedkd.knowledge import Knowledge, admission, to_record
from fedkd.knowledge.admission import Expected, Rejected, admit
from fedkd.knowledge.payload import SLACK_BYTES, SLACK_FACTOR, payload_bytes

HOSTILE, CLIENTS, ROUNDS = 2, 5, 3
Change = Callable[[Message], None]


# -- what a hostile client does to its reply -----------------------------------------------------


def spoil(name: str, change: Callable[[np.ndarray], Any], record: str = "knowledge") -> Change:
    """Replace one array of the reply."""

    def apply(reply: Message) -> None:
        arrays = reply.content.array_records[record]
        which = name or next(iter(arrays))
        made = change(arrays[which].numpy().copy())
        arrays[which] = made if isinstance(made, Array) else Array(np.ascontiguousarray(made))

    return apply


def put(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values.flat[7] = value
        return values

    return change


def raw(data: bytes) -> Callable[[np.ndarray], Array]:
    return lambda values: Array(str(values.dtype), values.shape, "numpy.ndarray", data)


def without(record: str) -> Change:
    return lambda reply: reply.content.pop(record)


def about(**words: Any) -> Change:
    return lambda reply: reply.content.config_records["about"].update(words)


def bomb(record: str) -> Change:
    """Add an array that nobody asked for, far larger than all the others."""

    def apply(reply: Message) -> None:
        reply.content.array_records[record]["more"] = Array(np.zeros(10**6))

    return apply


def weight(value: Any) -> Change:
    def apply(reply: Message) -> None:
        reply.content["metrics"] = MetricRecord({"num-examples": value})

    return apply


def tells(**numbers: Any) -> Change:
    """Add metrics, or replace them."""
    return lambda reply: reply.content.metric_records["metrics"].update(numbers)


def keeps_back(name: str) -> Change:
    return lambda reply: reply.content.metric_records["metrics"].pop(name)


SOFT = {
    "nan": (spoil("values", put(np.nan)), "finite: "),
    "inf": (spoil("values", put(np.inf)), "finite: "),
    "negative": (spoil("values", put(-1.0)), "simplex: smallest entry is -1"),
    "not normalised": (spoil("values", lambda v: v / 2), "simplex: a row sums to"),
    "too many samples": (spoil("values", lambda v: np.concatenate([v, v[:1]])), "shape: "),
    "too few classes": (spoil("values", lambda v: v[:, 1:]), "shape: "),
    "empty": (spoil("values", lambda v: v[:0]), "shape: "),
    "double": (spoil("values", lambda v: v.astype("f8")), "dtype: "),
    "integers": (spoil("values", lambda v: v.round().astype("i4")), "dtype: "),
    "other samples": (spoil("sample_ids", lambda v: v[::-1]), "sample ids: "),
    "twice a sample": (spoil("sample_ids", lambda v: np.r_[v[:1], v[:-1]]), "sample ids: "),
    "no samples": (spoil("sample_ids", lambda v: v[:0]), "sample ids: "),
    "not an array": (spoil("values", raw(b"hello")), "unreadable: "),
    "a pickle": (spoil("values", raw(b"\x80\x04K\x01.")), "unreadable: "),
    "no bytes": (spoil("values", raw(b"")), "unreadable: "),
    "no knowledge": (without("knowledge"), "unreadable: KeyError"),
    "nothing about it": (without("about"), "unreadable: KeyError"),
    "nothing at all": (lambda reply: reply.content.clear(), "unreadable: KeyError"),
    "as another client": (about(client=3), "client: got 3, expected 2"),
    "of another kind": (about(kind="logits"), "kind: got 'logits'"),
    "of round 0": (about(round=0), "round: got 0"),
    "a novel": (about(kind="x" * 10**7), "kind: got 'xxx"),
    "far too large": (spoil("values", lambda v: np.tile(v, (99, 1))), "size: "),
    "a stowaway": (bomb("knowledge"), "size: "),
}
LOGITS = {
    "nan": (spoil("values", put(np.nan)), "finite: "),
    "huge": (spoil("values", put(1e30)), "magnitude: 1e+30"),
    "far too large": (spoil("values", lambda v: np.tile(v, (99, 1))), "size: "),
}
PARAMETERS = {
    "nan": (spoil("", put(np.nan), "arrays"), "finite: "),
    "another shape": (spoil("", lambda v: v.T, "arrays"), "shape: "),
    "double": (spoil("", lambda v: v.astype("f8"), "arrays"), "dtype: "),
    "not an array": (spoil("", raw(b"hello"), "arrays"), "unreadable: "),
    "no arrays": (without("arrays"), "parameters: "),
    "a stowaway": (bomb("arrays"), "size: "),
    "weightless": (weight(0), "num-examples: "),
    "negative": (weight(-5), "num-examples: "),
    "of infinite weight": (weight(float("inf")), "num-examples: "),
    "of a nation's weight": (weight(1e300), "num-examples: got 1e+300, expected a number from 1"),
    "of no weight": (keeps_back("num-examples"), "metrics: lacks num-examples"),
    "of many weights": (weight([1.0, 2.0]), "num-examples: got [1.0, 2.0]"),
    "huge": (spoil("", put(3e38), "arrays"), "magnitude: "),
    "without metrics": (without("metrics"), "metrics: lacks num-examples"),
    "secretive": (keeps_back("loss_fit"), "metrics: lacks loss_fit"),
}
SAMPLES_OF = {
    "more than it has": (spoil("samples", lambda v: v * 0 + 1e6), "samples: got 1000000.0"),
    "a number that overflows": (spoil("samples", lambda v: v * 0 + 3e38), "samples: magnitude"),
}
CASES = [
    (strategy, name, *case)
    for strategy, cases in (
        ("knfu", SOFT),
        ("fedmd", LOGITS),
        ("fedavg", PARAMETERS),
        ("lg_fedavg", SAMPLES_OF),
    )
    for name, case in cases.items()
]


class Watcher(Callback):
    """Keeps why clients were rejected, and whose knowledge was fused."""

    def __init__(self) -> None:
        self.rejected: list[dict[int, str]] = []
        self.fused: list[list[int]] = []

    def on_round(self, record: Any) -> None:
        self.rejected.append(record.rejected)
        if record.knowledge is not None:
            self.fused.append(record.knowledge.clients)


def hostile_run(
    monkeypatch: pytest.MonkeyPatch, strategy: Any, change: Callable[[Message], Message | None]
) -> tuple[Any, Watcher]:
    """Run with one client whose upload passes through `change`, as a mod."""

    def mod(message: Message, context: Any, call_next: Any) -> Message:
        reply = call_next(message, context)
        upload = message.metadata.message_type in ("train.fit", "train")
        if upload and context.node_config["partition-id"] == HOSTILE:
            return change(reply) or reply
        return reply

    def app(*given: Any, mods: Iterable[Any] = (), **more: Any) -> Any:
        return client_app(*given, mods=[mod, *mods], **more)

    with monkeypatch.context() as patch:
        patch.setattr("fedkd.run.executing.client_app", app)
        watcher = Watcher()
        result = fedkd.simulate(
            strategy, clients=CLIENTS, rounds=ROUNDS, engine="inline", callbacks=[watcher]
        )
    return result, watcher


def lose(reply: Message) -> Message:
    raise ConnectionError("the reply is lost")


@pytest.fixture(scope="module")
def without_it() -> Callable[[str], str]:
    """Return the digest of a run that never gets the hostile client's reply."""
    known: dict[str, str] = {}
    patch = pytest.MonkeyPatch()

    def digest(strategy: str) -> str:
        if strategy not in known:
            known[strategy] = hostile_run(patch, strategy, lose)[0].summary["digest"]
        return known[strategy]

    return digest


@pytest.mark.parametrize(("strategy", "name", "change", "reason"), CASES)
def test_bad_knowledge_is_dropped_and_the_run_goes_on(
    strategy: str,
    name: str,
    change: Any,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    without_it: Callable[[str], str],
) -> None:
    result, watcher = hostile_run(monkeypatch, strategy, lambda reply: change(reply) and None)
    for rejected in watcher.rejected:
        assert list(rejected) == [HOSTILE]
        assert rejected[HOSTILE].startswith(reason)
        assert len(rejected[HOSTILE]) < 200
    assert all(clients == [0, 1, 3, 4] for clients in watcher.fused)
    assert result.summary["rejected"] == ROUNDS
    assert result.rounds["rejected"].to_pylist() == [1] * ROUNDS
    assert result.rounds["skipped"].to_pylist() == [0] * ROUNDS
    lost = [row for row in result.clients.to_pylist() if row["metric"] == "rejected"]
    assert [(row["round"], row["client"]) for row in lost] == [(1, 2), (2, 2), (3, 2)]
    assert result.summary["digest"] == without_it(strategy)


def test_a_good_reply_makes_a_difference(
    monkeypatch: pytest.MonkeyPatch, without_it: Callable[[str], str]
) -> None:
    """Otherwise the tests above would prove nothing."""
    for strategy in ("knfu", "fedmd", "fedavg"):
        result, _ = hostile_run(monkeypatch, strategy, lambda reply: None)
        assert result.summary["rejected"] == 0
        assert result.summary["digest"] != without_it(strategy)


TALKATIVE = {
    "one metric more": tells(mood=0.5),
    "a list": tells(history=[0.1, 0.2]),
    "a number that is none": tells(mood=float("nan")),
    "a number beyond all floats": tells(mood=10**400),
    "a record more": lambda reply: reply.content.update(more=MetricRecord({"n": 1})),
    "arrays more": lambda reply: reply.content.update(more=ArrayRecord({"x": Array(np.ones(2))})),
}


@pytest.mark.parametrize("strategy", ["fedavg", "lg_fedavg", "knfu"])
@pytest.mark.parametrize("name", sorted(TALKATIVE))
def test_who_tells_more_than_the_others_does_no_harm(
    strategy: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flower gives up a round in which clients do not all reply with the same metrics."""
    change = TALKATIVE[name]
    good, _ = hostile_run(monkeypatch, strategy, lambda reply: None)
    got, _ = hostile_run(monkeypatch, strategy, lambda reply: change(reply) and None)
    assert got.summary["rejected"] == 0
    assert got.summary["digest"] == good.summary["digest"]


@pytest.mark.parametrize("told", [1e300, -1.0, float("nan"), [0.1], None])
def test_a_loss_that_a_strategy_weighs_by_is_checked(
    told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(reply: Message) -> None:
        metrics = reply.content.metric_records["metrics"]
        metrics.pop("loss_fit") if told is None else metrics.update(loss_fit=told)

    inner = QFedAvg(client_learning_rate=0.1, train_loss_key="loss_fit")
    result, watcher = hostile_run(monkeypatch, FlowerStrategy(inner), change)
    reasons = [rejected[HOSTILE] for rejected in watcher.rejected]
    expected = "metrics: lacks loss_fit, " if told is None else "loss_fit: got "
    assert all(reason.startswith(expected) for reason in reasons)
    assert result.summary["rejected"] == ROUNDS


def test_knowledge_of_an_earlier_round_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends its first, once good, reply again and again."""
    kept: list[RecordDict] = []

    def again(reply: Message) -> None:
        kept.append(reply.content)
        reply.content = kept[0]

    def lose_later(reply: Message) -> Message | None:
        kept.append(reply.content)
        return None if len(kept) == 1 else lose(reply)

    result, watcher = hostile_run(monkeypatch, "knfu", again)
    assert watcher.rejected == [{}] + [{2: f"round: got 1, expected {n}"} for n in (2, 3)]
    kept.clear()
    reference, _ = hostile_run(monkeypatch, "knfu", lose_later)
    assert result.summary["digest"] == reference.summary["digest"]


# -- one client, two replies ---------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["knfu", "fedavg"])
@pytest.mark.parametrize("first", [True, False])
def test_a_duplicated_client_counts_for_none(
    strategy: str,
    first: bool,
    monkeypatch: pytest.MonkeyPatch,
    without_it: Callable[[str], str],
) -> None:
    """Its good reply and a forged one arrive together, in either order."""
    pull = InlineGrid.pull_messages

    def twice(self: InlineGrid, message_ids: Iterable[str]) -> list[Message]:
        arrived = list(pull(self, message_ids))
        for reply in list(arrived):
            training = reply.metadata.message_type in ("train.fit", "train")
            if training and reply.metadata.src_node_id == 1000 + HOSTILE:
                arrived.insert(0 if first else 1, reply)
        return arrived

    with monkeypatch.context() as patch:
        patch.setattr(InlineGrid, "pull_messages", twice)
        result, watcher = hostile_run(monkeypatch, strategy, lambda reply: None)
    assert watcher.rejected == [{HOSTILE: "duplicate: 2 replies to one message"}] * ROUNDS
    assert result.summary["rejected"] == ROUNDS
    assert result.summary["digest"] == without_it(strategy)


@pytest.mark.parametrize("fault", [None, Fault("late", "late"), Fault("crashed", "crash")])
def test_what_is_read_from_a_clients_answers(fault: Fault | None) -> None:
    with identity():
        asked = Message(RecordDict(), 1000, "train.fit", group_id="1")
        good = Message(RecordDict({"x": MetricRecord({"n": 1})}), reply_to=asked)
        bad = error_reply(asked, "client 0, round 1, train.fit: no")
    assert read(0, [good, good], fault).content is None
    assert read(0, [good, bad], fault).content is None
    assert (read(0, [good], fault).content is not None) == (fault is None)
    failed = read(0, [bad], fault)
    assert failed.error == "client 0, round 1, train.fit: no"
    real = fault is None or fault.kind == "late"  # a late client's failure is its own
    assert failed.fault == (None if real else "crashed")


# -- records -------------------------------------------------------------------------------------

SAMPLES, CLASSES = 40, 10
EXPECTED = Expected(2, 1, "soft_labels", torch.arange(SAMPLES), (SAMPLES, CLASSES))
BYTES = 4 * SAMPLES * (CLASSES + 1)


def reply() -> RecordDict:
    values = torch.full((SAMPLES, CLASSES), 1 / CLASSES)
    return to_record(Knowledge(2, "soft_labels", values, torch.arange(SAMPLES)), 1, {})


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["knowledge", "elsewhere"]),
    st.sampled_from(["values", "more"]),
    st.integers(0, 4 * SLACK_BYTES),
)
def test_the_size_is_looked_at_before_anything_is_decoded(
    record: str, name: str, extra: int
) -> None:
    sent = reply()
    sent.setdefault(record, ArrayRecord())
    junk = Array("float32", (SAMPLES, CLASSES), "numpy.ndarray", bytes(extra))
    sent.array_records[record][name] = junk
    large = payload_bytes(sent) > SLACK_FACTOR * BYTES + SLACK_BYTES
    with pytest.MonkeyPatch.context() as patch:
        if large:
            patch.setattr(admission, "to_tensor", None)
        if large or (record, name) == ("knowledge", "values"):
            with pytest.raises(Rejected, match="^size: " if large else "^unreadable: "):
                admit(sent, EXPECTED)
        else:
            assert admit(sent, EXPECTED).client == 2


def header(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    file = io.BytesIO()
    words = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, words)
    return file.getvalue()


huge = st.integers(10**9, 2**70)


@settings(max_examples=60, deadline=None)
@given(st.lists(huge, min_size=1, max_size=3), st.sampled_from(["values", "sample_ids"]))
def test_a_header_that_promises_the_moon_is_rejected(shape: list[int], name: str) -> None:
    sent = reply()
    data = header(tuple(shape)) + bytes(BYTES)
    sent.array_records["knowledge"][name] = Array("float32", (1,), "numpy.ndarray", data)
    with pytest.raises(Rejected, match=r"^unreadable: "):
        admit(sent, EXPECTED)
