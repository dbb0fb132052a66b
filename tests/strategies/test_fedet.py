"""Fed-ET: variance-weighted consensus, and those who disagree with it."""

import math
from functools import partial

import pytest
import support
import torch
from fedkd.strategies.fedet import FedET, confidence, consensus_loss, dissent
from fedkd.strategies.fusing import fuse_in_blocks
from hypothesis import given, settings
from hypothesis import strategies as st
from support import MIXED, TINY
from torch.nn import functional as F

import fedkd
from fedkd.engine.base import InlineBlocks
from fedkd.maths.mixing import simplex_error

SMALL = TINY | {"evaluate.every": 100}
seeds = st.integers(0, 10_000)


def random_logits(seed: int, n: int, samples: int = 6, classes: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, samples, classes, generator=generator) * 3


stack_of = partial(support.stack_of, kind="logits")


def test_consensus_by_hand() -> None:
    """Variances of (6, 0) and (0, 2) are as 9 to 1; the mean of the logits is (3, 1)."""
    logits = torch.tensor([[[6.0, 0.0]], [[0.0, 2.0]]])
    torch.testing.assert_close(confidence(logits).flatten(), torch.tensor([0.9, 0.1]))
    consensus = FedET().fuse(stack_of(logits))
    torch.testing.assert_close(consensus, torch.tensor([[5.4, 0.2]]))
    assert (consensus - logits.mean(dim=0)).abs().max() > 1e-3


def test_dissent_by_hand() -> None:
    """Clients 1 and 2 disagree with class 0; their variances are as 4 to 1."""
    logits = torch.tensor([[[9.0, 0.0]], [[0.0, 2.0]], [[0.0, 1.0]]])
    target, heard = dissent(logits, torch.tensor([0]))
    torch.testing.assert_close(target, torch.tensor([[0.0, 1.8]]))
    assert heard.tolist() == [True]
    target, heard = dissent(logits[:1], torch.tensor([0]))
    assert heard.tolist() == [False]
    assert not target.any()


def test_the_loss_by_hand() -> None:
    """CE log 2 each, and KL((3/4, 1/4) || (1/2, 1/2)) for the one sample with dissent."""
    batch = {
        "label": torch.tensor([0, 1]),
        "dissent": torch.tensor([[3.0, 1.0], [5.0, 1.0]]).log(),
        "heard": torch.tensor([True, False]),
    }
    kl = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    loss = consensus_loss(torch.zeros(2, 2), batch, 0.5).item()
    assert loss == pytest.approx(math.log(2) + 0.5 * kl / 2)


def test_the_divergence_is_of_the_server_from_the_dissenters() -> None:
    student, target = torch.randn(3, 4).requires_grad_(), torch.randn(3, 4)
    label = torch.tensor([0, 1, 2])
    batch = {"label": label, "dissent": target, "heard": torch.ones(3, dtype=torch.bool)}
    consensus_loss(student, batch, 1.0).backward()
    p = student.detach().softmax(-1)
    torch.testing.assert_close(
        student.grad, ((p - F.one_hot(label, 4)) + (p - target.softmax(-1))) / 3
    )


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 6))
def test_weights_do_not_see_a_constant_and_sum_to_1(seed: int, n: int) -> None:
    """The log-softmax and the logits have the same variance over classes."""
    logits = random_logits(seed, n)
    weights = confidence(logits)
    assert simplex_error(weights.T) < 1e-5
    plain = logits.var(dim=-1) / logits.var(dim=-1).sum(dim=0)
    torch.testing.assert_close(weights, plain, atol=1e-5, rtol=1e-4)
    shifted = logits + torch.randn(n, 6, 1, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(confidence(shifted), weights, atol=1e-5, rtol=1e-4)


def test_a_variance_of_0_everywhere_is_no_division_by_0() -> None:
    torch.testing.assert_close(confidence(torch.zeros(4, 2, 3)), torch.full((4, 2), 0.25))
    target, heard = dissent(torch.zeros(4, 2, 3), torch.tensor([0, 1]))
    assert target.isfinite().all()
    assert heard.tolist() == [False, True]  # argmax of equal logits is the first class


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(2, 6))
def test_permuting_the_clients_changes_nothing(seed: int, n: int) -> None:
    logits = random_logits(seed, n)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    consensus = FedET().fuse(stack_of(logits))
    moved = FedET().fuse(stack_of(logits[order].contiguous()))
    torch.testing.assert_close(moved, consensus, atol=1e-4, rtol=1e-4)
    label = consensus.argmax(dim=-1)
    pairs = zip(dissent(logits, label), dissent(logits[order], label), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_one_client_alone_is_the_identity() -> None:
    logits = random_logits(3, 1)
    torch.testing.assert_close(FedET().fuse(stack_of(logits)), logits[0])


def test_sharded_equals_unsharded() -> None:
    logits = random_logits(4, 3, samples=300)
    teacher, _ = fuse_in_blocks(FedET(), stack_of(logits), InlineBlocks())
    torch.testing.assert_close(teacher.values, FedET().fuse(stack_of(logits)), atol=1e-5, rtol=0)


class Watched(FedET):
    """Keeps the server's targets and what it sends."""

    def learnt(self, plan, targets, loss):
        self.targets, self.logits = targets, super().learnt(plan, targets, loss)
        return self.logits

    def refine(self, plan, knowledge, teacher):
        self.consensus, self.seen = teacher.values, knowledge.logits
        self.sent = super().refine(plan, knowledge, teacher)
        return self.sent


def test_the_teacher_is_the_servers_model() -> None:
    strategy = Watched()
    fedkd.simulate(strategy, **SMALL)
    label = strategy.consensus.argmax(dim=-1)
    assert torch.equal(strategy.targets["label"], label)
    expected = dissent(strategy.seen, label)
    assert torch.equal(strategy.targets["dissent"], expected[0])
    assert strategy.sent.kind == "logits"
    assert torch.equal(strategy.sent.values, strategy.logits)
    agreement = (strategy.logits.argmax(dim=-1) == label).float().mean()
    assert agreement > 0.8  # ten epochs on sixty samples


def test_the_dissenters_are_heard() -> None:
    logits = []
    for diversity in (0.0, 5.0):
        strategy = Watched(diversity=diversity)
        fedkd.simulate(strategy, **SMALL | {"rounds": 1})
        heard = strategy.targets["heard"]
        target = strategy.targets["dissent"][heard].log_softmax(-1)
        student = strategy.logits[heard].log_softmax(-1)
        logits.append(F.kl_div(student, target, reduction="batchmean", log_target=True).item())
    assert logits[1] < logits[0]


@pytest.mark.parametrize("parameters", [{"diversity": -1.0}, {"server_lr": float("nan")}])
def test_parameters_out_of_range_are_refused(parameters: dict) -> None:
    with pytest.raises(ValueError, match="must be"):
        FedET(**parameters)


def test_a_run_with_mixed_models_can_be_resumed(tmp_path) -> None:
    shared = SMALL | {"fraction": 0.6, "model": MIXED, "strategy": "fedet"}
    whole = fedkd.simulate(**shared | {"rounds": 3})
    run_dir = tmp_path / "run"
    fedkd.simulate(run_dir=str(run_dir), **shared)
    resumed = fedkd.resume(run_dir, rounds=3)
    assert resumed.summary["digest"] == whole.summary["digest"]
    assert whole.summary["rejected"] == 0
