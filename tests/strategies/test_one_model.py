"""Whose model is measured: of methods that make one for all, that one, also of who was away."""

from collections import defaultdict
from unittest import mock

import pytest
import torch
from fedkd.clients.workbench import MODELS, Workbench
from fedkd.strategies.feddf import FedDF
from fedkd.strategies.parametric import ParameterFusion
from support import MIXED, TINY

import fedkd
from fedkd.engine.fleet import Fleet
from fedkd.models.mlp import MLP
from fedkd.plugins import available, resolve
from fedkd.rounds.protocol import Strategy
from fedkd.tasks.classification import Classification

PARAMETRIC = {
    name: cls
    for name, cls in available("strategies", Strategy).items()
    if issubclass(cls, ParameterFusion)
}
SHARED = [name for name, cls in PARAMETRIC.items() if cls.one_model]
OWN = [name for name, cls in PARAMETRIC.items() if not cls.one_model]
AWAY = TINY | {"fraction": 0.4, "rounds": 3}


def made(name: str) -> Strategy:
    """Return a strategy that is quick."""
    cls = PARAMETRIC.get(name) or resolve(name, "strategies", Strategy)
    return cls(**cls.brief)


def model_for(cls: type[Strategy]) -> str | list[str]:
    """Return two architectures where a method can have them."""
    several = not cls.homogeneous and cls.usual_model == "mlp"
    return MIXED if several else cls.usual_model


def numbers(result, metric="global"):
    """Return what was measured, ``{round: {client: number}}``."""
    found = defaultdict(dict)
    for row in result.clients.to_pylist():
        if row["metric"] == metric:
            found[row["round"]][row["client"]] = row["value"]
    return found


def test_methods_with_more_than_the_model_that_all_share_say_so():
    assert set(SHARED) == {
        *("ccvr", "dense", "fedavg_kd", "fedbe", "feddf", "feddistill_plus", "feddyn"),
        *("fedgen", "fednova", "fedpm", "fpl", "scaffold"),
    }


@pytest.mark.parametrize("name", SHARED)
def test_who_was_away_is_measured_by_what_its_group_shares(name):
    result = fedkd.simulate(made(name), **AWAY, model=model_for(PARAMETRIC[name]))
    architectures = [type(result.model(client)) for client in range(5)]
    found = numbers(result)
    assert [len(clients) for clients in found.values()] == [5, 5, 5]
    for clients in found.values():
        pairs = {(architectures[client], value) for client, value in clients.items()}
        assert len(pairs) == len(set(architectures))


@pytest.mark.parametrize(
    ("strategy", "model"),
    [("feddf", MIXED), ("fedkd.experiments.reproduce.fedgen_parts:FedAvg", "resnet8")],
    ids=["feddf", "its own statistics of BatchNorm"],
)
def test_a_client_is_measured_by_what_it_is_left_with(strategy, model):
    result = fedkd.simulate(strategy, **AWAY, model=model)
    bench = Workbench((result.run_dir / "spec.json").read_text())
    x, y = bench.test(None)
    with torch.no_grad():
        guesses = [result.model(client)(x).argmax(dim=1) for client in range(5)]
    right = [(guess == y).double().mean().item() for guess in guesses]
    assert list(numbers(result)[3].values()) == pytest.approx(right)


class Sent:
    """Notes who is brought a model to be measured by."""

    def __init__(self):
        self.brought: list[bool] = []
        send = Fleet.stream

        def stream(fleet, action, contents, round_, *more):
            if action == "query.evaluate":
                self.brought += [bool(contents[client].array_records) for client in contents]
            return send(fleet, action, contents, round_, *more)

        self.watching = mock.patch.object(Fleet, "stream", stream)


@pytest.mark.parametrize("name", OWN)
def test_what_is_a_client_s_own_is_measured_as_it_is(name):
    sent, cls = Sent(), PARAMETRIC[name]
    with sent.watching:
        fedkd.simulate(made(name), **AWAY, model=model_for(cls))
    assert sent.brought
    assert not any(sent.brought)


def test_a_plug_in_that_makes_a_model_for_each_need_not_say_so():
    class Personal(ParameterFusion):
        def fuse(self, knowledge):
            return knowledge.values + 1

    sent = Sent()
    with sent.watching:
        fedkd.simulate(Personal(), **AWAY)
    assert not any(sent.brought)


class Turns(FedDF):
    """In odd rounds clients 1 and 3, in even rounds 0, 2 and 4."""

    def cohort(self, number, drawn, clients):
        return [k for k in range(clients) if k % 2 == number % 2]


