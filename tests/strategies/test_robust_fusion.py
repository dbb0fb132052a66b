"""Robust fusion: hand-computed values, and what must hold for any clients."""

import math

import pytest
import torch
from fedkd.strategies import FusionStrategy
from fedkd.strategies.coordinate_median import CoordinateMedian
from fedkd.strategies.cronus import Cronus, kept_counts
from fedkd.strategies.expguard import ExpGuard
from fedkd.strategies.fusing import fuse_in_blocks
from fedkd.strategies.geometric_median import GeometricMedian
from fedkd.strategies.spectral_filter import SpectralFilter
from fedkd.strategies.trimmed_mean import TrimmedMean
from hypothesis import given, settings
from hypothesis import strategies as st
from support import stack_of
from torch import Tensor

from fedkd import ConfigError, simulate
from fedkd.config.overrides import compose
from fedkd.engine.base import InlineBlocks
from fedkd.knowledge import Teacher
from fedkd.maths.mixing import simplex_error
from fedkd.maths.robust import keep_smallest, outlier_scores, trimmed, weighted_mean, weiszfeld
from fedkd.run.runner import run

RULES = {
    "coordinate_median": CoordinateMedian,
    "trimmed_mean": lambda: TrimmedMean(trim=0.49),
    "geometric_median": GeometricMedian,
    "spectral_filter": SpectralFilter,
    "cronus": Cronus,
    "expguard": ExpGuard,
}
seeds = st.integers(0, 9999)
INNER = ["mean", "coordinate_median", "geometric_median", "spectral_filter", "cronus"]
SHORT = {"clients": 6, "rounds": 2, "engine": "inline", "data.samples_per_client": 20}


def fuse(strategy: FusionStrategy, values: Tensor) -> Tensor:
    return strategy.fuse(stack_of(values))


def round_of(strategy: FusionStrategy, values: Tensor, clients: list[int] | None = None) -> Tensor:
    """Fuse, and let the strategy remember the round."""
    knowledge = stack_of(values, clients)
    fused = strategy.fuse(knowledge)
    teacher = Teacher("soft_labels", fused, knowledge.clients)
    return strategy.refine(None, knowledge, teacher).values  # type: ignore[arg-type]


def labels(seed: int, n: int, samples: int = 7, classes: int = 4, sharpness: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(n, samples, classes, generator=generator)).softmax(dim=-1)


def one_hot(row: list[int], classes: int = 4) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(row), classes).float().unsqueeze(1)


def same(found: Tensor, expected: object, atol: float = 1e-6) -> None:
    torch.testing.assert_close(found, torch.as_tensor(expected), atol=atol, rtol=0)


# -- by hand -------------------------------------------------------------------------------------


def test_median_by_hand() -> None:
    odd = torch.tensor([[[0.5, 0.3, 0.2]], [[0.2, 0.2, 0.6]], [[0.1, 0.8, 0.1]]])
    same(fuse(CoordinateMedian(), odd), torch.tensor([[0.2, 0.3, 0.2]]) / 0.7)
    even = torch.cat([odd, torch.tensor([[[0.4, 0.4, 0.2]]])])
    same(fuse(CoordinateMedian(), even), torch.tensor([[0.3, 0.35, 0.2]]) / 0.85)


def test_trimmed_mean_by_hand() -> None:
    column = torch.tensor([0.0, 0.1, 0.2, 0.6, 1.0])
    values = torch.stack([column, 1 - column], dim=-1).unsqueeze(1)
    same(fuse(TrimmedMean(trim=0.0), values), [[0.38, 0.62]])
    same(fuse(TrimmedMean(trim=0.2), values), [[0.3, 0.7]])
    same(fuse(TrimmedMean(trim=0.39), values), [[0.3, 0.7]])
    same(fuse(TrimmedMean(trim=0.4), values), [[0.2, 0.8]])


def test_trimming_a_tenth_three_times_is_three_tenths() -> None:
    """0.3 * 10 is 2.9999999999999996 in floating point; three clients must go."""
    column = torch.tensor([0.9, 0.9, 0.9, 0.2, 0.2, 0.2, 0.2, 0.1, 0.1, 0.1])
    values = torch.stack([column, 1 - column], dim=-1).unsqueeze(1)
    same(fuse(TrimmedMean(trim=0.3), values), [[0.2, 0.8]])


