"""FedProto: mean features per class, as targets of private training and for inference."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import support
import torch
from fedkd.clients import Client
from fedkd.clients.exchange.prototypes import NEVER, Prototypes, distance
from fedkd.clients.standard import Standard
from fedkd.strategies.fedproto import FedProto
from fedkd.strategies.fusing import fuse_in_blocks
from hypothesis import given, settings
from hypothesis import strategies as st
from support import MIXED, TINY
from torch import Tensor, nn

import fedkd
from fedkd import ConfigError, simulate
from fedkd.engine.base import InlineBlocks
from fedkd.knowledge import KnowledgeStack, Target

SMOOTHED = Path(__file__).parents[2] / "experiments" / "plugins" / "label_smoothing.py"
seeds = st.integers(0, 999)


def stack_of(values: Tensor, has: Tensor, counts: Tensor | None = None) -> KnowledgeStack:
    extras = {} if counts is None else {"counts": counts * has}
    return support.stack_of(values, kind="class_knowledge", mask=has, extras=extras)


def drawn(seed: int, n: int, classes: int = 4, dim: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(n, classes, dim, generator=generator)
    has = torch.rand(n, classes, generator=generator) < 0.6
    return values, has, torch.randint(1, 20, (n, classes), generator=generator).float()


# -- the server's half ---------------------------------------------------------------------------


def test_the_means_by_hand() -> None:
    values = torch.tensor([[[1.0], [9.0]], [[4.0], [2.0]]])
    has = torch.tensor([[True, False], [True, True]])
    counts = torch.tensor([[3.0, 0.0], [1.0, 5.0]])
    stack = stack_of(values, has, counts)
    assert FedProto().fuse(stack).tolist() == [[2.5], [2.0]]
    assert FedProto(weighting="counts").fuse(stack).tolist() == [[1.75], [2.0]]
    assert (FedProto().fuse(stack) - stack.values.mean(dim=0)).abs().max() > 1e-3


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 6), st.sampled_from(["uniform", "counts"]))
def test_clients_may_change_places_and_one_alone_is_the_identity(
    seed: int, n: int, weighting: Any
) -> None:
    values, has, counts = drawn(seed, n)
    strategy, order = FedProto(weighting=weighting), torch.randperm(n)
    prototypes = strategy.fuse(stack_of(values, has, counts))
    moved = strategy.fuse(stack_of(values[order], has[order], counts[order]))
    torch.testing.assert_close(moved, prototypes, atol=1e-5, rtol=1e-4)
    alone = stack_of(values[:1], has[:1], counts[:1])
    torch.testing.assert_close(strategy.fuse(alone), alone.values[0])
    known = has.any(dim=0)
    inside = torch.where(has.unsqueeze(-1), values, torch.inf).amin(dim=0)
    assert (prototypes[known] >= inside[known] - 1e-5).all()


def test_a_class_that_nobody_has_gets_no_prototype() -> None:
    values, has, _ = drawn(0, 3)
    has[:, 2] = False
    teacher, _ = fuse_in_blocks(FedProto(), stack_of(values, has), InlineBlocks())
    assert teacher.mask is not None
    assert teacher.mask.tolist() == has.any(dim=0).tolist()
    assert not teacher.mask[2]


def test_counts_are_uploaded_only_where_they_are_needed() -> None:
    model = nn.Linear(2, 3)
    for weighting, sent in {"uniform": {}, "counts": {"counts": (3,)}}.items():
        node = FedProto(weighting=weighting).exchange_node()  # type: ignore[arg-type]
        del node["name"]
        assert Prototypes(**node).extras(model, 3) == sent


# -- the client's half ---------------------------------------------------------------------------


def phase_of(labels: list[int], classes: int = 3) -> Any:
    """A client whose features are its inputs, doubled."""
    double = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        double.weight.copy_(2 * torch.eye(2))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(len(labels), 2, generator=generator)
    model = nn.Sequential(double, nn.Linear(2, classes))
    client = Client(0, model, x, torch.tensor(labels), generator)
    fit = {"epochs": 1, "batch_size": 4, "lr": 0.1, "momentum": 0.0, "optimizer": "sgd"}
    loop = Standard(fit=fit, distil={}, device="cpu")
    return SimpleNamespace(client=client, loop=loop, index=0, classes=classes)


LESSON = Target(
    torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]),
    "class_knowledge",
    mask=torch.tensor([True, True, False]),
)


def test_a_client_uploads_the_mean_features_of_its_labels() -> None:
    phase = phase_of([2, 0, 2])
    sent = Prototypes(dim=2, counts=True).upload(phase)
    x = 2 * phase.client.x
    assert sent.mask is not None
    assert sent.mask.tolist() == [True, False, True]
    torch.testing.assert_close(sent.values[2], (x[0] + x[2]) / 2)
    torch.testing.assert_close(sent.values[0], x[1])
    assert sent.extras["counts"].tolist() == [1.0, 0.0, 2.0]


def test_the_extra_loss_by_hand_and_its_gradient() -> None:
    """Features (2, 4) and prototype (1, 0): (1 + 16) / 2; the sample of class 2 counts as 0."""
    phase, exchange = phase_of([0]), Prototypes(weight=3.0, dim=2)
    exchange.learn(phase, LESSON)
    model = phase.client.model
    with exchange.fitting(phase):
        logits = model(torch.tensor([[1.0, 2.0], [5.0, 5.0]]))
        loss = phase.client.extra_loss(logits, torch.tensor([0, 2]))
        loss.backward()
    assert loss.item() == pytest.approx(3 * 8.5 / 2)
    # d/dW of 3/2 * mean((W x - P)^2): 3/2 * (W x - P) x^T, x = (1, 2)
    expected = 1.5 * torch.tensor([[1.0], [4.0]]) @ torch.tensor([[1.0, 2.0]])
    torch.testing.assert_close(model[0].weight.grad, expected)
    assert model[1].weight.grad is None  # the last layer has no part in it


def test_only_known_classes_draw() -> None:
    found = distance(torch.ones(2, 2), torch.zeros(2, 2), torch.zeros(2).bool(), torch.arange(2))
    assert found.item() == 0


def test_inference_is_by_the_nearest_prototype() -> None:
    phase, exchange = phase_of([0]), Prototypes(dim=2)
    x = torch.tensor([[2.0, 1.0], [-0.5, 0.0], [0.0, 0.01]])
    plain = phase.client.model(x)
    torch.testing.assert_close(exchange.predict(phase, x), plain)  # no prototypes yet
    exchange.learn(phase, LESSON)
    scores = exchange.predict(phase, x)
    expected = torch.tensor([[-13.0, -29.0], [-4.0, 0.0], [-1.0004, -1.0004]])
    torch.testing.assert_close(scores[:, :2], expected)
    assert (scores[:, 2] == NEVER).all()  # though the last sample is nearest to its zeros
    assert scores.softmax(dim=-1).isfinite().all()
    torch.testing.assert_close(Prototypes(dim=2, nearest=False).predict(phase, x), plain)


def test_a_run_is_measured_by_the_nearest_prototype() -> None:
    one = simulate({"name": "fedproto", "weight": 0.0}, **TINY)
    assert one.summary["alma_local"] != simulate("local", **TINY).summary["alma_local"]


@pytest.mark.parametrize(("name", "value"), [("weight", -1.0), ("dim", 0), ("weighting", "none")])
def test_bad_parameters_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name}={value}"):
        simulate({"name": "fedproto", name: value}, **TINY)


# -- whole runs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("weighting", ["uniform", "counts"])
def test_mixed_models_and_resume(weighting: str, tmp_path: Path) -> None:
    strategy = {"name": "fedproto", "weighting": weighting}
    settings = TINY | {"model": MIXED if weighting == "uniform" else "mlp", "fraction": 0.6}
    whole = simulate(strategy, **settings)
    assert whole.summary["rejected"] == 0
    simulate(strategy, run_dir=str(tmp_path / "run"), **settings | {"rounds": 1})
    extended = fedkd.resume(tmp_path / "run", rounds=2)
    assert extended.summary["digest"] == whole.summary["digest"]


def test_another_loop_and_flipped_labels() -> None:
    honest = simulate("fedproto", client=f"{SMOOTHED}:Smoothed", **TINY)
    attack = {"name": "label_flip", "fraction": 0.4}
    hostile = simulate("fedproto", client=f"{SMOOTHED}:Smoothed", attack=attack, **TINY)
    assert honest.summary["rejected"] == hostile.summary["rejected"] == 0
    assert honest.summary["digest"] != hostile.summary["digest"]
