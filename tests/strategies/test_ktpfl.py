"""KT-pFL: coefficients that are learnt."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from fedkd.clients.exchange import SoftLabels
from fedkd.strategies.fusing import fuse_in_blocks
from fedkd.strategies.ktpfl import KTpFL, gradient, rate, stepped
from hypothesis import given, settings
from hypothesis import strategies as st
from support import MIXED, TINY, stack_of
from torch.nn import functional as F

import fedkd
from fedkd.distillation.base import Target
from fedkd.distillation.kl import KL
from fedkd.engine.base import InlineBlocks
from fedkd.knowledge import Teacher
from fedkd.maths.mixing import mix, simplex_error

SMALL = TINY | {"evaluate.every": 100}
seeds = st.integers(0, 10_000)


def random_labels(seed: int, n: int, samples: int = 6, classes: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, samples, classes, generator=generator).mul(2).softmax(dim=-1)


def plan_of(clients: int) -> Any:
    return SimpleNamespace(server=SimpleNamespace(clients=clients))


def refined(strategy: KTpFL, values: torch.Tensor, clients: list[int], everybody: int) -> None:
    teacher = Teacher("soft_labels", values, clients)
    strategy.refine(plan_of(everybody), stack_of(values, clients), teacher)


def test_two_clients_by_hand() -> None:
    """Slope (-1/2, 1/2), mean 1/2, so lr = 1/25: the row is softmax(5 * (0.52, 0.48))."""
    values = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    own = 1 / (1 + math.exp(-5 * 0.04))
    expected = torch.tensor([[own, 1 - own], [1 - own, own]])
    torch.testing.assert_close(KTpFL().weights(stack_of(values)), expected)
    teacher, _ = fuse_in_blocks(KTpFL(), stack_of(values), InlineBlocks())
    torch.testing.assert_close(teacher.values[0, 0], torch.tensor([own, 1 - own]))
    assert (teacher.values - values.mean(dim=0)).abs().max() > 1e-3


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 5), st.floats(0, 3))
def test_the_gradient_is_that_of_the_loss(seed: int, n: int, rho: float) -> None:
    values = random_labels(seed, n).double()
    shares = torch.randn(n, n, generator=torch.Generator().manual_seed(seed)).double().softmax(-1)
    for row in range(n):
        c = shares[row].clone().requires_grad_()
        mixed = (c[:, None, None] * values).sum(dim=0)
        loss = F.mse_loss(mixed, values[row]) + rho * F.mse_loss(c, torch.full_like(c, 1 / n))
        loss.backward()
        assert c.grad is not None
        torch.testing.assert_close(gradient(shares, values, rho)[row], c.grad)


@settings(max_examples=100, deadline=None)
@given(st.floats(1e-5, 100))
def test_the_mean_step_is_about_a_hundredth(mean: float) -> None:
    found = rate(mean)
    exponent = round(math.log(found, 5))
    assert found == pytest.approx(5.0**exponent)
    assert abs(exponent) <= 5
    assert 0.01 <= mean * found < 0.05 or abs(exponent) == 5


def test_a_slope_of_0_moves_nothing() -> None:
    """Identical clients have no reason to prefer anybody."""
    values = random_labels(2, 1).expand(4, -1, -1).contiguous()
    torch.testing.assert_close(KTpFL().weights(stack_of(values)), torch.full((4, 4), 0.25))


def test_the_row_is_a_softmax_of_five_times_the_step() -> None:
    values, shares = random_labels(3, 3), torch.full((3, 3), 1 / 3).double()
    slope = gradient(shares, values, 0.7)
    rates = torch.tensor([rate(row.abs().mean().item()) for row in slope]).double()
    expected = (5 * (shares - rates[:, None] * slope)).softmax(dim=-1)
    torch.testing.assert_close(stepped(shares, values, 0.7), expected)


def test_one_client_alone_is_the_identity() -> None:
    values = random_labels(4, 1)
    teacher, weights = fuse_in_blocks(KTpFL(), stack_of(values), InlineBlocks())
    assert torch.equal(weights, torch.ones(1, 1))
    torch.testing.assert_close(teacher.values, values)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(2, 6), st.floats(0, 2))
def test_simplex_and_permutation(seed: int, n: int, rho: float) -> None:
    values = random_labels(seed, n)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    weights = KTpFL(rho=rho).weights(stack_of(values))
    assert simplex_error(weights) < 1e-6
    moved = KTpFL(rho=rho).weights(stack_of(values[order].contiguous()))
    torch.testing.assert_close(moved, weights[order][:, order], atol=1e-5, rtol=1e-4)


def test_clients_come_to_prefer_those_like_them() -> None:
    """Two groups: after some rounds a row has most of its weight on its own group."""
    values = torch.cat(
        [random_labels(5, 1).expand(2, -1, -1), random_labels(6, 1).expand(2, -1, -1)]
    )
    strategy = KTpFL(rho=0.1)
    for _ in range(10):
        refined(strategy, values, [0, 1, 2, 3], 4)
    c = strategy.state["coefficients"]
    assert simplex_error(c) < 1e-5
    assert c[0, :2].sum() > 0.55
    assert c[3, 2:].sum() > 0.55


def test_the_pull_towards_equal_shares_counts() -> None:
    """With identical clients nothing else pulls: without rho the row is softmax(5c)."""
    values = random_labels(7, 1).expand(3, -1, -1).contiguous()
    shares = torch.tensor([[0.6, 0.3, 0.1]] * 3).double()
    free, pulled = (stepped(shares, values, rho) for rho in (0.0, 0.7))
    torch.testing.assert_close(free, (5 * shares).softmax(dim=-1))
    assert (pulled.amax(dim=-1) < free.amax(dim=-1) - 0.01).all()
    assert (pulled.amin(dim=-1) > free.amin(dim=-1) + 0.001).all()


def test_the_teacher_is_mixed_with_the_new_coefficients() -> None:
    """The step comes before the mixing: 1/N is never used, not even in the first round."""
    values, strategy = random_labels(8, 3), KTpFL()
    teacher, weights = fuse_in_blocks(strategy, stack_of(values), InlineBlocks())
    assert not strategy.state  # fusing does not change it
    assert weights is not None
    assert (weights - 1 / 3).abs().max() > 1e-3
    refined(strategy, values, [0, 1, 2], 3)
    torch.testing.assert_close(strategy.state["coefficients"], weights)
    torch.testing.assert_close(teacher.values, mix(weights, values))
    again = strategy.weights(stack_of(values))  # the next round steps from there
    expected = stepped(weights.double() / weights.double().sum(1, keepdim=True), values, 0.7)
    torch.testing.assert_close(again, expected.float())


def test_coefficients_belong_to_clients_not_to_rows() -> None:
    """Clients 1 and 4 of five: the others' rows, and the shares of the absent, stay."""
    strategy, values = KTpFL(), random_labels(9, 5)
    refined(strategy, values, [0, 1, 2, 3, 4], 5)
    before = strategy.state["coefficients"].clone()
    pair = random_labels(10, 2)
    weights = strategy.weights(stack_of(pair, [1, 4]))
    own = before[[1, 4]][:, [1, 4]].double()
    expected = stepped(own / own.sum(dim=1, keepdim=True), pair, 0.7).float()
    torch.testing.assert_close(weights, expected)
    refined(strategy, pair, [1, 4], 5)
    after = strategy.state["coefficients"]
    changed = (after != before).nonzero().tolist()
    assert changed
    assert {tuple(place) for place in changed} <= {(1, 1), (1, 4), (4, 1), (4, 4)}
    assert simplex_error(after) < 1e-5
    torch.testing.assert_close(after[1, 4] / after[1, 1], weights[0, 1] / weights[0, 0])


