"""FPL: clusters of prototypes, the pull to them, and how they travel beside the model."""

import math

import pytest
import torch
from fedkd.clients.exchange.cluster_contrast import pull
from fedkd.strategies.fpl import clustered
from support import TINY, stack_of

import fedkd
from fedkd.errors import ConfigError
from fedkd.maths.clusters import finch

SMALL = TINY | {"clients": 6, "rounds": 3, "fraction": 0.5}


def test_the_pull_by_hand() -> None:
    """f is one of two orthogonal prototypes of its class; another class's is orthogonal to both."""
    clusters, of = torch.eye(3), torch.tensor([0, 0, 1])
    value = pull(clusters[:1], torch.tensor([0]), clusters, of, 1.0).item()
    contrast = math.log((math.e + 2) / (math.e + 1))
    assert contrast == pytest.approx(0.2382, abs=1e-4)
    assert value == pytest.approx(contrast + (0.25 + 0.25) / 3)


def test_trap_classes_without_a_prototype_add_nothing() -> None:
    """The official code divides None by a number, for a batch of nothing else."""
    features = torch.randn(4, 3, requires_grad=True)
    clusters, of = torch.eye(3), torch.tensor([0, 0, 1])
    none = pull(features, torch.tensor([2, 2, 3, 2]), clusters, of, 0.02)
    none.backward()
    assert none.item() == 0
    assert features.grad is not None
    assert not features.grad.any()
    some = pull(features, torch.tensor([2, 1, 2, 2]), clusters, of, 0.02)
    assert some.item() == pytest.approx(pull(features[1:2], of[2:], clusters, of, 0.02).item())


def test_trap_a_zero_and_a_small_temperature_are_finite() -> None:
    features = torch.zeros(2, 3, requires_grad=True)
    loss = pull(features, torch.tensor([0, 1]), torch.eye(3), torch.tensor([0, 0, 1]), 0.001)
    loss.backward()
    assert loss.isfinite()
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_finch_finds_groups_and_stops_before_there_is_one() -> None:
    angles = torch.tensor([0.0, 0.05, 0.1, 1.5, 1.55, 3.0, 3.05])
    found = finch(torch.stack([angles.cos(), angles.sin()], dim=1))
    groups = [set(torch.nonzero(found == k).flatten().tolist()) for k in found.unique()]
    assert groups == [{0, 1, 2}, {3, 4}, {5, 6}] or len(groups) == 2
    assert len(groups) > 1
    assert finch(torch.eye(2)).tolist() == [0, 0]  # each is the other's nearest


def test_clusters_are_those_of_the_clients_that_have_a_class() -> None:
    means = torch.zeros(3, 3, 2)
    means[:, 0] = torch.tensor([[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]])
    means[1, 2] = torch.tensor([0.0, 5.0])
    has = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    extras = {"prototypes": means, "has": has}
    found = clustered(stack_of(torch.zeros(3, 4), kind="parameters", extras=extras))
    assert found["clusters"].tolist() == [[0.5, 0.5], [0.0, 5.0]]
    assert found["clusters_of"].tolist() == [0, 2]
    nothing = {"prototypes": means, "has": 0 * has}  # what hostile clients may say
    found = clustered(stack_of(torch.zeros(3, 4), kind="parameters", extras=nothing))
    assert found["clusters"].shape == (0, 2)


def test_the_first_fit_is_that_of_other_methods_and_later_ones_add_the_pull() -> None:
    runs = {name: fedkd.simulate(name, **SMALL | {"seed": 1}) for name in ("fpl", "feddf")}

    def losses(name, number):
        rows = runs[name].clients.to_pylist()
        wanted = ("loss_fit", number)
        return {r["client"]: r["value"] for r in rows if (r["metric"], r["round"]) == wanted}

    assert losses("fpl", 1) == losses("feddf", 1)
    more, less = (losses(name, 2) for name in ("fpl", "feddf"))
    assert all(more[client] > less[client] for client in more)


def test_a_resumed_run_ends_the_same(tmp_path) -> None:
    settings = SMALL | {"model": "lenet5"}
    whole = fedkd.simulate("fpl", **settings | {"rounds": 4})
    run_dir = tmp_path / "run"
    fedkd.simulate("fpl", run_dir=str(run_dir), **settings | {"rounds": 2})
    assert fedkd.resume(run_dir, rounds=4).summary["digest"] == whole.summary["digest"]


@pytest.mark.parametrize("more", [{"compress": "float16"}, {"engine.stack": "4"}], ids=str)
def test_it_runs_with_what_else_there_is(more) -> None:
    result = fedkd.simulate("fpl", **SMALL | more)
    assert result.summary["rejected"] == 0


@pytest.mark.parametrize(
    "more",
    [
        {"secure.aggregation": True},
        {"privacy": {"name": "dp_sgd", "noise_multiplier": 1.0}},
        {"model": ["mlp", "lenet5"]},
        {"strategy": {"name": "fpl", "tau": 0}},
    ],
    ids=str,
)
def test_what_it_cannot_do_is_refused(more) -> None:
    with pytest.raises(ConfigError, match=r"secure|dp_sgd|one model|tau=0"):
        fedkd.simulate(**{"strategy": "fpl"} | SMALL | more)
