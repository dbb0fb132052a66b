"""Dynamic logits: as far as the others moved."""

import math
from functools import partial

import pytest
import support
import torch
from fedkd.strategies.dynamic_logits import DynamicLogits, kl
from fedkd.strategies.fusing import fuse_in_blocks
from fedkd.strategies.server_model import fresh
from hypothesis import given, settings
from hypothesis import strategies as st
from support import MIXED, TINY

import fedkd
from fedkd.engine.base import InlineBlocks
from fedkd.errors import ConfigError

SMALL = TINY | {"evaluate.every": 100}
seeds = st.integers(0, 10_000)


def random_logits(seed: int, n: int, samples: int = 5, classes: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, samples, classes, generator=generator) * 2


stack_of = partial(support.stack_of, kind="logits")


def made(base: torch.Tensor, **parameters: object) -> DynamicLogits:
    strategy = DynamicLogits(**parameters)  # type: ignore[arg-type]
    strategy.state["base"] = base
    return strategy


def softmax(z: list[float]) -> list[float]:
    top = max(z)
    e = [math.exp(v - top) for v in z]
    return [v / sum(e) for v in e]


def divergence(p: list[float], q: list[float]) -> float:
    return sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))


def by_the_book(own: list, experts: list, base: list, grid: list[float]) -> list[float]:
    """One sample of one client, as the formula has it, sum over experts and all."""
    p, q = softmax(own), softmax(base)
    best, least = own, math.inf
    for a in grid:
        z = [v + a * sum(e[c] - base[c] for e in experts) for c, v in enumerate(own)]
        fused = softmax(z)
        cost = 0.0
        for e in experts:
            q_t = softmax(e)
            cost += (divergence(fused, p) - divergence(q_t, q)) ** 2
            cost += (divergence(p, fused) - divergence(q, q_t)) ** 2
        if cost < least - 1e-9:
            best, least = z, cost
    return best


def test_one_expert_by_hand() -> None:
    """An own model that has learnt nothing moves exactly as far as the expert: a = 1."""
    logits = torch.tensor([[[0.0, 0.0]], [[2.0, 0.0]]])
    teacher = made(torch.zeros(1, 2)).fuse(stack_of(logits))
    torch.testing.assert_close(teacher[0], torch.tensor([[2.0, 0.0]]))
    assert (teacher[0] - logits.mean(dim=0)).abs().max() > 1e-3


def test_the_own_logits_stay_where_nobody_has_learnt() -> None:
    base, own = random_logits(1, 1)[0], random_logits(2, 1)[0]
    logits = torch.stack([own, base, base])
    torch.testing.assert_close(made(base).fuse(stack_of(logits))[0], own)


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(1, 4), st.integers(1, 20))
def test_it_is_the_formula(seed: int, n: int, steps: int) -> None:
    logits, base = random_logits(seed, n, samples=3), random_logits(seed + 1, 1, samples=3)[0]
    teacher = made(base, steps=steps).fuse(stack_of(logits)).double()
    grid = [2 * step / steps for step in range(steps + 1)]
    for client in range(n):
        for sample in range(3):
            rows = [logits[j, sample].double().tolist() for j in range(n)]
            own = rows.pop(client)
            expected = by_the_book(own, rows, base[sample].double().tolist(), grid)
            got = teacher[client, sample]
            torch.testing.assert_close(got, torch.tensor(expected).double(), atol=1e-4, rtol=1e-4)


def test_every_sample_has_a_factor_of_its_own() -> None:
    logits, base = random_logits(3, 2, samples=40), random_logits(4, 1, samples=40)[0]
    teacher = made(base).fuse(stack_of(logits))
    factors = ((teacher[0] - logits[0]) / (logits[1] - base)).median(dim=-1).values
    assert factors.min() >= -1e-4
    assert factors.max() <= 2 + 1e-4
    assert len((factors * 10).round().unique()) > 3


