"""Methods with a shared model and one of each client's own: by hand, and what stays with whom."""

from types import SimpleNamespace

import pytest
import torch
from fedkd.clients.base import Client
from fedkd.clients.exchange.mixture import Mixed, Mixture, stepped
from fedkd.clients.exchange.pulled import Pulled
from fedkd.clients.standard import Standard
from fedkd.strategies.apfl import APFL
from fedkd.strategies.ditto import Ditto
from support import TINY
from torch import nn

import fedkd
from fedkd.errors import ConfigError
from fedkd.knowledge import Target, to_tensor
from fedkd.models.flat import flatten
from fedkd.models.mlp import MLP

SMALL = TINY | {"clients": 6, "rounds": 3}
METHODS = [Ditto, APFL]
FIT = {"epochs": 1, "batch_size": 8, "optimizer": "sgd", "lr": 0.05, "momentum": 0.0}


def phase_of(model, x, y, **fit):
    """Return a client's message to fit, with a loop that trains."""
    loop = Standard(fit=FIT | fit, distil={}, device="cpu")
    client = Client(0, model, x, y, torch.Generator().manual_seed(0))
    return SimpleNamespace(client=client, loop=loop, index=0)


def one_number(value: float) -> nn.Linear:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


# -- Ditto -----------------------------------------------------------------------------------------


def test_a_step_of_ditto_by_hand() -> None:
    """v = 0, w = 1, no gradient of the loss, lr 0.05: v = 0.05; w as it was sent."""
    phase = phase_of(one_number(0.0), torch.zeros(4, 1), torch.zeros(4, 1))
    phase.client.loss = lambda outputs, labels: (outputs - labels).square().mean()
    phase.client.tensors["shared"] = torch.tensor([1.0])
    numbers = Pulled(lam=1.0).fit(phase)
    assert phase.client.model.weight.item() == pytest.approx(0.05)
    assert phase.client.tensors["shared"].tolist() == [1.0]
    assert numbers.keys() == {"loss_fit", "loss_shared"}


def test_the_pull_is_towards_what_was_sent_and_not_what_became_of_it() -> None:
    """w moves from 1 to 0.9 by the same step; v, at 1, feels the loss alone."""
    x, y = torch.ones(4, 1), torch.zeros(4, 1)
    phase = phase_of(one_number(1.0), x, y)
    phase.client.loss = lambda outputs, labels: (outputs - labels).square().mean()
    phase.client.tensors["shared"] = torch.tensor([1.0])
    Pulled(lam=100.0).fit(phase)
    assert phase.client.tensors["shared"].item() == pytest.approx(0.9)
    assert phase.client.model.weight.item() == pytest.approx(0.9)


def test_both_see_the_same_batches() -> None:
    """Without a pull, and from one start, they end as one."""
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(30, 64, generator=generator), torch.arange(30) % 10
    phase = phase_of(MLP((64,), 10), x, y, epochs=3)
    phase.client.tensors["shared"] = flatten(phase.client.model)
    Pulled(lam=0.0).fit(phase)
    assert torch.equal(flatten(phase.client.model), phase.client.tensors["shared"])
    assert phase.client.extra_loss is None


def test_a_strong_pull_keeps_models_together() -> None:
    def spread(lam):
        result = fedkd.simulate({"name": "ditto", "lam": lam}, **SMALL)
        vectors = torch.stack([flatten(result.model(client)) for client in range(6)])
        return vectors.std(dim=0).mean().item()

    assert spread(20.0) < 0.6 * spread(0.0)


# -- APFL ------------------------------------------------------------------------------------------


def test_the_share_moves_as_the_formula_says() -> None:
    """v = 2, w = 1, (a v + (1 - a) w)^2 at a = 0.5: g_v = g_w = 2 * 1.5 * 0.5."""
    model = Mixed(one_number(2.0), one_number(1.0), 0.5)
    client = Client(0, model.own, torch.ones(4, 1), torch.zeros(4, 1), torch.Generator())
    client.loss = lambda outputs, labels: (outputs - labels).square().mean()
    state = client.generator.get_state()
    found = stepped(client, model, lr=0.1, size=8, device="cpu")
    assert found == pytest.approx(0.5 - 0.1 * (1.5 + 0.01))
    assert torch.equal(client.generator.get_state(), state)
    assert [p.grad for p in model.parameters()] == [None, None]
    assert stepped(client, model, lr=9.0, size=8, device="cpu") == 0.0


@pytest.mark.parametrize("mix", [0.0, 1.0])
def test_each_model_learns_from_its_own_loss(mix) -> None:
    """Alone in the mixture, the own model does as the shared one does; with no part, nothing."""
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(30, 64, generator=generator), torch.arange(30) % 10
    phase, alone = (phase_of(MLP((64,), 10), x, y) for _ in range(2))
    start = flatten(phase.client.model)
    phase.client.tensors["shared"] = start
    alone.client.model.load_state_dict(phase.client.model.state_dict())
    alone.loop.fit([alone.client])
    Mixture(mix).fit(phase)
    assert torch.equal(phase.client.tensors["shared"], flatten(alone.client.model))
    own = flatten(phase.client.model)
    assert torch.equal(own, phase.client.tensors["shared"] if mix else start)
    assert phase.client.extra_loss is None


