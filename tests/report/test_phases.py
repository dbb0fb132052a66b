"""Phase diagrams: the order of the axes, means, winners, and what is undecided, by hand."""

import math

import numpy as np
import pytest

from fedkd.config import DataConfig
from fedkd.report import group_runs, load_runs, page
from fedkd.report.drawing.phase_figure import MAPS, drawn, phases_figure
from fedkd.report.drawing.phases import (
    ALONE,
    DECIDED,
    MISSING,
    ONE_SEED,
    OPEN,
    Phases,
    axes_of,
    contest,
    phases,
)
from fedkd.report.statistics import Group
from fedkd.score import ALMA, Score

RMSE = Score("rmse", more=False)


@pytest.fixture(scope="module")
def sweep(make_shared):
    """Return groups over alpha and samples: knfu is better by 2 points, surely where alpha is 10;
    one cell has no run, one an unfinished one of fedmd, one a single seed."""
    for alpha in (2.0, 10.0, None):
        for samples in (100, 20):
            for seed, noise in enumerate((0.0, 0.001, 0.1)):
                for name, mean in (("fedmd", 0.5), ("knfu", 0.52)):
                    lost = (alpha, samples) == (None, 20)
                    single = (alpha, samples) == (None, 100) and seed
                    if lost or single:
                        continue
                    shift = noise if name == "knfu" and alpha == 2 else 0.01 * noise
                    data = DataConfig(alpha=alpha, samples_per_client=samples)
                    many = {"seed": seed, "data": data, "weights": False, "clients": 2}
                    many["finished"] = (name, alpha, samples) != ("fedmd", 2.0, 20)
                    make_shared(f"{name}{alpha}{samples}{seed}", name, (0.5, mean + shift), **many)
    return group_runs(load_runs(sorted(make_shared.root.iterdir())))


def test_a_sweep_by_hand(sweep):
    [found] = phases(sweep, "local").values()
    assert found.keys == ("data.alpha", "data.samples_per_client")
    assert (found.columns, found.rows) == (["2.0", "10.0", "null"], ["20", "100"])
    assert found.arms == ["fedmd", "knfu"]
    np.testing.assert_allclose(
        found.means[1], [[0.52 + 0.101 / 3, 0.52 + 0.00101 / 3, math.nan],
                         [0.52 + 0.101 / 3, 0.52 + 0.00101 / 3, 0.52]]
    )  # fmt: skip
    assert np.isnan(found.means[0, 0, 0])
    assert found.state.tolist() == [[ALONE, DECIDED, MISSING], [OPEN, DECIDED, ONE_SEED]]
    assert found.winner.tolist() == [[-1, 1, -1], [1, 1, 1]]
    assert found.margin[1, 1] == pytest.approx(0.02)


def test_words_have_the_numbers(sweep):
    local, overall = drawn(sweep)
    assert local.told.endswith("Best of 4 cells: knfu 4 (2 decided).")
    assert local.told.startswith("fedmd 50.0 to 50.0 %; knfu 52.0 to 55.4 %.")
    for words in ("0 is inside", "Dotted (1)", "no finished run", "Without 3 unfinished"):
        assert words in local.caption
    assert overall.caption.startswith("ALMA global")


def test_less_may_be_better_and_a_tie_is_undecided():
    assert contest({"a": {0: 4.0, 1: 5.0}, "b": {0: 3.0, 1: 4.0}}, RMSE) == ("b", 1.0, DECIDED)
    first, margin, state = contest({"a": {0: 0.5, 1: 0.5}, "b": {0: 0.5, 1: 0.5}}, ALMA)
    assert (first, margin, state) == ("a", 0.0, OPEN)
    apart = contest({"a": {0: 0.5}, "b": {1: 0.25}}, ALMA)
    assert apart == ("a", 0.25, ONE_SEED)


