"""`fedkd.compare`: which runs are averaged and paired, and what is said of the others."""

import itertools
import json
import math
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import fedkd
from fedkd.config import DataConfig, FitConfig
from fedkd.errors import ConfigError
from fedkd.report.metrics import Metric
from fedkd.score import Score

RECORDED = {
    0.1: {
        "local": (0.8708, 0.7219, 0.7061, 0.7412),
        "fedmd": (0.5924, 0.4372, 0.4963, 0.5101),
        "knfu": (0.8716, 0.7193, 0.7051, 0.7390),
    },
    1.0: {
        "local": (0.5392, 0.5381, 0.5194, 0.5207),
        "fedmd": (0.4231, 0.5410, 0.4122, 0.4605),
        "knfu": (0.5511, 0.5741, 0.5060, 0.5533),
    },
}
"""ALMA local by data.alpha and method, for seeds 0 to 3."""


@pytest.fixture
def study(make_run):
    """Return a function that makes the runs of a table, and their folder."""

    def made(table=RECORDED, **config):
        for alpha, methods in table.items():
            for method, values in methods.items():
                for seed, value in enumerate(values):
                    if value is not None:
                        data = DataConfig(alpha=alpha)
                        name = f"study/{method}-{alpha}-{seed}"
                        curve = {"local": (0.1, value), "seed": seed, "data": data, **config}
                        make_run(name, method, **curve)
        return make_run.root / "study"

    return made


def one(**methods):
    return {0.1: methods}


def said(found, words):
    return [note for note in found.notes if words in note]


def rewrite(run, **changes):
    file = run / "summary.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize("test", ["t", "permutation"])
def test_statistics_agree_with_scipy_on_a_recorded_table(study, test):
    found = fedkd.compare(
        study(), by="strategy", over="data.alpha", metric="alma_local", baseline="fedmd", test=test
    )
    assert len(found.table) == 6
    p = []
    for row in found.table.itertuples():
        methods = RECORDED[float(row.setting.removeprefix("data.alpha="))]
        values, base = np.array(methods[row.arm]), np.array(methods["fedmd"])
        assert (row.mean, row.std) == pytest.approx((values.mean(), values.std(ddof=1)))
        assert (row.low, row.high) == pytest.approx(
            stats.ttest_1samp(values, 0).confidence_interval(0.95)
        )
        if row.arm == "fedmd":
            assert math.isnan(row.p)
            continue
        wanted = stats.ttest_rel(values, base)
        ends = wanted.confidence_interval(0.95)
        assert (row.difference_low, row.difference_high) == pytest.approx(ends)
        assert row.effect == pytest.approx(wanted.statistic / 2)  # d = t / sqrt(n)
        assert row.p == pytest.approx(
            flips(values - base) if test == "permutation" else wanted.pvalue
        )
        p.append((row.p, row.p_holm))
    ordered = sorted(p)
    holm = np.maximum.accumulate([min(1, (4 - i) * p) for i, (p, _) in enumerate(ordered)])
    assert [corrected for _, corrected in ordered] == pytest.approx(holm)


def flips(differences):
    """Return the share of all sign flips whose mean is as far from 0."""
    signs = itertools.product((1, -1), repeat=len(differences))
    means = [abs(np.mean(np.multiply(each, differences))) for each in signs]
    return np.mean([mean >= means[0] - 1e-12 for mean in means])


def test_ranks_over_settings(study):
    found = fedkd.compare(study(), by="strategy", over="data.alpha", metric="alma_local")
    assert found.ranks.average.to_dict() == {"knfu": 1.5, "local": 1.5, "fedmd": 3.0}
    means = [
        [np.mean(RECORDED[alpha][m]) for alpha in RECORDED] for m in ("local", "knfu", "fedmd")
    ]
    assert found.ranks.p == pytest.approx(stats.friedmanchisquare(*means).pvalue)
    best = found.table[found.table["best"]]
    assert best["arm"].tolist() == ["local", "knfu"]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"by": "strategy", "over": "data.alpha,strategy"}, "over=strategy: is in --by, too"),
        ({"by": "strategy,seed"}, "by=seed: is what is averaged"),
    ],
)
def test_keys_that_make_no_arm_or_setting_are_refused(study, given, problem):
    with pytest.raises(ConfigError, match=problem):
        fedkd.compare(study(), **given)


def test_what_looks_equal_ties(study):
    found = fedkd.compare(study(one(a=(0.50001,), b=(0.50004,), c=(0.4,))))
    assert found.table["best"].tolist() == [True, True, False]


