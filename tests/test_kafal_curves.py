"""KAFAL's curves: what is run, what the rows say, and what decides a verdict."""

import csv
import re
import statistics
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from fedkd.experiments.reproduce import cells, kafal_curves, kafal_curves_page
from fedkd.experiments.reproduce import kafal_curves_plan as plan
from fedkd.experiments.reproduce.cells import saved
from fedkd.experiments.reproduce.claims import listed
from fedkd.experiments.reproduce.gallery import shown
from fedkd.experiments.reproduce.kafal_curves_compared import EXPECTED, Curves, verdicts
from fedkd.experiments.reproduce.kafal_curves_figure import figure

from fedkd.config.overrides import compose
from fedkd.errors import ConfigError

ROOT = Path(__file__).parents[1]
ROWS = ROOT / kafal_curves.ROWS


def row(update, sampler, seed, values, change=plan.AS_IS, data="mnist"):
    numbers = {"overall": values[-1], "accuracies": listed(values), "absent": listed([7.0])}
    labels = " ".join(str(200 * (n + 1)) for n in range(len(values)))
    about = {"labels": labels, "cpu_seconds": 1.0, "digest": ""}
    return plan.cell(data, update, sampler, seed, change) | numbers | about


def every(seeds=3, data="mnist", **better):
    """All curves start at 0.5 and end at 0.6, those of a sampler or an update named higher."""
    return [
        row(u, s, n, [0.5 + n / 100, 0.6 + n / 50 + better.get(u, 0) + better.get(s, 0)], data=data)
        for u, s in plan.CURVES
        for n in range(seeds)
    ]


def words(rows, data="mnist"):
    said = verdicts([Curves(rows, name) for name in plan.DATA])
    title = plan.DATA[data]
    return [re.search(r"\*\*(.+?)\*\*", one)[1] for one in said if one.startswith(f"- {title},")]


YES, NO, NEVER = "ordering reproduced", "not reproduced", "not tried"
OPEN = "undecided"


def test_the_page_is_made_of_the_rows_that_are_kept():
    assert (ROOT / kafal_curves_page.PAGE).read_text() == kafal_curves_page.page(saved(ROWS))


def test_the_page_has_the_means_of_the_rows_worked_out_another_way():
    with ROWS.open() as file:
        kept = list(csv.DictReader(file))
    text, seen = (ROOT / kafal_curves_page.PAGE).read_text(), 0
    for name, title in plan.DATA.items():
        part = text.partition(f"**{title}**\n\n")[2].partition("\n\n")[0]
        for update, sampler, after in re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.+) \|$", part, re.M):
            *cycles, mean, seeds, _ = after.split(" | ")
            about = name, update, sampler, plan.AS_IS
            own = [
                [100 * float(one) for one in each["accuracies"].split()]
                for each in kept
                if tuple(each[k] for k in ("data", "update", "sampler", "change")) == about
            ]
            assert int(seeds) == len(own)
            numbers = [statistics.fmean(one) for one in zip(*own, strict=True)]
            expected = [*numbers, statistics.fmean(numbers)]
            found = [float(one.split()[0]) for one in (*cycles, mean)]
            assert found == pytest.approx(expected, abs=0.051)
            seen += len(own)
    assert seen == sum(
        one["change"] == plan.AS_IS and (one["update"], one["sampler"]) in plan.CURVES
        for one in kept
    )


def test_each_part_of_the_verdict_comes_out_either_way():
    assert words(every()) == [OPEN] * 4
    assert words(every(ksas=0.1, kcfu=0.1)) == [YES] * 4
    assert words(every(ksas=-0.1, plain=0.1)) == [NO] * 4
    assert words(every(ksas=0.1, margin=0.2)) == [YES, YES, NO, OPEN]
    assert words(every(2, ksas=0.1)) == [NEVER] * 4
    assert words([]) == words(every(), "cifar10") == [NEVER] * 4
    assert words(every(data="cifar10", ksas=0.1, kcfu=0.1), "cifar10") == [YES] * 4


