"""Flower's strategies under our rounds: the same arithmetic, our cohort, our order, our checks."""

import copy
import functools
import io
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fedkd.clients import Client
from fedkd.clients.standard import Standard
from fedkd.strategies.fedadam import FedAdam
from fedkd.strategies.fedavg import FedAvg
from fedkd.strategies.fedprox import FedProx
from fedkd.strategies.flower_adapter import FlowerStrategy, adapt
from fedkd.strategies.flower_replies import check_parameters
from flwr.app import Array, ArrayRecord, Message
from flwr.serverapp import strategy as flower
from torch import Tensor, nn

import fedkd
from fedkd.callbacks import Callback, RoundRecord
from fedkd.data import Federation
from fedkd.engine import Fleet, Reply
from fedkd.errors import ConfigError, RunError
from fedkd.knowledge import to_tensor
from fedkd.knowledge.admission import Rejected
from fedkd.models import build
from fedkd.models.mlp import MLP
from fedkd.rng import scoped, stream
from fedkd.rounds.protocol import Outcome, RoundPlan
from fedkd.run.result import RunResult

State = dict[str, Tensor]


def run(strategy: Any, **settings: Any) -> RunResult:
    settings = {"clients": 5, "rounds": 2, "engine": "inline"} | settings
    return fedkd.simulate(strategy, **settings)


def tensors(record: ArrayRecord) -> State:
    return {name: to_tensor(array) for name, array in record.items()}


# -- what is admitted ----------------------------------------------------------------------------


def record(**arrays: np.ndarray) -> ArrayRecord:
    return ArrayRecord({name: Array(array) for name, array in arrays.items()})


def model_record(**changed: np.ndarray) -> ArrayRecord:
    good = {"w": np.ones((2, 3), np.float32), "steps": np.array(4)}
    return record(**(good | changed))


LIKE = tensors(model_record())


def test_a_good_reply_is_admitted() -> None:
    check_parameters(model_record(), LIKE)
    check_parameters(model_record(w=np.full((2, 3), -1e6, np.float32)), LIKE)


@pytest.mark.parametrize(
    ("got", "reason"),
    [
        (None, "parameters: not the model's names"),
        (record(), "parameters"),
        (record(w=np.ones((2, 3), np.float32)), "parameters"),
        (model_record(more=np.ones(1, np.float32)), "parameters"),
        (record(steps=np.array(4), w=np.ones((2, 3), np.float32)), "parameters"),
        (model_record(w=np.ones((3, 2), np.float32)), r"shape: w is \(3, 2\), expected \(2, 3\)"),
        (model_record(w=np.ones(6, np.float32)), "shape: w"),
        (model_record(w=np.ones(1, np.float32)), "shape: w"),
        (model_record(steps=np.array([4])), r"shape: steps is \(1,\), expected \(\)"),
        (model_record(w=np.full((2, 3), np.nan, np.float32)), "finite: w contains NaN or infinity"),
        (model_record(w=np.full((2, 3), np.inf, np.float32)), "finite: w"),
        (model_record(w=np.full((2, 3), -3e38, np.float32)), r"magnitude: w has 3e\+38, above 1e"),
        (model_record(w=np.full((2, 3), "x")), "dtype: w is <U1, expected float32"),
    ],
)
def test_bad_parameters_are_rejected_with_the_reason(got: ArrayRecord, reason: str) -> None:
    with pytest.raises(Rejected, match=f"^{reason}"):
        check_parameters(got, LIKE)


@pytest.mark.parametrize("data", [b"", b"junk", b"\x93NUMPY\x01\x00"])
def test_unreadable_bytes_are_rejected(data: bytes) -> None:
    got = model_record()
    got["w"] = Array("float32", (2, 3), "numpy.ndarray", data)
    with pytest.raises(Rejected, match=r"^unreadable"):
        check_parameters(got, LIKE)


@pytest.mark.parametrize("shape", [(1,), (3,), (7,)])
def test_the_shape_of_the_bytes_counts(shape: tuple[int, ...]) -> None:
    """Bytes of another shape would be broadcast into the sum, or end the run."""
    buffer = io.BytesIO()
    np.save(buffer, np.ones(shape, np.float32))
    got = model_record()
    got["w"] = Array("float32", (2, 3), "numpy.ndarray", buffer.getvalue())
    with pytest.raises(Rejected, match=r"^shape"):
        check_parameters(got, LIKE)