def test_what_is_measured_is_the_mixture() -> None:
    x = torch.randn(3, 64, generator=torch.Generator().manual_seed(1))
    own, shared, exchange = MLP((64,), 10), MLP((64,), 10), Mixture(0.25)
    phase = phase_of(own, x, torch.zeros(3, dtype=torch.int64))
    phase.client.tensors["shared"] = flatten(shared)
    with exchange.measuring(phase):
        logits = phase.loop.predict([phase.client], x)[0]
    torch.testing.assert_close(logits, (0.25 * own(x) + 0.75 * shared(x)).detach())
    assert phase.client.model is own


def test_clients_find_shares_of_their_own() -> None:
    runs = [
        fedkd.simulate({"name": "apfl", "adaptive": adaptive}, **SMALL | {"fraction": 0.5})
        for adaptive in (False, True)
    ]
    assert runs[0].summary["digest"] != runs[1].summary["digest"]


# -- either ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("exchange", [Pulled(), Mixture()])
def test_the_own_model_starts_as_the_shared_one_and_then_stays(exchange) -> None:
    phase = phase_of(MLP((64,), 10), torch.zeros(1, 64), torch.zeros(1, dtype=torch.int64))
    first, second = torch.full((15010,), 0.5), torch.ones(15010)
    exchange.receive(phase, Target(first, "parameters"))
    exchange.learn(phase, Target(second, "parameters"))
    assert torch.equal(flatten(phase.client.model), first)
    assert torch.equal(exchange.vector(phase), second)


@pytest.mark.parametrize("cls", METHODS)
def test_who_is_away_keeps_its_model_and_returns_to_the_shared_one(cls) -> None:
    sent, models = {}, {}

    class Noted(cls):
        def before_fit(self, plan):
            records = super().before_fit(plan)
            sent[plan.number] = {k: to_tensor(r["teacher"]["values"]) for k, r in records.items()}
            return records

    settings = SMALL | {"fraction": 0.5, "rounds": 5}
    strategy = Noted()
    result = fedkd.simulate(strategy, **settings)
    for number, told in sent.items():
        assert all(torch.equal(one, next(iter(told.values()))) for one in told.values()), number
    for client in range(6):
        models[client] = flatten(result.model(client))
    assert len({tuple(vector[:20].tolist()) for vector in models.values()}) == 6
    assert result.summary["rejected"] == 0


@pytest.mark.parametrize("cls", METHODS)
def test_mixed_models_share_with_their_like(cls) -> None:
    strategy = cls()
    fedkd.simulate(strategy, model=["mlp", "lenet5"], **SMALL)
    sizes = [len(strategy.state[f"shared.{number}"]) for number in (0, 1)]
    assert sizes[0] != sizes[1]
    with pytest.raises(ConfigError, match="no two clients have models of one shape"):
        fedkd.simulate(cls(), model=["mlp", "lenet5"], **SMALL | {"clients": 2})


@pytest.mark.parametrize("node", [{"name": "ditto"}, {"name": "apfl", "adaptive": True}])
def test_a_resumed_run_ends_the_same(node, tmp_path) -> None:
    settings = SMALL | {"fraction": 0.5, "rounds": 4}
    whole = fedkd.simulate(node, **settings)
    run_dir = tmp_path / "run"
    fedkd.simulate(node, run_dir=str(run_dir), **settings | {"rounds": 2})
    resumed = fedkd.resume(run_dir, rounds=4)
    assert resumed.summary["digest"] == whole.summary["digest"]
    assert resumed.summary["alma_local"]["last"] == whole.summary["alma_local"]["last"]


@pytest.mark.parametrize("name", ["ditto", "apfl"])
@pytest.mark.parametrize(
    "more",
    [
        {"secure.aggregation": True, "fraction": 0.5},
        {"compress": "float16", "model": "resnet8"},
        {"attack": {"name": "label_flip", "fraction": 0.4}},
        {"engine.stack": "4"},
    ],
    ids=["secure", "float16", "hostile", "stack"],
)
def test_it_runs_with_what_else_there_is(name, more) -> None:
    result = fedkd.simulate(name, **SMALL | {"rounds": 2} | more)
    assert result.summary["rejected"] == 0
    assert result.summary["alma_local"]["last"] > 0.1


@pytest.mark.parametrize("name", ["ditto", "apfl"])
def test_dp_sgd_is_refused_by_name(name) -> None:
    privacy = {"name": "dp_sgd", "noise_multiplier": 1.0}
    with pytest.raises(ConfigError, match=rf"privacy=dp_sgd: .*its own way.* \(strategy {name}\)"):
        fedkd.simulate(name, privacy=privacy, **SMALL)