def test_a_lead_is_judged_over_the_cycles_and_in_the_last():
    ends = {"random": [0.5, 0.9, 0.60], "ksas": [0.5, 0.5, 0.61]}
    rows = [
        row("kcfu", name, seed, [v + seed / 100 for v in values])
        for name, values in ends.items()
        for seed in range(3)
    ]
    assert words(rows)[:3] == [NO, YES, NEVER]
    found = Curves(rows, "mnist")
    pair = ("kcfu", "ksas"), ("kcfu", "random")
    assert found.lead(*pair, "last cycle") == pytest.approx([1.0] * 3)
    assert found.lead(*pair, "mean over cycles") == pytest.approx([-13.0] * 3)


def test_a_cause_is_asked_of_the_same_seeds_and_cycles():
    rows = [
        row(update, "random", seed, [0.5, 0.5 - gap - seed / 100, *more], change)
        for change, gap, more in ((plan.AS_IS, 0.08, [0.9]), ("two classes each", 0.02, []))
        for update, gap in (("plain", 0.0), ("balanced", gap))
        for seed in range(3)
    ]
    assert Curves(rows, "mnist").moved("two classes each") == pytest.approx([3.0] * 3)
    text = kafal_curves_page.page(rows)
    line = next(one for one in text.splitlines() if one.startswith("| two classes each"))
    assert line.endswith("| -1.0 ± 0.0 | - | +3.0 ± 0.0 | as expected | 3 |")
    assert "| -4.0 ± 0.0 | - |  |  | 3 |" in text  # nothing changed, the first two cycles


def test_the_plan_is_whole_and_its_runs_are_configurations():
    every = [*plan.wanted(), *plan.wanted([plan.LARGE])]
    assert len({str(cell) for cell in every}) == len(every)
    assert set(EXPECTED) == set(plan.CHANGES)
    updates = [(update, plan.AS_IS) for update in plan.UPDATES]
    for update, change in [*updates, *(("plain", change) for change in plan.CHANGES)]:
        config = compose(plan.overrides(plan.cell("mnist", update, "ksas", 4, change)))
        assert (config.seed, config.engine.name) == (4, "inline")
        cycles = plan.CYCLES if change == plan.AS_IS else plan.EARLY
        assert config.rounds == cycles * plan.ROUNDS
        assert config.strategy["rounds_per_cycle"] == config.evaluate.every == plan.ROUNDS
    large = compose(plan.overrides(plan.cell(plan.LARGE, "plain", "ksas", 0)))
    assert (large.data.name, large.model) == ("cifar10", "lenet5")
    assert large.rounds == 4 * large.strategy["rounds_per_cycle"]
    with pytest.raises(ConfigError, match="--data"):
        kafal_curves.planned("svhn", 3, quick=False)


def test_a_run_keeps_the_accuracy_after_each_cycle(monkeypatch):
    rounds = [
        {"alma_global": None, "labels": 200, "absent": 7.0},
        {"alma_global": 0.5, "labels": 200, "absent": None},
        {"alma_global": None, "labels": 400, "absent": 6.5},
        {"alma_global": 0.625, "labels": 400, "absent": None},
    ]
    summary = {"alma_global": {"last": 0.625}, "digest": "a" * 64}
    done = SimpleNamespace(summary=summary, rounds=pa.Table.from_pylist(rounds))
    monkeypatch.setattr(cells, "run", lambda config, report: done)
    found = kafal_curves.measured(plan.cell("mnist", "plain", "random", 0))
    assert found.pop("cpu_seconds") >= 0
    assert found == {
        "overall": 0.625,
        "accuracies": "0.50000 0.62500",
        "labels": "200 400",
        "absent": "7.00000 6.50000",
        "digest": "a" * 16,
    }


def test_the_figure_has_the_seeds_that_all_curves_have():
    rows = every(3)[:-1]  # the last curve lacks its last seed
    shared = Curves(rows, "mnist").shared()
    assert {len(found) for found in shared.values()} == {2}
    drawn = figure([Curves(rows, name) for name in plan.DATA])
    (first,) = drawn.axes  # the others have not been run
    assert len(first.lines) == len(plan.CURVES)
    (none,) = figure([Curves([], name) for name in plan.DATA]).axes
    assert [text.get_text() for text in none.texts] == ["not run yet"]


def test_the_gallery_has_it():
    titles = [one.title for one in shown(ROOT / "docs")]
    assert "KAFAL's curve" in titles
