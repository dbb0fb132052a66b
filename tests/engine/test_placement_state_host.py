"""Where clients live, what they remember, and what their host answers when they fail."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from fedkd.clients import Client, client_app
from fedkd.clients.standard import Standard
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fedkd import simulate
from fedkd.callbacks import Callback
from fedkd.config import DataConfig, EngineConfig, RunConfig, TransferConfig
from fedkd.engine.host import Host
from fedkd.engine.placement import actors_by_default, gpu_share, place
from fedkd.engine.replies import read
from fedkd.engine.state import (
    ClientState,
    ContextState,
    LiveState,
    Memory,
    load_record,
    state_record,
)
from fedkd.errors import ConfigError
from fedkd.flower import identity
from fedkd.models.resnet8 import ResNet8
from fedkd.run.objects import Objects
from fedkd.run.preparing import prepare_run

# -- placement -----------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 1000), max_size=40), st.integers(1, 12))
def test_every_client_has_one_place(sizes: list[int], actors: int) -> None:
    placed = place(sizes, actors)
    assert sorted(client for clients in placed for client in clients) == list(range(len(sizes)))
    assert len(placed) == min(actors, len(sizes))
    assert all(placed), "no actor is idle while there are clients for it"
    for clients in placed:
        held = [sizes[client] for client in clients]
        assert held == sorted(held, reverse=True)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=40), st.integers(1, 12))
def test_the_load_is_balanced(sizes: list[int], actors: int) -> None:
    """Graham: a list schedule is within one job, less its share, of the even split."""
    loads = [sum(sizes[client] for client in clients) for clients in place(sizes, actors)]
    m = len(loads)
    assert max(loads) <= sum(sizes) / m + (1 - 1 / m) * max(sizes) + 1e-9
    assert max(loads) - min(loads) <= max(sizes)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.integers(1, 4))
def test_longest_first_is_within_a_third_of_the_best(sizes: list[int], actors: int) -> None:
    loads = [sum(sizes[client] for client in clients) for clients in place(sizes, actors)]
    m = len(loads)
    assert max(loads) <= (4 / 3 - 1 / (3 * m)) * best_load(sizes, m) + 1e-9


def best_load(sizes: list[int], actors: int) -> int:
    """Return the smallest possible load of the busiest actor, by dynamic programming."""
    states = {(0,) * actors}
    for size in sizes:
        states = {
            tuple(sorted((*state[:i], state[i] + size, *state[i + 1 :])))
            for state in states
            for i in range(actors)
        }
    return min(max(state) for state in states)


def test_equal_clients_are_dealt_in_turn() -> None:
    assert place([7] * 6, 3) == [[0, 3], [1, 4], [2, 5]]
    assert place([1, 9], 5) == [[1], [0]]
    assert place([], 3) == []


# -- client state --------------------------------------------------------------------------------


class Remembering(Standard):
    """Keeps a running sum beside the model."""

    def fit(self, clients: Sequence[Client]) -> list[dict[str, float]]:
        numbers = super().fit(clients)
        for client in clients:
            seen = client.tensors.get("phases", torch.zeros((), dtype=torch.int64))
            client.tensors["phases"] = seen + 1
            client.tensors["mean"] = client.x.mean(dim=0)
        return numbers


def spec_of(folder: Path, model: str, client: str = "standard") -> str:
    """Prepare a run of three clients on 6x6 images and return its JSON spec."""
    x = np.random.default_rng(0).normal(size=(60, 1, 6, 6)).astype(np.float32)
    y = np.arange(60) % 3
    config = RunConfig(
        strategy={"name": "local"},
        client={"name": client},
        model=model,
        clients=3,
        data=DataConfig(alpha=None, samples_per_client=9),
        transfer=TransferConfig(size=12),
    )
    return prepare_run(config, folder, Objects(data=(x, y))).spec


@pytest.fixture(autouse=True)
def message_identity() -> Iterator[None]:
    with identity():
        yield


def host_of(spec: str, state: ClientState) -> Host:
    return Host(lambda: client_app(spec, state=state), range(3), 3)


def fit(node: int, round_: int, **options: str | float | int) -> Message:
    content = RecordDict({"config": ConfigRecord({"round": round_, **options})})
    return Message(content, node, "train.fit", group_id=str(round_))


def distil(node: int, round_: int) -> Message:
    teacher = torch.randn(12, 3, generator=torch.Generator().manual_seed(node)).softmax(dim=-1)
    content = RecordDict(
        {
            "config": ConfigRecord({"round": round_, "kind": "soft_labels", "evaluate": 0}),
            "teacher": ArrayRecord({"values": Array(teacher.numpy())}),
        }
    )
    return Message(content, node, "train.distil", group_id=str(round_))


def snapshot(host: Host, node: int) -> dict[str, bytes]:
    reply = host.handle(Message(RecordDict(), node, "query.snapshot", group_id="0"))
    assert reply.has_content(), reply.error.reason
    return {name: array.data for name, array in reply.content.array_records["arrays"].items()}


@pytest.mark.parametrize("model", ["resnet8", "mlp", "lenet5"])
def test_context_and_live_state_are_the_same(model: str, tmp_path: Path) -> None:
    """Flower's round trip through Context.state costs not a bit, buffers included."""
    spec = spec_of(tmp_path, model, f"{__file__}:Remembering")
    live, context = LiveState(), ContextState()
    hosts = host_of(spec, live), host_of(spec, context)
    for round_ in (1, 2):
        for node in (1002, 1000):  # 1001 is never trained
            for make in (fit, distil):
                one, two = (host.handle(make(node, round_)) for host in hosts)
                assert one.has_content(), one.error.reason
                numbers = [
                    {k: v for k, v in read(0, [r], None).numbers.items() if "sec" not in k}
                    for r in (one, two)
                ]
                assert numbers[0] == numbers[1]
    for node in (1000, 1001, 1002):
        assert snapshot(hosts[0], node) == snapshot(hosts[1], node)
    assert snapshot(hosts[0], 1000) != snapshot(hosts[0], 1001)
    kept = hosts[1].contexts[1002].state.array_records["tensors"].to_torch_state_dict()
    assert kept["phases"].item() == 2
    assert live.memories[1002].tensors["phases"].item() == 2
    assert torch.equal(kept["mean"], live.memories[1002].tensors["mean"])