def test_the_nearest_experts_are_those_who_see_the_sample_alike() -> None:
    """Client 1 is like client 0 on the first sample, client 2 on the second."""
    a, b, c = [4.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 4.0]
    logits, base = torch.tensor([[a, a], [b, c], [c, b]]), torch.zeros(2, 3)
    teacher = made(base, top_k=1).fuse(stack_of(logits))
    alone = [by_the_book(a, [b], [0.0] * 3, [step / 10 for step in range(21)])] * 2
    torch.testing.assert_close(teacher[0], torch.tensor(alone))
    everybody = made(base, top_k=2).fuse(stack_of(logits))
    assert torch.equal(everybody, made(base).fuse(stack_of(logits)))
    assert (everybody[0] - teacher[0]).abs().max() > 1e-3


@settings(max_examples=30, deadline=None)
@given(seeds, st.integers(2, 6), st.one_of(st.none(), st.integers(1, 4)))
def test_permuting_the_clients_permutes_the_teachers(seed: int, n: int, top_k: int | None) -> None:
    logits, strategy = random_logits(seed, n), made(random_logits(seed + 1, 1)[0], top_k=top_k)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    teacher = strategy.fuse(stack_of(logits))
    moved = strategy.fuse(stack_of(logits[order].contiguous()))
    torch.testing.assert_close(moved, teacher[order], atol=1e-4, rtol=1e-4)


def test_one_client_alone_is_the_identity() -> None:
    logits = random_logits(5, 1)
    assert torch.equal(made(random_logits(6, 1)[0]).fuse(stack_of(logits)), logits)


def test_the_divergence_is_finite_for_sure_rows() -> None:
    far = torch.tensor([[500.0, 0.0]]), torch.tensor([[0.0, 500.0]])
    assert kl(*far).item() == pytest.approx(500)
    logits = torch.stack([far[0], far[1], far[0]])
    assert made(torch.zeros(1, 2)).fuse(stack_of(logits)).isfinite().all()


def test_sharded_equals_unsharded() -> None:
    """Blocks find the base of their own samples."""
    logits, base = random_logits(7, 3, samples=300), random_logits(8, 1, samples=300)[0]
    teacher, _ = fuse_in_blocks(made(base), stack_of(logits), InlineBlocks())
    whole = made(base).fuse(stack_of(logits))
    torch.testing.assert_close(teacher.values, whole, atol=1e-5, rtol=0)
    assert teacher.kind == "logits"


class Watched(DynamicLogits):
    """Keeps each round's plan and base."""

    def refine(self, plan, knowledge, teacher):
        self.plans = [*getattr(self, "plans", []), plan]
        self.bases = [*getattr(self, "bases", []), self.state["base"].clone()]
        return super().refine(plan, knowledge, teacher)


def test_the_base_has_learnt_nothing_in_any_round() -> None:
    strategy = Watched(base_model="lenet5")
    fedkd.simulate(strategy, **SMALL | {"rounds": 3, "transfer.per_round": 40})
    assert strategy.bases[0].shape == (60, 10)
    assert torch.equal(strategy.bases[0], strategy.bases[2])
    server = strategy.plans[0].server
    with torch.no_grad():
        expected = fresh(server, "lenet5").eval()(server.transfer(torch.arange(60)))
    torch.testing.assert_close(strategy.bases[0], expected)


@pytest.mark.parametrize(
    "parameters", [{"top_k": 0}, {"largest": 0.0}, {"largest": float("inf")}, {"steps": 0}]
)
def test_parameters_out_of_range_are_refused(parameters: dict) -> None:
    with pytest.raises(ValueError, match="must be"):
        DynamicLogits(**parameters)


def test_a_base_that_is_not_there_is_refused_before_the_run() -> None:
    with pytest.raises(ConfigError, match=r"base_model.*did you mean 'mlp'"):
        fedkd.simulate({"name": "dynamic_logits", "base_model": "mpl"}, **SMALL)


def test_a_run_with_mixed_models_can_be_resumed(tmp_path) -> None:
    shared = SMALL | {"fraction": 0.6, "model": MIXED, "transfer.per_round": 40}
    shared["strategy"] = "dynamic_logits"
    whole = fedkd.simulate(**shared | {"rounds": 3})
    run_dir = tmp_path / "run"
    fedkd.simulate(run_dir=str(run_dir), **shared)
    resumed = fedkd.resume(run_dir, rounds=3)
    assert resumed.summary["digest"] == whole.summary["digest"]
    assert whole.summary["rejected"] == 0
