"""FedMRL: shapes and values by hand, the trap of heads in common, and what stays with whom."""

import math
from types import SimpleNamespace

import pytest
import torch
from fedkd.clients.base import Client
from fedkd.clients.exchange.nested import PROJECTOR, Joined, Nested, narrow
from fedkd.clients.standard import Standard
from fedkd.strategies.fedmrl import FedMRL
from support import MIXED, TINY
from torch import nn
from torch.nn import functional as F

import fedkd
from fedkd.errors import ConfigError
from fedkd.models import build
from fedkd.models.features import features_of, head
from fedkd.models.flat import flatten, size, unflatten
from fedkd.models.mlp import MLP
from fedkd.rng import scoped
from fedkd.rundir.checkpoint import newest

SMALL = TINY | {"clients": 6, "rounds": 3, "fit.lr": 0.02}
FIT = {"epochs": 2, "batch_size": 8, "lr": 0.02, "momentum": 0.9, "optimizer": "sgd"}
X = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))


def phase_of(own: nn.Module, mentee: nn.Module) -> SimpleNamespace:
    generator = torch.Generator().manual_seed(0)
    tensors = {"mentee": flatten(mentee)}
    client = Client(0, own, X, torch.arange(20) % 3, generator, tensors=tensors)

    def make(spec, name):
        with scoped(len(name)):
            return build(spec, (4,), 3)

    return SimpleNamespace(
        client=client, loop=Standard(fit=FIT, distil=FIT, device="cpu"), build=make, index=0
    )


def joined(d1: int = 2, d2: int = 5, bias: bool = True) -> Joined:
    projector = nn.Linear(d1 + d2, d2, bias=bias)
    return Joined(MLP((4,), 3, hidden=d2), MLP((4,), 3, hidden=d1), projector)


def test_either_head_reads_what_is_made_of_both_bodies() -> None:
    model = joined()
    r = model.projector(torch.cat([features_of(model.mentee, X), features_of(model.own, X)], 1))
    assert r.shape == (20, 5)
    model.train()
    torch.testing.assert_close(model(X), head(model.own)(r))
    torch.testing.assert_close(model.shared, head(model.mentee)(r[:, :2]))


def test_a_projector_that_passes_the_own_features_on_is_local_training() -> None:
    """P = [0 I]."""
    model = joined(bias=False)
    model.projector.weight.data = torch.cat([torch.zeros(5, 2), torch.eye(5)], dim=1)
    model.eval()
    torch.testing.assert_close(model(X), model.own(X))


def test_the_loss_by_hand() -> None:
    """Both heads at 0 say 1/3 of each of three classes: 2 ln 3."""
    own, mentee = MLP((4,), 3, hidden=5), MLP((4,), 3, hidden=2)
    for model in (own, mentee):
        for parameter in head(model).parameters():
            nn.init.zeros_(parameter)
    phase = phase_of(own, mentee)
    phase.loop = Standard(fit=FIT | {"lr": 0.0}, distil=FIT, device="cpu")
    assert Nested(dim=2).fit(phase)["loss_fit"] == pytest.approx(2 * math.log(3), abs=1e-5)


def test_the_small_head_is_no_view_of_the_large_one_which_two_steps_would_move() -> None:
    """A step moves each number once, by its own gradient of the sum of both losses."""
    model, y = joined(), torch.arange(20) % 3
    model.train()
    places = [parameter.data_ptr() for parameter in model.parameters()]
    assert len(set(places)) == len(places) == 10
    before = head(model.own).weight.detach().clone()
    value = F.cross_entropy(model(X), y) + F.cross_entropy(model.shared, y)
    value.backward()
    slope = head(model.own).weight.grad
    alone = torch.autograd.grad(F.cross_entropy(model(X), y), head(model.own).weight)[0]
    torch.testing.assert_close(slope, alone)
    torch.optim.SGD(model.parameters(), 0.1).step()
    torch.testing.assert_close(head(model.own).weight, before - 0.1 * alone)


