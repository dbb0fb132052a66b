"""LG-FedAvg: heads are shared, representations are not, and who can share with whom."""

from types import SimpleNamespace

import pytest
import torch
from fedkd.clients.exchange.head import Head
from fedkd.strategies.fusing import fuse_in_blocks
from fedkd.strategies.lg_fedavg import LGFedAvg
from support import MIXED, TINY
from torch import nn

import fedkd
from fedkd.engine.base import InlineBlocks
from fedkd.errors import ConfigError
from fedkd.knowledge import KnowledgeStack, Target
from fedkd.models.features import head
from fedkd.models.flat import flatten
from fedkd.models.lenet5 import LeNet5
from fedkd.models.mlp import MLP

SMALL = TINY | {"clients": 6, "fit.epochs": 1}


class Tanh(nn.Sequential):
    """Another architecture, with the head of the zoo's MLP."""

    def __init__(self, shape, classes):
        below = nn.Sequential(nn.Flatten(), nn.Linear(64, 30), nn.Tanh(), nn.Linear(30, 200))
        super().__init__(below, nn.Tanh(), nn.Linear(200, classes))


class Headless(nn.Sequential):
    """Has no linear layer."""

    def __init__(self, shape, classes):
        super().__init__(nn.Conv2d(1, classes, shape[-1]), nn.Flatten())


def test_heads_by_hand() -> None:
    """Three times the samples, three times the weight: (3 * (0, 4) + (4, 0)) / 4."""
    values, trained = torch.tensor([[0.0, 4.0], [4.0, 0.0]]), torch.tensor([[30.0], [10.0]])
    none = torch.zeros(0, dtype=torch.int64)
    stack = KnowledgeStack("parameters", values, [0, 1], none, extras={"samples": trained})
    teacher, _ = fuse_in_blocks(LGFedAvg(), stack, InlineBlocks())
    assert teacher.shared
    assert torch.equal(teacher.values, torch.tensor([1.0, 3.0]))
    assert (teacher.values - values.mean(dim=0)).abs().min() > 1e-3


def test_the_exchange_is_the_last_linear_layer() -> None:
    assert Head().shape(MLP((64,), 10), 0, 10) == (10 * 200 + 10,)
    assert Head().shape(LeNet5((1, 8, 8), 10), 0, 10) == (10 * 84 + 10,)
    model = MLP((64,), 10)
    phase = SimpleNamespace(client=SimpleNamespace(model=model))
    below, top = flatten(model[1]), torch.cat([model[3].weight.flatten(), model[3].bias])
    assert torch.equal(Head().vector(phase), top)
    Head().learn(phase, Target(top + 1, "parameters"))
    assert torch.equal(Head().vector(phase), top + 1)
    assert torch.equal(flatten(model[1]), below)


def test_heads_meet_and_representations_do_not() -> None:
    result = fedkd.simulate("lg_fedavg", **SMALL | {"clients": 3})
    models = [result.model(client) for client in range(3)]
    heads = [flatten(head(model)) for model in models]
    assert all(torch.equal(one, heads[0]) for one in heads)
    below = [flatten(model[1]) for model in models]
    assert (below[0] - below[1]).abs().max() > 1e-3
    assert (below[0] - below[2]).abs().max() > 1e-3


def test_the_first_round_trains_what_local_training_does_but_for_the_head() -> None:
    """Clients keep their own first representation; they start from a common head."""
    strategy = LGFedAvg()
    result = fedkd.simulate(strategy, **SMALL | {"fit.epochs": 0, "rounds": 1})
    alone = fedkd.simulate("local", **SMALL | {"fit.epochs": 0, "rounds": 1})
    for client in range(6):
        ours, theirs = result.model(client), alone.model(client)
        assert torch.equal(flatten(ours[1]), flatten(theirs[1]))
        # a mean of six equal heads is that head, but for the last bit
        torch.testing.assert_close(flatten(ours[3]), flatten(result.model(0)[3]))


def test_mixed_models_share_with_those_whose_heads_have_their_shape() -> None:
    result = fedkd.simulate("lg_fedavg", model=["mlp", "lenet5", Tanh], **SMALL)
    heads = [flatten(head(result.model(client))) for client in range(6)]
    assert all(torch.equal(heads[0], heads[k]) for k in (2, 3, 5))  # mlp and Tanh
    assert torch.equal(heads[1], heads[4])  # lenet5
    assert result.summary["rejected"] == 0


def test_the_bytes_are_those_of_the_heads() -> None:
    result = fedkd.simulate("lg_fedavg", **SMALL | {"rounds": 1})
    assert result.summary["bytes_up"] == pytest.approx(6 * 4 * 2010, rel=0.1)


def test_who_has_a_head_of_its_own_shares_nothing_and_trains_on() -> None:
    """Clients 0 and 3 have an MLP; the lone lenet5 of three clients gets back its own head."""
    settings = SMALL | {"clients": 3, "model": ["mlp", "lenet5", "mlp"]}
    result = fedkd.simulate("lg_fedavg", **settings)
    heads = [flatten(head(result.model(client))) for client in range(3)]
    assert torch.equal(heads[0], heads[2])
    assert len(heads[1]) != len(heads[0])
    assert result.summary["rejected"] == 0


def test_a_run_where_nobody_could_share_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no two clients have heads.*10 x 200, 10 x 84, 10 x 64"):
        fedkd.simulate("lg_fedavg", model=["mlp", "lenet5", "resnet8"], **SMALL | {"clients": 3})
    alone = fedkd.simulate("lg_fedavg", **SMALL | {"clients": 1})
    assert alone.summary["rejected"] == 0


def test_models_without_a_head_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"lg_fedavg shares the last.*Headless has no linear"):
        fedkd.simulate("lg_fedavg", model=["mlp", Headless], **SMALL)


def test_a_resumed_run_ends_the_same(tmp_path) -> None:
    settings = SMALL | {"model": MIXED, "fraction": 0.6}
    whole = fedkd.simulate("lg_fedavg", **settings | {"rounds": 3})
    run_dir = tmp_path / "run"
    fedkd.simulate("lg_fedavg", run_dir=str(run_dir), **settings | {"rounds": 2})
    resumed = fedkd.resume(run_dir, rounds=3)
    assert resumed.summary["digest"] == whole.summary["digest"]
