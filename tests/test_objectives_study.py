"""The pages of the studies of objectives say what their rows say."""

import csv
import re
import statistics
from itertools import product
from pathlib import Path

import pytest
from fedkd.experiments.reproduce import (
    objectives,
    objectives_page,
    objectives_ranking,
    objectives_speed,
)
from fedkd.experiments.reproduce.cells import saved
from fedkd.experiments.reproduce.objectives_studies import MNIST, STUDIES

ROOT = Path(__file__).parents[1]
SECONDS = ROOT / objectives_speed.SECONDS
TIMES = [{"objective": name, "guard": "none", "seconds": s} for name, s in (("kl", 1), ("js", 2))]


def row(name, seed, setting, value, **other):
    models, alpha, strategy = setting
    cell = {"models": models, "alpha": alpha, "strategy": strategy, "seed": seed, "rounds": 5}
    learned = {"objective": name, "guard": "none", "labels": False}
    return cell | learned | {"local": value, "overall": value} | other


def rows(name, gains, **other):
    settings = enumerate(MNIST.settings)
    return [
        row(name, seed, setting, 0.5 + place / 100 + gain, **other)
        for (place, setting), (seed, gain) in product(settings, enumerate(gains))
    ]


KL = rows("kl", (0.0, 0.1, 0.2))


def test_differences_are_paired_over_seeds_with_students_interval():
    best, base = objectives_ranking.findings(MNIST, KL + rows("js", (0.01, 0.12, 0.23)))
    assert (best.name, base.name, base.mean) == ("js", "kl", 0)
    assert best.mean == pytest.approx(2)
    assert best.interval == pytest.approx((2 - 2.4841, 2 + 2.4841), abs=1e-3)  # t 4.3027, std 1


@pytest.mark.parametrize(
    ("gains", "group"),
    [
        ((0.05, 0.151, 0.249), "Better than `kl`"),
        ((-0.05, 0.049, 0.151), "Worse than `kl`"),
        ((0.01, 0.08, 0.21), "No difference shown, and slower"),
        ((0.05, 0.15), "Too few seeds"),
    ],
)
def test_it_says_which_help_and_which_only_cost_time(gains, group):
    said = objectives_page.page(MNIST, KL + rows("js", gains), TIMES)
    assert re.search(rf"\*\*{re.escape(group)}.*?\*\*: `js`\.", said)
    assert ("fewer than 3 seeds" in said) == (len(gains) < 3)


def test_seeds_that_lack_a_setting_and_quick_runs_do_not_count():
    some = rows("js", (0.01, 0.12, 0.23))
    found = objectives_ranking.findings(MNIST, KL + some[1:] + rows("l1", (0.9,), rounds=1))
    assert {one.name: len(one.points) for one in found} == {"js": 2, "kl": 3}


def test_before_all_is_done_the_settings_count_that_most_have_been_run_in():
    half = [r for r in KL + rows("js", (0.01,)) + rows("l1", (0.02,)) if r["models"] == "mlp"]
    going = [r for r in rows("kl", (0.0,)) if r["models"] != "mlp"][:1]  # one run of the next
    one = rows("mse", (0.03,))[:1]  # an objective that has only just begun
    assert objectives_ranking.counted(MNIST, half + going + one) == MNIST.settings[:4]
    said = objectives_page.page(MNIST, half + going + one, [])
    assert "**Not done yet:** 4 of the 8 settings" in said
    assert "Not run in all of these: `mse`." in said
    assert "Not done yet" not in objectives_page.page(MNIST, KL, [])


def test_a_guard_is_a_row_and_who_sees_labels_is_ranked_apart():
    some = rows("kl", (0.01, 0.12, 0.23), guard="bsd", labels=True)
    said = objectives_page.page(MNIST, KL + some + rows("js", (0.0, 0.0, 0.0)), [])
    assert "| 1 | `kl, bsd` | +2.0 | -0.5 to +4.5 |" in said
    assert said.index("| 1 | `kl` ") < said.index("| 2 | `js` ") < said.index("| 1 | `kl, bsd`")


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_a_page_is_made_of_the_rows_that_are_kept(study):
    page = (ROOT / study.page).read_text()
    assert page == objectives_page.page(study, saved(ROOT / study.rows), saved(SECONDS))


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_its_numbers_are_those_of_the_rows_worked_out_another_way(study):
    with (ROOT / study.rows).open() as file:
        kept = [r for r in csv.DictReader(file) if int(r["rounds"]) == study.rounds]
    page = (ROOT / study.page).read_text()
    ranked = re.findall(r"^\| \d+ \| `(\w+)` \| ([-+.\d]+) \|.*\| (\d+) \| [-.\d]+ \|$", page, re.M)
    assert len(ranked) > 15
    heads = re.findall(r"(knfu|fedmd), ([\w+]+), ([\d.]+) \|", page)
    settings = {(models, float(alpha), strategy) for strategy, models, alpha in heads}
    numbers = {
        (r["objective"], r["seed"], (r["models"], float(r["alpha"]), r["strategy"])): r
        for r in kept
        if r["guard"] == "none"
    }
    for name, mean, seeds in ranked:
        every = {seed for _, seed, _ in numbers}
        whole = [s for s in every if all((name, s, each) in numbers for each in settings)]
        assert len(whole) == int(seeds)
        differences = [
            float(numbers[name, seed, each][metric]) - float(numbers["kl", seed, each][metric])
            for seed, each in product(whole, settings)
            for metric in ("local", "overall")
        ]
        assert 100 * statistics.fmean(differences) == pytest.approx(float(mean), abs=0.051)


@pytest.mark.slow
def test_seconds_are_measured_of_real_runs(real_data, tmp_path):
    real_data("mnist")
    way = objectives.chosen("kl")[0]
    runs = {epochs: [objectives_speed.spent(way, epochs)] for epochs in objectives_speed.EPOCHS}
    assert runs[1][0] > 0
    figure = objectives_page.figure(
        objectives_ranking.findings(MNIST, KL + rows("js", (0.01, 0.1, 0.2)))
    )
    figure.savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
