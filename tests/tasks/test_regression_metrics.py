"""A regression's loss, metrics and kinds of knowledge, against values worked out elsewhere."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from fedkd import tasks
from fedkd.data.targets import binned, described
from fedkd.distillation import Target
from fedkd.distillation.gaussian_kl import GaussianKL
from fedkd.knowledge import KnowledgeStack, kind_named
from fedkd.knowledge.admission import Rejected, check_values
from fedkd.knowledge.predictions import LARGEST_OUTPUT, moments
from fedkd.tasks.regression import Regression
from fedkd.tasks.targets import Targets

ABOUT = Targets(["price", "weight"], [100.0, -3.0], [20.0, 0.5])


def sampled(seed=0, n=40, variance=False):
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(n, 4 if variance else 2, generator=generator)
    return outputs, torch.randn(n, 2, generator=generator)


@given(st.integers(0, 1000))
def test_metrics_are_those_of_scikit_learn_in_original_units(seed):
    outputs, targets = sampled(seed)
    weights = torch.rand(40, generator=torch.Generator().manual_seed(seed)).double() + 0.01
    found = Regression().metrics(outputs, targets, weights, ABOUT)
    mean, std = np.array(ABOUT.mean), np.array(ABOUT.std)
    guess, truth = (part.double().numpy() * std + mean for part in (outputs, targets))
    how = {"sample_weight": weights.numpy()}
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(truth, guess, **how))
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(truth, guess, **how))
    assert found["r2"] == pytest.approx(sk.r2_score(truth, guess, **how))


def test_loss_and_likelihood_are_those_of_torch():
    outputs, targets = sampled()
    assert Regression().loss(outputs, targets) == torch.nn.functional.mse_loss(outputs, targets)
    assert Regression().loss(outputs[:, :1], targets[:, 0]) == pytest.approx(
        torch.nn.functional.mse_loss(outputs[:, 0], targets[:, 0]).item()
    )
    outputs, targets = sampled(variance=True)
    mean, log_variance = moments(outputs)
    theirs = torch.nn.GaussianNLLLoss(full=True)(mean, targets, log_variance.exp())
    plain = Regression(variance=True, beta=0.0).loss(outputs, targets)
    assert plain.item() == pytest.approx(theirs.item())
    ones = torch.ones(40, dtype=torch.float64)
    found = Regression(variance=True).metrics(outputs, targets, ones, ABOUT)
    in_units = theirs.item() + np.mean(np.log(ABOUT.std))
    assert found["nll"] == pytest.approx(in_units, rel=1e-6)
    inside = (targets - mean).abs() <= 1.6448536 * (log_variance / 2).exp()
    assert found["coverage"] == pytest.approx(inside.double().mean().item())


def test_small_variances_make_no_large_steps():
    """By hand, y = 1, m = 0, v = e^-4: slopes v^beta (m - y) / v, and v^beta (1 - 1 / v) / 2."""
    v = math.exp(-4)
    for beta in (0.0, 0.5, 1.0):
        slopes = v**beta * -1 / v, v**beta * (1 - 1 / v) / 2
        outputs = torch.tensor([[0.0, -4.0]], requires_grad=True)
        Regression(variance=True, beta=beta).loss(outputs, torch.ones(1)).backward()
        assert outputs.grad.flatten().tolist() == pytest.approx(slopes, rel=1e-5)
        student = torch.tensor([[0.0, -4.0]], requires_grad=True)
        teacher = Target(torch.tensor([[1.0, 0.5]]), "gaussian_predictions")
        GaussianKL(beta=beta)(student, teacher).backward()
        slopes = v**beta * -1 / v, v**beta * (1 - 1.5 / v) / 2
        assert student.grad.flatten().tolist() == pytest.approx(slopes, rel=1e-5)
    assert Regression(variance=True).beta == GaussianKL().beta == 1
    for wrong in ({"beta": 0.5}, {"variance": True, "beta": 1.5}):
        with pytest.raises(ValueError, match="beta="):
            Regression(**wrong)


def test_variances_are_clamped():
    sure = torch.tensor([[0.0, -50.0], [0.0, 50.0]])
    assert moments(sure)[1].flatten().tolist() == [-7.0, 7.0]
    loss = Regression(variance=True, beta=0.0).loss(sure, torch.ones(2))
    assert loss.isfinite()
    assert loss < 1e3


def test_a_model_that_has_diverged_scores_badly_and_finitely():
    outputs, targets = sampled()
    outputs[0], outputs[1, 0] = math.nan, -math.inf
    found = Regression().metrics(outputs, targets, torch.ones(40).double(), ABOUT)
    assert all(math.isfinite(value) for value in found.values())
    assert found["rmse"] > 0.1 * LARGEST_OUTPUT


def test_local_is_under_the_clients_own_bins():
    outputs, targets = sampled(n=30)
    groups = torch.arange(30) % 3
    tested = tasks.Tested(targets, groups, torch.tensor([10.0, 10.0, 10.0], dtype=torch.float64))
    task = Regression()
    score = task.examined(outputs, tested, ABOUT)
    own = task.metrics(outputs[groups == 2], targets[groups == 2], torch.ones(10).double(), ABOUT)
    found = score(torch.tensor([0.0, 0.0, 4.0]))
    assert found["local"] == pytest.approx(own["rmse"])
    assert found["r2_local"] == pytest.approx(own["r2"])
    even = score(torch.tensor([2.0, 2.0, 2.0]))
    assert even["local"] == pytest.approx(even["global"]) == pytest.approx(found["global"])
    assert math.isnan(score(torch.zeros(3))["local"])


def test_a_part_stands_for_the_whole():
    outputs, targets = sampled(n=30)
    groups = torch.arange(30) % 3
    counts = torch.tensor([50.0, 10.0, 10.0], dtype=torch.float64)
    found = Regression().examined(outputs, tasks.Tested(targets, groups, counts), ABOUT)
    weights = torch.tensor([5.0, 1.0, 1.0], dtype=torch.float64)[groups]
    wanted = Regression().metrics(outputs, targets, weights, ABOUT)
    assert found(torch.ones(3))["global"] == pytest.approx(wanted["rmse"])


def test_bins_are_quantiles_of_the_first_target():
    y = np.stack([np.arange(100.0), np.zeros(100)], axis=1).astype(np.float32)
    about = described(y, ["a", "b"])
    assert np.bincount(binned(y, about["edges"])).tolist() == [10] * 10
    assert about["std"] == [pytest.approx(np.arange(100).std()), 1.0]
    few = described(np.array([1.0, 1.0, 1.0, 5.0], np.float32), ["a"])
    assert np.bincount(binned(np.array([1.0, 5.0], np.float32), few["edges"])).tolist() == [1, 1]
    assert described(np.ones(5, np.float32), ["a"])["edges"] == []


def gaussians(seed, n=3):
    values = torch.randn(n, 5, 4, generator=torch.Generator().manual_seed(seed))
    return torch.cat([values[..., :2], values[..., 2:].exp()], dim=-1)


@given(st.integers(0, 500))
def test_a_mean_of_gaussians_has_the_moments_of_their_mixture(seed):
    values = gaussians(seed)
    mixed = KnowledgeStack("gaussian_predictions", values, [0, 1, 2], torch.arange(5)).mean()
    mean, variance = values.double().chunk(2, dim=-1)
    assert torch.allclose(mixed[:, :2], mean.mean(dim=0).float(), atol=1e-5)
    spread = variance.mean(dim=0) + mean.var(dim=0, correction=0)
    assert torch.allclose(mixed[:, 2:], spread.float(), rtol=1e-4, atol=1e-5)
    check_values("gaussian_predictions", mixed, (5, 4))


def test_the_divergence_is_that_of_torch():
    outputs, values = sampled(variance=True)[0], gaussians(1, 8).reshape(40, 4)
    mean, log_variance = moments(outputs)
    normal = torch.distributions.Normal
    student = normal(mean, (log_variance / 2).exp())
    teacher = normal(values[:, :2], values[:, 2:].sqrt())
    wanted = torch.distributions.kl_divergence(teacher, student).sum(dim=-1).mean()
    found = GaussianKL(beta=0.0)(outputs, Target(values, "gaussian_predictions"))
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize("kind", ["predictions", "gaussian_predictions"])
def test_how_predictions_are_spread(kind):
    low, high = torch.linspace(-2, -1, 50), torch.linspace(1, 2, 50)
    values = torch.stack([low, high, high]).unsqueeze(-1)
    if kind == "gaussian_predictions":
        values = torch.cat([values, torch.full_like(values, 0.01)], dim=-1)
    shares = kind_named(kind).distribution(values)
    assert shares.shape == (3, 10)
    assert shares.min() > 0
    assert torch.allclose(shares.sum(dim=-1), torch.ones(3))
    assert torch.equal(shares[1], shares[2])
    assert shares[0, :3].sum() > 0.7
    assert shares[1, :3].sum() < 0.2
    moved = kind_named(kind).distribution(values[[1, 0, 2]])
    assert torch.allclose(moved[[1, 0, 2]], shares)


@pytest.mark.parametrize(
    ("kind", "values", "problem"),
    [
        ("predictions", [[2e4]], "magnitude: 2e\\+04 is above 10000 standard"),
        ("gaussian_predictions", [[0.0, 0.0]], "variance: 0 is below"),
        ("gaussian_predictions", [[0.0, -1.0]], "variance: -1 is below"),
        ("gaussian_predictions", [[0.0, 1e9]], "variance: 1e\\+09 is too large"),
        ("gaussian_predictions", [[2e4, 1.0]], "magnitude"),
    ],
)
def test_what_is_no_prediction_is_not_admitted(kind, values, problem):
    with pytest.raises(Rejected, match=problem):
        check_values(kind, torch.tensor(values), (1, len(values[0])))
