"""FedPCL: a contrast with everybody's prototypes, and what a client has for want of them."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fedkd.clients.base import Client
from fedkd.clients.exchange.projected_prototypes import ProjectedPrototypes
from fedkd.clients.standard import Standard
from fedkd.strategies.fedpcl import FedPCL
from fedkd.strategies.fusing import fuse_in_blocks
from support import MIXED, TINY, stack_of
from torch import nn

import fedkd
from fedkd.engine.base import InlineBlocks
from fedkd.errors import ConfigError
from fedkd.knowledge import Target
from fedkd.maths.contrast import contrast
from fedkd.models.flat import flatten
from fedkd.models.mlp import MLP
from fedkd.rng import scoped

SMALL = TINY | {"clients": 6, "rounds": 3, "fraction": 0.5}
FIT = {"epochs": 2, "batch_size": 5, "optimizer": "sgd", "lr": 0.1, "momentum": 0.0}


def phase_of(model: nn.Module, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(20, 64, generator=generator), torch.arange(20) % 4
    client = Client(0, model, x, y, torch.Generator().manual_seed(seed))

    def build(spec: Any, name: str) -> nn.Module:
        with scoped(7):
            made: nn.Module = spec()
        return made

    loop = Standard(fit=FIT, distil={}, device="cpu")
    return SimpleNamespace(client=client, loop=loop, classes=10, index=0, build=build)


def test_the_contrast_by_hand() -> None:
    """One a class, both views the own prototype, prototypes orthonormal, tau 1: ln(1 + 2/e)."""
    features, labels = torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1])
    every = torch.ones(4, dtype=torch.bool)
    found = contrast(features, labels, features.unsqueeze(0), every, 1.0).item()
    assert found == pytest.approx(math.log(1 + 2 / math.e))
    assert found == pytest.approx(0.5514, abs=1e-4)
    twice = features.expand(2, -1, -1)  # a mean over sets
    assert contrast(features, labels, twice, every, 1.0).item() == pytest.approx(found)


def test_one_sample_has_nothing_to_be_told_from() -> None:
    features = torch.randn(1, 3).repeat(2, 1)
    one = torch.zeros(2, dtype=torch.int64)
    assert contrast(features, one, torch.randn(1, 2, 3), one == 0, 0.07).item() == pytest.approx(0)


def test_samples_without_an_anchor_are_none_and_stay_among_the_others() -> None:
    features, labels = torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1])
    anchors = torch.where(labels.view(1, -1, 1) == 0, features, 0.0)
    known = labels == 0
    assert contrast(features, labels, anchors, known, 1.0).item() == pytest.approx(0.5514, abs=1e-4)
    assert contrast(features, labels, anchors, labels > 1, 1.0).item() == 0


def test_trap_clients_learn_in_the_first_round_and_with_sets_of_a_few() -> None:
    """Officially the loss is 0 unless there are as many sets as clients."""
    exchange, phase = ProjectedPrototypes(dim=8), phase_of(MLP((64,), 10))
    start = exchange.projected(phase)
    assert exchange.fit(phase)["loss_fit"] > 0
    assert not torch.equal(phase.client.tensors["projection"], flatten(start.projection))
    mean, known = torch.zeros(10, 8), torch.arange(10) < 4
    mean[:4] = torch.eye(8)[:4]
    has = torch.zeros(1, 10, dtype=torch.uint8)  # one set, of one class; the mean fills the rest
    has[0, 1] = 1
    extras = {"sets": torch.eye(8)[6:7], "sets_has": has}
    exchange.learn(phase, Target(mean, "class_knowledge", mask=known, extras=extras))
    sets, there = exchange.anchors(phase, start)
    assert sets[0, :4].argmax(dim=1).tolist() == [0, 6, 2, 3]
    assert torch.equal(there, known)
    assert exchange.fit(phase)["loss_fit"] > 0


def test_no_cross_entropy_and_a_frozen_body_stays() -> None:
    for frozen in (False, True):
        model = MLP((64,), 10)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        phase = phase_of(model)
        ProjectedPrototypes(dim=8, frozen=frozen).fit(phase)
        changed = [
            n for n, value in model.state_dict().items() if not torch.equal(value, before[n])
        ]
        assert changed == ([] if frozen else list(before)[:-2])  # the head has no part in it
        assert phase.client.extra_loss is None


def test_labels_are_those_of_the_nearest_own_prototype() -> None:
    exchange, phase = ProjectedPrototypes(dim=8), phase_of(MLP((64,), 10))
    exchange.fit(phase)
    sent = exchange.upload(phase)
    assert sent.mask is not None
    assert sent.mask.tolist() == [True] * 4 + [False] * 6
    logits = exchange.predict(phase, phase.client.x)
    features = phase_features(exchange, phase)
    nearest = (features.unsqueeze(1) - sent.values[:4]).square().sum(dim=-1).argmin(dim=1)
    assert torch.equal(logits.argmax(dim=1), nearest)
    assert (nearest == phase.client.y).float().mean() > 0.5


def phase_features(exchange: ProjectedPrototypes, phase: Any) -> torch.Tensor:
    features: torch.Tensor = exchange.projected(phase).eval()(phase.client.x).detach()
    torch.testing.assert_close(features.norm(dim=1), torch.ones(20))
    return features


def test_all_sets_come_with_their_mean() -> None:
    values = torch.tensor([[[1.0], [0.0]], [[3.0], [5.0]]])
    stack = stack_of(values, kind="class_knowledge", mask=torch.tensor([[1, 0], [1, 1]]).bool())
    strategy: Any = FedPCL(dim=1)
    teacher, _ = fuse_in_blocks(strategy, stack, InlineBlocks())
    assert strategy.beside() == {}
    strategy.refine(None, stack, teacher)
    assert teacher.values.tolist() == [[2.0], [5.0]]
    assert strategy.beside()["sets"].tolist() == [[1.0], [3.0], [5.0]]
    assert strategy.beside()["sets_has"].tolist() == [[1, 0], [1, 1]]


def test_mixed_models_and_resume(tmp_path) -> None:
    settings = SMALL | {"model": MIXED, "rounds": 4}
    whole = fedkd.simulate("fedpcl", **settings)
    assert whole.summary["rejected"] == 0
    run_dir = tmp_path / "run"
    fedkd.simulate("fedpcl", run_dir=str(run_dir), **settings | {"rounds": 2})
    assert fedkd.resume(run_dir, rounds=4).summary["digest"] == whole.summary["digest"]


@pytest.mark.parametrize(
    "more",
    [{"compress": "float16"}, {"model": "lenet5", "fit.augment": True}, {"engine.stack": "4"}],
    ids=str,
)
def test_it_runs_with_what_else_there_is(more) -> None:
    result = fedkd.simulate({"name": "fedpcl", "frozen": True}, **SMALL | more)
    assert result.summary["rejected"] == 0


@pytest.mark.parametrize(
    "more",
    [
        {"secure.aggregation": True},
        {"privacy": {"name": "dp_sgd", "noise_multiplier": 1.0}},
        {"strategy": {"name": "fedpcl", "tau": 0}},
        {"strategy": {"name": "fedpcl", "dim": 0}},
    ],
    ids=str,
)
def test_what_it_cannot_do_is_refused(more) -> None:
    with pytest.raises(ConfigError, match=r"secure|dp_sgd|tau=0|dim=0"):
        fedkd.simulate(**{"strategy": "fedpcl"} | SMALL | more)
