"""FENS: the aggregator and its server's step by hand, who is in the ensemble, and in what order."""

from types import SimpleNamespace

import pytest
import torch
from fedkd.clients.base import Client
from fedkd.clients.exchange.ensemble import Ensemble, aggregator, answers
from fedkd.clients.standard import Standard
from fedkd.strategies.fens import AGGREGATOR, FENS, adam
from support import MIXED, TINY
from torch import nn

import fedkd
from fedkd.errors import ConfigError
from fedkd.knowledge import Target
from fedkd.models.flat import flatten, size
from fedkd.rng import scoped
from fedkd.rundir.checkpoint import newest

FAST = {"name": "fens", "steps": 3}
SMALL = TINY | {"clients": 6, "rounds": 2}
FIT = {"epochs": 1, "batch_size": 4, "lr": 0.1, "momentum": 0.0, "optimizer": "sgd"}
X = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))


def linear(member: int) -> nn.Module:
    with scoped(member):
        return nn.Linear(3, 2)


def phase_of(**options) -> SimpleNamespace:
    client = Client(1, linear(1), X, torch.arange(20) % 2, torch.Generator().manual_seed(0))
    return SimpleNamespace(
        client=client,
        loop=Standard(fit=FIT, distil={}, device="cpu"),
        bench=SimpleNamespace(seed_of=lambda client, *_: client),
        other=lambda member: nn.Linear(3, 2),
        options={"clients": 3, **options},
        index=1,
        classes=2,
    )


def test_the_aggregator_s_size_by_hand() -> None:
    """K = 20, C = 10, d = 2: 200 * 40 + 40 + 40 * 10 + 10."""
    assert size(aggregator(20, 10, 2)) == 8450


def test_the_server_s_step_is_without_a_correction_of_the_bias() -> None:
    """Corrected, the first step would be 1 / 1.001, and the second the same."""
    one = torch.ones(1)
    m, v, step = adam(one, 0 * one, 0 * one)
    assert step.item() == pytest.approx(0.1 / 0.101)
    assert adam(one, m, v)[2].item() == pytest.approx(0.19 / (0.0199**0.5 + 0.001))


def test_a_client_s_step_by_hand() -> None:
    """A step of SGD on the logits of what is held out, at rate 1."""
    phase, exchange = phase_of(stage=AGGREGATOR, step=0, members=[0, 1, 2]), Ensemble(held=0.2)
    with scoped(9):
        model = aggregator(3, 2, 2)
    models = torch.cat([flatten(linear(member)) for member in range(3)])
    exchange.receive(phase, Target(torch.cat([flatten(model), models]), "parameters"))
    rows = exchange.rows(phase)
    assert len(rows) == 4
    x = torch.cat([linear(member)(X[rows]) for member in range(3)], dim=1).detach()
    nn.functional.cross_entropy(model(x), phase.client.y[rows]).backward()
    torch.optim.SGD(model.parameters(), 1.0).step()
    upload = exchange.upload(phase)
    torch.testing.assert_close(upload.values, flatten(model))
    assert upload.extras["samples"].item() == 4


def test_the_order_of_clients_is_part_of_the_model_and_a_missing_one_says_nothing() -> None:
    vectors = [flatten(linear(member)) for member in range(3)]
    found = answers(phase_of(), torch.cat([vectors[0], vectors[2]]), [0, 2], 3, X)
    torch.testing.assert_close(found[:, 0:2], linear(0)(X).detach())
    assert found[:, 2:4].abs().max() == 0
    torch.testing.assert_close(found[:, 4:6], linear(2)(X).detach())


def test_what_the_aggregator_learns_from_no_model_has_seen() -> None:
    phase, exchange, seen = phase_of(), Ensemble(), []
    held = exchange.rows(phase)
    with exchange.fitting(phase):
        seen.append(phase.client.x)
    assert len(held) == 2
    assert len(seen[0]) == 18
    assert not (seen[0].unsqueeze(1) == X[held]).all(dim=-1).any()
    assert phase.client.x is X
    phase.client.x, phase.client.y = X[:1], torch.zeros(1, dtype=torch.int64)
    assert not len(exchange.rows(phase))


def test_all_are_measured_by_one_ensemble_that_is_better_than_its_members() -> None:
    settings = SMALL | {"data.alpha": 0.3, "data.samples_per_client": 40, "fraction": 0.7}
    result = fedkd.simulate("fens", **settings)
    alone = fedkd.simulate("local", **settings)
    assert result.summary["alma_global"]["std"] == pytest.approx(0, abs=1e-12)
    ours, theirs = (one.summary["alma_global"]["last"] for one in (result, alone))
    assert ours > theirs + 0.05


def test_who_is_away_keeps_its_place_and_a_resumed_run_ends_the_same(tmp_path) -> None:
    settings = SMALL | {"model": MIXED, "fraction": 0.5}
    whole = fedkd.simulate(FAST, **settings | {"rounds": 4})
    run_dir = tmp_path / "run"
    fedkd.simulate(FAST, run_dir=str(run_dir), **settings | {"rounds": 2})
    checkpoint = newest(run_dir)
    assert checkpoint is not None
    met = [name for name in checkpoint.server if name.startswith("model.")]
    assert 3 <= len(met) <= 6
    assert checkpoint.server[AGGREGATOR].shape == (size(aggregator(6, 10, 2)),)
    resumed = fedkd.resume(run_dir, rounds=4)
    for key in ("digest", "alma_global"):
        assert resumed.summary[key] == whole.summary[key]
    assert whole.summary["rejected"] == 0


def test_all_models_travel_down_once_a_round() -> None:
    result = fedkd.simulate(FAST, **TINY | {"rounds": 1, "model": "mlp"})
    one, shared = 4 * 15010, 4 * size(aggregator(5, 10, 2))
    assert result.summary["bytes_up"] == pytest.approx(5 * (one + 3 * shared), rel=0.05)
    assert result.summary["bytes_down"] == pytest.approx(5 * (5 * one + 3 * shared), rel=0.05)


@pytest.mark.parametrize(
    "more",
    [{"compress": "float16"}, {"engine.stack": "4"}, {"attack": "label_flip"}],
    ids=["float16", "stack", "label_flip"],
)
def test_it_runs_with_what_else_there_is(more) -> None:
    result = fedkd.simulate(FAST, **SMALL | more)
    assert result.summary["rejected"] == 0
    assert result.summary["alma_local"]["last"] > 0.05


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="secure"):
        fedkd.simulate(FAST, **SMALL | {"secure.aggregation": True})
    privacy = {"name": "dp_sgd", "noise_multiplier": 1.0}
    with pytest.raises(ConfigError, match=r"\(strategy fens\)"):
        fedkd.simulate(FAST, **SMALL, privacy=privacy)


@pytest.mark.parametrize("given", [{"steps": -1}, {"held": 0.0}, {"held": 1.0}, {"lr": 0.0}])
def test_parameters_out_of_range_are_refused(given) -> None:
    with pytest.raises(ValueError, match="must be"):
        FENS(**given)
