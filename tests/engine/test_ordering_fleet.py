"""The ordering proxy: whatever a grid does to ids, order and timing, clients come back in order."""

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid
from hypothesis import given, settings
from hypothesis import strategies as st

import fedkd
from fedkd.engine import CohortGrid, Fleet, Reply
from fedkd.engine import inline as inline_module
from fedkd.engine.fleet import payload_bytes
from fedkd.engine.host import Host
from fedkd.engine.inline import InlineGrid
from fedkd.errors import RunError
from fedkd.flower import identity


def little_app() -> ClientApp:
    """Answers with who it is; client 2's fit fails, the odd ones send an array."""
    app = ClientApp()

    def about(context: Context) -> ConfigRecord:
        return ConfigRecord({"client": int(context.node_config["partition-id"])})

    @app.query("hello")
    def hello(message: Message, context: Context) -> Message:
        return Message(RecordDict({"about": about(context)}), reply_to=message)

    @app.train("fit")
    def fit(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        if client == 2:
            raise RuntimeError(f"client {client}, round 7, train.fit: ValueError: no\nmore lines")
        content = RecordDict({"about": about(context)})
        if client % 2:
            content["arrays"] = ArrayRecord({"x": Array(np.zeros(client, np.float32))})
        return Message(content, reply_to=message)

    @app.query("snapshot")
    def snapshot(message: Message, context: Context) -> Message:
        assert False, "as always"  # noqa: B011, PT015

    @app.query("silent")
    def silent(message: Message, context: Context) -> Message:
        raise AssertionError

    return app


class ShuffledGrid(InlineGrid):
    """What Flower's simulation is like: random ids, no order, replies when they feel like it."""

    seed = 0

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self.rng = random.Random(self.seed)
        contexts = list(host.contexts.values())
        ids = self.rng.sample(range(10**6, 10**9), len(contexts))
        host.contexts = dict(zip(ids, contexts, strict=True))
        for node, context in host.contexts.items():
            context.node_id = node
        self.ready: list[Message] = []
        self.idle = 0

    def get_node_ids(self) -> Iterable[int]:
        nodes = list(self.host.contexts)
        self.rng.shuffle(nodes)
        return nodes

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        messages = list(messages)
        self.rng.shuffle(messages)
        ids = list(super().push_messages(messages))
        self.rng.shuffle(ids)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        wanted = set(message_ids)
        while due := [key for key in self.pending if key in wanted]:
            self.ready += super().pull_messages([self.rng.choice(due)])
        if self.rng.random() < 0.2:  # late
            self.idle += 1
            return []
        self.rng.shuffle(self.ready)
        some = self.rng.randint(1, max(1, len(self.ready)))
        given, self.ready = self.ready[:some], self.ready[some:]
        return given


@pytest.fixture(autouse=True)
def message_identity() -> Iterator[None]:
    with identity():
        yield


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedkd.engine.fleet.POLL_SECONDS", 0.0)


def grid_of(clients: int, seed: int = 0, app: Callable[[], ClientApp] = little_app) -> ShuffledGrid:
    kind = type("Seeded", (ShuffledGrid,), {"seed": seed})
    grid: ShuffledGrid = kind(Host(app, range(clients), clients))
    return grid


def fleet_of(clients: int, seed: int = 0, **options: Any) -> Fleet:
    fleet = Fleet(grid_of(clients, seed), clients, **options)
    fleet.hello()
    return fleet


def everyone(clients: int) -> dict[int, RecordDict]:
    return dict.fromkeys(range(clients), RecordDict())


# -- hello ---------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), clients=st.integers(1, 9))
def test_nodes_are_mapped_to_clients(seed: int, clients: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedkd.engine.fleet.POLL_SECONDS", 0.0)
        fleet = fleet_of(clients, seed)
    contexts = fleet.grid.host.contexts  # type: ignore[attr-defined]
    assert sorted(fleet.node_of) == list(range(clients))
    for client, node in fleet.node_of.items():
        assert contexts[node].node_config["partition-id"] == client


def partitions(*answers: int, told: int | None = None) -> tuple[Fleet, ShuffledGrid]:
    """Return a fleet whose nodes answer hello with these partition ids."""
    grid = grid_of(len(answers))
    for context, answer in zip(grid.host.contexts.values(), answers, strict=True):
        context.node_config["partition-id"] = answer
    return Fleet(grid, told or len(answers)), grid


@pytest.mark.parametrize("answers", [(0, 1, 1), (1, 2, 3), (0, 2), (0, 0), (-1, 0)])
def test_partitions_that_are_missing_or_double_end_the_run(
    answers: tuple[int, ...], impatient: None
) -> None:
    fleet, _ = partitions(*answers)
    with pytest.raises(RunError, match="nodes answered as partitions"):
        fleet.hello()


def test_a_node_too_many_ends_the_run(impatient: None) -> None:
    fleet, _ = partitions(0, 1, 2, 3, told=3)
    with pytest.raises(RunError, match="nodes answered as partitions"):
        fleet.hello()


def test_a_partition_held_twice_beside_a_full_set_ends_the_run(impatient: None) -> None:
    """Which of the two nodes is client 2 would be a matter of who answered last."""
    fleet, _ = partitions(0, 1, 2, 2, told=3)
    with pytest.raises(RunError):
        fleet.hello()


def test_hello_waits_for_nodes_and_gives_up_in_words(impatient: None) -> None:
    grid, asked = grid_of(3), []
    nodes = list(grid.host.contexts)

    def growing() -> list[int]:
        asked.append(1)
        return nodes[: len(asked)]

    grid.get_node_ids = growing  # type: ignore[method-assign]
    fleet = Fleet(grid, 3)
    fleet.hello()
    assert (len(asked), sorted(fleet.node_of)) == (3, [0, 1, 2])
    with pytest.raises(RunError, match=r"^only 3 of 4 nodes came up$"):
        Fleet(grid, 4).hello(timeout=0.0)


# -- calls ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_replies_are_sorted_by_client(seed: int, impatient: None) -> None:
    steps: list[tuple[int, int]] = []
    fleet = fleet_of(6, seed, progress=lambda _, done, total: steps.append((done, total)))
    steps.clear()
    replies = fleet.call("train.fit", everyone(6), 7)
    assert [reply.client for reply in replies] == list(range(6))
    for reply in replies:
        if reply.client != 2:
            assert reply.ok.config_records["about"]["client"] == reply.client
            assert reply.message is not None
            assert reply.message.metadata.src_node_id == fleet.node_of[reply.client]
            assert reply.message.metadata.group_id == "7"
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[-1] == (6, 6)


def test_a_call_reaches_only_the_clients_it_names(impatient: None) -> None:
    fleet = fleet_of(6)
    contents = {k: RecordDict() for k in (5, 1, 3)}
    assert [reply.client for reply in fleet.call("train.fit", contents, 1)] == [1, 3, 5]
    assert fleet.call("train.fit", {}, 1) == []


def test_an_error_reply_carries_its_one_line_cause(impatient: None) -> None:
    reply = fleet_of(4).call("train.fit", everyone(4), 7)[2]
    assert reply.content is None
    assert reply.error == "client 2, round 7, train.fit: ValueError: no"
    with pytest.raises(RunError, match=r"^client 2, round 7, train.fit: ValueError: no$"):
        _ = reply.ok
    other = fleet_of(1).call("query.snapshot", everyone(1), 1)[0]
    assert other.error is not None
    assert other.error.startswith("as always")
    assert "\n" not in other.error


def test_the_cause_is_found_inside_a_traceback_of_ray(impatient: None) -> None:
    reason = (
        "\x1b[36mray::ClientAppActor.run()\x1b[39m (pid=1)\n  File 'x.py'\n"
        "RuntimeError: client 3, round 12, train.distil: ValueError: bad lr\n\nThe above ..."
    )
    reply = answered_with(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason))
    assert reply.error == "client 3, round 12, train.distil: ValueError: bad lr"


def answered_with(error: Error) -> Reply:
    """Return what the fleet makes of an error reply."""
    fleet = fleet_of(1)
    host = fleet.grid.host  # type: ignore[attr-defined]
    host.handle = lambda message: Message(error, reply_to=message)
    return fleet.call("train.fit", everyone(1), 1)[0]


@pytest.mark.parametrize("reason", [None, ""])
def test_an_error_without_a_reason_is_still_an_error_reply(
    reason: str | None, impatient: None
) -> None:
    """Flower's ``Error(code)`` has no reason: None."""
    assert answered_with(Error(ErrorCode.UNKNOWN, reason)).error


def test_an_exception_without_a_text_is_called_by_its_name(impatient: None) -> None:
    reply = fleet_of(1).call("query.silent", everyone(1), 1)[0]
    assert reply.error is not None
    assert "AssertionError" in reply.error


def test_hello_that_fails_says_why(impatient: None) -> None:
    grid = grid_of(2, app=ClientApp)
    with pytest.raises(RunError) as caught:
        Fleet(grid, 2).hello()
    assert str(caught.value)
    assert "\n" not in str(caught.value)


# -- bytes ---------------------------------------------------------------------------------------


def arrays(size: int) -> ArrayRecord:
    return ArrayRecord({"x": Array(np.zeros(size, np.float32))})


def test_bytes_are_the_arrays_of_training_messages(impatient: None) -> None:
    fleet = fleet_of(4)
    assert fleet.bytes_up == fleet.bytes_down == 0
    content = RecordDict(
        {"a": arrays(10), "b": arrays(5), "config": ConfigRecord({"long": "x" * 99})}
    )
    one = arrays(10).count_bytes() + arrays(5).count_bytes()
    assert payload_bytes(content) == one
    fleet.call("train.fit", dict.fromkeys(range(4), content), 1)
    assert fleet.bytes_down == 4 * one
    assert fleet.bytes_up == arrays(1).count_bytes() + arrays(3).count_bytes()
    before = fleet.bytes_up, fleet.bytes_down
    fleet.call("query.hello", {0: content}, 1)
    assert (fleet.bytes_up, fleet.bytes_down) == before


# -- the cohort ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cohort", [[0], [4, 1, 3], [0, 1, 2, 3, 4]])
def test_a_cohort_grid_shows_exactly_the_cohort(cohort: list[int], impatient: None) -> None:
    fleet = fleet_of(5, seed=3)
    grid = fleet.view(cohort)
    assert isinstance(grid, CohortGrid)
    assert isinstance(grid, Grid)
    nodes = list(grid.get_node_ids())
    assert nodes == [fleet.node_of[k] for k in sorted(cohort)]
    assert grid.run is fleet.grid.run
    messages = [grid.create_message(RecordDict(), "query.hello", node, "1") for node in nodes]
    random.Random(1).shuffle(messages)
    replies = grid.send_and_receive(messages)
    told = [reply.content.config_records["about"]["client"] for reply in replies]
    assert told == sorted(cohort)


def test_a_cohort_grid_pushes_and_pulls(impatient: None) -> None:
    fleet = fleet_of(2)
    grid = fleet.view([1])
    (node,) = grid.get_node_ids()
    waiting = list(grid.push_messages([Message(RecordDict(), node, "query.hello")]))
    replies: list[Message] = []
    while not replies:
        replies = list(grid.pull_messages(waiting))
    assert replies[0].metadata.src_node_id == node


# -- whole runs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["knfu", "fedavg", "local"])
def test_a_shuffled_grid_does_not_change_a_run(
    strategy: str, monkeypatch: pytest.MonkeyPatch, impatient: None
) -> None:
    def run() -> dict[str, Any]:
        result = fedkd.simulate(strategy, clients=5, rounds=2, fraction=0.8, engine="inline")
        keep = ("digest", "bytes_up", "bytes_down", "alma_local", "alma_global", "rejected")
        return {name: result.summary[name] for name in keep}

    straight, made = run(), []

    class Noted(ShuffledGrid):
        def __init__(self, host: Host, cohort: int = 1) -> None:
            super().__init__(host)
            made.append(self)

    monkeypatch.setattr(inline_module, "InlineGrid", Noted)
    for seed in (1, 2):
        Noted.seed = seed
        assert run() == straight
    assert len(made) == 2
    assert any(grid.idle for grid in made), "some replies must have been late"
