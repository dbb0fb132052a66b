"""FedGEMS: whom to believe, and the server's pool."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import support
import torch
from fedkd.strategies.fedgems import FedGEMS, credit, mixture, selective_loss
from fedkd.strategies.fusing import fuse_in_blocks
from hypothesis import given, settings
from hypothesis import strategies as st
from support import MIXED, TINY
from torch.nn import functional as F

import fedkd
from fedkd.distillation.base import Target
from fedkd.distillation.kl import KL
from fedkd.engine.base import InlineBlocks
from fedkd.errors import ConfigError
from fedkd.knowledge import KnowledgeStack, Teacher
from fedkd.maths.mixing import entropy, simplex_error

SMALL = TINY | {"transfer.labelled": True, "evaluate.every": 100}
seeds = st.integers(0, 10_000)


def random_logits(seed: int, n: int, samples: int = 6, classes: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, samples, classes, generator=generator) * 3


def stack_of(values: torch.Tensor, labels: torch.Tensor | None = None) -> KnowledgeStack:
    _, samples, classes = values.shape
    labels = torch.arange(samples) % classes if labels is None else labels
    return support.stack_of(values, kind="logits", labels=labels)


def test_credit_by_hand() -> None:
    """Clients 0 and 1 are right, with entropies H0 and log 2 (nearly); client 2 is wrong."""
    logits = torch.tensor([[[3.0, 1.0]], [[1e-3, 0.0]], [[0.0, 9.0]]])
    p = 1 / (1 + math.exp(-2))
    h0 = -p * math.log(p) - (1 - p) * math.log(1 - p)
    scores = torch.tensor([1 / h0, 1 / math.log(2), 0.0])
    weights = credit(logits, torch.tensor([0])).flatten()
    torch.testing.assert_close(weights, scores.softmax(dim=0), atol=1e-5, rtol=0)
    ensemble = FedGEMS().fuse(stack_of(logits, torch.tensor([0])))
    expected = (weights[:, None, None] * logits).sum(dim=0)
    torch.testing.assert_close(ensemble, expected)
    assert (ensemble - logits.mean(dim=0)).abs().max() > 1e-3


def test_a_client_that_is_wrong_has_the_score_0_and_not_the_weight_0() -> None:
    """All wrong: all count alike. One right: the others still count a little."""
    logits = torch.tensor([[[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]]])
    torch.testing.assert_close(credit(logits, torch.tensor([2])), torch.full((2, 1), 0.5))
    weights = credit(logits, torch.tensor([0])).flatten()
    assert 0 < weights[1] < 0.5


def test_a_client_without_entropy_is_no_division_by_0() -> None:
    sure = torch.tensor([[[1e4, 0.0]], [[1e4, 0.0]], [[2.0, 0.0]]])
    weights = credit(sure, torch.tensor([0])).flatten()
    torch.testing.assert_close(weights, torch.tensor([0.5, 0.5, 0.0]))


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 6))
def test_simplex_and_permutation(seed: int, n: int) -> None:
    logits = random_logits(seed, n)
    labels = torch.arange(6) % 4
    assert simplex_error(credit(logits, labels).T) < 1e-5
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    ensemble = FedGEMS().fuse(stack_of(logits))
    moved = FedGEMS().fuse(stack_of(logits[order].contiguous()))
    torch.testing.assert_close(moved, ensemble, atol=1e-4, rtol=1e-4)
    right = logits.argmax(dim=-1) == labels
    surer = entropy(logits.softmax(-1))
    for sample in range(6):
        some = right[:, sample].nonzero().flatten()
        if len(some) > 1:
            best = some[surer[some, sample].argmin()]
            assert credit(logits, labels)[best, sample] == credit(logits, labels)[:, sample].max()


def test_one_client_alone_is_the_identity() -> None:
    logits = random_logits(3, 1)
    torch.testing.assert_close(FedGEMS().fuse(stack_of(logits)), logits[0])


def test_sharded_equals_unsharded_labels_included() -> None:
    knowledge = stack_of(random_logits(4, 3, samples=300))
    teacher, _ = fuse_in_blocks(FedGEMS(), knowledge, InlineBlocks())
    torch.testing.assert_close(teacher.values, FedGEMS().fuse(knowledge), atol=1e-5, rtol=0)


def test_the_divergence_is_kl_of_teacher_and_student_and_a_mean_over_samples_only() -> None:
    """A public implementation has KL(student || teacher), and a mean over classes as well."""
    student, source = torch.randn(5, 3), torch.randn(5, 3)
    label, p, q = torch.arange(5) % 3, source.softmax(-1), student.softmax(-1)
    batch = {"label": label, "source": source, "share": torch.zeros(5)}
    loss = selective_loss(student, batch)
    torch.testing.assert_close(loss, (p * (p / q).log()).sum() / 5)
    reverse = (q * (q / p).log()).sum() / 5
    assert (loss - reverse).abs() > 1e-3
    assert (loss - loss / 3).abs() > 1e-3


def test_the_loss_by_hand() -> None:
    """Student (1/2, 1/2), source (3/4, 1/4): CE log 2, KL 3/4 log 3/2 + 1/4 log 1/2."""
    batch = {
        "label": torch.tensor([0, 1]),
        "source": torch.tensor([[3.0, 1.0], [3.0, 1.0]]).log(),
        "share": torch.tensor([0.75, 1.0]),
    }
    kl = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    expected = (0.75 * math.log(2) + 0.25 * kl + math.log(2)) / 2
    assert selective_loss(torch.zeros(2, 2), batch).item() == pytest.approx(expected)


@settings(max_examples=30, deadline=None)
@given(seeds, st.floats(0, 1))
def test_the_clients_mixture_has_the_gradient_of_both_losses(seed: int, eps: float) -> None:
    own, server = random_logits(seed, 2)
    label = torch.arange(6) % 4
    one, two = own.clone().requires_grad_(), own.clone().requires_grad_()
    teacher = mixture(label, server, eps)
    assert simplex_error(teacher) < 1e-5
    KL()(one, Target(teacher)).backward()
    both = eps * F.cross_entropy(two, label)
    divergence = F.kl_div(two.log_softmax(-1), server.softmax(-1), reduction="batchmean")
    (both + (1 - eps) * divergence).backward()
    torch.testing.assert_close(one.grad, two.grad, atol=1e-5, rtol=1e-4)


class Scripted(FedGEMS):
    """Has the server guess what the test says."""

    script: torch.Tensor

    def guessed(self, plan):
        return self.script

    def learnt(self, plan, targets, loss):
        self.targets = targets
        return torch.zeros_like(self.script)


def test_the_pool_keeps_what_the_server_got_right() -> None:
    strategy = Scripted(eps=0.6)
    plan: Any = SimpleNamespace(
        classes=2,
        sample_ids=torch.tensor([1, 4, 6]),
        server=SimpleNamespace(transfer_rows=8, width=2),
    )
    labels, uploads = torch.tensor([0, 0, 1]), random_logits(5, 2, samples=3, classes=2)
    knowledge = stack_of(uploads, labels)
    ensemble = Teacher("logits", strategy.fuse(knowledge), [0, 1])

    strategy.script = first = torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, 0.0]])  # right, 2 wrong
    sent = strategy.refine(plan, knowledge, ensemble)
    torch.testing.assert_close(strategy.targets["share"], torch.tensor([1.0, 0.6, 0.6]))
    assert torch.equal(strategy.targets["source"][1:], ensemble.values[1:])
    assert strategy.state["pooled"].nonzero().flatten().tolist() == [1]
    assert torch.equal(strategy.state["pool"][1], first[0])
    expected = torch.tensor([[0.8, 0.2], [0.8, 0.2], [0.2, 0.8]])
    torch.testing.assert_close(sent.values, expected)
    assert sent.kind == "soft_labels"

    strategy.script = second = torch.tensor([[0.0, 1.0], [4.0, 3.0], [6.0, 0.0]])
    strategy.refine(plan, knowledge, ensemble)
    torch.testing.assert_close(strategy.targets["share"], torch.tensor([0.6, 1.0, 0.6]))
    assert torch.equal(strategy.targets["source"][0], first[0])  # wrong now, right before
    assert torch.equal(strategy.targets["source"][2], ensemble.values[2])  # never right
    assert strategy.state["pooled"].nonzero().flatten().tolist() == [1, 4]
    assert torch.equal(strategy.state["pool"][4], second[1])


def test_without_labels_there_is_no_fedgems() -> None:
    with pytest.raises(ConfigError, match=r"transfer\.labelled.*fedgems needs"):
        fedkd.simulate("fedgems", **SMALL | {"transfer.labelled": False})


@pytest.mark.parametrize("eps", [-0.1, 1.1, float("nan")])
def test_a_weight_out_of_range_is_refused(eps: float) -> None:
    with pytest.raises(ValueError, match=r"eps=.* must be"):
        FedGEMS(eps=eps)


def test_a_run_with_mixed_models_can_be_resumed(tmp_path) -> None:
    shared = SMALL | {"fraction": 0.6, "model": MIXED, "transfer.per_round": 40}
    shared["strategy"] = "fedgems"
    whole = fedkd.simulate(**shared | {"rounds": 3})
    run_dir = tmp_path / "run"
    fedkd.simulate(run_dir=str(run_dir), **shared)
    resumed = fedkd.resume(run_dir, rounds=3)
    assert resumed.summary["digest"] == whole.summary["digest"]
    assert whole.summary["rejected"] == 0
