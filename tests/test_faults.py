"""Simulated faults: drawn as configured, the same on every engine, and every loss on record."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fedkd.clients.base import Client
from fedkd.clients.standard import Standard
from fedkd.strategies.fedavg import FedAvg
from flwr.app import Context, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import fedkd
from fedkd.callbacks import Callback
from fedkd.config import EngineConfig, FaultsConfig, RunConfig
from fedkd.engine import shared_ray
from fedkd.engine.faults import Faults
from fedkd.engine.state import LiveState

KINDS = {"dropout": "dropped_out", "straggler": "late", "crash": "crashed"}
PAIRS = list(product(range(50), range(80)))
SOME = {"dropout": 0.3, "straggler": 0.25, "crash": 0.2}
SMALL: dict[str, Any] = {"clients": 8, "rounds": 3, "engine": "inline"}
shares = st.floats(0, 0.99)
configs = st.builds(FaultsConfig, dropout=shares, straggler=shares, crash=shares)


def under(**chances: float) -> dict[str, float]:
    return {f"faults.{name}": chance for name, chance in chances.items()}


def struck(seed: int = 0, **chances: float) -> np.ndarray:
    """Return who is lost, over `PAIRS`."""
    faults = Faults(FaultsConfig(**chances), seed)
    return np.array([faults.of(*pair) is not None for pair in PAIRS])


# -- the draws -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("chance", [0.03, 0.5, 0.9])
def test_the_share_of_lost_clients_is_as_configured(name: str, chance: float) -> None:
    sigma = (chance * (1 - chance) / len(PAIRS)) ** 0.5
    assert struck(**{name: chance}).mean() == pytest.approx(chance, abs=4 * sigma)


@pytest.mark.parametrize(("one", "two"), [("dropout", "straggler"), ("crash", "dropout")])
def test_kinds_are_independent(one: str, two: str) -> None:
    both = struck(**{one: 0.5}) & struck(**{two: 0.5})
    assert both.mean() == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / len(PAIRS)) ** 0.5)


@pytest.mark.parametrize("axis", [0, 1])
def test_clients_and_rounds_are_independent(axis: int) -> None:
    table = np.moveaxis(struck(dropout=0.5).reshape(50, 80), axis, 0)
    agree = (table[1:] == table[:-1]).mean()
    assert agree == pytest.approx(0.5, abs=4 * 0.5 / len(PAIRS) ** 0.5)


@settings(max_examples=50, deadline=None)
@given(configs, st.integers(0, 2**40), st.integers(1, 10**6))
def test_draws_are_reproducible_and_need_nobody_else(
    config: FaultsConfig, seed: int, round_: int
) -> None:
    whole = Faults(config, seed).of_round(range(20), round_)
    assert Faults(config, seed).of_round(range(10, 20), round_) == {
        client: fault for client, fault in whole.items() if client >= 10
    }
    for client, fault in whole.items():
        assert fault == Faults(config, seed).of(client, round_)
        assert getattr(config, next(name for name, kind in KINDS.items() if kind == fault.kind))


@settings(max_examples=50, deadline=None)
@given(configs, st.sampled_from(list(KINDS)), st.integers(0, 999))
def test_one_kind_does_not_move_another(config: FaultsConfig, name: str, seed: int) -> None:
    """Switching a kind off leaves the clients of the others lost to what they were lost to."""
    every = Faults(config, seed).of_round(range(30), 1)
    fewer = Faults(FaultsConfig(**{**vars(config), name: 0.0}), seed).of_round(range(30), 1)
    for client, fault in every.items():
        if fault.kind != KINDS[name]:
            assert fewer[client] == fault
    assert set(fewer) <= set(every)


@settings(max_examples=30, deadline=None)
@given(shares, shares, st.integers(0, 999))
def test_a_higher_chance_only_adds_clients(one: float, two: float, seed: int) -> None:
    few, many = (
        Faults(FaultsConfig(straggler=chance), seed).of_round(range(40), 2)
        for chance in sorted((one, two))
    )
    assert set(few) <= set(many)


@settings(max_examples=50, deadline=None)
@given(st.floats(0.001, 0.99), st.integers(0, 999))
def test_who_is_late_took_longer_than_the_deadline(chance: float, seed: int) -> None:
    deadlines = set()
    for fault in Faults(FaultsConfig(straggler=chance), seed).of_round(range(40), 3).values():
        took, deadline = (float(word) for word in fault.reason.split() if word[0].isdigit())
        assert took >= deadline
        deadlines.add(deadline)
    assert len(deadlines) <= 1


def test_without_faults_nobody_is_lost() -> None:
    assert not struck().any()


def test_more_clients_than_a_round_has_cannot_be_asked_for() -> None:
    RunConfig(clients=10, fraction=0.3, min_clients=3).check()
    with pytest.raises(fedkd.ConfigError, match=r"^min_clients=4: .* only 3 clients"):
        RunConfig(clients=10, fraction=0.3, min_clients=4).check()


# -- runs ----------------------------------------------------------------------------------------


class Noted(Standard):
    """Writes down who works; clients from `broken` on fail."""

    def __init__(self, to: str = "", broken: int = 99, **base: Any) -> None:
        super().__init__(**base)
        self.to, self.broken = to, broken

    def _note(self, client: Client, phase: str) -> None:
        with Path(self.to).open("a") as file:
            file.write(f"{client.index} {phase}\n")

    def fit(self, clients: Any) -> Any:
        if clients[0].index >= self.broken:
            raise FloatingPointError("really broken")
        self._note(clients[0], "fit")
        return super().fit(clients)

    def distil(self, clients: Any, *more: Any) -> Any:
        self._note(clients[0], "distil")
        return super().distil(clients, *more)


class Watcher(Callback):
    """Keeps the records, and the server's arrays after each round."""

    def __init__(self, strategy: Any = None) -> None:
        self.strategy, self.records, self.arrays = strategy, [], []

    def on_round(self, record: Any) -> None:
        self.records.append(record)
        if self.strategy is not None:
            self.arrays.append({k: v.clone() for k, v in self.strategy.arrays().items()})