def test_a_group_that_was_away_is_measured_by_the_vector_it_has():
    """Before it has trained, that is what its first client begins with."""
    found = numbers(fedkd.simulate(Turns(epochs=0), **TINY | {"rounds": 3}, model=MIXED))
    first = numbers(fedkd.simulate("local", **TINY | {"rounds": 1}, model=MIXED, fit={"lr": 1e-30}))
    for client in range(5):
        assert (found[1][client] == found[2][client]) == (client % 2 == 1)
    assert {found[1][client] for client in (0, 2, 4)} == {first[1][0]}


def counted(monkeypatch, **settings):
    """Return how many models were scored in a run."""
    calls, examined = [], Classification.examined

    def examine(task, *given):
        calls.append(1)
        return examined(task, *given)

    monkeypatch.setattr(Classification, "examined", examine)
    fedkd.simulate(**AWAY | settings)
    return len(calls)


@pytest.mark.parametrize(("model", "models"), [("mlp", 3), (MIXED, 6)])
def test_each_model_is_measured_once(model, models, monkeypatch):
    """One for each architecture in each of three rounds, whoever has it."""
    assert counted(monkeypatch, strategy="feddf", model=model, fraction=1.0) == models


def test_a_model_that_stays_is_not_measured_again(monkeypatch):
    """Two architectures, of which one is at work in each round."""
    assert counted(monkeypatch, strategy=Turns(), model=MIXED) == 4


def test_architectures_with_tensors_of_the_same_shapes_are_told_apart():
    """They form a group, and have one vector; what it predicts depends on who has it."""

    class Bent(MLP):
        def forward(self, x):
            return super().forward(-x)

    models = [lambda: MLP((1, 8, 8), 10), lambda: Bent((1, 8, 8), 10)]
    found = numbers(fedkd.simulate("feddf", **AWAY, model=models))[3]
    assert found[0] == found[2] == found[4] != found[1] == found[3]


def test_a_memo_keeps_few(tmp_path):
    result = fedkd.simulate("local", **TINY | {"rounds": 1}, run_dir=str(tmp_path / "run"))
    bench = Workbench((result.run_dir / "spec.json").read_text())
    computed = []

    def ask(number):
        bench.once((str(number), 1), lambda: computed.append(number) or torch.zeros(1))

    for number in (*range(MODELS + 1), MODELS, 1, 0):
        ask(number)
    assert computed == [*range(MODELS + 1), 0]


FORGETS = {
    "plain": {},
    "faults": {"faults.straggler": 0.3, "faults.dropout": 0.2, "fraction": 0.8},
    "lossy": {"compress": {"name": "quantised", "bits": 4}},
}


@pytest.mark.parametrize("more", FORGETS.values(), ids=FORGETS)
@pytest.mark.parametrize("name", [*SHARED, "fedavg", "moon", "fedntd"])
def test_when_clients_are_measured_does_not_change_how_they_train(name, more):
    def trajectory(every):
        strategy, seen = made(name), []
        strategy_round = strategy.round

        def round_(plan):
            outcome = strategy_round(plan)
            seen.append({k: v.clone() for k, v in strategy.arrays().items()})
            return outcome

        strategy.round = round_
        settings = AWAY | {"rounds": 5, "evaluate.every": every} | more
        result = fedkd.simulate(strategy, **settings)
        return seen, result.summary["digest"]

    (often, digest), (seldom, other) = trajectory(1), trajectory(4)
    for one, two in zip(often, seldom, strict=True):
        assert one.keys() == two.keys()
        assert all(torch.equal(one[name], two[name]) for name in one)
    assert digest == other


CONTINUED = {
    "feddf": {"model": MIXED},
    "scaffold": {"evaluate.samples": 100},
    "fedgen": {},
    "ccvr": {},
}


@pytest.mark.parametrize(("name", "more"), CONTINUED.items())
def test_a_resumed_run_measures_the_same(name, more, tmp_path):
    settings = AWAY | {"strategy": {"name": name, **PARAMETRIC[name].brief}, **more}
    run_dir = str(tmp_path / "run")
    whole = fedkd.simulate(**settings | {"rounds": 4})
    fedkd.simulate(**settings | {"rounds": 2, "checkpoint.every": 2}, run_dir=run_dir)
    resumed = fedkd.resume(run_dir, rounds=4)
    assert resumed.summary["digest"] == whole.summary["digest"]
    assert resumed.summary["alma_global"]["last"] == whole.summary["alma_global"]["last"]
    for number in (3, 4):
        assert numbers(resumed)[number] == numbers(whole)[number]
