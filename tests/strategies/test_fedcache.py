"""FedCache: its loss and its neighbours by hand, the traps of its code, who knows what when."""

from types import SimpleNamespace

import pytest
import torch
from fedkd.clients.base import Client
from fedkd.clients.exchange.sample_logits import SampleLogits, divergence
from fedkd.clients.standard import Standard
from fedkd.strategies.fedcache import FedCache
from fedkd.strategies.neighbours import Cache
from support import MIXED, TINY
from torch import nn

import fedkd
from fedkd.errors import ConfigError
from fedkd.knowledge import Target
from fedkd.rundir.checkpoint import newest

SMALL = TINY | {"clients": 6, "rounds": 3, "fit.lr": 0.02}
FIT = {"epochs": 1, "batch_size": 4, "lr": 0.0, "momentum": 0.0, "optimizer": "sgd"}


class Echo(nn.Module):
    """Returns its input, with something to learn that has no part in it."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.bias


def phase_of(x: torch.Tensor, **fit) -> SimpleNamespace:
    loop = Standard(fit=FIT | fit, distil={}, device="cpu")
    y = torch.zeros(len(x), dtype=torch.int64)
    client = Client(0, Echo(), x, y, torch.Generator().manual_seed(0))
    return SimpleNamespace(client=client, loop=loop, index=0, classes=2, options={})


def cross_entropy(x: torch.Tensor) -> float:
    return nn.functional.cross_entropy(x, torch.zeros(len(x), dtype=torch.int64)).item()


def test_the_loss_by_hand() -> None:
    """z = (3, 0), teacher 0: at T = 3 KL 0.1201, with T^2 1.081, with alpha 1.5 1.622."""
    z = torch.tensor([[3.0, 0.0]])
    assert divergence(torch.zeros(1, 2), z, 3.0).item() / 9 == pytest.approx(0.1201, abs=1e-4)
    phase, exchange = phase_of(z), SampleLogits(temperature=3.0)
    exchange.receive(phase, Target(torch.zeros(1, 2), exchange.kind))
    found = exchange.fit(phase)["loss_fit"] - cross_entropy(z)
    assert found == pytest.approx(1.622, abs=1e-3)


def test_batches_may_be_shuffled() -> None:
    """Each sample's teacher is what the model says of it: with another's the loss were not 0."""
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(1)) * 3
    phase, exchange = phase_of(x), SampleLogits()
    exchange.receive(phase, Target(x.clone(), exchange.kind))
    found = exchange.fit(phase)["loss_fit"]
    assert found == pytest.approx(cross_entropy(x), abs=1e-5)
    exchange.receive(phase, Target(x.flip(0), exchange.kind))
    assert exchange.fit(phase)["loss_fit"] > found + 0.5


def test_a_loop_that_does_not_say_whose_batch_it_is_fails() -> None:
    class Deaf(Standard):
        def private_loss(self, client, logits, labels):
            client.rows = None
            return super().private_loss(client, logits, labels) + client.extra_loss(logits, labels)

    phase, exchange = phase_of(torch.ones(4, 2)), SampleLogits()
    phase.loop = Deaf(fit=FIT, distil={}, device="cpu")
    exchange.receive(phase, Target(torch.zeros(4, 2), exchange.kind))
    with pytest.raises(RuntimeError, match=r"Client\.rows"):
        exchange.fit(phase)


def test_what_has_no_logits_is_no_neighbour_where_zeros_would_make_a_uniform_teacher() -> None:
    """The official first teacher is uniform; here a sample without a neighbour has its label."""
    x = torch.tensor([[3.0, 0.0], [3.0, 0.0]])
    phase, exchange = phase_of(x), SampleLogits()
    mask = torch.tensor([False, False])
    exchange.receive(phase, Target(torch.zeros(2, 2), exchange.kind, mask=mask))
    assert exchange.fit(phase)["loss_fit"] == pytest.approx(cross_entropy(x), abs=1e-6)
    assert not phase.client.tensors  # a teacher is for one fit
    one = fedkd.simulate("fedcache", **SMALL | {"rounds": 1})
    alone = fedkd.simulate("local", **SMALL | {"rounds": 1})
    for client in range(6):
        pairs = zip(one.model(client).parameters(), alone.model(client).parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_neighbours_are_of_the_class_and_the_nearest_and_never_the_sample_itself() -> None:
    angles = torch.tensor([0.0, 0.1, 0.3, 0.2])
    hashes = torch.stack([angles.cos(), angles.sin()], dim=1)
    labels = torch.tensor([0, 0, 0, 1])
    logits = torch.tensor([[8.0, 0], [4, 0], [2, 0], [100, 0]])
    cache = Cache(hashes, labels, logits)
    values, mask = cache.taught(hashes, labels, 1, first=0)
    assert values[:, 0].tolist() == [4.0, 8.0, 4.0, 0.0]
    assert mask.tolist() == [True, True, True, False]
    values, mask = cache.taught(hashes[2:], labels[2:], 2, first=2)
    assert (values[0, 0].item(), mask.tolist()) == (6.0, [True, False])
    values, mask = cache.taught(hashes[:1], labels[:1], 9, first=None)  # not in the cache: of all
    assert values[0, 0].item() == pytest.approx(14 / 3)


def test_who_is_away_stays_in_the_cache_and_a_resumed_run_ends_the_same(tmp_path) -> None:
    settings = SMALL | {"model": MIXED, "fraction": 0.5}
    whole = fedkd.simulate("fedcache", **settings | {"rounds": 4})
    run_dir = tmp_path / "run"
    fedkd.simulate("fedcache", run_dir=str(run_dir), **settings | {"rounds": 2})
    checkpoint = newest(run_dir)
    assert checkpoint is not None
    met = {name for name in checkpoint.server if name.startswith("logits.")}
    assert 3 <= len(met) <= 6
    for name in met:
        number = name.removeprefix("logits.")
        hashes, labels = (checkpoint.server[f"{part}.{number}"] for part in ("hashes", "labels"))
        assert len(hashes) == len(labels) == len(checkpoint.server[name])
        assert hashes.norm(dim=1).sub(1).abs().max() < 1e-5
    resumed = fedkd.resume(run_dir, rounds=4)
    assert resumed.summary["digest"] == whole.summary["digest"]
    assert whole.summary["rejected"] == 0


def test_hashes_travel_once_and_logits_each_round() -> None:
    """A sample more: 64 numbers and a label; 10 logits a round; down 10, and a byte of the mask."""
    few, many = (
        fedkd.simulate("fedcache", **TINY | {"rounds": 3, "data.samples_per_client": size}).rounds
        for size in (12, 32)
    )
    up, down = (
        [
            y - x
            for x, y in zip(*(one[f"bytes_{way}"].to_pylist() for one in (few, many)), strict=True)
        ]
        for way in ("up", "down")
    )
    more = 5 * 20  # samples of all clients
    assert up == [(65 + 10) * 4 * more, 10 * 4 * more, 10 * 4 * more]
    assert down[0] == 0
    assert 0.9 * 41 * more < down[1] < 1.5 * 41 * more  # of few, some have no neighbour


@pytest.mark.parametrize(
    "more",
    [
        {"data.samples_per_client": None, "data.alpha": 1.0, "clients": 4},
        {"privacy": {"name": "nfdp", "k": 8}},
        {"compress": "float16"},
        {"engine.stack": "4"},
        {"strategy": {"name": "fedcache", "encoder": "lenet5"}},
    ],
    ids=["uneven", "nfdp", "float16", "stack", "encoder"],
)
def test_it_runs_with_what_else_there_is(more) -> None:
    result = fedkd.simulate(**{"strategy": "fedcache", **SMALL, "rounds": 2} | more)
    assert result.summary["rejected"] == 0
    assert result.summary["alma_local"]["last"] > 0.1


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"secure.aggregation": True}, "secure"),
        ({"privacy": {"name": "dp_sgd", "noise_multiplier": 1.0}}, "dp_sgd"),
        ({"privacy": {"name": "gaussian", "clip": 1.0, "noise_multiplier": 1.0}}, "sample_logits"),
        ({"strategy": {"name": "fedcache", "encoder": "mpl"}}, r"strategy\.encoder=mpl: no such"),
        ({"strategy": {"name": "fedcache", "encoder": "mlp", "size": 8}}, r"strategy\.size=8"),
    ],
)
def test_what_cannot_be_is_refused(more, problem) -> None:
    with pytest.raises(ConfigError, match=problem):
        fedkd.simulate(**{"strategy": "fedcache", **SMALL} | more)


@pytest.mark.parametrize("given", [{"alpha": -1.0}, {"neighbours": 0}, {"size": 0}])
def test_parameters_out_of_range_are_refused(given) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        FedCache(**given)