def test_integer_buffers_stay_integers(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "resnet8")
    state = ContextState()
    host = host_of(spec, state)
    for round_ in (1, 2, 3):
        assert host.handle(fit(1000, round_)).has_content()
    memory = state.load(host.contexts[1000], lambda: ResNet8((1, 6, 6), 3))
    counts = {k: v for k, v in memory.model.state_dict().items() if k.endswith("batches_tracked")}
    assert counts
    assert all(value.dtype == torch.int64 and value.item() == 6 for value in counts.values())


class FailsAfterTraining(Standard):
    def predict(self, clients: Sequence[Client], x: Tensor) -> list[Tensor]:
        raise RuntimeError("too late")


def test_a_failed_phase_leaves_the_same_model_everywhere(tmp_path: Path) -> None:
    """Otherwise the ray and the flower engine part ways at a client's first exception."""
    spec = spec_of(tmp_path, "mlp", f"{__file__}:FailsAfterTraining")
    hosts = host_of(spec, LiveState()), host_of(spec, ContextState())
    for host in hosts:
        reply = host.handle(fit(1000, 1, upload=True, kind="soft_labels", temperature=1.0))
        assert reply.has_error()
    assert snapshot(hosts[0], 1000) == snapshot(hosts[1], 1000)


def test_state_of_a_fresh_context() -> None:
    context = Context(1, 1000, {"partition-id": 0}, RecordDict(), {})
    for state in (LiveState(), ContextState()):
        memory = state.load(context, lambda: nn.Linear(2, 1))
        assert memory.tensors == {}
        state.commit(context, Memory(memory.model, {"a": torch.ones(2, 2)}))
        again = state.load(context, lambda: nn.Linear(2, 1))
        assert torch.equal(again.tensors["a"], torch.ones(2, 2))
        assert torch.equal(again.model.weight, memory.model.weight)


def test_load_record_casts_to_what_the_model_has() -> None:
    model = nn.BatchNorm1d(2)
    like = model.state_dict()
    floats = {
        "weight": np.array([1.5, -2.0], np.float64),
        "bias": np.array([0.25, 3.0], np.float16),
        "running_mean": np.array([1, 2], np.int64),
        "running_var": np.array([4.0, 5.0], np.float32),
        "num_batches_tracked": np.array(7.0),
    }
    load_record(model, ArrayRecord({name: Array(value) for name, value in floats.items()}))
    for name, value in model.state_dict().items():
        assert value.dtype == like[name].dtype
        assert value.tolist() == floats[name].tolist()
    assert model.weight.requires_grad


def test_load_record_rounds_means_of_integers() -> None:
    """Ten clients with one step each: ten times 0.1 is 0.9999999999999999 in floating point."""
    model = nn.BatchNorm1d(1)
    record = state_record(model)
    record["num_batches_tracked"] = Array(np.array(sum([0.1] * 10)))
    load_record(model, record)
    assert model.num_batches_tracked is not None
    assert model.num_batches_tracked.item() == 1