@pytest.mark.parametrize("dtype", [np.float64, np.complex64, np.int64])
def test_another_dtype_is_rejected(dtype: Any) -> None:
    """Design, one round: shape, dtype, finite. One float64 client makes the mean float64."""
    with pytest.raises(Rejected):
        check_parameters(model_record(w=np.ones((2, 3), dtype)), LIKE)


# -- the arithmetic ------------------------------------------------------------------------------


class Recording:
    """Keeps what is sent to and comes back from ``train``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[list[Message]] = []
        self.replies: list[list[Reply]] = []
        send = Fleet.send

        def recorded(fleet: Fleet, messages: Sequence[Message]) -> list[Reply]:
            replies = send(fleet, messages)
            if messages[0].metadata.message_type.startswith("train"):
                self.sent.append(list(messages))
                # Copied: some of Flower's strategies take the arrays out of the replies.
                self.replies.append([Reply(r.client, copy.deepcopy(r.content)) for r in replies])
            return replies

        monkeypatch.setattr(Fleet, "send", recorded)

    def uploads(self, round_: int) -> list[tuple[float, State]]:
        """Return each client's (samples, model) of a round, in the order they were handed on."""
        contents = [reply.ok for reply in self.replies[round_ - 1]]
        sizes = [content.metric_records["metrics"]["num-examples"] for content in contents]
        states = [tensors(content.array_records["arrays"]) for content in contents]
        return list(zip(sizes, states, strict=True))  # type: ignore[arg-type]

    def mean(self, round_: int) -> State:
        """Return the sample-weighted mean of a round's uploads, in double precision."""
        uploads = self.uploads(round_)
        total = sum(size for size, _ in uploads)
        return {
            name: sum(size / total * state[name].double() for size, state in uploads)  # type: ignore[misc]
            for name in uploads[0][1]
        }


UNEQUAL = {"data.partitioner": {"name": "dirichlet"}, "data.alpha": 1.0, "fit.batch_size": 16}


def close(got: State, expected: State, atol: float = 1e-6) -> None:
    assert list(got) == list(expected)
    for name, value in got.items():
        torch.testing.assert_close(value.double(), expected[name].double(), atol=atol, rtol=0)


def test_fedavg_is_the_sample_weighted_mean_of_the_uploads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recording, strategy = Recording(monkeypatch), FedAvg()
    result = run(strategy, **UNEQUAL)
    sizes = [size for size, _ in recording.uploads(1)]
    assert len(set(sizes)) > 1, "the weights must matter"
    sent = [tensors(message.content.array_records["arrays"]) for message in recording.sent[1]]
    for state in sent:
        close(state, recording.mean(1))
    close(strategy.arrays(), recording.mean(2))
    for client in range(5):
        close(dict(result.model(client).state_dict()), strategy.arrays(), atol=0)


def test_fedavg_round_1_by_hand() -> None:
    """Client 0's initial model, trained at every client by hand, and the mean of the results."""
    strategy = FedAvg()
    result = run(strategy, rounds=1, **UNEQUAL)
    locator = json.loads((result.run_dir / "spec.json").read_text())["data"]
    federation = Federation.open(locator)
    total, states, sizes = 0, [], []
    for client in range(5):
        with scoped(stream(0, 0, 0, "model")):
            model = build("mlp", federation.shape, federation.classes)
        x, y = federation.client(client)
        generator = torch.Generator().manual_seed(stream(0, client, 1, "fit"))
        train_by_hand(model, x, y, generator, epochs=2, size=16)
        states.append(model.state_dict())
        sizes.append(len(x))
        total += len(x)
    expected = {
        name: sum(n / total * state[name].double() for n, state in zip(sizes, states, strict=True))
        for name in states[0]
    }
    close(strategy.arrays(), expected, atol=1e-5)  # type: ignore[arg-type]


def train_by_hand(
    model: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator, epochs: int, size: int
) -> None:
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    for _ in range(epochs):
        parts = list(torch.randperm(len(x), generator=generator).split(size))
        if len(parts) > 1 and len(parts[-1]) == 1:
            parts[-2:] = [torch.cat(parts[-2:])]
        for rows in parts:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()


