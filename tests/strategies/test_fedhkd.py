"""FedHKD: mean features with noise and mean soft predictions of each class."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import support
import torch
from fedkd.clients import Client
from fedkd.clients.exchange.hyper_knowledge import HyperKnowledge, prediction_gap
from fedkd.clients.standard import Standard
from fedkd.strategies.fedhkd import FedHKD
from hypothesis import given, settings
from hypothesis import strategies as st
from support import MIXED, TINY
from torch import Tensor, nn

import fedkd
from fedkd import ConfigError, simulate
from fedkd.knowledge import KnowledgeStack, Target

SMOOTHED = Path(__file__).parents[2] / "experiments" / "plugins" / "label_smoothing.py"


def stack_of(values: Tensor, has: Tensor) -> KnowledgeStack:
    return support.stack_of(values, kind="class_knowledge", mask=has)


# -- the server's half ---------------------------------------------------------------------------


def test_trap_clients_are_averaged_and_do_not_overwrite_one_another() -> None:
    """The official server updates one dictionary with another's: the last client would win."""
    values = torch.tensor([[[1.0, 0.2], [4.0, 0.4]], [[3.0, 0.4], [0.0, 0.0]], [[8.0, 0.9]] * 2])
    has = torch.tensor([[True, True], [True, False], [True, False]])
    teacher = FedHKD().fuse(stack_of(values, has))
    torch.testing.assert_close(teacher, torch.tensor([[4.0, 0.5], [4.0, 0.4]]))
    assert not torch.allclose(teacher[0], values[-1, 0])
    assert (teacher - values.mean(dim=0)).abs().max() > 1e-3


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.integers(1, 6))
def test_clients_may_change_places_and_predictions_stay_soft(seed: int, n: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(n, 4, 3, generator=generator)
    soft = torch.randn(n, 4, 4, generator=generator).softmax(dim=-1)
    has = torch.rand(n, 4, generator=generator) < 0.6
    values, order = torch.cat([features, soft], dim=-1), torch.randperm(n, generator=generator)
    teacher = FedHKD(dim=3).fuse(stack_of(values, has))
    moved = FedHKD(dim=3).fuse(stack_of(values[order], has[order]))
    torch.testing.assert_close(moved, teacher, atol=1e-5, rtol=1e-4)
    known = has.any(dim=0)
    torch.testing.assert_close(teacher[known, 3:].sum(dim=-1), torch.ones(int(known.sum())))
    alone = stack_of(values[:1], has[:1])
    assert torch.equal(FedHKD(dim=3).fuse(alone), alone.values[0])


# -- the client's half ---------------------------------------------------------------------------


def phase_of(labels: list[int], seed: int = 0, width: int = 2) -> Any:
    """A client whose features are its inputs; the head is a fixed matrix."""
    model = nn.Sequential(nn.Identity(), nn.Linear(width, 3))
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(3)[:, :width])
        model[1].bias.copy_(torch.tensor([0.0, 0.0, 1.0]))
    x = torch.randn(len(labels), width, generator=torch.Generator().manual_seed(7))
    generator = torch.Generator().manual_seed(seed)
    client = Client(0, model, x, torch.tensor(labels), generator)
    loop = Standard(fit={}, distil={}, device="cpu")
    return SimpleNamespace(client=client, loop=loop, index=0, classes=3)


def test_a_client_uploads_mean_features_and_mean_soft_predictions() -> None:
    phase = phase_of([2, 0, 2])
    sent = HyperKnowledge(std=0.0, softness=0.5, dim=2).upload(phase)
    x = phase.client.x
    with torch.no_grad():
        soft = (phase.client.model(x) / 0.5).softmax(dim=-1)
    assert sent.mask is not None
    assert sent.mask.tolist() == [True, False, True]
    torch.testing.assert_close(sent.values[2], torch.cat([x, soft], dim=1)[[0, 2]].mean(dim=0))
    assert not sent.values[1].any()


def test_trap_each_class_has_noise_of_its_own() -> None:
    """The official client adds one vector to all: differences between classes carry no noise."""
    labels = [0, 1, 2] * 3
    clean = HyperKnowledge(std=0.0, dim=2).upload(phase_of(labels)).values
    noise = HyperKnowledge(std=2.0, dim=2).upload(phase_of(labels)).values - clean
    drawn = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(noise[:, :2], 2 * drawn)
    assert (noise[0, :2] - noise[1, :2]).abs().max() > 0.1
    assert not noise[:, 2:].any()
    again = HyperKnowledge(std=2.0, dim=2).upload(phase_of(labels, seed=1)).values - clean
    assert (again - noise).abs().max() > 0.1


