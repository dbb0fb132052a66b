"""Twin-Merging against its formula, its limits, and the traps of the published code."""

import math

import pytest
import support
import torch
from fedkd.strategies.fusing import fuse_in_blocks
from fedkd.strategies.twin_merging import TwinMerging
from hypothesis import given, settings
from hypothesis import strategies as st
from support import TINY

import fedkd
from fedkd.engine.base import InlineBlocks
from fedkd.errors import ConfigError
from fedkd.knowledge import KnowledgeStack
from fedkd.maths.mixing import simplex_error
from fedkd.models.flat import flatten
from fedkd.models.mlp import MLP

SHAPES = [(4, 6), (4,), (3, 2, 2, 2), (3,)]
SIZE = 24 + 4 + 24 + 3
SMALL = TINY | {"fit.epochs": 1}


def stack_of(values: torch.Tensor) -> KnowledgeStack:
    trained = torch.full((len(values), 1), 20.0)
    return support.stack_of(values, kind="parameters", extras={"samples": trained})


def merging(start: torch.Tensor, shapes=SHAPES, **parameters) -> TwinMerging:
    strategy = TwinMerging(**parameters)
    strategy.shapes, strategy.state["shared.0"] = list(shapes), start
    return strategy


def some(seed: int, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(SIZE, generator=generator)
    return start, start + 0.3 * torch.randn(n, SIZE, generator=generator)


def test_two_clients_by_hand() -> None:
    """Updates diag(4, 0) and diag(0, 2) from 0, scaling 1/2: theta* = diag(1, 1/2).

    What is exclusive, diag(3, -1/2) and diag(-1, 3/2), keeps its larger entry; the updates have a
    cosine of 0, so the router gives each client e / (1 + e) of its own.
    """
    values = torch.tensor([[4.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0]])
    strategy = merging(torch.zeros(4), [(2, 2)], scaling=0.5, rank=0.5, router_temperature=1.0)
    own = math.e / (1 + math.e)
    star = [1.0, 0.0, 0.0, 0.5]
    first = [star[0] + own * 3, 0, 0, star[3] + (1 - own) * 1.5]
    second = [star[0] + (1 - own) * 3, 0, 0, star[3] + own * 1.5]
    teacher, _ = fuse_in_blocks(strategy, stack_of(values), InlineBlocks())
    assert not teacher.shared
    torch.testing.assert_close(teacher.values, torch.tensor([first, second]))
    torch.testing.assert_close(strategy.common(stack_of(values)), torch.tensor(star))
    assert (teacher.values - values.mean(dim=0)).abs().max() > 1e-3


def test_the_sum_of_task_arithmetic_overshoots_n_fold_so_ours_is_the_mean() -> None:
    start, update = torch.zeros(4), torch.tensor([1.0, -2.0, 0.5, 3.0])
    agreed = stack_of((start + update).expand(10, -1).contiguous())
    assert TwinMerging().aggregate == "mean"
    torch.testing.assert_close(merging(start, [(4,)]).common(agreed), 0.7 * update)
    literal = merging(start, [(4,)], aggregate="sum").common(agreed)
    torch.testing.assert_close(literal, 7 * update)


def test_a_matrix_with_few_singular_values_is_not_cut_to_nothing() -> None:
    """The published rank, int(0.1 * 4), is 0: nothing exclusive would be left of such a layer."""
    start, values = some(1, 3)
    strategy = merging(start, rank=0.1, router_temperature=1e-6)
    teachers = strategy.fuse(stack_of(values))
    star = strategy.common(stack_of(values))
    for teacher in teachers:
        exclusive = (teacher - star)[:24].reshape(4, 6)
        assert torch.linalg.matrix_rank(exclusive, rtol=1e-4) == 1


def test_a_sharp_router_at_full_rank_gives_everybody_its_own_back() -> None:
    start, values = some(2, 4)
    strategy = merging(start, rank=1.0, router_temperature=1e-6)
    torch.testing.assert_close(strategy.fuse(stack_of(values)), values, atol=1e-5, rtol=0)


@pytest.mark.parametrize("scaling", [0.3, 1.0])
def test_a_blunt_router_at_full_rank_gives_everybody_the_mean(scaling: float) -> None:
    """theta* + mean_m (theta_m - theta*) is the mean, whatever the scaling."""
    start, values = some(3, 4)
    strategy = merging(start, rank=1.0, router_temperature=1e6, scaling=scaling)
    mean = values.mean(dim=0).expand(4, -1)
    torch.testing.assert_close(strategy.fuse(stack_of(values)), mean, atol=1e-5, rtol=0)


def test_vectors_stay_between_the_clients_so_variances_stay_positive() -> None:
    start, values = some(4, 5)
    places = slice(24, 28)  # a vector, such as BatchNorm's running variance
    start[places], values[:, places] = 0.1, torch.rand(5, 4)
    teachers = merging(start).fuse(stack_of(values))
    assert (teachers[:, places] >= values[:, places].amin(dim=0) - 1e-6).all()
    assert (teachers[:, places] <= values[:, places].amax(dim=0) + 1e-6).all()


def test_who_has_learnt_nothing_routes_evenly() -> None:
    start, values = some(5, 3)
    values[1] = start
    routes = merging(start).routes(stack_of(values))
    torch.testing.assert_close(routes[1], torch.full((3,), 1 / 3))
    assert routes.isfinite().all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.floats(0.05, 1.0), st.floats(0.05, 5.0))
