"""Expert mixture: a shared expert, and those that a sample is routed to."""

import pytest
import torch
from fedkd.strategies.expert_mixture import ExpertMixture, routes
from support import TINY, stack_of

import fedkd
from fedkd.errors import ConfigError

CENTROIDS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
TOKEN = torch.tensor([[1.0, 0.0]])


def drawn(n: int = 5, samples: int = 7, classes: int = 4) -> torch.Tensor:
    return torch.randn(n, samples, classes, generator=torch.Generator().manual_seed(3)) * 2


def test_affinities_by_hand_and_not_renormalised() -> None:
    gates, chosen = routes(TOKEN, CENTROIDS, 3, 1.0)
    torch.testing.assert_close(gates, torch.tensor([[0.665241, 0.244728, 0.090031]]))
    assert chosen.tolist() == [[0, 1, 2]]
    torch.testing.assert_close(routes(TOKEN, CENTROIDS, 1, 1.0)[0], torch.tensor([[0.665241]]))


def by_the_book(values: torch.Tensor, soft: torch.Tensor, own: int | None) -> list[list[float]]:
    """K = 2, beta = 3, sample by sample, as the formula has it."""
    shared, rows = values.mean(dim=0), []
    for x in range(values.shape[1]):
        u = soft[:, x].mean(dim=0) if own is None else soft[own, x]
        s = torch.stack([3 * u @ one.mean(dim=0) for one in soft]).softmax(dim=0)
        best = s.argsort(descending=True)[:2]
        row = shared[x] + sum(s[n] * (values[n, x] - shared[x]) for n in best)
        rows.append(row.tolist())
    return rows


def test_both_routes_are_by_the_book() -> None:
    values = drawn()
    soft, knows = values.softmax(dim=-1), stack_of(values, kind="logits")
    for route in ("own", "shared"):
        found = ExpertMixture(experts=2, beta=3.0, route=route, exchange="logits").fuse(knows)
        for n in range(len(values)):
            own = n if route == "own" else None
            teacher = found[n] if route == "own" else found
            torch.testing.assert_close(teacher, torch.tensor(by_the_book(values, soft, own)))


def test_all_experts_without_sharpness_are_the_mean() -> None:
    values = drawn().softmax(dim=-1)
    strategy = ExpertMixture(experts=5, beta=0.0, route="shared")
    torch.testing.assert_close(strategy.fuse(stack_of(values)), values.mean(dim=0))


def test_soft_labels_stay_on_the_simplex_where_gates_sum_to_one() -> None:
    certain = torch.eye(3).unsqueeze(1).repeat(1, 4, 1)
    for beta in (0.0, 1.0, 1e4):
        teacher = ExpertMixture(experts=3, beta=beta).fuse(stack_of(certain))
        assert teacher.min() >= 0
        torch.testing.assert_close(teacher.sum(dim=-1), torch.ones(3, 4))


def test_load_is_one_on_average() -> None:
    load = ExpertMixture().round_extras(stack_of(drawn().softmax(dim=-1)))["load"]
    assert load.mean().item() == pytest.approx(1.0)


def test_it_needs_more_than_sums() -> None:
    with pytest.raises(ConfigError, match="teacher of its own"):
        fedkd.simulate("expert_mixture", **TINY | {"secure.aggregation": True})


@pytest.mark.parametrize("route", ["own", "shared"])
def test_mixed_models_some_away(route: str) -> None:
    settings = TINY | {"model": ["mlp", "lenet5"], "fraction": 0.6, "rounds": 3}
    result = fedkd.simulate({"name": "expert_mixture", "route": route}, **settings)
    assert result.summary["rejected"] == 0


@pytest.mark.parametrize("bad", [{"experts": 0}, {"beta": -1.0}, {"beta": float("inf")}])
def test_parameters_are_checked(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        fedkd.simulate({"name": "expert_mixture", **bad}, **TINY)


@pytest.mark.parametrize(
    ("route", "reason"),
    [("own", "makes each client a teacher of its own"), ("shared", "looks at what each client")],
)
def test_a_sum_is_refused_for_the_reason_that_is_so(route: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"ExpertMixture {reason}"):
        fedkd.simulate(ExpertMixture(route=route), **TINY, **{"secure.aggregation": True})
