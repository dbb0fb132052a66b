"""Who gains and who loses against training alone, by hand."""

import numpy as np
import pytest

from fedkd.config import DataConfig
from fedkd.report import group_runs, load_runs
from fedkd.report.drawing.gains import CURVES, Gains, drawn, gains, shares_figure


def groups_in(make_run):
    return group_runs(load_runs(sorted(make_run.root.iterdir())))


@pytest.fixture
def make(make_run):
    """Make a run of four clients with these accuracies."""

    def made(name, strategy, accuracies, **config):
        few = {"clients": 4, "weights": False} | config
        return make_run(name, strategy, accuracies=accuracies, **few)

    made.root = make_run.root
    return made


def test_changes_are_paired_by_client_and_seed(make):
    make("a", "local", [0.5, 0.5, 0.5, 0.5])
    make("b", "fedmd", [0.75, 0.25, 0.5, 1.0])
    make("c", "local", [0.25, 0.25, 0.25, 0.25], seed=1)
    make("d", "fedmd", [0.5, 0.5, 0.5, 0.5], seed=1)
    [found] = gains(groups_in(make))
    assert (found.label, found.seeds) == ("fedmd", 2)
    assert found.change.tolist() == [-0.25, 0, 0.25, 0.25, 0.25, 0.25, 0.25, 0.5]
    assert (found.better, found.worse) == (6 / 8, 1 / 8)
    [picture] = drawn(groups_in(make))
    assert picture.told == (
        "fedmd: 75 % of 8 clients better, 12 % worse; change from -25.0 to 50.0, "
        "median 25.0 points."
    )


def test_partners_have_the_same_data_settings_and_seed(make):
    for alpha in (0.1, 1.0):
        make(f"a{alpha}", "local", [alpha / 4] * 4, data=DataConfig(alpha=alpha))
        make(f"b{alpha}", "fedmd", [0.5] * 4, data=DataConfig(alpha=alpha))
    changes = {each.label: each.change[0] for each in gains(groups_in(make))}
    assert changes == {"fedmd, data.alpha=0.1": 0.475, "fedmd, data.alpha=1.0": 0.25}


def test_what_does_not_bear_on_training_alone_may_differ(make):
    make("a", "local", [0.5] * 4)
    for size in (100, 200):
        make(f"b{size}", "fedmd", [0.75] * 4, transfer={"size": size})
    assert [each.change[0] for each in gains(groups_in(make))] == [0.25, 0.25]


@pytest.mark.parametrize("odd", [{"seed": 1}, {"finished": False}, {"fraction": 0.5}])
def test_without_a_partner_there_is_no_figure(make, odd):
    make("a", "local", [0.5] * 4, **odd)
    make("b", "fedmd", [0.75] * 4)
    assert list(drawn(groups_in(make))) == []
    assert list(drawn(groups_in(make)[:1])) == []


def test_another_partition_is_no_partner(make):
    path = make("a", "local", [0.5] * 4)
    make("b", "fedmd", [0.75] * 4)
    np.savez(path / "split.npz", histogram=np.ones((4, 10), int))
    assert gains(groups_in(make)) == []


def test_less_is_better_of_an_error(make):
    make("a", "local", [2.0] * 4)
    make("b", "fedmd", [1.5] * 4)
    groups = groups_in(make)
    for group in groups:
        for run in group.runs:
            run.score = type(run.score)("rmse", more=False)
    [found] = gains(groups)
    assert (found.change.tolist(), found.better) == ([0.5] * 4, 1.0)
    [picture] = drawn(groups)
    assert picture.figure.axes[0].get_ylabel() == "improvement of RMSE local"


def test_many_groups_have_bars():
    found = [Gains(f"m{i}", np.array([-1.0, 0.0, 1.0, 2.0]), 1) for i in range(CURVES + 1)]
    worse, better = shares_figure(found).axes[0].containers
    assert next(bar.get_width() for bar in worse) == -25
    assert next(bar.get_width() for bar in better) == 50