def test_fedprox_with_mu_0_is_fedavg() -> None:
    fedavg = run("fedavg")
    assert (
        run({"name": "fedprox", "proximal_mu": 0.0}).summary["digest"] == (fedavg.summary["digest"])
    )
    held = run({"name": "fedprox", "proximal_mu": 1.0})
    assert held.summary["digest"] != fedavg.summary["digest"]


def test_fedprox_holds_clients_near_the_global_model(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = []
    for mu in (0.0, 0.5, 5.0):
        with monkeypatch.context() as patch:
            recording = Recording(patch)
            run(FedProx(proximal_mu=mu), rounds=1)
            start = tensors(recording.sent[0][0].content.array_records["arrays"])
            moved.append(
                sum(
                    (state[name] - start[name]).norm().item()
                    for _, state in recording.uploads(1)
                    for name in start
                )
            )
    assert moved[0] > moved[1] > moved[2] > 0


def test_fedadam_keeps_its_moments_over_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rounds of Adam on the mean change, with bias correction as Flower has it."""
    recording, strategy = Recording(monkeypatch), FedAdam(eta=0.05, beta_1=0.8, beta_2=0.9, tau=0.1)
    run(strategy, rounds=3)
    current = tensors(recording.sent[0][0].content.array_records["arrays"])
    current = {name: value.double() for name, value in current.items()}
    m = {name: torch.zeros_like(value) for name, value in current.items()}
    v = {name: torch.zeros_like(value) for name, value in current.items()}
    for round_ in (1, 2, 3):
        change = {name: mean - current[name] for name, mean in recording.mean(round_).items()}
        rate = 0.05 * np.sqrt(1 - 0.9 ** (round_ + 1)) / (1 - 0.8 ** (round_ + 1))
        for name, delta in change.items():
            m[name] = 0.8 * m[name] + 0.2 * delta
            v[name] = 0.9 * v[name] + 0.1 * delta**2
            current[name] = current[name] + rate * m[name] / (v[name].sqrt() + 0.1)
    close(strategy.arrays(), current, atol=1e-5)
    assert strategy.inner.m_t is not None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("FedAvgM", {"server_momentum": 0.5, "server_learning_rate": 1.0}),
        ("FedMedian", {}),
        ("Krum", {"num_malicious_nodes": 1}),
        ("FedYogi", {"eta": 0.01}),
    ],
)
def test_any_strategy_of_flower_runs_by_its_name(name: str, parameters: dict) -> None:
    node = {"name": f"flwr.serverapp.strategy:{name}", **parameters}
    result = run(node, fraction=0.8)
    assert result.rounds["participants"].to_pylist() == [4, 4]
    assert result.summary["rejected"] == 0
    assert result.summary["alma_global"]["last"] > 0
    assert result.summary["bytes_up"] > 0


def test_flower_median_is_the_median_of_the_uploads(monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Recording(monkeypatch)
    kind = adapt(flower.FedMedian)
    assert kind is not None
    strategy = kind()
    run(strategy, rounds=1)
    states = [state for _, state in recording.uploads(1)]
    expected = {name: torch.stack([s[name] for s in states]).median(0).values for name in states[0]}
    close(strategy.arrays(), expected)


def test_only_strategies_of_flower_are_adapted() -> None:
    assert adapt(dict) is None
    adapted = adapt(flower.FedAvgM)
    assert adapted is not None
    assert issubclass(adapted, FlowerStrategy)
    assert adapted.__name__ == "FedAvgM"
    assert adapted.homogeneous


@pytest.mark.parametrize(
    "node",
    [
        {"name": "fedprox", "proximal_mu": -1.0},
        {"name": "fedadam", "eta": 0.0},
        {"name": "fedadam", "beta_1": 1.0},
        {"name": "flwr.serverapp.strategy:FedAvgM", "sever_momentum": 0.5},
        {"name": "flwr.serverapp.strategy:Nope"},
    ],
)
def test_bad_parameters_are_refused_before_the_run(node: dict) -> None:
    with pytest.raises(ConfigError, match=r"^strategy"):
        run(node)


# -- the cohort, the generators, the clients -----------------------------------------------------


@pytest.mark.parametrize("fraction", [0.2, 0.6, 1.0])
def test_exactly_the_cohort_trains(fraction: float, monkeypatch: pytest.MonkeyPatch) -> None:
    recording, cohorts = Recording(monkeypatch), []
    original = FlowerStrategy.round

    def watched(strategy: FlowerStrategy, plan: RoundPlan) -> Outcome:
        cohorts.append(plan.cohort)
        return original(strategy, plan)

    monkeypatch.setattr(FlowerStrategy, "round", watched)
    run("fedavg", fraction=fraction, rounds=3)
    for cohort, replies in zip(cohorts, recording.replies, strict=True):
        assert [reply.client for reply in replies] == cohort
        assert len(cohort) == round(5 * fraction)


def test_a_run_leaves_the_global_random_generator_alone() -> None:
    """Flower samples nodes with it; it must neither move nor matter."""
    random.seed(123)
    before = random.getstate()
    first = run("fedavg", fraction=0.6)
    assert random.getstate() == before
    random.seed(456)
    assert run("fedavg", fraction=0.6).summary["digest"] == first.summary["digest"]


class Small(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 10))


@pytest.mark.parametrize("strategy", ["fedavg", "flwr.serverapp.strategy:FedAvgM"])
def test_different_models_are_refused(strategy: str) -> None:
    with pytest.raises(ConfigError, match="all clients need the same one") as caught:
        run(strategy, model=["mlp", Small])
    assert caught.value.key == "model"
    assert run("fedavg", model=[MLP, "mlp"], rounds=1).summary["rounds"] == 1


@pytest.mark.parametrize(
    "models",
    [
        [functools.partial(MLP, hidden=8), MLP],
        [lambda: MLP((64,), 10), lambda: MLP((64,), 10, hidden=8)],
    ],
    ids=["partial", "lambda"],
)
def test_different_models_of_one_name_are_refused(models: list) -> None:
    with pytest.raises(ConfigError) as caught:
        run("fedavg", model=models, rounds=1)
    assert caught.value.key == "model"


class Odd(Standard):
    """Client 1's training diverges."""

    def fit(self, clients: Sequence[Client]) -> list[dict[str, float]]:
        numbers = super().fit(clients)
        if clients[0].index == 1:
            next(clients[0].model.parameters()).data.fill_(float("nan"))
        return numbers


class Names(Callback):
    def __init__(self) -> None:
        self.rejected: list[dict[int, str]] = []

    def on_round(self, record: RoundRecord) -> None:
        self.rejected.append(record.rejected)


def test_a_client_with_nan_never_reaches_the_sum() -> None:
    names, strategy = Names(), FedAvg()
    result = run(strategy, client=f"{__file__}:Odd", callbacks=[names])
    assert names.rejected == [{1: "finite: 1.weight contains NaN or infinity"}] * 2
    assert result.summary["rejected"] == 2
    assert all(value.isfinite().all() for value in strategy.arrays().values())


@pytest.mark.parametrize("claim", [float("nan"), float("inf"), -12.0, None])
def test_a_client_with_an_odd_weight_never_reaches_the_sum(
    claim: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weight of a mean is part of what a client sends, and as able to ruin it."""
    send = Fleet.send

    def tampered(fleet: Fleet, messages: Sequence[Message]) -> list[Reply]:
        replies = send(fleet, messages)
        for reply in replies:
            if reply.client == 1 and messages[0].metadata.message_type.startswith("train"):
                metrics = reply.ok.metric_records["metrics"]
                if claim is None:
                    del metrics["num-examples"]
                else:
                    metrics["num-examples"] = claim
        return replies

    monkeypatch.setattr(Fleet, "send", tampered)
    names, strategy = Names(), FedAvg()
    run(strategy, rounds=1, callbacks=[names])
    assert list(names.rejected[0]) == [1]
    assert all(value.isfinite().all() for value in strategy.arrays().values())


def test_a_metric_that_no_client_sends_is_named_with_those_that_there_are() -> None:
    strategy = FlowerStrategy(flower.QFedAvg(client_learning_rate=0.1))
    with pytest.raises(RunError, match=r"lacks train_loss, which .* \(there: loss_fit, num-exam"):
        run(strategy, rounds=1)


def test_one_bad_reply_where_flower_needs_all_skips_the_round() -> None:
    strategy = FlowerStrategy(flower.Bulyan(num_malicious_nodes=1))  # needs seven
    result = run(strategy, clients=7, client=f"{__file__}:Odd")
    assert (result.summary["rejected"], result.rounds["skipped"].to_pylist()) == (2, [1, 1])


def test_too_few_clients_for_flower_even_if_all_reply_end_the_run() -> None:
    strategy = FlowerStrategy(flower.Bulyan(num_malicious_nodes=1))
    with pytest.raises(RunError, match="nothing in round 1, of 5 clients; it may need more"):
        run(strategy, rounds=1)


@pytest.mark.parametrize("given", [flower.FedAvg(), flower.FedAvg, 3])
def test_what_is_no_strategy_is_refused_with_the_remedy(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"^strategy=\S+: must be .* FlowerStrategy\(\.\.\.\)$"):
        run(given)


def test_weights_that_are_all_0_are_said() -> None:
    strategy = FlowerStrategy(flower.FedAvg(weighted_by_key="loss_fit"))
    with pytest.raises(RunError, match=r"nothing in round 1, .* or weights above 0"):
        run(strategy, rounds=1, **{"fit.epochs": 0})


def test_a_strategy_that_was_not_started_has_no_model() -> None:
    with pytest.raises(RunError, match="was not started"):
        FedAvg().broadcast()


def test_batch_norm_is_averaged_and_keeps_its_types(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(90, 1, 6, 6)).astype(np.float32)
    y = np.arange(90) % 3
    result = run(
        "fedavg", data=(x, y), model="resnet8", clients=2, run_dir=str(tmp_path / "run"),
        transfer={"size": 9}, **{"data.alpha": None, "data.samples_per_client": 10},
    )  # fmt: skip
    state = result.model(0).state_dict()
    steps = [value for name, value in state.items() if name.endswith("num_batches_tracked")]
    assert steps
    assert {step.dtype for step in steps} == {torch.int64}
    assert {int(step) for step in steps} == {4}, "two rounds of two epochs of one batch"


def test_batch_norm_counts_survive_the_mean_of_ten_clients() -> None:
    x = np.random.default_rng(0).normal(size=(140, 1, 6, 6)).astype(np.float32)
    y = np.arange(140) % 2
    result = run(
        "fedavg", data=(x, y), model="resnet8", clients=10, rounds=1, fit={"epochs": 1},
        transfer={"size": 8}, **{"data.alpha": None, "data.samples_per_client": 8},
    )  # fmt: skip
    state = result.model(0).state_dict()
    steps = [value for name, value in state.items() if name.endswith("num_batches_tracked")]
    assert {int(step) for step in steps} == {1}


# -- what would not do what its user expects ------------------------------------------------------


@pytest.mark.parametrize(
    ("inner", "problem"),
    [
        (
            flower.FedAvg(fraction_train=0.5),
            r"FedAvg\(fraction_train=0.5\): has no effect.*use",
        ),
        (flower.Krum(min_train_nodes=7), r"Krum\(min_train_nodes=7\): has no effect.*min_clients"),
        (flower.FedAvg(fraction_evaluate=0.1), r"has no effect: the run measures every client"),
        (
            flower.DifferentialPrivacyServerSideFixedClipping(
                flower.FedAvg(fraction_train=0.5), 1.0, 1.0, 5
            ),
            r"FedAvg\(fraction_train=0.5\)",
        ),
        (
            flower.DifferentialPrivacyClientSideFixedClipping(flower.FedAvg(), 1.0, 1.0, 5),
            "relies on clients that clip by Flower's mod.*ServerSide",
        ),
        (
            flower.DifferentialPrivacyClientSideAdaptiveClipping(flower.FedAvg(), 0.1, 500),
            "relies on clients that clip by Flower's mod.*ServerSide",
        ),
    ],
    ids=["fraction", "nodes", "evaluation", "wrapped", "fixed", "adaptive"],
)
def test_an_object_whose_parameters_have_no_effect_is_refused(inner: Any, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"strategy=.*{problem}"):
        run(FlowerStrategy(inner))


def test_an_object_may_serve_two_runs() -> None:
    strategy = FlowerStrategy(flower.FedAvg())
    digests = {run(copy.deepcopy(strategy)).summary["digest"] for _ in range(2)}
    run(strategy)
    assert run(strategy).summary["rejected"] == 0  # what the first run set is no parameter
    assert len(digests) == 1
