import math

import numpy as np
import pytest
import yaml

from fedkd.config import DataConfig, EngineConfig, FitConfig
from fedkd.config.overrides import compose
from fedkd.report import group_runs, load_runs
from fedkd.report.command import command, overrides
from fedkd.report.statistics import differing_keys, estimate


def groups_of(*paths):
    return group_runs(load_runs(list(paths)))


def test_estimate_by_hand():
    found = estimate([0.90, 0.92, 0.97])
    assert found.mean == pytest.approx(0.93)
    assert found.std == pytest.approx(math.sqrt((0.03**2 + 0.01**2 + 0.04**2) / 2))
    assert found.se == pytest.approx(found.std / math.sqrt(3))
    assert found.n == 3


def test_estimate_of_one_value_and_of_none():
    assert estimate([0.5]).mean == 0.5
    assert math.isnan(estimate([0.5]).std)
    assert math.isnan(estimate([None, math.nan]).mean)
    assert estimate([None, 0.5]).n == 1


def test_runs_that_differ_in_the_seed_are_one_group(make_run):
    paths = [make_run(f"k{s}", seed=s) for s in range(3)] + [make_run("f", strategy="fedmd")]
    first, second = groups_of(*paths)
    assert first.seeds == [0, 1, 2]
    assert (first.label, second.label) == ("knfu", "fedmd")


def test_the_run_directory_does_not_part_runs(make_run):
    (group,) = groups_of(make_run("a", seed=0, run_dir="x"), make_run("b", seed=1, run_dir="y"))
    assert len(group.runs) == 2


def test_labels_name_what_differs(make_run):
    data = [DataConfig(alpha=alpha) for alpha in (0.1, 1.0)]
    found = groups_of(*[make_run(f"r{i}", data=each) for i, each in enumerate(data)])
    assert [group.label for group in found] == ["knfu, data.alpha=0.1", "knfu, data.alpha=1.0"]


def test_a_key_newer_than_a_run_was_at_its_default(make_run):
    old, new = make_run("old", seed=0), make_run("new", seed=1)
    config = yaml.safe_load((old / "config.yaml").read_text())
    del config["system"], config["evaluate"]["every"]
    (old / "config.yaml").write_text(yaml.safe_dump(config))
    (group,) = groups_of(old, new)
    assert group.settings == {}


def test_parameters_of_different_strategies_are_no_difference(make_run):
    knfu = [make_run(f"k{b}", parameters={"beta": b}) for b in (1.0, 5.0)]
    fedmd = make_run("f", strategy="fedmd", parameters={"exchange": "logits"})
    labels = [group.label for group in groups_of(*knfu, fedmd)]
    assert labels == ["knfu, beta=1.0", "knfu, beta=5.0", "fedmd"]


def test_differing_keys_compare_named_things_with_their_like():
    configs = [
        {"strategy.name": "a", "strategy.x": 1, "lr": 1},
        {"strategy.name": "b", "lr": 1},
        {"strategy.name": "b", "lr": 2},
    ]
    assert differing_keys(configs) == ["lr"]


def test_one_run_a_seed_and_a_finished_one_first(make_run):
    cut, done = make_run("a", finished=False), make_run("b")
    for order in ((cut, done), (done, cut)):
        (group,) = groups_of(*order)
        assert [run.path.name for run in group.runs] == ["b"]


def test_curve_over_seeds_and_over_clients(make_run):
    one = make_run("a", seed=0, local=(0.5, 0.8))
    two = make_run("b", seed=1, local=(0.7, 0.8))
    (pair,) = groups_of(one, two)
    rounds, mean, spread = pair.curve("alma_local")
    assert rounds.tolist() == [1, 2]
    np.testing.assert_allclose(mean, [0.6, 0.8])
    np.testing.assert_allclose(spread, [math.sqrt(0.02), 0])
    (single,) = groups_of(one)
    np.testing.assert_allclose(single.curve("alma_local")[2], [0.1, 0.1])


def test_rounds_without_a_value_are_left_out(make_run):
    (group,) = groups_of(make_run("a", local=(None, 0.8), accuracies=[0.5] * 20))
    assert group.curve("alma_local")[0].tolist() == [2]


def test_the_command_repeats_the_run(make_run):
    path = make_run(
        "a",
        parameters={"beta": 5.0},
        seed=3,
        data=DataConfig(name="mnist", alpha=None, partitioner={"name": "shard", "n": 2}),
        fit=FitConfig(lr=0.1),
        engine=EngineConfig(name="inline"),
        model=["mlp", "lenet5"],
    )
    (group,) = groups_of(path)
    config = group.runs[0].config
    again = compose([*overrides(config), "seed=3"])
    assert again.to_dict() == config
    line = command(group)
    assert line.startswith("fedkd run strategy=knfu ")
    assert "'model=[mlp,lenet5]'" in line
    assert line.endswith("seed=3")


def test_the_command_of_several_seeds_is_a_sweep(make_run):
    (group,) = groups_of(make_run("a", seed=0), make_run("b", seed=2))
    assert command(group) == "fedkd run -m strategy=knfu rounds=2 clients=20 seed=0,2".replace(
        "rounds=2 clients=20", "clients=20 rounds=2"
    )