def test_trap_l2_of_the_paper_and_kl_of_the_code() -> None:
    logits, target = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]]), torch.tensor([[1.0, 0.0]] * 2)
    l2 = (math.sqrt(0.5) + math.sqrt(2 * 0.25**2)) / 2
    kl = (math.log(2) + math.log(4 / 3)) / 2
    assert prediction_gap(logits, target, "l2").item() == pytest.approx(l2)
    assert prediction_gap(logits, target, "kl").item() == pytest.approx(kl)
    assert FedHKD().exchange_node()["match"] == "l2"


def test_a_perfect_match_has_a_gradient() -> None:
    for match in ("l2", "kl"):
        logits = torch.tensor([[1.0, 2.0]]).requires_grad_()
        gap = prediction_gap(logits, logits.detach().softmax(dim=-1), match)
        gap.backward()
        assert gap.item() == pytest.approx(0, abs=1e-5)
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


@pytest.mark.parametrize("match", ["l2", "kl"])
def test_the_extra_loss_by_hand(match: Any) -> None:
    """Class 0 alone is known: H = (1, 3), Q = (1, 0, 0); head(H) = (1, 3, 1)."""
    phase = phase_of([0])
    exchange = HyperKnowledge(0.5, 2.0, softness=0.5, match=match, dim=2)
    values = torch.zeros(3, 5)
    values[0] = torch.tensor([1.0, 3.0, 1.0, 0.0, 0.0])
    known = torch.tensor([True, False, False])
    exchange.learn(phase, Target(values, "class_knowledge", mask=known))
    with exchange.fitting(phase):
        logits = phase.client.model(torch.tensor([[2.0, 2.0], [9.0, 9.0]]))
        loss = phase.client.extra_loss(logits, torch.tensor([0, 1]))
    p = torch.tensor([2.0, 6.0, 2.0]).softmax(dim=-1)
    gaps = {"l2": (p - values[0, 2:]).norm(), "kl": -p[0].log()}
    near = (1 + 1) / 2 / 2  # features (2, 2) of two samples, of which one counts
    assert loss.item() == pytest.approx(0.5 * gaps[match].item() + 2 * near)


def test_a_head_of_another_width_is_fed_the_means_stretched() -> None:
    """Two mean features for a head of width 4: each is repeated."""
    phase, exchange = phase_of([0], width=3), HyperKnowledge(1.0, 0.0, dim=1)
    values = torch.tensor([[0.5, 0.0, 0.0, 1.0]] * 3)
    exchange.learn(phase, Target(values, "class_knowledge", mask=torch.ones(3).bool()))
    with exchange.fitting(phase):
        logits = phase.client.model(torch.zeros(1, 3))
        loss = phase.client.extra_loss(logits, torch.tensor([0]))
    answer = (torch.tensor([0.5, 0.5, 1.5]) / 0.5).softmax(dim=-1)
    assert loss.item() == pytest.approx((answer - values[0, 1:]).norm().item())


def test_inference_is_by_the_models_own_head() -> None:
    phase, exchange, x = phase_of([0]), HyperKnowledge(dim=2), torch.randn(4, 2)
    exchange.learn(phase, Target(torch.zeros(3, 5), "class_knowledge", mask=torch.ones(3).bool()))
    torch.testing.assert_close(exchange.predict(phase, x), phase.client.model(x))


@pytest.mark.parametrize(
    ("name", "value"),
    [("predictions", -1.0), ("features", -1.0), ("std", -1.0), ("softness", 0.0), ("match", "l1")],
)
def test_bad_parameters_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"strategy\.{name}={value}"):
        simulate({"name": "fedhkd", name: value}, **TINY)


# -- whole runs ----------------------------------------------------------------------------------


def test_without_weights_it_is_local_training() -> None:
    local = simulate("local", **TINY).summary["alma_global"]
    silent = {"name": "fedhkd", "predictions": 0.0, "features": 0.0}
    assert simulate(silent, **TINY).summary["alma_global"] == local
    assert simulate("fedhkd", **TINY | {"rounds": 3}).summary["alma_global"] != local


def test_mixed_models_and_resume(tmp_path: Path) -> None:
    settings = TINY | {"model": MIXED, "fraction": 0.6}
    whole = simulate("fedhkd", **settings)
    assert whole.summary["rejected"] == 0
    simulate("fedhkd", run_dir=str(tmp_path / "run"), **settings | {"rounds": 1})
    extended = fedkd.resume(tmp_path / "run", rounds=2)
    assert extended.summary["digest"] == whole.summary["digest"]


def test_another_loop_and_flipped_labels() -> None:
    honest = simulate("fedhkd", client=f"{SMOOTHED}:Smoothed", **TINY)
    attack = {"name": "label_flip", "fraction": 0.4}
    hostile = simulate("fedhkd", client=f"{SMOOTHED}:Smoothed", attack=attack, **TINY)
    assert honest.summary["rejected"] == hostile.summary["rejected"] == 0
    assert honest.summary["digest"] != hostile.summary["digest"]