def losses(result: Any, *metrics: str) -> set[tuple[int, int, str]]:
    rows = result.clients.to_pylist()
    return {(r["round"], r["client"], r["metric"]) for r in rows if r["metric"] in metrics}


def expected(chances: dict[str, float], clients: int, rounds: int) -> list[dict[int, Any]]:
    faults = Faults(FaultsConfig(**chances), 0)
    return [faults.of_round(range(clients), number) for number in range(1, rounds + 1)]


@pytest.mark.parametrize("strategy", ["knfu", "fedmd", "fedavg", "local"])
def test_every_loss_is_in_the_tables(strategy: str) -> None:
    watcher = Watcher()
    result = fedkd.simulate(strategy, **SMALL, **under(**SOME), callbacks=[watcher])
    drawn = expected(SOME, 8, 3)
    assert {fault.kind for faults in drawn for fault in faults.values()} == set(KINDS.values())
    assert losses(result, *KINDS.values()) == {
        (number, client, fault.kind)
        for number, faults in enumerate(drawn, 1)
        for client, fault in faults.items()
    }
    assert losses(result, "rejected") == {
        (number, client, "rejected") for number, faults in enumerate(drawn, 1) for client in faults
    }
    assert result.rounds["rejected"].to_pylist() == [len(faults) for faults in drawn]
    assert result.rounds["participants"].to_pylist() == [8, 8, 8]
    assert result.summary["rejected"] == sum(map(len, drawn))
    for record, faults in zip(watcher.records, drawn, strict=True):
        for client, fault in faults.items():
            told = record.rejected[client]
            assert told == fault.reason if fault.kind != "crashed" else "crash (sim" in told
    log = (result.run_dir / "log.txt").read_text()
    assert log.count("rejected: ") == result.summary["rejected"]
    assert "Traceback" not in log
    assert not losses(result, "local") - {(n, k, "local") for n in (1, 2, 3) for k in range(8)}
    assert len(losses(result, "local")) >= 8, "the lost clients are measured all the same"