@pytest.mark.parametrize(
    ("first", "second", "axes"),
    [
        ({"data.alpha": "0.1", "fraction": "1.0"}, {"data.alpha": "1", "fraction": "0.5"}, True),
        ({"data.alpha": "0.1"}, {"data.alpha": "1"}, False),
        ({"data.alpha": "0.1", "strategy.beta": "1"}, {"data.alpha": "1"}, False),
        ({"data.alpha": "0.1", "model": "mlp"}, {"data.alpha": "1", "model": "cnn"}, False),
        ({"data.alpha": "0.1", "x": "null"}, {"data.alpha": "1", "x": "auto"}, False),
        ({"a": "1", "b": "1", "c": "1"}, {"a": "2", "b": "2", "c": "2"}, False),
    ],
)
def test_axes_are_two_numeric_settings_that_all_have(first, second, axes):
    found = axes_of([Group([], first), Group([], second)])
    assert found == (tuple(first) if axes else None)


def test_settings_of_methods_give_way(make_run):
    for beta in (1, 2):
        for fraction in (0.5, 1.0):
            for alpha in (0.1, 1.0):
                own = {"parameters": {"beta": beta}, "fraction": fraction}
                data = DataConfig(alpha=alpha)
                make_run(f"{beta}{fraction}{alpha}", data=data, clients=2, weights=False, **own)
    groups = group_runs(load_runs(sorted(make_run.root.iterdir())))
    assert set(axes_of(groups)) == {"data.alpha", "fraction"}
    assert phases(groups, "local")[""].arms == ["knfu, beta=1", "knfu, beta=2"]
    alike = [group for group in groups if group.settings.pop("fraction") == "1.0"]
    assert set(axes_of(alike)) == {"strategy.beta", "data.alpha"}


@pytest.mark.parametrize("count", [1, 2, MAPS + 3])
def test_any_number_of_methods_is_drawn(count):
    arms = [f"m{index}" for index in range(count)]
    means = np.arange(count * 40.0).reshape(count, 2, 20) / 1000
    winner = np.full((2, 20), count - 1 if count > 1 else -1)
    state = np.full((2, 20), OPEN)
    names = [*map(str, range(20))], ["1", "2"]
    found = Phases(("x", "y"), *names, arms, means, winner, 0 * means[0], state)
    figure = phases_figure(found, ALMA, "ALMA")
    titles = [axes.get_title() for axes in figure.axes]
    assert ("winner" in titles) == (count > 1)
    assert len(figure.legends) == (count > MAPS)
    assert count == 1 or f"{chr(64 + count)}  m{count - 1}" in titles  # who wins has a map


def test_methods_of_several_problems_do_not_compete(make_run, monkeypatch):
    for task in ("a", "b"):
        for fraction in (0.5, 1.0):
            for lr in (0.1, 1.0):
                own = {"fit": {"lr": lr}, "task": {"name": task}, "fraction": fraction}
                make_run(f"{task}{fraction}{lr}", clients=2, weights=False, **own)
    groups = group_runs(load_runs(sorted(make_run.root.iterdir())))
    found = phases(groups, "local")
    assert {name: each.arms for name, each in found.items()} == {
        "task=a": ["knfu"],
        "task=b": ["knfu"],
    }
    first, *_ = drawn(groups)
    assert first.caption.startswith("task=a: ALMA local")
    for name in ("_curves", "_distribution", "_partition", "_cost_pictures"):
        monkeypatch.setattr(page, name, lambda *given: [])  # they take their time
    assert "<h2>Who wins where</h2>" in page.html([group.runs[0] for group in groups[:4]])


def test_who_lacks_the_worst_seed_does_not_win_by_that():
    best = contest({"a": {1: 0.9}, "b": {0: 0.1, 1: 0.95}}, ALMA)
    assert best == ("b", pytest.approx(0.05), ONE_SEED)
    assert contest({"a": {0: 0.5, 1: 0.9}, "b": {0: 0.6}}, ALMA) == ("b", pytest.approx(0.1), 2)
    three = {"a": {0: 0.5, 1: 0.5}, "b": {0: 0.75, 1: 0.75}, "c": {1: 0.1}}
    assert contest(three, ALMA) == ("b", 0.25, DECIDED)  # on the seeds that the best two share
