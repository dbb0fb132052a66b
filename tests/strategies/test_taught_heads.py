"""FedGH and FedRE: a head that the server trains, on class means or on mixtures of them."""

from types import SimpleNamespace

import pytest
import torch
from fedkd.clients.exchange.entangled_means import EntangledMeans
from fedkd.clients.exchange.taught_head import TaughtHead
from fedkd.strategies.fedgh import FedGH
from fedkd.strategies.fedre import FedRE
from support import MIXED, TINY, stack_of
from torch import nn
from torch.nn import functional as F

import fedkd
from fedkd.errors import ConfigError
from fedkd.models.flat import flatten

SMALL = TINY | {"clients": 6, "rounds": 3, "fraction": 0.5}
METHODS = ["fedgh", "fedre"]


class Soft(nn.Sequential):
    """Computes something after its head."""

    def __init__(self, shape, classes):
        super().__init__(nn.Flatten(), nn.Linear(64, 16), nn.Linear(16, classes), nn.Softmax(-1))


def zero_head() -> nn.Linear:
    model = nn.Linear(2, 2)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    return model


def phase_of(model, x, y, classes=2):
    client = SimpleNamespace(model=model, x=x, y=y, generator=torch.Generator().manual_seed(0))
    return SimpleNamespace(
        client=client, classes=classes, index=0, loop=SimpleNamespace(device="cpu")
    )


def test_a_step_of_fedgh_by_hand() -> None:
    """A head of zeros, h = (1, 0), y = 0, lr 1: rows (0.5, 0) and (-0.5, 0), bias (0.5, -0.5)."""
    model = zero_head()
    means, has = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]), torch.tensor([[True, False]])
    rows = FedGH().rows(stack_of(means, kind="class_knowledge", mask=has))
    FedGH(epochs=1, lr=1.0).train(model, *rows, seed=0)
    assert model.weight.tolist() == [[0.5, 0.0], [-0.5, 0.0]]
    assert model.bias.tolist() == [0.5, -0.5]


def test_fedre_by_hand() -> None:
    """Prototypes (1, 0) and (0, 1): the mixture is r, and the loss a soft cross-entropy with r."""
    phase = phase_of(
        nn.Sequential(nn.Flatten(), nn.Linear(2, 2)), torch.eye(2), torch.tensor([0, 1])
    )
    sent = EntangledMeans().upload(phase)
    shares = sent.extras["shares"]
    torch.testing.assert_close(sent.values[0], shares)
    assert shares.sum().item() == pytest.approx(1)
    again = EntangledMeans().upload(phase).extras["shares"]
    assert not torch.equal(shares, again)  # drawn anew
    model, loss = nn.Linear(2, 2), nn.Linear(2, 2)
    loss.load_state_dict(model.state_dict())
    FedRE(lr=1.0).train(model, sent.values, shares.unsqueeze(0), seed=0)
    logs = loss(sent.values[0]).log_softmax(-1)
    (-shares[0] * logs[0] - shares[1] * logs[1]).backward()
    torch.testing.assert_close(model.weight, loss.weight - loss.weight.grad)


def test_fedre_mixes_only_classes_that_there_are_and_adds_losses() -> None:
    phase = phase_of(nn.Linear(2, 4), torch.eye(2), torch.tensor([3, 1]), 4)
    shares = EntangledMeans().upload(phase).extras["shares"]
    assert (shares > 0).tolist() == [False, True, False, True]
    x, soft = torch.ones(3, 2), torch.full((3, 2), 0.5) + torch.tensor([0.25, -0.25])
    model = zero_head()
    FedRE(lr=1.0).train(model, x, soft, seed=0)
    torch.testing.assert_close(model.bias, torch.tensor([0.75, -0.75]))  # 3 * 0.25, no mean


