"""FedPAC: moments and mixtures by hand, and who has which head."""

from collections import defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fedkd.clients.base import Client
from fedkd.clients.exchange.aligned_body import AlignedBody, spread
from fedkd.clients.standard import Standard
from fedkd.strategies.fedpac import FedPAC, mixtures
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from support import TINY, stack_of

import fedkd
from fedkd.errors import ConfigError
from fedkd.knowledge import Target, to_tensor
from fedkd.maths.simplex import least_quadratic
from fedkd.models.flat import flatten, pack
from fedkd.models.mlp import MLP
from fedkd.models.parts import body, top

SMALL = TINY | {"clients": 6, "rounds": 4, "fraction": 0.5, "fit.epochs": 2}
FIT = {"epochs": 2, "batch_size": 5, "optimizer": "sgd", "lr": 0.1, "momentum": 0.0}


def phase_of(model, **fit):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 64, generator=generator), torch.arange(20) % 4
    client = Client(0, model, x, y, torch.Generator().manual_seed(0))
    loop = Standard(fit=FIT | fit, distil={}, device="cpu")
    return SimpleNamespace(client=client, loop=loop, classes=10, index=0)


# -- by hand ---------------------------------------------------------------------------------------


def test_mixtures_by_hand() -> None:
    """D = 0 and v = (1, 3): shares 0.75 and 0.25."""
    shares = mixtures(torch.tensor([1.0, 3.0]), torch.ones(2, 3, 4))
    torch.testing.assert_close(shares, torch.tensor([[0.75, 0.25]]).expand(2, -1))


def test_moments_of_others_keep_heads_apart_and_small_shares_are_dropped() -> None:
    """v = 1, H = 0 and h: a client leaves ``1 / (2 + h^2)`` of its head to the other."""
    for far, expected in ((1.0, 1 / 3), (2.0, 1 / 6), (100.0, 0.0)):
        shares = mixtures(torch.ones(2), torch.tensor([[[0.0]], [[far]]]))
        torch.testing.assert_close(shares[0], torch.tensor([1 - expected, expected]))
        torch.testing.assert_close(shares.sum(dim=1), torch.ones(2))


