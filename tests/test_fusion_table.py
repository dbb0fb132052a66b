"""The table of all methods: as they come and tuned, all of them, from what has been run."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fedkd.experiments.reproduce import fusion_findings, fusion_page, fusion_settings, fusion_table
from fedkd.experiments.reproduce.cells import missing, saved
from fedkd.experiments.reproduce.fusion_plan import (
    ALPHAS,
    SEEDS,
    TEST,
    TRIALS,
    TUNING_SEED,
    VALIDATION,
    Done,
    estimate,
    wanted,
)
from rich.console import Console

from fedkd.config.overrides import compose
from fedkd.errors import ConfigError
from fedkd.plugins.table import SEAMS

ROOT = Path(__file__).parents[1]
SHIPPED = SEAMS["strategies"].shipped()
THREE = ("fedavg", "knfu", "local")


def result(one, *, best="lr=0.02"):
    """What a run might come to: the better the more of `best` is in its settings."""
    good = sum(part in one["settings"] for part in best.split())
    level = {"fedavg": 0.9, "knfu": 0.6, "local": 0.5}[one["strategy"]] + 0.01 * good
    level += 0.001 * (one["seed"] % 2)
    numbers = {"local": level, "overall": level - 0.1, "bytes": 1000, "cpu_seconds": 2.0}
    return {**one, **numbers, "digest": "abc"}


def all_run(names=THREE, best="lr=0.02"):
    """The rows of the whole plan, and how many of them there were after each step."""
    rows, counts = [], []
    while todo := missing(wanted(Done(rows), names), rows):
        rows += [result(one, best=best) for one in todo]
        counts.append(len(rows))
    return rows, counts


def test_every_strategy_has_a_row_or_a_reason_and_eight_settings_of_its_own():
    rows = fusion_settings.names()
    reasons = {name: fusion_settings.left_out(cls) for name, cls in SHIPPED.items()}
    assert {fusion_settings.method(name) for name in rows} == {
        n for n, r in reasons.items() if not r
    }
    assert reasons["kafal"] == "with a part of the labels only"
    assert "resnet8" in reasons["fedbn"]
    for name in rows:
        first = fusion_settings.first_settings(name)
        every = first + fusion_settings.next_settings(name, first[-1])
        assert len(set(every)) == TRIALS, name
        assert first[0] == fusion_settings.setting(name)  # the defaults are among them
    assert set(fusion_settings.MAIN) <= set(SHIPPED)
    assert {*fusion_settings.NOTES, *fusion_settings.SETTINGS} <= set(rows)


def test_settings_are_overrides_that_the_run_takes():
    for name in ("knfu, logits", "fedavg"):
        first = fusion_settings.first_settings(name)
        last = fusion_settings.next_settings(name, first[-1])[-1]
        one = {"data": TEST, "seed": 3, "alpha": 1.0, "strategy": name, "settings": last}
        config = compose(fusion_table.overrides(one))
        assert (config.seed, config.data.alpha, config.data.name) == (3, 1.0, "mnist")
        rates = {"knfu, logits": (0.05, 0.005), "fedavg": (0.2, None)}
        assert (config.fit.lr, config.distil.lr) == rates[name]
    assert config.strategy["name"] == "fedavg"
    assert compose(fusion_table.overrides(one | {"strategy": "fedgems"})).transfer.labelled


def test_what_chooses_has_neither_the_test_split_nor_a_seed_of_the_table():
    cells = wanted(Done([]), THREE)
    assert compose(fusion_table.overrides(cells[0])).data.name == "mnist"
    for one in cells:
        held = f"data={fusion_table.HELD}" in fusion_table.overrides(one)
        assert held == (one["data"] == VALIDATION) == (one["seed"] == TUNING_SEED)
    assert TUNING_SEED not in range(SEEDS)


def test_each_step_decides_the_next_and_all_methods_have_the_same_budget():
    rows, counts = all_run()
    pairs = len(THREE) * len(ALPHAS)
    assert counts == [pairs * (SEEDS + 4), pairs * (SEEDS + 8), pairs * (2 * SEEDS + 8)]
    for name in THREE:
        for alpha in ALPHAS:
            own = [r for r in rows if (r["strategy"], r["alpha"]) == (name, alpha)]
            assert sum(row["data"] == VALIDATION for row in own) == TRIALS
            rate = "distil.lr" if name == "knfu" else "fit.lr"
            assert Done(rows).chosen(alpha, name) == f"{rate}=0.02"
    assert "nothing measured" not in "".join(estimate(Done(rows), THREE, 2))


def test_the_main_parameter_is_tried_with_the_best_rate():
    rows, _ = all_run(best="distil.lr=0.01 strategy.beta=5.0")
    tried = [r["settings"] for r in rows if r["strategy"] == "knfu" and "beta" in r["settings"]]
    assert all("distil.lr=0.01" in one for one in tried)
    assert Done(rows).chosen(0.1, "knfu") == "distil.lr=0.01 strategy.beta=5.0"
    assert Done(rows).chosen(0.1, "fedavg") == "-"


def test_defaults_that_are_the_best_are_not_run_twice():
    rows, counts = all_run(best="nothing")
    pairs = len(THREE) * len(ALPHAS)
    assert counts == [pairs * (SEEDS + 4), pairs * (SEEDS + 8)]
    assert Done(rows).chosen(0.1, "knfu") == "-"
    found = fusion_findings.entries(Done(rows), 0.1)
    assert all(one.complete and one.plain == one.tuned for one in found)


def test_a_setting_that_fails_is_the_worst_and_a_run_that_fails_is_left(monkeypatch):
    monkeypatch.setattr(fusion_table, "tried", lambda overrides: None)
    trial = {"data": VALIDATION, "seed": 100, "alpha": 0.1, "strategy": "knfu", "settings": "-"}
    assert fusion_table.measured(trial)["local"] == 0
    assert fusion_table.measured(trial | {"data": TEST}) is None


def test_what_fails_is_tried_once_a_call(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(fusion_table, "measured", lambda one: asked.append(str(one)))
    fusion_table.run_missing(tmp_path / "rows.csv", THREE, 1, Console())
    assert len(asked) == len(set(asked)) == len(wanted(Done([]), THREE))


def test_rows_are_kept_as_csv_and_gone_on_with(monkeypatch, tmp_path):
    path = tmp_path / "rows.csv"
    monkeypatch.setattr(fusion_table, "measured", result)
    fusion_table.run_missing(path, ("local",), 1, Console())
    rows = saved(path)
    assert not missing(wanted(Done(rows), ("local",)), rows)
    fusion_table.run_missing(path, ("local",), 1, Console())
    assert len(saved(path)) == len(rows) == len(ALPHAS) * (2 * SEEDS + TRIALS)


def test_no_sample_that_chooses_is_learnt_from(monkeypatch, tmp_path):
    folder = tmp_path / "mnist"
    folder.mkdir()
    table = pa.table({"label": list(range(50))})
    pq.write_table(table, folder / "train-00000-of-00001.parquet")
    pq.write_table(table, folder / "test-00000-of-00001.parquet")
    monkeypatch.setenv("FEDKD_DATA_DIR", str(tmp_path))
    fusion_table.hold_out(tmp_path / "held")
    parts = {n: pq.read_table(tmp_path / f"held/{n}.parquet") for n in ("train", "test")}
    train, test = (set(part["label"].to_pylist()) for part in parts.values())
    assert test == {0, 12, 24, 36, 48}
    assert train == set(range(50)) - test


def test_a_row_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="--only=knf: no such row; did you mean 'knfu'"):
        fusion_table.selected("fedavg;knf")


def test_the_page_is_made_of_the_rows_that_are_kept():
    text = (ROOT / fusion_page.PAGE).read_text()
    made = fusion_page.section(Done(saved(ROOT / fusion_table.ROWS)))
    assert fusion_page.placed(text, made) == text, "run `make docs`"


def test_the_tables_have_mean_interval_bytes_seconds_and_what_was_chosen():
    rows, _ = all_run()
    text = fusion_page.section(Done(rows))
    mean = 100 * np.mean([0.85, 0.851, 0.85, 0.851, 0.85])
    around = 2.776 * 100 * np.std([0.85, 0.851, 0.85, 0.851, 0.85], ddof=1) / 5**0.5
    cells = f"| 1 | `fedavg` | 90.0 | 80.0 | {mean:.1f} ± {around:.1f} | 91.0 | 81.0 | 86.0 ± 0.1 |"
    assert f"{cells} `fit.lr=0.02` | 5, 5 | 1.0&nbsp;kB | 2.0 |" in text
    assert "**Not done yet.** Of" in text  # the other methods
    few = fusion_page.section(Done(rows[:2]))
    assert "| 85.0 | - | - | - | - | 1, 0 |" in few
    assert "Too few methods are complete" in few


def test_the_sentences_say_what_the_numbers_say():
    rows, _ = all_run()
    found = {alpha: fusion_findings.entries(Done(rows), alpha) for alpha in ALPHAS}
    best, tuning, alone = fusion_findings.sentences(found)
    assert "`fedavg` has the highest mean (86.0 ± 0.1), and the intervals of 0 of 2" in best
    assert "+1.0 points in the median under Dirichlet(0.1)" in tuning
    assert "correlation of 1.00" in tuning
    assert alone.startswith("Of 2 tuned methods")
    assert "0 in local accuracy under Dirichlet(0.1), 0 in global" in alone