def test_nobody_s_mixture_counts_more_than_another_s() -> None:
    """A client may say what it likes of its shares; if they are 0, it teaches nothing."""
    shares = torch.tensor([[1e6, 3e6], [0.0, 0.0]])
    stack = stack_of(torch.ones(2, 1, 2), kind="class_knowledge", extras={"shares": shares})
    assert FedRE().rows(stack)[1].tolist() == [[0.25, 0.75], [0.0, 0.0]]


@pytest.mark.parametrize("cls", [FedGH, FedRE])
def test_trap_it_is_the_head_that_learns(cls) -> None:
    """The official server of FedGH steps a client's optimiser: its head stays as it started."""
    still, learns = cls(epochs=0), cls(epochs=5)
    for strategy in (still, learns):
        fedkd.simulate(strategy, **SMALL | {"rounds": 1})
    assert not torch.equal(still.state["shared.0"], learns.state["shared.0"])
    labels = torch.arange(20) % 3
    means, model = F.one_hot(labels, 5).float(), nn.Linear(5, 3)
    before = F.cross_entropy(model(means), labels).item()
    cls(epochs=100, lr=0.1).train(model, means, F.one_hot(labels, 3).float(), seed=0)
    assert F.cross_entropy(model(means), labels).item() < 0.8 * before


def test_trap_means_are_of_samples_and_not_of_batches() -> None:
    """Of 1, 1, 4 in batches of two, the mean of means is 2.5."""
    x = torch.tensor([[1.0], [1.0], [4.0]])
    sent = TaughtHead().upload(phase_of(nn.Linear(1, 2), x, torch.zeros(3, dtype=torch.int64)))
    assert sent.values.tolist() == [[2.0], [0.0]]
    assert sent.mask is not None
    assert sent.mask.tolist() == [True, False]


def test_trap_the_server_s_head_is_no_client_s() -> None:
    """Released code of FedRE trains the very object of client 0 along."""
    result = fedkd.simulate("fedre", **TINY | {"rounds": 1, "fraction": 0.4})
    rows = [row for row in result.clients.to_pylist() if row["metric"] == "loss_fit"]
    absent = sorted(set(range(5)) - {row["client"] for row in rows})
    untouched = fedkd.simulate("local", **TINY | {"rounds": 1, "fraction": 0.4})
    assert len(absent) == 3
    for client in absent:
        assert torch.equal(flatten(result.model(client)), flatten(untouched.model(client)))


@pytest.mark.parametrize("name", METHODS)
def test_mixed_models_resume_and_a_head_for_each_shape(name, tmp_path) -> None:
    settings = SMALL | {"model": MIXED, "rounds": 4}
    whole = fedkd.simulate(name, **settings)
    assert whole.summary["rejected"] == 0
    run_dir = tmp_path / "run"
    fedkd.simulate(name, run_dir=str(run_dir), **settings | {"rounds": 2})
    assert fedkd.resume(run_dir, rounds=4).summary["digest"] == whole.summary["digest"]


@pytest.mark.parametrize("name", METHODS)
def test_a_head_that_is_not_the_last_thing_is_refused(name) -> None:
    with pytest.raises(ConfigError, match="computes something after it"):
        fedkd.simulate(name, model=Soft, **SMALL)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("fedgh", {"secure.aggregation": True}),
        ("fedre", {"privacy": {"name": "dp_sgd", "noise_multiplier": 1.0}}),
        ("fedgh", {"strategy.lr": 0}),
    ],
)
def test_what_it_cannot_do_is_refused(name, more) -> None:
    strategy = {"name": name} | {k[9:]: v for k, v in more.items() if k.startswith("strategy.")}
    rest = {k: v for k, v in more.items() if not k.startswith("strategy.")}
    with pytest.raises(ConfigError, match=r"secure|dp_sgd|lr=0"):
        fedkd.simulate(strategy, **SMALL | rest)


def test_a_codec_goes_with_it() -> None:
    result = fedkd.simulate("fedre", **SMALL | {"compress": "float16"})
    assert result.summary["rejected"] == 0