def test_geometric_median_by_hand() -> None:
    """Of a triangle whose angles are all below 120 degrees it is the Fermat point."""
    corners = torch.eye(3).unsqueeze(1)
    same(fuse(GeometricMedian(), corners), [[1 / 3] * 3])
    # Isosceles: the Fermat point lies on the axis, at height base / (2 sqrt 3).
    flat = torch.tensor([[[-1.0, 0.0]], [[1.0, 0.0]], [[0.0, 2.0]]])
    same(weiszfeld(flat), torch.tensor([[0.0, 1 / math.sqrt(3)]], dtype=torch.float64), 1e-9)


def test_the_geometric_median_leaves_a_client_that_is_not_it() -> None:
    """The iteration starts at the mean, which here is exactly one client's value."""
    line = torch.tensor([3.0, -1.0, -1.0, -1.0, 0.0]).view(5, 1, 1)
    assert abs(weiszfeld(line).item() + 1) < 1e-4


def test_outlier_scores_by_hand() -> None:
    """Two classes: the one direction is (1, -1) / sqrt 2, whatever the clients say."""
    p = torch.tensor([0.1, 0.2, 0.3, 1.0], dtype=torch.float64)
    values = torch.stack([p, 1 - p], dim=-1).unsqueeze(1)
    same(outlier_scores(values)[:, 0], (p - p.mean()).abs() * math.sqrt(2), 1e-9)
    kept = torch.tensor([[1], [1], [1], [0]]).double()
    again = outlier_scores(values, kept)[:, 0]
    same(again, torch.tensor([0.1, 0.0, 0.1, 0.8], dtype=torch.float64) * math.sqrt(2), 1e-9)
    same(weighted_mean(values, kept), torch.tensor([[0.2, 0.8]], dtype=torch.float64), 1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 9999), st.integers(2, 9))
def test_the_scores_are_projections_on_the_top_eigenvector(seed: int, n: int) -> None:
    values = labels(seed, n, samples=3).double()
    centred = (values - values.mean(dim=0)).transpose(0, 1)
    found, vectors = torch.linalg.eigh(centred.mT @ centred)
    expected = (centred @ vectors[..., -1:]).squeeze(-1).abs().T
    clear = found[:, -2] < 0.9 * found[:, -1]  # else 512 steps need not have converged
    same(outlier_scores(values)[:, clear], expected[:, clear], 1e-6)


def test_spectral_filter_by_hand() -> None:
    p = torch.tensor([0.1, 0.2, 0.3, 1.0])  # scores 0.3, 0.2, 0.1, 0.6 times sqrt 2
    values = torch.stack([p, 1 - p], dim=-1).unsqueeze(1)
    for quantile, kept in [(0.0, [2]), (0.3, [1, 2]), (0.5, [0, 1, 2]), (1.0, [0, 1, 2, 3])]:
        same(fuse(SpectralFilter(quantile=quantile), values)[0, 0], p[kept].mean())
    for threshold, kept in [(0.2, [2]), (0.3, [1, 2]), (9.0, [0, 1, 2, 3]), (0.0, [0, 1, 2, 3])]:
        same(fuse(SpectralFilter(threshold=threshold), values)[0, 0], p[kept].mean())


def test_cronus_by_hand() -> None:
    """n = 5: b = 2, q = 0.8: 4 of 5 stay; then those up to place ceil(0.8 * 3) = 3: all 4."""
    p = torch.tensor([0.1, 0.2, 0.3, 0.25, 1.0])
    values = torch.stack([p, 1 - p], dim=-1).unsqueeze(1)
    assert kept_counts(5) == (4, 4)
    same(fuse(Cronus(), values)[0, 0], p[:4].mean())
    # n = 7: b = 3, q = 1 - 3/14: 5 of 7 stay (0 goes with the 1s), then 5 of those.
    p = torch.tensor([0.3, 0.31, 0.32, 0.33, 0.34, 1.0, 0.9])
    values = torch.stack([p, 1 - p], dim=-1).unsqueeze(1)
    assert kept_counts(7) == (5, 5)
    same(fuse(Cronus(), values)[0, 0], p[:5].mean())