def test_what_differs_beside_the_seed_is_not_averaged(study, make_run):
    runs = study()
    with pytest.raises(ConfigError, match=r"differ in data\.alpha \(0\.1, 1\.0\), and only seeds"):
        fedkd.compare(runs, by="strategy")
    with pytest.raises(ConfigError, match=r"differ in strategy \(fedmd, knfu, local\)"):
        fedkd.compare(runs, by="data.alpha")
    make_run("study/other", "fedmd", seed=9, fit=FitConfig(lr=0.5))
    with pytest.raises(
        ConfigError, match=r"add --over fit\.lr .* or compare --by strategy,fit\.lr"
    ):
        fedkd.compare(runs, by="strategy", over="data.alpha")
    assert fedkd.compare(runs).table["arm"].nunique() == 7  # all that differs, by default


def test_a_parameter_of_a_method_is_not_averaged_away(make_run):
    for beta in (1.0, 5.0):
        make_run(f"k{beta}", parameters={"beta": beta})
    make_run("f", "fedmd")
    with pytest.raises(ConfigError, match=r"differ in strategy\.beta"):
        fedkd.compare(make_run.root, by="strategy")
    found = fedkd.compare(make_run.root, by=["strategy", "strategy.beta"], baseline="knfu,beta=5.0")
    assert found.table["arm"].tolist() == ["fedmd", "knfu, beta=1.0", "knfu, beta=5.0"]


def test_what_decides_nothing_does_not_part_runs(make_run):
    from fedkd.config import EngineConfig

    make_run("a", seed=0)
    make_run("b", seed=1, engine=EngineConfig(name="inline"), run_dir="elsewhere")
    assert fedkd.compare(make_run.root, by="strategy").table["seeds"].tolist() == [2]
    with pytest.raises(ConfigError, match=r"differ in engine"):
        fedkd.compare(make_run.root, by="strategy", metric="seconds.total")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"by": "strategi"}, "by=strategi: no key that decides .* did you mean 'strategy'"),
        ({"over": "data.alhpa"}, "did you mean 'data.alpha'"),
        ({"baseline": "fedmt", "by": "strategy"}, "baseline=fedmt: no such arm; .*'fedmd'"),
        ({"metric": "alma_lokal"}, "metric=alma_lokal: no run has this .*'alma_local'"),
        ({"test": "wilcoxon"}, r"test=wilcoxon: no such test \(allowed: permutation, t\)"),
    ],
)
def test_mistakes_name_what_there_is(study, given, message):
    runs = study(one(fedmd=(0.5, 0.6), knfu=(0.6, 0.7)))
    with pytest.raises(ConfigError, match=message):
        fedkd.compare(runs, **given)


def test_runs_that_did_not_finish_are_left_out_counted_and_named(study, make_run):
    runs = study(one(fedmd=(0.5, 0.6, 0.7), knfu=(0.6, 0.7, 0.8)))
    (runs / "knfu-0.1-2/summary.json").unlink()
    (runs / "fedmd-0.1-1/rounds.parquet").unlink()
    rewrite(runs / "knfu-0.1-0", diverged=3)
    found = fedkd.compare(runs, by="strategy", baseline="fedmd")
    assert found.table["seeds"].tolist() == [2, 2]
    assert found.table["pairs"].tolist() == [0, 1]
    [unfinished] = said(found, "1 left out, unfinished")
    assert "knfu-0.1-2" in unfinished
    assert "fedmd-0.1-1" in said(found, "1 left out, without a first round")[0]
    assert "knfu-0.1-0" in said(found, "1 counted, with clients that diverged")[0]
    assert said(found, "seeds without a pair are in the means")[0].endswith("fedmd: knfu")
    with pytest.raises(ConfigError, match="no finished run"):
        fedkd.compare(runs / "knfu-0.1-2")


def test_one_seed_is_a_mean_and_no_more(study):
    found = fedkd.compare(study(one(fedmd=(0.5,), knfu=(0.6,))), baseline="fedmd")
    knfu = found.table.set_index("arm").loc["knfu"]
    assert (knfu["mean"], knfu["difference"]) == pytest.approx((0.6, 0.1))
    assert knfu[["std", "low", "effect", "p", "p_holm", "difference_low"]].isna().all()
    assert said(found, "fewer than 3 seeds")[0].endswith("fedmd; knfu")


