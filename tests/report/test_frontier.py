"""What accuracy costs: who is on the Pareto front, by hand."""

import pytest

from fedkd.config import DataConfig
from fedkd.report import group_runs, load_runs
from fedkd.report.drawing.frontier import COSTS, front, points, problems
from fedkd.report.drawing.frontier_figure import drawn

BYTES = COSTS[0]


def study(make_run, *rows, **config):
    """Return the groups of runs of one seed: strategy, accuracy, bytes up (and down)."""
    for name, score, size in rows:
        many = {"weights": False, "overall": (0.1, score), "bytes_up": size} | config
        make_run(f"{name}-{len(list(make_run.root.iterdir()))}", name, **many)
    return group_runs(load_runs(sorted(make_run.root.iterdir())))


def test_equals_are_both_on_the_front():
    assert front([1, 1, 2], [0.5, 0.5, 0.5]) == [True, True, False]
    assert front([0], [0.1]) == [True]


def test_points_are_means_over_seeds(make_run):
    study(make_run, ("local", 0.4, 0), ("fedmd", 0.5, 100), ("knfu", 0.45, 300))
    groups = study(make_run, ("fedmd", 0.7, 100), seed=1)
    [methods] = problems(groups).values()
    found = points(methods, BYTES, "global")
    assert [(p.label, p.cost, p.ahead) for p in found] == [
        ("local", 0, True),
        ("fedmd", 200, True),
        ("knfu", 600, False),
    ]
    assert (found[1].score, found[1].seeds) == (pytest.approx(0.6), 2)
    assert found[1].score_std == pytest.approx(0.2 / 2**0.5)


def test_the_alternative_text_has_the_front(make_run):
    groups = study(make_run, ("local", 0.4, 0), ("fedmd", 0.5, 50_000), ("knfu", 0.3, 90_000))
    local, overall = drawn(groups)  # no virtual clock, no figure of it
    assert overall.told == (
        "2 of 3 on the front: local with 40.0 % at 0.0 B; fedmd with 50.0 % at 100.0 kB."
    )
    assert "ALMA local" in local.caption


def test_costs_are_compared_within_one_problem(make_run):
    for alpha in (0.1, 1.0):
        rows = ("local", 0.4, 0), ("fedmd", 0.3 + alpha / 5, 100)
        groups = study(make_run, *rows, data=DataConfig(alpha=alpha))
    found = {name: points(each, BYTES, "global") for name, each in problems(groups).items()}
    ahead = {name: [p.label for p in each if p.ahead] for name, each in found.items()}
    assert ahead == {"data.alpha=0.1": ["local"], "data.alpha=1.0": ["local", "fedmd"]}


def test_nothing_is_drawn_of_one_method_or_of_unfinished_runs(make_run):
    groups = study(make_run, ("fedmd", 0.5, 100))
    assert list(drawn(groups)) == []
    groups = study(make_run, ("knfu", 0.5, 100), finished=False)
    assert list(drawn(groups)) == []
