"""Methods that average models start alike and see samples alike: of one seed, only they differ."""

import pytest
import torch
from support import TINY

import fedkd
from fedkd.models.flat import flatten

NEUTRAL = [
    {"name": "feddf", "epochs": 0},
    {"name": "fedprox", "proximal_mu": 0.0},
    {"name": "fedntd", "beta": 0.0},
    {"name": "moon", "mu": 0.0},
    {"name": "feddistill_plus", "weight": 0.0},
    {"name": "fednova"},  # all make as many steps, of plain SGD
]


@pytest.mark.parametrize("strategy", NEUTRAL, ids=lambda node: node["name"])
def test_what_does_nothing_of_its_own_is_fedavg(strategy):
    """After two rounds: Flower's sums and the engine's own differ by rounding only."""
    found = fedkd.simulate(**TINY, strategy=strategy)
    flower = fedkd.simulate(**TINY, strategy="fedavg")
    torch.testing.assert_close(flatten(found.model(0)), flatten(flower.model(0)))


@pytest.mark.parametrize("strategy", NEUTRAL, ids=lambda node: node["name"])
def test_and_measured_as_fedavg_is_where_clients_are_away(strategy):
    """Every client in every round: also who was away, by the model that all share by then."""
    settings = TINY | {"rounds": 4, "fraction": 0.4}
    found, flower = (fedkd.simulate(**settings, strategy=one) for one in (strategy, "fedavg"))
    for name in ("alma_local", "alma_global", "alma_global_std"):
        assert found.rounds[name].to_pylist() == pytest.approx(flower.rounds[name].to_pylist())
    for client in range(5):
        torch.testing.assert_close(flatten(found.model(client)), flatten(flower.model(client)))


@pytest.mark.parametrize("strategy", ["fedavg", "scaffold", "fedper", "fedrep", "ditto"])
def test_those_that_share_a_model_begin_with_the_first_client_s(strategy):
    """A step of nothing is no step: what is left is the start."""
    fit = {"lr": 1e-30}
    found = fedkd.simulate(**TINY | {"rounds": 1}, strategy=strategy, fit=fit)
    alone = fedkd.simulate(**TINY | {"rounds": 1}, strategy="local", fit=fit)
    torch.testing.assert_close(flatten(found.model(1)), flatten(alone.model(0)))
