"""KCFU's maths: balanced softmax, class weights, weighted distillation of mixed samples."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from fedkd.maths.imbalance import class_weights, compensation, log_prior, mixed_weights

COUNTS = torch.tensor([120.0, 0, 40, 3, 0, 200, 0, 60, 1, 80])


def test_the_references_example_of_class_weights() -> None:
    wanted = torch.tensor([0.006, 0, 0.018, 0.238, 0, 0.004, 0, 0.012, 0.714, 0.009])
    torch.testing.assert_close(class_weights(COUNTS), wanted, atol=5e-4, rtol=0)


@given(counts=st.lists(st.integers(0, 500), min_size=1, max_size=20).filter(any))
def test_class_weights_sum_to_one_over_the_classes_there_are(counts: list[int]) -> None:
    n = torch.tensor(counts)
    weights = class_weights(n)
    assert weights.sum().item() == pytest.approx(1, abs=1e-5)
    assert bool((weights[n == 0] == 0).all())
    most = class_weights(n, "max")
    assert torch.equal(most[n > 0], weights[n > 0])
    assert bool((most[n == 0] == weights.max()).all())


def test_balanced_softmax_by_hand() -> None:
    z, n, y = torch.tensor([[1.0, 0.0]]), torch.tensor([1.0, 3.0]), torch.tensor([0])
    loss = F.cross_entropy(z + log_prior(n), y)
    e = torch.tensor(1.0).exp()
    torch.testing.assert_close(loss, -(e / (e + 3)).log())


def test_absent_classes_get_no_gradient() -> None:
    z = torch.randn(4, 10, requires_grad=True)
    y = torch.tensor([0, 2, 8, 5])
    loss = F.cross_entropy(z + log_prior(COUNTS), y)
    assert loss.isfinite()
    loss.backward()
    assert z.grad is not None
    assert bool((z.grad[:, COUNTS == 0] == 0).all())
    assert bool((z.grad[:, COUNTS > 0] != 0).all())


def test_compensation_by_hand() -> None:
    teacher, student = torch.tensor([[0.8, 0.2]]).log(), torch.tensor([[0.5, 0.5]]).log()
    divergence = 0.8 * torch.tensor(0.8 / 0.5).log() + 0.2 * torch.tensor(0.2 / 0.5).log()
    value = compensation(student, teacher, torch.tensor([3.0]))
    torch.testing.assert_close(value, 3 * divergence / 2)


@given(seed=st.integers(0, 1000))
def test_compensation_is_a_weighted_mean_of_kl_divergences(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, 6, 4, generator=generator)
    weights = torch.rand(6, generator=generator)
    each = F.kl_div(student.log_softmax(-1), teacher.softmax(-1), reduction="none").sum(-1)
    torch.testing.assert_close(compensation(student, teacher, weights), (weights * each).mean() / 4)
    torch.testing.assert_close(compensation(teacher, teacher, weights), torch.zeros(()))


def test_a_sample_that_is_not_mixed_has_its_own_classs_weight() -> None:
    logits, gamma = torch.eye(3), torch.tensor([0.1, 0.2, 0.7])
    partner = torch.tensor([2, 0, 1])
    assert torch.equal(mixed_weights(logits, partner, torch.ones(3), gamma), gamma)
    assert torch.equal(mixed_weights(logits, partner, torch.zeros(3), gamma), gamma[partner])