def test_a_record_survives_the_round_trip_through_flower() -> None:
    model, other = ResNet8((1, 6, 6), 3), ResNet8((1, 6, 6), 3)
    model(torch.randn(5, 1, 6, 6))
    load_record(other, state_record(model))
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])


# -- the host ------------------------------------------------------------------------------------


def failing_app() -> ClientApp:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        raise ValueError("no data left")

    @app.query()
    def query(message: Message, context: Context) -> Message:
        content = RecordDict({"about": ConfigRecord(dict(context.node_config))})
        return Message(content, reply_to=message)

    return app


def test_a_failing_app_gives_an_error_reply_with_its_traceback() -> None:
    host = Host(failing_app, [4], 9)
    reply = host.handle(Message(RecordDict(), 1004, "train", group_id="1"))
    assert reply.has_error()
    assert not reply.has_content()
    first, *below = reply.error.reason.splitlines()
    assert first.startswith("no data left")
    assert below[0] == "Traceback (most recent call last):"
    assert any("in train" in line for line in below)
    assert "ValueError: no data left" in reply.error.reason


def test_replies_carry_ids_and_addresses() -> None:
    host = Host(failing_app, [4, 2], 9)
    for kind in ("query", "train"):
        asked = Message(RecordDict(), 1002, kind, group_id="3")
        reply = host.handle(asked)
        assert reply.metadata.message_id
        assert reply.metadata.src_node_id == 1002
        assert reply.metadata.group_id == "3"
    about = host.handle(Message(RecordDict(), 1004, "query")).content.config_records["about"]
    assert dict(about) == {"partition-id": 4, "num-partitions": 9}


def test_unknown_nodes_and_actions_are_error_replies() -> None:
    host = Host(failing_app, [4], 9)
    assert host.handle(Message(RecordDict(), 1005, "query")).has_error()
    assert host.handle(Message(RecordDict(), 1004, "query.nothing")).has_error()


def test_a_clients_exception_names_client_round_and_phase(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "mlp", f"{__file__}:FailsAfterTraining")
    host = host_of(spec, LiveState())
    reply = host.handle(fit(1002, 4, upload=True, kind="soft_labels", temperature=1.0))
    first = reply.error.reason.splitlines()[0]
    assert first.startswith("client 2, round 4, train.fit: RuntimeError: too late")


NAMES = ("_task_id", "_run_id", "_node_id")


@pytest.mark.parametrize("fails", [False, True])
def test_identity_is_given_back(fails: bool) -> None:
    with identity():
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 11, 12, 13
        try:
            with identity():
                assert TaskIdentity.run_id == 1
                Message(RecordDict(), 5, "query")
                if fails:
                    raise KeyError
        except KeyError:
            assert fails
        assert [getattr(TaskIdentity, name) for name in NAMES] == [11, 12, 13]


def test_actors_on_a_gpu_get_a_share_of_it() -> None:
    assert gpu_share(EngineConfig(), "cuda", 2, 8) == 0.25
    assert gpu_share(EngineConfig(actors=3), "cuda", 1, 8) * 3 <= 1
    assert gpu_share(EngineConfig(gpus_per_actor=0.5), "cuda", 1, 8) == 0.5
    assert gpu_share(EngineConfig(name="inline"), "cuda", 1, 8) == 0
    with pytest.raises(ConfigError, match=r"engine\.gpus_per_actor=0: Ray hides GPUs"):
        gpu_share(EngineConfig(gpus_per_actor=0), "cuda", 1, 8)


def test_few_actors_share_a_gpu_if_clients_train_side_by_side() -> None:
    def actors(device: str = "cuda", **engine: object) -> int | None:
        return actors_by_default(EngineConfig(**engine), device, 2, 6)

    assert actors() == 6, "there are no more cores"
    assert actors_by_default(EngineConfig(), "cuda", 1, 16) == 4
    assert actors(stack="off") is actors("cpu") is actors(name="flower") is None
    assert actors(address="auto") is None, "other machines have GPUs, too"
    assert actors(actors=3) == 3


@pytest.mark.parametrize("fails", [False, True])
def test_a_run_computes_with_one_thread_and_gives_back_the_others(fails: bool) -> None:
    """Sums on several threads end otherwise on another machine."""
    seen, before = set(), torch.get_num_threads()

    class Watch(Callback):
        def on_phase(self, round_: int, phase: str, done: int, total: int) -> None:
            seen.add(torch.get_num_threads())
            if fails:
                raise KeyboardInterrupt

    torch.set_num_threads(3)
    try:
        with suppress(KeyboardInterrupt):
            simulate("local", clients=2, rounds=1, engine="inline", callbacks=[Watch()])
        assert (seen, torch.get_num_threads()) == ({1}, 3)
    finally:
        torch.set_num_threads(before)