@pytest.mark.parametrize("n", range(1, 200))
def test_cronus_keeps_what_the_formula_says(n: int) -> None:
    b = n // 2 - 1 if n % 2 == 0 else n // 2
    first, second = kept_counts(n)
    assert first == max(1, int(n - b / 2))
    place = (2 * n - b) * (first - 1) / (2 * n)
    assert second == math.ceil(round(place, 9)) + 1
    assert 1 <= second <= first <= n


def test_cronus_keeps_the_second_count_of_distinct_scores() -> None:
    values = labels(3, 20, samples=50)
    first, second = kept_counts(20)
    kept = keep_smallest(outlier_scores(values), first)
    assert kept.eq(1).sum(dim=0).eq(first).all()
    kept = keep_smallest(outlier_scores(values, kept), second, kept)
    assert kept.eq(1).sum(dim=0).eq(second).all()
    assert kept.eq(0).sum(dim=0).eq(20 - second).all()
    same(fuse(Cronus(), values), weighted_mean(values, kept).float())


def test_hostile_clients_that_agree_do_not_stay_together() -> None:
    """n = 10: 8 stay, then 7: the 6 honest ones and one place for 4 hostile ones that are tied."""
    values = torch.cat([one_hot([0] * 6), one_hot([3] * 4)])
    assert kept_counts(10) == (8, 7)
    same(fuse(Cronus(), values), [[6 / 7, 0, 0, 1 / 7]])
    same(fuse(SpectralFilter(), values), [[1.0, 0, 0, 0]])


@settings(max_examples=50, deadline=None)
@given(seeds, st.integers(1, 9), st.data())
def test_the_smallest_are_kept_and_ties_share(seed: int, n: int, data: st.DataObject) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(4, (n, 5), generator=generator).double()
    first = data.draw(st.integers(1, n))
    second = data.draw(st.integers(1, first))
    kept = keep_smallest(scores, first)
    same(kept.sum(dim=0), torch.full((5,), float(first)).double())
    same(keep_smallest(scores, second, kept), keep_smallest(scores, second))
    for column, weights in zip(scores.T, kept.T, strict=True):
        limit = column.sort().values[first - 1]
        assert weights[column < limit].eq(1).all()
        assert weights[column > limit].eq(0).all()
        assert len(weights[column == limit].unique()) == 1


def test_expguard_by_hand() -> None:
    p = torch.tensor([0.8, 0.8, 0.8, 0.0])
    values = torch.stack([p, 1 - p], dim=-1).unsqueeze(1)
    guard = ExpGuard(inner="coordinate_median", eta=2.0)
    far = math.exp(-2 * 0.8 * math.sqrt(2))
    for rounds in (1, 2, 3):
        weight = far**rounds
        same(round_of(guard, values)[0, 0], 0.8 * 3 / (3 + weight))
        extras = guard.round_extras(stack_of(values))["weight"]
        same(extras.float(), torch.tensor([1.0, 1.0, 1.0, weight]) / (3 + weight))


@pytest.mark.parametrize("inner", INNER)
def test_expguard_scores(inner: str) -> None:
    values = labels(5, 6)
    guard = ExpGuard(inner=inner)  # type: ignore[arg-type]
    if inner == "spectral_filter":
        expected = outlier_scores(values).mean(dim=1)
    else:
        rule = RULES[inner]() if inner in RULES else None
        middle = values.mean(dim=0) if rule is None else fuse(rule, values)
        expected = torch.stack([(row - middle).norm(dim=-1).mean() for row in values]).double()
    same(guard.scores(stack_of(values)), expected)


def test_expguard_remembers_by_client_and_not_by_row() -> None:
    values = one_hot([0, 0, 3])
    guard = ExpGuard(inner="coordinate_median", eta=1.0)
    round_of(guard, values, [0, 2, 5])
    state = dict(guard.state)
    z = math.log(3 / (2 + math.exp(-math.sqrt(2))))
    first = torch.tensor([z, 0, z, 0, 0, z - math.sqrt(2)])
    same(state["log_weights"].float(), first)
    assert state["seen"].nonzero().flatten().tolist() == [0, 2, 5]
    round_of(guard, values, [5, 7, 8])  # client 5 now agrees with another; 8 sticks out
    new = first[[0, 2, 5]].mean()  # where a newcomer starts
    before = torch.stack([first[5], new, new])
    after = before - torch.tensor([0, 0, math.sqrt(2)])
    expected = torch.cat([first, torch.zeros(3)])
    expected[[5, 7, 8]] = after + before.logsumexp(dim=0) - after.logsumexp(dim=0)
    same(guard.state["log_weights"].float(), expected)
    same(state["log_weights"].float(), first)  # what a checkpoint took is not changed