def test_trap_nothing_to_tell_heads_apart_is_no_error() -> None:
    """Where the matrix is 0 the official solver fails; a client then keeps its head."""
    assert torch.equal(mixtures(torch.zeros(3), torch.zeros(3, 2, 2)), torch.eye(3))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 20), st.integers(1, 10), st.sampled_from([0.0, 1e-4, 1.0]), st.integers(0, 99)
)
def test_the_programme_is_solved_exactly(n, rank, least, seed) -> None:
    """Against least squares without negative numbers, which has the same minimum."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, rank, generator=generator).double()
    v = least * torch.rand(n, generator=generator).double()
    own = seed % n
    found = least_quadratic(x @ x.T + torch.diag(v), x @ x[own], own)
    assert found.min() >= 0
    assert found.sum().item() == pytest.approx(1)
    rows = torch.cat([(x - x[own]).T, torch.diag(v.sqrt()), torch.ones(1, n).double()])
    other, _ = nnls(rows.numpy(), np.append(np.zeros(rank + n), 1.0))
    values = [
        (rows[:-1] @ a).square().sum().item() for a in (found, torch.tensor(other / other.sum()))
    ]
    assert values[0] <= values[1] + 1e-9


def test_moments_by_hand() -> None:
    """Features 1, 3 of class 0 and 4, 4 of class 1: v = (0.5*5 + 0.5*16 - 1 - 4) / 4."""
    features, labels = torch.tensor([[1.0], [3.0], [4.0], [4.0]]), torch.tensor([0, 0, 1, 1])
    variance, moments = spread(features, labels, 3)
    assert variance.item() == 1.375
    assert moments.tolist() == [[1.0], [2.0], [0.0]]


def test_bodies_by_samples_and_heads_by_shares() -> None:
    strategy = FedPAC()
    strategy.below = torch.tensor([True, False])
    extras = {
        "samples": torch.tensor([[30.0], [10.0]]),
        "variance": torch.tensor([[1.0], [3.0]]),
        "moments": torch.zeros(2, 2, 1),
    }
    models = torch.tensor([[0.0, 4.0], [4.0, 0.0]])
    fused = strategy.fuse(stack_of(models, kind="parameters", extras=extras))
    assert fused.tolist() == [[1.0, 3.0], [1.0, 3.0]]


def test_trap_a_class_that_nobody_has_is_no_error() -> None:
    """The official code looks it up among the prototypes, and stops."""
    exchange, phase = AlignedBody(), phase_of(MLP((64,), 10))
    before = exchange.fit(phase)["loss_fit"]
    for known, differs in ((torch.zeros(10), False), (torch.ones(10), True)):
        extras = {"prototypes": 100 * torch.ones(10, 200), "known": known.to(torch.uint8)}
        again = phase_of(MLP((64,), 10))
        start = phase_of(MLP((64,), 10)).client.model
        again.client.model.load_state_dict(start.state_dict())
        AlignedBody().learn(again, Target(flatten(start), "parameters", extras=extras))
        loss = exchange.fit(again)["loss_fit"]
        assert (loss > before + 100) == differs


# -- a fit -----------------------------------------------------------------------------------------


def test_the_head_learns_first_and_the_body_then() -> None:
    model = MLP((64,), 10)
    first = [pack(part(model)) for part in (body, top)]
    AlignedBody(head_epochs=2).fit(phase_of(model))
    assert torch.equal(pack(body(model)), first[0])
    assert not torch.equal(pack(top(model)), first[1])


def test_moments_are_of_the_body_as_it_came_and_prototypes_of_what_became_of_it() -> None:
    exchange, phase = AlignedBody(), phase_of(MLP((64,), 10))
    came = exchange.moments(phase)
    exchange.fit(phase)
    sent = exchange.upload(phase)
    assert torch.equal(sent.extras["moments"], came["moments"])
    assert torch.equal(sent.extras["variance"], came["variance"])
    share = sent.extras["counts"].unsqueeze(1) / 20
    assert not torch.allclose(share * sent.extras["prototypes"], came["moments"])
    assert "moments" not in phase.client.tensors
    assert len(sent.values) == len(flatten(phase.client.model))


def test_who_was_away_keeps_its_head_and_who_took_part_gets_its_own() -> None:
    exchange, phase = AlignedBody(), phase_of(MLP((64,), 10))
    model, other = phase.client.model, MLP((64,), 10)
    exchange.learn(phase, Target(flatten(other), "parameters"))
    assert torch.equal(flatten(model), flatten(other))
    exchange.receive(phase, Target(pack(body(model)) + 1, "parameters"))
    assert torch.equal(pack(body(model)), pack(body(other)) + 1)
    assert torch.equal(pack(top(model)), pack(top(other)))


# -- whole runs ------------------------------------------------------------------------------------


def test_newcomers_get_the_first_head_and_returners_the_body_with_prototypes() -> None:
    sent = defaultdict(dict)

    class Noted(FedPAC):
        def before_fit(self, plan):
            records = super().before_fit(plan)
            sent[plan.number] = {k: record["teacher"] for k, record in records.items()}
            return records

    strategy = Noted()
    result = fedkd.simulate(strategy, **SMALL | {"rounds": 6})
    model, met = result.model(0), set()
    whole, part = len(flatten(model)), len(pack(body(model)))
    heads = []
    for number in sorted(sent):
        for client, record in sent[number].items():
            values = to_tensor(record["values"])
            assert len(values) == (part if client in met else whole)
            assert ("prototypes" in record) == (number > 1)
            heads += [] if client in met else [values[part:]]
        met |= set(sent[number])
    assert len(heads) > 3
    assert all(torch.equal(heads[0], one) for one in heads)
    assert {len(one) for one in heads} == {whole - part}


def test_a_resumed_run_ends_the_same(tmp_path) -> None:
    whole = fedkd.simulate("fedpac", **SMALL)
    run_dir = tmp_path / "run"
    fedkd.simulate("fedpac", run_dir=str(run_dir), **SMALL | {"rounds": 2})
    assert fedkd.resume(run_dir, rounds=4).summary["digest"] == whole.summary["digest"]


@pytest.mark.parametrize("more", [{"compress": "float16"}, {"engine.stack": "4"}], ids=str)
def test_it_runs_with_what_else_there_is(more) -> None:
    result = fedkd.simulate("fedpac", **SMALL | {"rounds": 2, "model": "resnet8"} | more)
    assert result.summary["rejected"] == 0


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"secure.aggregation": True}, "secure"),
        ({"privacy": {"name": "dp_sgd", "noise_multiplier": 1.0}}, "dp_sgd"),
        ({"model": ["mlp", "lenet5"]}, "one model"),
        ({"fit.epochs": 1}, "fit.epochs=1: must be at least 2 for fedpac"),
        ({"strategy": {"name": "fedpac", "lam": -1}}, "lam=-1"),
        ({"strategy": {"name": "fedpac", "head_epochs": 0}}, "head_epochs=0"),
    ],
)
def test_what_it_cannot_do_is_refused(more, problem) -> None:
    with pytest.raises(ConfigError, match=problem):
        fedkd.simulate(**{"strategy": "fedpac"} | SMALL | more)