def test_who_works_when(tmp_path: Path) -> None:
    client = {"name": f"{__file__}:Noted", "to": str(tmp_path / "notes")}
    fedkd.simulate("knfu", **SMALL | {"rounds": 1}, **under(**SOME), client=client)
    lines = (tmp_path / "notes").read_text().splitlines()
    (drawn,) = expected(SOME, 8, 1)
    here = [k for k in range(8) if k not in drawn]
    late = [k for k, fault in drawn.items() if fault.kind == "late"]
    assert late
    fits = sorted(int(line.split()[0]) for line in lines if line.endswith("fit"))
    distils = sorted(int(line.split()[0]) for line in lines if line.endswith("distil"))
    assert (fits, distils) == (sorted(here + late), here)


def weights(result: Any, client: int) -> torch.Tensor:
    return nn.utils.parameters_to_vector(result.model(client).parameters())


def test_a_lost_client_keeps_its_model() -> None:
    one = SMALL | {"rounds": 1}
    faulty = fedkd.simulate("knfu", **one, **under(**SOME))
    initial = fedkd.simulate("local", **one, **{"fit.epochs": 0})
    fitted = fedkd.simulate("local", **one)
    (drawn,) = expected(SOME, 8, 1)
    assert len({fault.kind for fault in drawn.values()}) >= 2
    for client in range(8):
        fault = drawn.get(client)
        like = fitted if fault is not None and fault.kind == "late" else initial
        assert torch.equal(weights(faulty, client), weights(like, client)) == (fault is not None)


def test_bytes_are_those_that_travelled() -> None:
    whole = fedkd.simulate("fedavg", **SMALL | {"rounds": 1})
    up, down = (whole.rounds[name][0].as_py() / 8 for name in ("bytes_up", "bytes_down"))
    faulty = fedkd.simulate("fedavg", **SMALL | {"rounds": 1}, **under(**SOME))
    (drawn,) = expected(SOME, 8, 1)
    kinds = [fault.kind for fault in drawn.values()]
    silent, crashed = kinds.count("dropped_out"), kinds.count("crashed")
    assert faulty.rounds["bytes_down"][0].as_py() == (8 - silent) * down
    assert faulty.rounds["bytes_up"][0].as_py() == (8 - silent - crashed) * up


def test_the_others_draw_the_same_random_numbers() -> None:
    """Alone, a client that met no fault ends where it would have ended."""
    chances = {"dropout": 0.1, "crash": 0.1}
    clean, faulty = (fedkd.simulate("local", **SMALL, **under(**c)) for c in ({}, chances))
    lost = {client for faults in expected(chances, 8, 3) for client in faults}
    assert 0 < len(lost) < 8
    for client in set(range(8)) - lost:
        assert torch.equal(weights(clean, client), weights(faulty, client))


# -- too few -------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["knfu", "fedmd", "fedavg", "local"])
def test_a_round_with_too_few_is_skipped(strategy: str) -> None:
    chances = {"dropout": 0.4, "straggler": 0.2}
    some = {**SMALL, "clients": 6, "rounds": 8, "min_clients": 4}
    watcher = Watcher()
    result = fedkd.simulate(strategy, **some, **under(**chances), callbacks=[watcher])
    here = [6 - len(faults) for faults in expected(chances, 6, 8)]
    skipped = [int(count < 4) for count in here]
    assert 0 < sum(skipped) < 8
    assert result.rounds["skipped"].to_pylist() == skipped
    for record, skip in zip(watcher.records, skipped, strict=True):
        distilled = [row for row in record.clients if row[1] == "loss_distil"]
        assert bool(distilled) == (not skip and strategy in ("knfu", "fedmd"))
        assert record.scalars["alma_local"] is not None
        assert not (skip and record.weights)
        if skip:
            assert record.scalars["seconds_fuse"] == record.scalars["seconds_distil"] == 0


