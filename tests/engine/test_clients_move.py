"""Clients move to the actor that has less to do, and nobody can tell from the outcome."""

import math
import os
import signal
from itertools import count

import pytest
import ray
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st
from support import LIMIT

from fedkd import simulate
from fedkd.config import EngineConfig
from fedkd.engine import balance, raygrid, recovery, shared_ray
from fedkd.engine.balance import Costs, moves
from fedkd.engine.base import FIRST_NODE_ID
from fedkd.engine.recovery import Home
from fedkd.flower import identity
from fedkd.run import executing

# -- who should move -------------------------------------------------------------------------------

LOADS = st.lists(st.lists(st.floats(0, 100), max_size=6), min_size=1, max_size=5)


@given(LOADS)
def test_moves_even_out_the_loads_and_end(loads):
    numbers = count()
    places = [{next(numbers): cost for cost in load} for load in loads]
    before = [math.fsum(place.values()) for place in places]
    everybody = {client: cost for place in places for client, cost in place.items()}
    due = moves(places)
    assert len({client for client, _, _ in due}) == len(due)
    for client, origin, goal in due:
        places[goal][client] = places[origin].pop(client)
    after = [math.fsum(place.values()) for place in places]
    assert max(after) <= max(before) + 1e-9
    assert {c: cost for place in places for c, cost in place.items()} == everybody
    assert all(places[i] for i, load in enumerate(loads) if load), "nobody is left without clients"
    gap = max(after) - min(after)
    for cost in places[after.index(max(after))].values():
        worth = min(cost, gap - cost) > balance.WORTH_SECONDS + 1e-9
        assert not worth or gap <= balance.TOLERANCE * max(after) + 1e-9


def test_small_clients_on_one_actor_and_large_ones_on_the_other():
    small, large = dict.fromkeys(range(5), 1.0), dict.fromkeys(range(5, 10), 9.0)
    moved = moves([small, large])
    assert {move[1:] for move in moved} == {(1, 0)}
    assert len(moved) == 2  # 5 + 18 and 27
    assert moves([{0: 1.0}, {1: 1.04}]) == moves([{0: 0.001}, {1: 0.004, 2: 0.004}]) == []
    assert moves([{}, {}]) == moves([{0: 0.0}, {1: 0.0, 2: 0.0}]) == []


def reply(client, **metrics):
    request = Message(RecordDict(), FIRST_NODE_ID + client, "train.fit")
    content = RecordDict({"measured": MetricRecord(metrics)} if metrics else {})
    answer = Message(content, reply_to=request)
    answer.metadata.__dict__["_src_node_id"] = FIRST_NODE_ID + client
    return answer


def test_costs_are_what_rounds_took_and_the_older_the_less_they_count():
    costs = Costs([10, 10, 40])
    assert [costs.of(client) for client in range(3)] == [0, 0, 0]
    with identity():
        for client, seconds in ((0, 1.0), (0, 2.0), (1, 5.0)):  # two phases of client 0
            costs.note(reply(client, seconds_phase=seconds))
        for useless in (math.nan, math.inf, -1.0, 0.0):
            costs.note(reply(1, seconds_phase=useless))
        costs.note(reply(1, samples=3.0))
        costs.note(reply(1))
        evaluated = Message(RecordDict({"c": ConfigRecord()}), FIRST_NODE_ID, "query.evaluate")
        costs.note(evaluated)
    costs.begin()
    assert [costs.of(client) for client in range(3)] == [3, 5, 16]
    costs.add(0, 7.0)
    assert costs.of(0) == 3
    costs.begin()
    costs.begin()
    assert [costs.of(client) for client in range(3)] == [5, 5, 20]


# -- and they do -----------------------------------------------------------------------------------

SHORT = {"clients": 6, "rounds": 4, "data.samples_per_client": 20, "transfer.size": 60}
MIXED = {"strategy": "knfu", "model": ["mlp", "lenet5", "resnet8"], "fraction": 0.7}
RESIDUAL = {"compress": {"name": "topk", "k": 3}}
CYCLES = {"rounds_per_cycle": 1, "initial": 0.3, "budget": 0.1}
CASES = {
    "mixed": MIXED,
    "fedavg": {"strategy": "fedavg", "model": "resnet8"},
    "secure": {"strategy": "fedmd", "secure.aggregation": True},
    "spilling": {"strategy": "fedmd", "engine.state_memory": 100_000},
    "compressed": {"strategy": "fedmd", **RESIDUAL},
    "pools": {"strategy": {"name": "kafal_soft", **CYCLES}, "sampler": "badge"},
    "scarlet": {"strategy": "scarlet"},
}