def test_permuting_the_clients_permutes_the_teachers(
    seed: int, n: int, rank: float, temperature: float
) -> None:
    start, values = some(seed, n)
    strategy = merging(start, rank=rank, router_temperature=temperature)
    assert simplex_error(strategy.routes(stack_of(values))) < 1e-5
    teachers = strategy.fuse(stack_of(values))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    moved = strategy.fuse(stack_of(values[order]))
    torch.testing.assert_close(moved, teachers[order], atol=1e-4, rtol=1e-4)
    if n == 1 and rank == 1.0:
        torch.testing.assert_close(teachers, values, atol=1e-5, rtol=0)


class Watched(TwinMerging):
    """Keeps what it told whom before the last fit."""

    def before_fit(self, plan):
        records = super().before_fit(plan)
        self.star = self.state["shared.0"]
        self.told = records
        return records


def test_clients_have_models_of_their_own_and_who_was_away_gets_the_merged_one() -> None:
    strategy = Watched()
    run = fedkd.simulate(strategy, **SMALL | {"rounds": 4, "fraction": 0.6})
    assert strategy.told
    for record in strategy.told.values():
        values = torch.tensor(record["teacher"]["values"].numpy())
        assert torch.equal(values, strategy.star)
    vectors = {tuple(flatten(run.model(client)).tolist()) for client in range(5)}
    assert len(vectors) == 5
    assert strategy.state["shared.0"].shape == flatten(MLP((64,), 10)).shape
    assert set(strategy.state) == {"shared.0", "fresh"}
    assert (run.run_dir / "weights.npz").exists()


def test_models_with_batchnorm_work() -> None:
    run = fedkd.simulate("twin_merging", model="resnet8", **SMALL)
    for client in range(5):
        state = run.model(client).state_dict()
        assert all(v.min() >= 0 for k, v in state.items() if k.endswith("running_var"))
        assert all(v.isfinite().all() for v in state.values())


def test_a_resumed_run_ends_the_same(tmp_path) -> None:
    settings_ = SMALL | {"fraction": 0.6}
    whole = fedkd.simulate("twin_merging", **settings_ | {"rounds": 3})
    run_dir = tmp_path / "run"
    fedkd.simulate("twin_merging", run_dir=str(run_dir), **settings_ | {"rounds": 2})
    resumed = fedkd.resume(run_dir, rounds=3)
    assert resumed.summary["digest"] == whole.summary["digest"]


def test_mixed_models_are_refused() -> None:
    with pytest.raises(ConfigError, match="shares one model"):
        fedkd.simulate("twin_merging", model=["mlp", "lenet5"], **SMALL)


@pytest.mark.parametrize(
    "parameters",
    [{"scaling": 0.0}, {"rank": 0.0}, {"rank": 1.1}, {"router_temperature": 0.0}],
)
def test_parameters_out_of_range_are_refused(parameters: dict) -> None:
    with pytest.raises(ValueError, match="must be"):
        TwinMerging(**parameters)