def test_a_skipped_round_leaves_the_global_model() -> None:
    strategy = FedAvg()
    watcher = Watcher(strategy)
    some = {**SMALL, "clients": 6, "rounds": 8, "min_clients": 4}
    result = fedkd.simulate(strategy, **some, **under(dropout=0.4), callbacks=[watcher])
    skipped = result.rounds["skipped"].to_pylist()
    assert 0 < sum(skipped[1:]) < 7
    for before, after, skip in zip(watcher.arrays, watcher.arrays[1:], skipped[1:], strict=False):
        assert all(torch.equal(before[name], after[name]) for name in before) == bool(skip)


@pytest.mark.parametrize("strategy", ["knfu", "fedavg", "local"])
@pytest.mark.parametrize("name", KINDS)
def test_simulated_faults_alone_never_end_a_run(strategy: str, name: str) -> None:
    result = fedkd.simulate(strategy, clients=2, rounds=3, engine="inline", **under(**{name: 0.99}))
    lost = [len(faults) for faults in expected({name: 0.99}, 2, 3)]
    assert 2 in lost
    assert result.rounds["skipped"].to_pylist() == [int(count == 2) for count in lost]
    assert result.summary["alma_local"]["last"] is not None


@pytest.mark.parametrize("strategy", ["knfu", "fedavg", "local"])
def test_when_the_others_really_failed_the_run_ends_with_their_cause(strategy: str) -> None:
    drawn = expected({"dropout": 0.5}, 8, 1)[0]
    first = min(set(range(8)) - set(drawn))
    client = {"name": f"{__file__}:Noted", "to": "/dev/null", "broken": 0}
    with pytest.raises(
        fedkd.RunError, match=f"every client failed in train.*client {first}, .*y b"
    ):
        fedkd.simulate(strategy, **SMALL, **under(dropout=0.5), client=client)


def test_real_failures_count_against_min_clients(tmp_path: Path) -> None:
    client = {"name": f"{__file__}:Noted", "to": str(tmp_path / "notes"), "broken": 4}
    result = fedkd.simulate("knfu", **SMALL, min_clients=5, client=client)
    assert result.rounds["skipped"].to_pylist() == [1, 1, 1]
    assert losses(result, *KINDS.values()) == set(), "real failures are not simulated ones"
    assert len(losses(result, "rejected")) == 12


# -- the seams -----------------------------------------------------------------------------------


def test_a_failure_before_anything_was_loaded_rolls_nothing_back() -> None:
    state = LiveState()
    contexts = [Context(1, node, {}, RecordDict(), {}) for node in (1, 2)]
    for context in contexts:
        memory = state.load(context, lambda: nn.Linear(1, 1))
        nn.init.constant_(memory.model.weight, 7.0)
        state.commit(context, memory)
    for context in contexts:
        state.rollback(context)
    for context in contexts:
        assert state.memories[context.node_id].model.weight.item() == 7.0
    assert state.memories[1] is not state.memories[2]
    nn.init.zeros_(state.load(contexts[0], lambda: nn.Linear(1, 1)).model.weight)
    state.rollback(contexts[0])
    assert state.memories[1].model.weight.item() == 7.0


@pytest.fixture(scope="module")
def ray_is_up() -> Any:
    with shared_ray(EngineConfig()):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["knfu", "fedavg"])
def test_engines_agree_under_faults(strategy: str, ray_is_up: None) -> None:
    some = {**SMALL, **under(**SOME), "fraction": 0.75, "min_clients": 2}
    engines = ["inline", {"name": "ray", "actors": 2}, {"name": "flower", "actors": 2}]
    if strategy == "fedavg":
        del engines[2]  # the server simulates faults, whatever the engine
    runs = [fedkd.simulate(strategy, **some | {"engine": engine}) for engine in engines]
    assert len({run.summary["digest"] for run in runs}) == 1
    assert len({run.summary["bytes_up"] for run in runs}) == 1
    found = [losses(run, "rejected", *KINDS.values()) for run in runs]
    assert found[0]
    assert all(one == found[0] for one in found)