def test_differences_without_spread(study):
    runs = study(one(fedmd=(0.5, 0.6, 0.7), same=(0.5, 0.6, 0.7), more=(0.6, 0.7, 0.8)))
    found = fedkd.compare(runs, baseline="fedmd").table.set_index("arm")
    assert found.loc[["same", "more"], ["effect", "p"]].isna().all(axis=None)
    assert found.loc["more", "difference"] == pytest.approx(0.1)
    found = fedkd.compare(runs, baseline="fedmd", test="permutation")
    assert found.table.set_index("arm")["p"].to_dict() == pytest.approx(
        {"fedmd": math.nan, "same": 1.0, "more": 0.25}, nan_ok=True
    )
    assert said(found, "no p below 0.25")
    assert said(found, "differences without spread")


def test_rounding_is_no_difference(study):
    off = 1e-16  # as sums in another order are
    runs = study(one(fedmd=(0.25, 0.375, 0.4375), same=(0.25 + off, 0.375 - off, 0.4375)))
    for test, p in (("t", math.nan), ("permutation", 1.0)):
        same = fedkd.compare(runs, baseline="fedmd", test=test).table.set_index("arm").loc["same"]
        assert (same["difference"], same["p"]) == pytest.approx((0, p), nan_ok=True)


def test_the_same_run_twice_counts_once(study):
    runs = study(one(fedmd=(0.5, 0.6), knfu=(0.6, 0.7)))
    shutil.copytree(runs / "knfu-0.1-1", runs / "knfu-again")
    found = fedkd.compare([runs, runs / "knfu-0.1-0"], by="strategy")
    assert found.table["seeds"].tolist() == [2, 2]
    assert len(said(found, "counted once")) == 1
    rewrite(runs / "knfu-again", digest="cd" * 32)
    with pytest.raises(ConfigError, match=r"is seed 1 of knfu, as .*, with another digest"):
        fedkd.compare(runs, by="strategy")


def test_folders_may_be_nested(study, tmp_path):
    runs = study(one(fedmd=(0.5, 0.6)))
    deep = tmp_path / "all/of/them"
    deep.mkdir(parents=True)
    shutil.move(runs, deep)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden/config.yaml").write_text("a: 1")
    found = fedkd.compare(tmp_path / "all")
    assert found.table["seeds"].tolist() == [2]
    assert not said(found, "left out")


def test_a_metric_that_some_runs_lack(study):
    runs = study(one(fedmd=(0.5, 0.6), knfu=(0.6, 0.7)))
    rewrite(runs / "knfu-0.1-0", ece=0.1)
    found = fedkd.compare(runs, metric="ece")
    assert found.table["seeds"].tolist() == [0, 1]
    assert said(found, "3 left out, without ece")
    assert fedkd.compare(runs, metric="effective_neighbours").metric.more is None  # a column


def test_less_may_be_better(study, make_run):
    found = fedkd.compare(study(one(fedmd=(0.5,), knfu=(0.6,)), bytes_up=100), metric="bytes_up")
    assert found.table["best"].all()
    make_run("study/cheap", "local", bytes_up=0, data=DataConfig(alpha=0.1))
    found = fedkd.compare(make_run.root / "study", by="strategy", metric="bytes_up")
    assert found.table[found.table["best"]]["arm"].tolist() == ["local"]
    means, stds = found.table["mean"], found.table["std"]
    assert not Metric.of("score_local", Score("rmse", more=False), means, stds).more


def test_digits_follow_the_deviation():
    made = Metric.of("score_local", Score("rmse", more=False), *map(pd.Series, ([651.2], [3.21])))
    assert (made.title, made.text(651.23)) == ("RMSE local", "651.2")
    whole = Metric.of("bytes_up", Score("rmse"), pd.Series([1e6]), pd.Series([0.0]))
    assert whole.text(1e6) == "1000000"


def test_tasks_with_other_measures_are_not_compared(study):
    runs = study(one(fedmd=(0.5,), knfu=(0.6,)))
    about = {"score": Score("rmse", more=False).about()}
    (runs / "knfu-0.1-0/spec.json").write_text(json.dumps(about))
    rewrite(runs / "knfu-0.1-0", metrics={"alma_local": 0.6, "alma_global": 0.4})
    with pytest.raises(ConfigError, match=r"is measured by rmse, and .* by accuracy"):
        fedkd.compare(runs, by="strategy")


def test_pairs_of_other_data_are_told(study):
    runs = study(one(fedmd=(0.5, 0.6), knfu=(0.6, 0.7)))
    assert not said(fedkd.compare(runs, baseline="fedmd"), "do not share the data")
    np.savez(runs / "knfu-0.1-1/split.npz", histogram=np.ones((20, 10), int))
    found = fedkd.compare(runs, baseline="fedmd")
    assert said(found, "do not share the data that a seed deals: seed 1")