@pytest.mark.parametrize("inner", INNER)
def test_a_hostile_newcomer_does_not_outweigh_honest_regulars(inner: str) -> None:
    truth = torch.arange(40) % 4
    honest = (labels(0, 10 * 10, 40).log() + 3 * torch.nn.functional.one_hot(truth, 4)).softmax(-1)
    lie = torch.nn.functional.one_hot((truth + 1) % 4, 4).float().unsqueeze(0)
    guard = ExpGuard(inner=inner)  # type: ignore[arg-type]
    for values in honest.split(9)[:10]:
        round_of(guard, values)
    fair = dict(guard.state)
    teacher = round_of(guard, torch.cat([honest[-9:], lie]))
    knowledge = stack_of(torch.cat([honest[-9:], lie]))
    assert guard.round_extras(knowledge)["weight"][9] < 1 / 10
    assert torch.equal(teacher.argmax(dim=-1), truth)
    guard.state = fair
    round_of(guard, honest[-10:])
    assert 1 / 30 < guard.round_extras(knowledge)["weight"][9] < 3 / 10  # an honest one is welcome


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 6), st.integers(1, 5))
def test_expguard_is_the_papers_where_all_take_part(seed: int, n: int, rounds: int) -> None:
    guard, log_weights = ExpGuard(inner="mean", eta=2.0), torch.zeros(n, dtype=torch.float64)
    for number in range(rounds):
        values = labels(seed + number, n)
        log_weights -= 2.0 * guard.scores(stack_of(values))
        expected = (log_weights.softmax(dim=0).view(-1, 1, 1) * values).sum(dim=0)
        same(round_of(guard, values), expected.float())


@settings(max_examples=20, deadline=None)
@given(seeds, st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=1, max_size=8))
def test_taking_part_costs_nothing_among_equals(seed: int, cohorts: list[set[int]]) -> None:
    guard, row = ExpGuard(inner="mean"), labels(seed, 1)
    for cohort in cohorts:
        clients = sorted(cohort)
        round_of(guard, row.expand(len(clients), -1, -1), clients)
    same(guard.state["log_weights"], torch.zeros(len(guard.state["seen"])).double())


# -- what must hold for any clients --------------------------------------------------------------

rules = pytest.mark.parametrize("rule", RULES)


@rules
@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 9), st.sampled_from([0.1, 2.0, 50.0]))
def test_simplex_in_simplex_out(rule: str, seed: int, n: int, sharpness: float) -> None:
    values = labels(seed, n, sharpness=sharpness)
    for strategy in (RULES[rule](), ExpGuard(inner="mean")):
        teacher = fuse(strategy, values)
        assert teacher.dtype == torch.float32
        assert simplex_error(teacher) < 1e-6


@rules
@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 9), st.booleans())
def test_the_order_of_the_clients_does_not_matter(
    rule: str, seed: int, n: int, has_ties: bool
) -> None:
    values = labels(seed, n)
    if has_ties:
        values = torch.nn.functional.one_hot(values.argmax(dim=-1), 4).float()
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    same(fuse(RULES[rule](), values[order]), fuse(RULES[rule](), values), 2e-6)


@rules
@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 9))
def test_clients_that_agree_get_what_they_said(rule: str, seed: int, n: int) -> None:
    one = labels(seed, 1)
    same(fuse(RULES[rule](), one.expand(n, -1, -1)), one[0])


@rules
@settings(max_examples=10, deadline=None)
@given(seeds)
def test_two_clients_get_their_mean(rule: str, seed: int) -> None:
    """Nobody can tell which of two is hostile; all rules treat them alike."""
    values = labels(seed, 2)
    same(fuse(RULES[rule](), values), values.mean(dim=0), 1e-5)


