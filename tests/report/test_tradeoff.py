"""Accuracy and attack success against epsilon: by hand, and only where runs differ in it."""

import json

import numpy as np
import pytest

from fedkd.report import group_runs, load_runs, render
from fedkd.report.drawing.tradeoff import curves, differ_in_privacy, table, tradeoff_figure


@pytest.fixture
def study(make_run):
    """Return runs of two strategies, without protection and at two epsilons, two seeds each."""

    def made(strategy, epsilon, seed):
        privacy = {"name": "none"} if epsilon is None else {"name": "gaussian", "epsilon": epsilon}
        name = f"{strategy}-{epsilon}-{seed}"
        path = make_run(name, strategy, overall=(0.3, 0.4 + seed / 10), seed=seed, privacy=privacy)
        summary = json.loads((path / "summary.json").read_text())
        stated = {"epsilon": epsilon, "delta": 1e-5, "mechanism": privacy["name"]}
        (path / "summary.json").write_text(json.dumps(summary | {"privacy": stated}))
        found = {
            "membership": {"knowledge / loss": {"auc": 0.6 + seed / 10}},
            "label_distribution": {"mean soft label": {"kl": 0.2}, "prior: population": {"kl": 1}},
        }
        (path / "attacks").mkdir()
        for attack, results in found.items():
            content = {"schema": 1, "access": "", "notes": [], "curves": {}, "results": results}
            (path / "attacks" / f"{attack}.json").write_text(json.dumps(content))
        return path

    cases = [(s, e, seed) for s in ("knfu", "fedmd") for e in (None, 8.0, 1.0) for seed in (0, 1)]
    return load_runs([made(*case) for case in cases])


def test_the_table_by_hand(study):
    heading, first, second, *_ = table(group_runs(study))
    titles = ["ALMA local (%)", "ALMA global (%)", "membership AUC", "KL to label shares"]
    assert heading == ["strategy", "privacy", "epsilon", *titles]
    numbers = ["45.0 ± 7.1", "0.650 ± 0.071", "0.200 ± 0.000"]
    assert first == ["knfu", "none", "-", "80.0 ± 0.0", *numbers]
    assert second[:3] == ["knfu", "gaussian", "8"]


def test_a_curve_is_what_differs_in_epsilon_only(study):
    found = curves(group_runs(study))
    assert [label for _, label, _, _ in found] == [
        *("knfu, none", "knfu, gaussian", "fedmd, none", "fedmd, gaussian"),
    ]
    assert [len(members) for members, _, _, _ in found] == [1, 2, 1, 2]


def test_points_are_drawn_in_order_of_epsilon_and_flat_lines_without_one(study):
    panels = tradeoff_figure(study).axes
    assert len(panels) == 4
    overall = panels[1]
    formal = next(line for line in overall.lines if line.get_label() == "knfu, gaussian")
    assert list(formal.get_xdata()) == [1.0, 8.0]
    assert np.allclose(formal.get_ydata(), 45)
    chance = [line.get_ydata()[0] for line in panels[2].lines if line.get_linestyle() == ":"]
    assert chance == [0.5]


@pytest.mark.slow
def test_a_page_has_it_only_where_runs_differ_in_privacy(study, tmp_path):
    words = "What protection costs"
    assert words in render(study, tmp_path / "all.html").read_text()
    alone = [run for run in study if run.summary["privacy"]["epsilon"] is None]
    assert not differ_in_privacy(group_runs(alone))
    assert words not in render(alone, tmp_path / "none.html").read_text()


def test_runs_that_were_not_attacked_show_accuracy(study, tmp_path):
    for run in study:
        for path in (run.path / "attacks").glob("*.json"):
            path.unlink()
    assert len(tradeoff_figure(study).axes) == 2
    assert len(table(group_runs(study))[0]) == 5