def objective_of(strategy: KTpFL, **settings: Any) -> dict[str, Any]:
    """Return the objective that a run resolves to."""
    result = fedkd.simulate(strategy, **SMALL | {"rounds": 1} | settings)
    found: dict[str, Any] = yaml.safe_load((result.run_dir / "config.yaml").read_text())
    return found["objective"]


def test_the_student_is_as_soft_as_its_teacher() -> None:
    """Soft labels at T = 10 for a student at T = 1 would flatten it; softening them twice too."""
    node, strategy = KTpFL().objective_node(), KTpFL()
    objective = KL(temperature=node["temperature"], scale=node["scale"])
    logits = torch.randn(4, 3) * 5
    sent = SoftLabels().values(logits, strategy.softness("soft_labels", 1.0))
    teacher = Target(sent, "soft_labels", strategy.teacher_softness("soft_labels", 1.0))
    student = logits.clone().requires_grad_()
    loss = objective(student, teacher)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-4)
    assert student.grad is not None
    torch.testing.assert_close(student.grad, torch.zeros(4, 3), atol=1e-4, rtol=0)
    other = torch.randn(4, 3)  # and no factor T^2, as in the official code
    expected = F.kl_div((other / 10).log_softmax(-1), sent, reduction="batchmean")
    torch.testing.assert_close(objective(other, teacher), expected)


def test_the_objective_may_be_another_and_keeps_the_methods_temperature() -> None:
    assert objective_of(KTpFL()) == {"name": "kl", "temperature": 10.0, "scale": False}
    scaled = objective_of(KTpFL(), **{"objective.scale": True, "objective.temperature": 4.0})
    assert scaled == {"name": "kl", "temperature": 4.0, "scale": True}
    other = objective_of(KTpFL(temperature=5.0), objective="mse")
    assert other == {"name": "mse", "temperature": 5.0}


class Watched(KTpFL):
    """Keeps the last stack."""

    def refine(self, plan, knowledge, teacher):
        self.seen = knowledge.values
        return super().refine(plan, knowledge, teacher)


def test_clients_upload_at_the_temperature() -> None:
    seen = []
    for temperature in (1.0, 10.0):
        strategy = Watched(temperature=temperature)
        fedkd.simulate(strategy, **SMALL | {"rounds": 1})
        seen.append(strategy.seen.double())
    tempered = seen[0] ** 0.1 / (seen[0] ** 0.1).sum(dim=-1, keepdim=True)
    torch.testing.assert_close(seen[1], tempered, atol=1e-5, rtol=0)


@pytest.mark.parametrize("parameters", [{"rho": -1.0}, {"rho": float("nan")}, {"temperature": 0.0}])
def test_parameters_out_of_range_are_refused(parameters: dict) -> None:
    with pytest.raises(ValueError, match="must be"):
        KTpFL(**parameters)


def test_a_run_with_mixed_models_can_be_resumed(tmp_path) -> None:
    shared = SMALL | {"fraction": 0.6, "model": MIXED, "strategy": "ktpfl"}
    whole = fedkd.simulate(**shared | {"rounds": 3})
    run_dir = tmp_path / "run"
    fedkd.simulate(run_dir=str(run_dir), **shared)
    resumed = fedkd.resume(run_dir, rounds=3)
    assert resumed.summary["digest"] == whole.summary["digest"]
    assert whole.summary["rejected"] == 0
    assert "effective_neighbours" in whole.rounds.column_names