@rules
@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 10), st.integers(0, 9), st.booleans())
def test_a_hostile_minority_does_not_win(
    rule: str, seed: int, honest: int, hostile: int, united: bool
) -> None:
    """Honest clients agree on the likely class of each sample; hostile ones are sure of others."""
    hostile = min(hostile, honest - 1)
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(4, (7,), generator=generator)
    own = 0.4 * labels(seed, honest) + 0.6 * torch.nn.functional.one_hot(truth, 4)
    steps = torch.randint(1, 4, (hostile, 7), generator=generator)
    steps = torch.ones_like(steps) if united else steps
    lies = torch.nn.functional.one_hot((truth + steps) % 4, 4).float()
    values = torch.cat([own, lies])
    strategy, teacher = RULES[rule](), None
    for _ in range(10 if rule == "expguard" else 1):  # a memory needs some rounds
        teacher = round_of(strategy, values)
    # Nearly half of all clients may move a geometric median far, though not at will.
    most = {"coordinate_median": 1.0, "trimmed_mean": 1.0, "geometric_median": 0.5}
    if hostile < most.get(rule, 1 / 3) * honest:
        assert torch.equal(teacher.argmax(dim=-1), truth)


def test_where_the_mean_breaks_the_others_stand() -> None:
    values = torch.cat([torch.tensor([[[0.45, 0.3, 0.25, 0.0]]] * 6), one_hot([3] * 4)])
    assert values.mean(dim=0).argmax() == 3
    for rule in RULES.values():
        strategy = rule()
        for _ in range(3):
            teacher = fuse(strategy, values)
        assert teacher.argmax() == 0, rule


@pytest.mark.parametrize("rule", ["coordinate_median", "trimmed_mean"])
def test_where_no_class_has_a_median_the_mean_decides(rule: str) -> None:
    values = one_hot([0, 1, 2])
    same(fuse(RULES[rule](), values), values.mean(dim=0))


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 9))
def test_trimming_by_sorting(seed: int, n: int) -> None:
    values = labels(seed, n)
    for drop in range((n - 1) // 2 + 1):
        kept = [sorted(values[:, 2, 1].tolist())[k] for k in range(drop, n - drop)]
        assert trimmed(values, drop)[2, 1].item() == pytest.approx(sum(kept) / len(kept))


# -- in a run ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [name for name in RULES if name != "expguard"])
def test_blocks_are_the_whole(rule: str) -> None:
    values = labels(0, 5, samples=600)
    strategy = RULES[rule]()
    assert strategy.per_sample
    teacher, weights = fuse_in_blocks(strategy, stack_of(values), InlineBlocks())
    assert weights is None
    same(teacher.values, fuse(strategy, values))


@pytest.mark.parametrize("name", RULES)
def test_every_rule_runs_by_name(name: str) -> None:
    once = simulate(name, **SHORT, fraction=0.5)
    assert once.summary["rejected"] == 0
    again = simulate(name, **SHORT, fraction=0.5)
    assert once.summary["digest"] == again.summary["digest"]


def test_expguard_writes_its_weights_and_goes_on_with_them(tmp_path) -> None:
    settings = SHORT | {"clients": 4, "strategy": "expguard", "rounds": 3}
    whole = simulate(**settings)
    rows = [row for row in whole.clients.to_pylist() if row["metric"] == "weight"]
    assert len(rows) == 3 * 4
    for number in (1, 2, 3):
        assert sum(r["value"] for r in rows if r["round"] == number) == pytest.approx(1)
    run_dir = tmp_path / "run"
    simulate(**settings | {"rounds": 2}, run_dir=str(run_dir))
    resumed = run(compose([f"resume={run_dir}", "rounds=3"]))
    assert resumed.summary["digest"] == whole.summary["digest"]


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [
        ("trimmed_mean", "trim", 0.5),
        ("trimmed_mean", "trim", -0.1),
        ("geometric_median", "iterations", 0),
        ("geometric_median", "smoothing", 0.0),
        ("spectral_filter", "quantile", 1.5),
        ("spectral_filter", "threshold", -1.0),
        ("expguard", "eta", -1.0),
        ("expguard", "inner", "krum"),
    ],
)
def test_wrong_parameters_are_refused(name: str, parameter: str, value: object) -> None:
    with pytest.raises(ConfigError, match=parameter):
        simulate({"name": name, parameter: value}, **SHORT)