@pytest.fixture
def restless(monkeypatch):
    """Have some of an actor's clients move in each round; return who did."""
    moved = []

    def pairs(loads):
        for origin, load in enumerate(loads):
            for client in sorted(load)[1::2]:
                yield client, origin, (origin + 1) % len(loads)

    def note(loads):
        found = list(pairs(loads))
        moved.extend(client for client, _, _ in found)
        return found

    monkeypatch.setattr(raygrid, "moves", note)
    with shared_ray(EngineConfig()):
        yield moved


def on(engine, callbacks=(), **settings):
    settings = SHORT | settings | {"engine.name": engine}
    settings |= {"engine.actors": 2} if engine == "ray" else {}
    return simulate(callbacks=callbacks, **settings).summary


@pytest.mark.parametrize("name", CASES)
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_digest_is_that_of_clients_that_stay(name, restless):
    summary = on("ray", **CASES[name])
    assert summary["digest"] == on("inline", **CASES[name])["digest"]
    assert (summary["rejected"], summary["restarts"]) == (0, 0)
    assert len(restless) >= 4


@pytest.mark.parametrize(
    ("share", "victim"), [(0.0, 0), (1e9, 1)], ids=["no snapshot", "snapshots"]
)
@pytest.mark.parametrize("name", ["mixed", "secure", "spilling"])
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_actors_die_after_clients_moved(name, share, victim, restless, reaper, monkeypatch):
    """A replacement has those who came, not those who went."""
    monkeypatch.setattr(recovery, "SHARE", share)
    summary = on("ray", [reaper(3, "distil", victim)], **CASES[name])
    assert summary["digest"] == on("inline", **CASES[name])["digest"]
    assert (summary["rejected"], summary["restarts"]) == (0, 1)
    assert restless


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_an_actor_that_dies_while_clients_leave_it(restless, monkeypatch):
    give, left = Home.give, [1, 2]

    def killing(home, clients):
        if left and left.pop() == 1:  # the second time
            os.kill(ray.get(home.actor.pid.remote(), timeout=LIMIT), signal.SIGKILL)
        return give(home, clients)

    monkeypatch.setattr(Home, "give", killing)
    summary = on("ray", **MIXED)
    assert summary["digest"] == on("inline", **MIXED)["digest"]
    assert (summary["rejected"], summary["restarts"], left) == (0, 1, [])


LARGE_AND_SMALL = {
    "strategy": "fedmd",
    "model": ["mlp", "resnet8"],
    "clients": 8,
    "rounds": 3,
    "data.samples_per_client": 120,
}


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_where_clients_take_longer_than_expected_some_move(monkeypatch):
    """Two models in turn and two actors: taken for alike, one actor would train all large ones."""
    given = []
    give = Home.give
    monkeypatch.setattr(
        Home, "give", lambda home, clients: (given.extend(clients), give(home, clients))[1]
    )
    monkeypatch.setattr(executing, "expected_work", lambda config, *about: [1.0] * config.clients)
    with shared_ray(EngineConfig()):
        summary = on("ray", **LARGE_AND_SMALL)
    assert summary["digest"] == on("inline", **LARGE_AND_SMALL)["digest"]
    assert any(client % 2 for client in given), "a large one"


@pytest.mark.timeout(240)
def test_the_first_round_is_dealt_by_what_models_and_samples_take(monkeypatch):
    """By numbers of samples, one of two actors would train all large models."""
    homes = []
    begin = Home.__init__

    def noting(home, clients, *more):
        homes.append(clients)
        begin(home, clients, *more)

    monkeypatch.setattr(Home, "__init__", noting)
    settings = LARGE_AND_SMALL | {"clients": 4, "rounds": 1, "data.samples_per_client": 20}
    with shared_ray(EngineConfig()):
        summary = on("ray", **settings)
    assert homes == [[1, 0], [3, 2]], "large ones first"
    assert summary["digest"] == on("inline", **settings)["digest"]
