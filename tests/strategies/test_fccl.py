"""FCCL and FCCL+: correlations, similarities, earlier nets, and the traps of their public code."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fedkd.clients.base import Client
from fedkd.clients.exchange.recalled_logits import RecalledLogits
from fedkd.clients.exchange.similarities import Similarities
from fedkd.clients.standard import Standard
from fedkd.strategies.fccl import FCCL
from support import TINY, stack_of
from torch import Tensor, nn
from torch.nn import functional as F

import fedkd
from fedkd import ConfigError
from fedkd.distillation import Batch, Target
from fedkd.distillation.cross_correlation import CrossCorrelation, standardised
from fedkd.distillation.instance_similarity import InstanceSimilarity, unlike
from fedkd.maths.masked import divergence_among
from fedkd.models.flat import flatten
from fedkd.models.mlp import MLP

SMALL = TINY | {"fraction": 0.6}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_correlation_by_hand() -> None:
    """Classes that rise and fall alike: M_ii = 1, M_ij = 1 or -1, so L = 0.1 * 2 * (1 + M_01)^2."""
    rising = torch.tensor([[1.0], [2.0], [3.0]])
    loss = CrossCorrelation(redundancy=0.1)
    together, apart = rising.repeat(1, 2), torch.cat([rising, -rising], dim=1)
    assert loss(together, Target(together, "logits")).item() == pytest.approx(0.8, abs=1e-3)
    assert loss(apart, Target(apart, "logits")).item() == pytest.approx(0, abs=1e-3)
    assert loss(apart, Target(-apart, "logits")).item() == pytest.approx(8.0 + 0.8, abs=1e-3)


@pytest.mark.parametrize("size", [2, 5, 64])
def test_trap_equal_scores_correlate_by_1_in_a_batch_of_any_size(size: int) -> None:
    """The public code has the unbiased deviation, and (B - 1) / B: .5 of two samples."""
    scores = drawn(size, 3)
    correlation = standardised(scores).T @ standardised(scores) / size
    torch.testing.assert_close(correlation.diagonal(), torch.ones(3), atol=1e-3, rtol=0)
    theirs = (scores - scores.mean(dim=0)) / scores.std(dim=0)
    torch.testing.assert_close(
        (theirs.T @ theirs / size).diagonal(), torch.full((3,), (size - 1) / size)
    )


def test_a_batch_of_one_and_a_class_that_does_not_vary_teach_nothing_infinite() -> None:
    for scores in (drawn(1, 3), torch.ones(4, 3)):
        z = scores.clone().requires_grad_()
        CrossCorrelation()(z, Target(drawn(len(z), 3, seed=1), "logits")).backward()
        assert z.grad is not None
        assert z.grad.isfinite().all()


def test_similarities_by_hand() -> None:
    """Cosines (0, 1) and (0, 0) of the first sample with the others at tau 1."""
    student, teacher = torch.eye(3), torch.eye(3)
    teacher[0, 2] = teacher[2, 0] = 1.0
    q = torch.tensor([1.0, torch.e]) / (1 + torch.e)
    one = (q * (2 * q).log()).sum()
    torch.testing.assert_close(unlike(student, teacher, 1.0), 2 * one / 3)  # the second: 0


def test_a_batch_picks_its_own_similarities_of_the_rounds() -> None:
    features, logits, rows = drawn(6, 4), drawn(6, 3), torch.tensor([4, 1, 3])
    own = F.normalize(features, dim=1)
    teacher = Target(torch.cat([logits, own @ own.T], dim=1), "related_logits")
    batch = Batch(features[rows], rows, features={"head": features[rows]})
    found = InstanceSimilarity()(logits[rows], teacher.part(teacher.values[rows]), batch)
    alone = CrossCorrelation()(logits[rows], Target(logits[rows], "logits"))
    torch.testing.assert_close(found, alone, atol=1e-5, rtol=1e-5)


def test_trap_the_divergence_among_wrong_classes_is_one() -> None:
    """Not renormalised, as in the public code: -.2350."""
    p, q = torch.tensor([[0.2, 0.4, 0.4]]), torch.tensor([[0.5, 0.25, 0.25]])
    theirs = (q * (q / p).log())[0, 1:].sum()
    torch.testing.assert_close(theirs, torch.tensor(-0.2350), atol=1e-4, rtol=0)
    nothing, y = torch.zeros(3, dtype=torch.bool), torch.tensor([0])
    ours = divergence_among(q.log(), p.log(), nothing, y, 1.0)
    torch.testing.assert_close(ours, torch.tensor(0.0), atol=1e-6, rtol=0)


def phase_of(model: nn.Module, **tensors: Tensor) -> Any:
    fit = {"epochs": 1, "batch_size": 8, "optimizer": "sgd", "lr": 0.0, "momentum": 0.0}
    client = Client(0, model, drawn(8, 64), torch.arange(8), torch.Generator().manual_seed(0))
    client.tensors = tensors
    return SimpleNamespace(
        client=client,
        loop=Standard(fit=fit, distil={}, device="cpu"),
        classes=10,
        index=0,
        options={"temperature": 1.0},
        transfer=lambda: (client.x, torch.arange(8)),
    )


def test_the_private_loss_recalls_the_first_and_the_previous_net() -> None:
    model, first, previous = MLP((64,), 10), MLP((64,), 10), MLP((64,), 10)
    kept = {"first": flatten(first), "previous": flatten(previous)}
    phase = phase_of(model, **kept)
    x, y = phase.client.x, phase.client.y
    own, ce = model(x).log_softmax(dim=1), F.cross_entropy(model(x), y)
    apart = [
        F.kl_div(own, net(x).softmax(dim=1), reduction="batchmean") for net in (first, previous)
    ]
    loss = RecalledLogits(first=0.5, previous=2.0).fit(phase)["loss_fit"]
    assert loss == pytest.approx((ce + 0.5 * apart[0] + 2 * apart[1]).item(), abs=1e-5)
    assert torch.equal(phase.client.tensors["first"], kept["first"])
    assert torch.equal(phase.client.tensors["previous"], flatten(model))


def test_a_first_fit_is_longer_and_recalls_nothing() -> None:
    phase = phase_of(MLP((64,), 10))
    asked = []
    fit = phase.loop.fit
    phase.loop.fit = lambda clients: asked.append(clients[0].epochs) or fit(clients)
    plain = F.cross_entropy(phase.client.model(phase.client.x), phase.client.y).item()
    exchange = RecalledLogits(pretraining=3)
    losses = [exchange.fit(phase)["loss_fit"] for _ in range(2)]
    assert losses == pytest.approx([plain, plain], abs=1e-5)  # KL(net || net) = 0
    assert asked == [3, None]
    torch.testing.assert_close(phase.client.tensors["first"], flatten(phase.client.model))


def test_fccl_plus_recalls_wrong_classes_and_uploads_cosines() -> None:
    model, previous = MLP((64,), 10), MLP((64,), 10)
    phase, exchange = phase_of(model), Similarities()
    plain = exchange.fit(phase)["loss_fit"]
    phase.client.tensors["previous"] = flatten(previous)
    x, y, hidden = phase.client.x, phase.client.y, torch.zeros(10, dtype=torch.bool)
    more = divergence_among(previous(x), model(x), hidden, y, 3.0).item()
    assert exchange.fit(phase)["loss_fit"] == pytest.approx(plain + more, abs=1e-5)
    sent = exchange.upload(phase).values
    torch.testing.assert_close(sent[:, :10], model(x).detach())
    torch.testing.assert_close(sent[:, 10:].diagonal(), torch.ones(8))
    assert torch.equal(sent[:, 10:], sent[:, 10:].T)


def test_the_mean_has_every_client_and_their_order_does_not_matter() -> None:
    values = drawn(4, 6, 3)
    stack, other = (
        stack_of(values[order], kind="logits") for order in ([0, 1, 2, 3], [2, 0, 3, 1])
    )
    torch.testing.assert_close(FCCL().fuse(stack), FCCL().fuse(other))


NODES = {"fccl": {"name": "fccl", "pretraining": 2}, "fccl_plus": {"name": "fccl_plus"}}


@pytest.mark.parametrize("name", NODES)
def test_clients_come_and_go_and_runs_resume(name: str, tmp_path) -> None:
    settings = SMALL | {"transfer.per_round": 30}
    whole = fedkd.simulate(NODES[name], **settings | {"rounds": 4}).summary
    assert whole["rejected"] == 0
    fedkd.simulate(NODES[name], run_dir=str(tmp_path / "run"), **settings)
    assert fedkd.resume(tmp_path / "run", rounds=4).summary["digest"] == whole["digest"]


@pytest.mark.parametrize(
    ("node", "more", "words"),
    [
        ({"name": "fccl", "pretraining": 0}, {}, "pretraining=0"),
        ({"name": "fccl", "first": -1.0}, {}, "first=-1"),
        ({"name": "fccl_plus", "tau": 0.0}, {}, "tau=0"),
        ("fccl_plus", {"secure.aggregation": True}, "secure.aggregation=true"),
        ("fccl_plus", {"objective": "kl"}, "objective=kl: learns from"),
        ("fccl", {"objective": "instance_similarity"}, "objective=instance_similarity: learns"),
    ],
)
def test_what_cannot_be_is_refused_by_name(node: Any, more: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        fedkd.simulate(node, **TINY | more)


def test_pairs_of_too_many_samples_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedkd.strategies.fccl_plus.MOST", 50)
    with pytest.raises(ConfigError, match=r"transfer\.per_round=null: .* 60 .*at most 50"):
        fedkd.simulate("fccl_plus", **TINY)
    fedkd.simulate("fccl_plus", **TINY | {"transfer.per_round": 30, "rounds": 1})


@pytest.mark.parametrize("name", ["fccl", "fccl_plus"])
def test_the_public_step_is_adam_s_unless_somebody_says_otherwise(name: str) -> None:
    """Its rate goes with it: with another optimiser that of the fit is used."""

    def digest(**distil: Any) -> str:
        given = {f"distil.{key}": value for key, value in distil.items()}
        return str(fedkd.simulate(name, **TINY, **given).summary["digest"])

    usual = digest()
    assert usual == digest(optimizer="adam") == digest(optimizer="adam", lr=1e-3)
    assert digest(lr=2e-3) == digest(optimizer="adam", lr=2e-3) != usual
    assert digest(optimizer="sgd") == digest(optimizer="sgd", lr=0.05) != usual


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"optimzer": "adam"}, "it is a mapping of"),
        ({"epochs": 3}, "it is a mapping of"),
        ({"lr": None}, "it is a mapping of"),
        (None, "it is a mapping of"),
        ([("lr", 0.1)], "it is a mapping of"),
        ({"lr": -1.0}, r"distil\.lr "),
        ({"optimizer": "adamw"}, r"distil\.optimizer "),
    ],
)
def test_an_objective_that_asks_for_no_training_there_is_is_refused(asked: Any, words: str) -> None:
    class Asking(CrossCorrelation):
        trained_with = asked

    with pytest.raises(ConfigError, match=rf"^objective=Asking: has trained_with=.*: {words}"):
        fedkd.simulate("fedmd", **TINY, objective=Asking())


@pytest.mark.parametrize("key", ["distil.batch_size", "transfer.size", "transfer.per_round"])
def test_batches_of_one_sample_that_teach_nothing_are_refused(key: str) -> None:
    for name, more in (("fccl_plus", {}), ("fedmd", {"objective": "cross_correlation"})):
        with pytest.raises(ConfigError, match=rf"^{key}=1: .* give it at least 2"):
            fedkd.simulate(name, **TINY | more | {key: 1})
    fedkd.simulate("local", **TINY | {"objective": "cross_correlation", "distil.batch_size": 1})
