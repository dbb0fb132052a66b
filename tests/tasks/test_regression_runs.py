"""Regressions end to end: what runs, with what digest; what is refused, by name, before it does."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.datasets import load_diabetes
from support import fedkd, mostly_slow, slow
from torch import nn

from fedkd import ConfigError, simulate
from fedkd.config import EngineConfig, RunConfig
from fedkd.config.overrides import compose, merge
from fedkd.data import build_federation, corpora
from fedkd.data.targets import binned
from fedkd.engine import shared_ray
from fedkd.plugins.table import SEAMS
from fedkd.report import Run, overview
from fedkd.rounds.protocol import able_kinds
from fedkd.run.objects import Objects
from fedkd.run.runner import run
from fedkd.tasks.regression import Regression

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 6)).astype(np.float32)
TWO = 100 + 50 * (X @ RNG.normal(size=(6, 2)) + 0.1 * RNG.normal(size=(300, 2)))
Y = TWO[:, 0]
SMALL = {
    "clients": 4,
    "rounds": 3,
    "fraction": 0.8,
    "transfer.size": 40,
    "data.alpha": 1.0,
    "fit.lr": 0.01,
    "evaluate.samples": 30,
    "engine": "inline",
}
NODES = {"dsfl": {"name": "dsfl", "aggregation": "sa"}}


class Normed(nn.Sequential):
    """A model of numbers with BatchNorm, which the zoo does not have."""

    def __init__(self, shape, outputs):
        hidden = nn.Linear(shape[0], 16), nn.BatchNorm1d(16), nn.ReLU()
        super().__init__(*hidden, nn.Linear(16, outputs))


OWN = {"fedbn": {"model": Normed}}
SHIPPED = SEAMS["strategies"].shipped()
ABLE = [name for name, cls in SHIPPED.items() if able_kinds(cls, Regression())]
UNABLE = sorted(SHIPPED.keys() - set(ABLE))
PAIRS = pd.DataFrame({"a": Y, "b": Y, "x": X[:, 0]})
VARIANCE = {"task.variance": True}
OTHERS = {
    "two": {"strategy": "knfu", "data": (X, TWO)},
    "two-variance": {"strategy": "knfu", "data": (X, TWO)} | VARIANCE,
    "precision-variance": {"strategy": {"name": "fedmd", "weighting": "precision"}} | VARIANCE,
    "subset": {"strategy": "fedmd", "transfer.per_round": 20, "data.validation": 0.2},
    "float16": {"strategy": "fedmd", "compress": "float16"} | VARIANCE,
    "noise": {
        "strategy": "fedmd",
        "privacy": {"name": "gaussian", "clip": 1.0, "noise_multiplier": 0.01},
    },
    "private": {"strategy": "fedavg", "privacy": {"name": "dp_sgd", "noise_multiplier": 1.0}},
    "secure": {"strategy": "fedmd", "secure.aggregation": True},
    "krum": {"strategy": "flwr.serverapp.strategy:Krum"},
}
CASES = {
    **{name: {"strategy": NODES.get(name, name)} | OWN.get(name, {}) for name in ABLE},
    **{
        f"{name}-variance": {"strategy": NODES.get(name, name)} | VARIANCE | OWN.get(name, {})
        for name in ABLE
    },
    **OTHERS,
}


def ran(case=(), **more):
    settings = {"data": (X, Y)} | SMALL | dict(case) | more
    return simulate(**settings)


def test_who_makes_sense_for_a_regression():
    assert [
        *("apfl", "compatibility", "coordinate_median", "ditto", "dsfl", "fedadam", "fedavg"),
        *(
            "fedbabu",
            "fedbn",
            "feddyn",
            "fedhenn",
            "fedmd",
            "fednova",
            "fedper",
            "fedprox",
            "fedrep",
        ),
        *("geometric_median", "knfu", "lg_fedavg", "local", "moon", "scaffold", "trimmed_mean"),
        "twin_merging",
    ] == ABLE


@pytest.fixture(scope="module")
def runs():
    made = {}

    def run_of(name):
        if name not in made:
            made[name] = ran(CASES[name])
        return made[name]

    return run_of


@pytest.mark.parametrize("name", mostly_slow(CASES, "knfu", "fedmd-variance", "fedavg"))
def test_it_runs_and_says_what_it_measures(name, runs):
    result = runs(name)
    summary = result.summary
    assert (summary["schema"], summary["task"]) == (2, "regression")
    assert (summary["metric"], summary["more_is_better"], summary["rejected"]) == ("rmse", False, 0)
    local = result.rounds["score_local"].to_pylist()
    assert summary["score_local"]["last"] == local[-1]
    assert summary["score_local"]["best"] == min(local)
    assert local[-1] < 1.5 * TWO.std() or name in ("fedadam-variance", "fedadam")
    also = {"mae_local", "mae_global", "r2_local", "r2_global"}
    more = {"nll_local", "nll_global", "coverage_local", "coverage_global"}
    assert summary["metrics"].keys() == (
        also | more if "variance" in name or name == "float16" else also
    )
    worst = result.rounds["score_local_worst"].to_pylist()[-1]
    assert worst >= local[-1]
    assert not [
        column for column in result.rounds.column_names if "alma" in column or "ece" in column
    ]
    assert result.rounds["score_local_se"].null_count == len(local)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fedmd", "knfu-variance", *OTHERS])
def test_ray_ends_as_inline_does(name, runs):
    """Every method does: `test_engines_agree`; here are what else there is, and two methods."""
    with shared_ray(EngineConfig()):
        ray = ran(CASES[name], engine={"name": "ray", "actors": 2})
    assert ray.summary["digest"] == runs(name).summary["digest"]


@pytest.mark.slow
def test_flower_ends_as_inline_does(runs):
    flower = ran(CASES["fedmd-variance"], engine={"name": "flower", "actors": 1})
    assert flower.summary["digest"] == runs("fedmd-variance").summary["digest"]


@pytest.mark.parametrize("name", ["knfu-variance", slow("two"), slow("fedadam")])
def test_a_resumed_run_ends_as_one_that_was_not_stopped(name, runs, tmp_path):
    run_dir = str(tmp_path / "run")
    ran(CASES[name], rounds=2, run_dir=run_dir, **{"checkpoint.every": 1})
    config = merge(compose([f"resume={run_dir}"]), rounds=3)
    again = run(config, objects=Objects(data=CASES[name].get("data", (X, Y))))
    assert again.summary["digest"] == runs(name).summary["digest"]
    assert again.summary["score_local"]["last"] == runs(name).summary["score_local"]["last"]


@pytest.mark.parametrize("variance", [False, True])
def test_side_by_side_is_nearly_the_same(variance):
    alone, stacked = (
        ran(strategy="fedmd", task={"name": "regression", "variance": variance}, **how)
        for how in ({}, {"engine.stack": "4"})
    )
    last = alone.summary["score_local"]["last"]
    assert stacked.summary["score_local"]["last"] == pytest.approx(last, rel=1e-3)
    assert "stack" in stacked.clients["metric"].to_pylist()


@pytest.mark.parametrize("name", UNABLE)
def test_a_method_that_makes_no_sense_is_refused_by_name(name):
    words = f"strategy={name}: is for classes, and the task has predictions"
    with pytest.raises(ConfigError, match=f"^{words}.*fedmd"):
        ran(strategy=name)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"strategy": "dsfl"}, "strategy.aggregation=era: sharpens class probabilities"),
        ({"strategy": {"name": "fedmd", "exchange": "logits"}}, "strategy.exchange=logits: regr"),
        ({"strategy": {"name": "fedmd", "temperature": 2.0}}, "strategy.temperature=2.0: has no"),
        ({"strategy": {"name": "knfu", "epd_estimator": "histogram"}}, "strategy.epd_estimator="),
        ({"task": {"name": "regression", "beta": 0.5}}, "task.beta=0.5: is for variance=true"),
        ({"distil.temperature": 2}, "distil.temperature=2.0: softens class scores, and regr"),
        ({"strategy": "fedavg", "distil.temperature": 2}, "distil.temperature=2.0: softens"),
        ({"objective": {"name": "mse", "temperature": 3}}, "objective.temperature=3.*: softens"),
        (
            {"strategy": {"name": "fedmd", "weighting": "precision"}},
            "strategy.weighting=precision: .*task.variance=true",
        ),
        ({"objective": "kl"}, "objective=kl: learns from soft_labels or logits"),
        ({"objective": "gaussian_kl"}, "objective=gaussian_kl: learns from gaussian_predictions"),
        ({"objective": "kl"} | VARIANCE, "objective=kl: .*allowed: gaussian_kl, l1, mse"),
        ({"attack": "label_flip"}, "attack=label_flip: needs classes, and the task is regression"),
        ({"attack": "label_flip", "strategy": "local"}, "attack=label_flip: needs classes"),
        ({"attack": "lma"}, "attack=lma: poisons soft_labels or logits, and fedmd has predictions"),
        ({"compress": "topk"}, "compress=topk: is for soft_labels or logits"),
        ({"compress": "quantised"} | VARIANCE, "compress=quantised: has one scale for a row"),
        ({"privacy": {"name": "gaussian", "noise_multiplier": 1.0}}, "no bound on predictions"),
        ({"privacy": "rounding"}, "privacy=rounding: is for soft_labels or logits"),
        ({"privacy": "pate"}, "privacy=pate: "),
        ({"secure.aggregation": True} | VARIANCE, "secure.aggregation=true: the sum of gaussian"),
        (
            {"client": "experiments/plugins/label_smoothing.py:Smoothed"},
            "client=.*Smoothed: needs classes, and the task is regression",
        ),
        ({"task": "classification"}, "data=y: labels are real numbers, no classes"),
        (
            {"data": PAIRS, "data.label": ["a", "b"], "task": "classification"},
            r"data.label=\[.a., .b.\]: several columns are numbers, no classes",
        ),
        ({"task": "regresion"}, "task=regresion: no such task; did you mean 'regression'"),
        ({"task": {"name": "regression", "bins": 3}}, "task.bins=3: unknown key"),
        ({"evaluate.samples": 3}, "evaluate.samples=3: must be at least 10, one of each bin"),
        ({"data": (X, np.where(Y > 100, Y, np.nan))}, "data=y: labels are missing"),
        (
            {"data": (X, np.array(["a", "b"] * 150)), "task": "regression"},
            "data=y: labels are no n",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(settings, words, monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    with pytest.raises(ConfigError, match=words):
        ran({"strategy": "fedmd"} | settings)


def test_a_variance_is_no_parameter_of_a_classification():
    with pytest.raises(ConfigError, match=r"task.variance=true: unknown key, classification"):
        simulate("fedmd", **{"task.variance": True, "engine": "inline"})


@pytest.mark.parametrize("strategy", ["local", "fedmd"])
def test_a_variance_learns_as_well_as_none_does(strategy):
    """At the default learning rate, where the likelihood itself ends far beyond the spread."""
    common = SMALL | {"rounds": 5, "fit.lr": 0.05, "clients": 2, "fraction": 1.0}
    plain, with_variance = (
        ran(strategy=strategy, **common | more).summary["score_global"]["last"]
        for more in ({}, VARIANCE)
    )
    assert with_variance < 1.2 * plain
    assert with_variance < 0.6 * Y.std()


def test_whole_numbers_are_classes_unless_told_otherwise():
    whole = np.arange(300) % 7
    config = merge(RunConfig(), clients=2)
    assert not corpora(config, (X, whole))[0].targets.numeric
    assert corpora(config, (X, whole), targets="numbers")[0].targets.numeric
    assert corpora(config, (X, Y))[0].targets.names == ["target"]
    assert (
        simulate("local", data=(X, whole), task="regression", **SMALL).summary["metric"] == "rmse"
    )


def table(path, **columns):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.mkdir()
    named = {f"f{place}": X[:, place] for place in range(6)}
    pq.write_table(pa.table({**named, **columns}), path / "train-0.parquet")
    return str(path)


def test_columns_of_numbers(tmp_path):
    data = table(tmp_path / "set", price=Y, weight=TWO[:, 1])
    config = merge(RunConfig(), **{"data.name": data, "data.label": "price", "clients": 3})
    corpus = corpora(config)[0]
    assert corpus.targets.names == ["price"]
    assert corpus.features == [*(f"f{k}" for k in range(6)), "weight"]
    assert "price standardised: mean" in corpus.note
    both = merge(config, **{"data.label": ["price", "weight"]})
    two = corpora(both)[0]
    assert two.targets.names == ["price", "weight"]
    assert two.features == [f"f{k}" for k in range(6)]
    x, y = two.tensor("train")
    assert y.shape == (len(x), 2)
    assert abs(y.mean(dim=0)).max() < 1e-5
    federation = build_federation(both, two, None, tmp_path / "out")
    assert federation.histograms.sum() == sum(federation.sizes)
    assert federation.client(0)[1].shape[1:] == (2,)


@pytest.mark.parametrize("label", [["price"], ["price", "price"], 3, ["price", 4]])
def test_labels_are_a_column_or_several(label, tmp_path):
    data = table(tmp_path / "set", price=Y)
    config = merge(RunConfig(), **{"data.name": data, "data.label": label})
    with pytest.raises(
        ConfigError, match=r"data\.label=.*must name a column, or several different"
    ):
        corpora(config)


def test_skew_is_over_quantiles_of_the_target(tmp_path):
    base = {"clients": 5, "transfer.size": 20, "data.alpha": 0.1, "data.min_partition_size": 5}
    config = merge(RunConfig(), **base)
    skewed = build_federation(config, *corpora(config, (X, Y)), tmp_path / "a")
    even = merge(config, **{"data.alpha": None})
    fair = build_federation(even, *corpora(even, (X, Y)), tmp_path / "b")

    def spread(one):
        return np.std([float(one.client(k)[1].mean()) for k in range(5)])

    assert spread(skewed) > 2 * spread(fair)
    drawn = skewed.transfer_labels() * skewed.targets.std[0] + skewed.targets.mean[0]
    bins = np.bincount(binned(drawn.numpy(), skewed.corpus.edges), minlength=10)
    assert bins.sum() == 20
    assert bins.max() <= 3
    continuous = {
        "_target_": "flwr_datasets.partitioner.ContinuousPartitioner",
        "partition_by": "target",
        "strictness": 0.9,
    }
    apart = merge(config, **{"data.partitioner": continuous})
    ranked = build_federation(apart, *corpora(apart, (X, Y)), tmp_path / "c")
    assert spread(ranked) > 3 * spread(fair)


def test_what_a_user_reads_names_the_metric(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDKD_REPORT", "1")
    data = table(tmp_path / "set", price=Y)
    common = (f"data={data}", "data.label=price", *words(SMALL))
    done = fedkd("run", "strategy=knfu", f"run_dir={tmp_path / 'a'}", *common)
    assert done.exit_code == 0, done.output
    fedkd("run", "strategy=fedmd", f"run_dir={tmp_path / 'b'}", *common)
    for name in ("RMSE local", "RMSE global", "worst tenth", "mae local"):
        assert name in done.output
    told = fedkd("compare", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "c.html").output
    assert "RMSE local" in told
    assert "lowest, which is best" in " ".join(told.split())
    pages = [(tmp_path / name).read_text() for name in ("a/report.html", "c.html")]
    for text in (
        done.output,
        told,
        *(re.sub(r"<style>.*?</style>", "", p, flags=re.S) for p in pages),
    ):
        assert not re.search(r"ALMA|accurac|\d %| \(%\)|calibration error", text)
    shown = fedkd(
        "data", f"data={data}", "data.label=price", "clients=4", "--out", tmp_path / "p.png"
    )
    assert "target price" in shown.output
    assert "bins per client" in shown.output


def words(settings):
    return [f"{key}={value}" for key, value in settings.items()]


def test_runs_of_two_tasks_are_not_compared(tmp_path, runs):
    from rich.console import Console

    other = simulate("local", run_dir=str(tmp_path / "run"), **SMALL)
    with pytest.raises(ConfigError, match=r"is measured by rmse, and .* by accuracy"):
        overview([other.run_dir, runs("knfu").run_dir], Console(quiet=True))


def test_an_unfinished_run_is_read_with_its_metric(runs, tmp_path):
    for file in ("config.yaml", "rounds.parquet", "spec.json"):
        (tmp_path / file).write_bytes((runs("knfu").run_dir / file).read_bytes())
    found = Run.load(tmp_path)
    assert (found.finished, found.score.metric) == (False, "rmse")
    assert found.summary["score_local"] == runs("knfu").summary["score_local"]


def test_the_configuration_says_which_task_it_was(runs):
    config = yaml.safe_load((runs("knfu").run_dir / "config.yaml").read_text())
    assert config["task"] == {"name": "regression"}
    spec = json.loads((runs("fedmd-variance").run_dir / "spec.json").read_text())
    assert (spec["outputs"], spec["exchange"]) == ([2], {"name": "gaussian_predictions"})


def test_leakage_attacks_need_classes(tmp_path):
    from fedkd import attack

    made = ran(strategy="fedmd", run_dir=str(tmp_path / "r"), **{"record.knowledge": True})
    with pytest.raises(ConfigError, match="its task is regression, and the attack needs classes"):
        attack(made, "membership")


def test_diabetes_is_as_hard_as_it_should_be():
    """Least squares have an RMSE of 58.8 on this split, the mean about 77."""
    found = load_diabetes()
    x = (found.data / found.data.std(axis=0)).astype(np.float32)
    settings = {"data.partitioner": "iid", "fit.epochs": 10, "fit.lr": 0.005, "transfer.size": 10}
    alone = simulate(
        "local",
        (x, found.target),
        task="regression",
        clients=1,
        rounds=1,
        engine="inline",
        **settings,
    )
    assert 48 < alone.summary["score_global"]["last"] < 62


@pytest.mark.slow
def test_diamonds_are_as_hard_as_they_should_be(real_data):
    """A small network on standardised features: an RMSE of about 650, an R2 of about 0.974."""
    import pyarrow.parquet as pq

    parts = []
    for split in ("train", "test"):
        read = pq.read_table(next(real_data("diamonds").glob(f"{split}*.parquet")))
        columns = [read[name].to_numpy() for name in read.column_names if name != "price"]
        parts += [np.stack(columns, axis=1).astype(np.float64), read["price"].to_numpy()]
    mean, std = parts[0].mean(axis=0), parts[0].std(axis=0)
    parts[0], parts[2] = (((x - mean) / std).astype(np.float32) for x in parts[::2])
    settings = {"fit.epochs": 10, "fit.optimizer": "adam", "fit.lr": 1e-3, "fit.batch_size": 64}
    settings |= {"data.partitioner": "iid", "transfer.size": 100, "task": "regression"}
    alone = simulate("local", tuple(parts), clients=1, rounds=1, engine="inline", **settings)
    assert alone.summary["score_global"]["last"] < 720
    assert alone.summary["metrics"]["r2_global"] > 0.965