def test_no_step_is_longer_than_the_clipped_gradient() -> None:
    """Of one step at a rate of 1, over all that is trained: the norm is the clip, or the own."""
    for clip, longest in ((0.01, 0.01), (1e9, None)):
        own, mentee = MLP((4,), 3, hidden=5), MLP((4,), 3, hidden=2)
        phase, exchange = phase_of(own, mentee), Nested(dim=2, clip=clip)
        phase.loop = Standard(
            fit=FIT | {"epochs": 1, "batch_size": 20, "lr": 1.0, "momentum": 0.0},
            distil=FIT,
            device="cpu",
        )
        before = flatten(exchange.pair(phase, own))
        exchange.fit(phase)
        step = (flatten(exchange.pair(phase, own)) - before).norm().item()
        assert step == pytest.approx(longest, rel=1e-3) if longest else step > 0.1
        assert phase.client.clip is None


def test_a_client_keeps_its_model_and_the_projector_and_uploads_the_small_model() -> None:
    own, mentee = MLP((4,), 3, hidden=5), narrow((4,), 3, dim=2)
    phase, exchange = phase_of(own, mentee), Nested(dim=2)
    with exchange.measuring(phase):
        assert phase.client.model is own  # it has trained nothing yet
    exchange.fit(phase)
    assert phase.client.model is own
    assert phase.client.extra_loss is None
    assert phase.client.tensors[PROJECTOR].shape == (7 * 5 + 5,)
    upload = exchange.upload(phase)
    assert upload.values.shape == (size(mentee),)
    assert not torch.equal(upload.values, flatten(mentee))
    kept = unflatten(nn.Linear(7, 5), phase.client.tensors[PROJECTOR])
    unflatten(mentee, upload.values)
    r = kept(torch.cat([features_of(mentee, X), features_of(own, X)], 1))
    with exchange.measuring(phase):
        found = phase.loop.predict([phase.client], X)[0]
    torch.testing.assert_close(found, head(own)(r).detach())


def test_who_is_away_keeps_what_is_its_own_and_a_resumed_run_ends_the_same(tmp_path) -> None:
    settings = SMALL | {"model": MIXED, "fraction": 0.5}
    whole = fedkd.simulate("fedmrl", **settings | {"rounds": 4})
    run_dir = tmp_path / "run"
    fedkd.simulate("fedmrl", run_dir=str(run_dir), **settings | {"rounds": 2})
    checkpoint = newest(run_dir)
    assert checkpoint is not None
    assert checkpoint.server["shared.0"].shape == (size(narrow((1, 8, 8), 10, dim=50)),)
    resumed = fedkd.resume(run_dir, rounds=4)
    assert resumed.summary["digest"] == whole.summary["digest"]
    assert resumed.summary["alma_local"]["last"] == whole.summary["alma_local"]["last"]


@pytest.mark.parametrize(
    "more",
    [{"secure.aggregation": True}, {"compress": "float16"}, {"engine.stack": "4"}],
    ids=["secure", "float16", "stack"],
)
def test_it_runs_with_what_else_there_is(more) -> None:
    result = fedkd.simulate("fedmrl", **SMALL | {"rounds": 2} | more)
    assert result.summary["rejected"] == 0
    assert result.summary["alma_local"]["last"] > 0.1


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"has 100 features, and a client's 84; "):
        fedkd.simulate({"name": "fedmrl", "dim": 100}, model=["mlp", "lenet5"], **SMALL)
    with pytest.raises(ConfigError, match=r"features squared, of 5000; .* at most 4096"):
        fedkd.simulate("fedmrl", model={"name": "mlp", "hidden": 5000}, **SMALL)
    with pytest.raises(ConfigError, match=r"strategy\.dim=7: has no effect: lenet5"):
        fedkd.simulate({"name": "fedmrl", "dim": 7, "mentee": "lenet5"}, **SMALL)
    with pytest.raises(ConfigError, match=r"strategy\.mentee=mpl: no such model"):
        fedkd.simulate({"name": "fedmrl", "mentee": "mpl"}, **SMALL)
    with pytest.raises(ValueError, match="dim=0 must be at least 1"):
        FedMRL(dim=0)
    with pytest.raises(ValueError, match=r"clip=0\.0 must be above 0"):
        FedMRL(clip=0.0)
    privacy = {"name": "dp_sgd", "noise_multiplier": 1.0}
    with pytest.raises(ConfigError, match=r"\(strategy fedmrl\)"):
        fedkd.simulate("fedmrl", privacy=privacy, **SMALL)
