import pickle
from pathlib import Path

import numpy as np
import pytest
from hydra import compose as hydra_compose
from hydra import initialize
from hydra.core.global_hydra import GlobalHydra
from hydra.version import VersionBase

from fedkd.config import RunConfig
from fedkd.config.overrides import compose, merge, presets, sweep, sweep_names
from fedkd.config.schema import GROUPS, LEAVES
from fedkd.errors import ConfigError


def test_no_overrides_give_the_defaults():
    assert compose([]) == RunConfig()


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("strategy=fedmd", lambda c: c.strategy == {"name": "fedmd"}),
        ("strategy.beta=5", lambda c: c.strategy == {"name": "knfu", "beta": 5}),
        ("strategy={name:knfu,beta:2}", lambda c: c.strategy == {"name": "knfu", "beta": 2}),
        ("+strategy.beta=1e-3", lambda c: c.strategy["beta"] == 0.001),
        ("strategy=./median.py:Median", lambda c: c.strategy["name"] == "./median.py:Median"),
        ("strategy=~/my plug-ins.py:M", lambda c: c.strategy["name"] == "~/my plug-ins.py:M"),
        ("strategy=pack.age:Median", lambda c: c.strategy["name"] == "pack.age:Median"),
        ("client=a.py:Loop", lambda c: c.client["name"] == "a.py:Loop"),
        ("data=mnist", lambda c: c.data.name == "mnist" and c.data.alpha == 0.1),
        ("data.alpha=null", lambda c: c.data.alpha is None),
        ("data.partitioner=shard", lambda c: c.data.partitioner == {"name": "shard"}),
        ("data.partitioner._target_=a.B", lambda c: c.data.partitioner["_target_"] == "a.B"),
        ("engine=inline", lambda c: c.engine.name == "inline"),
        ("model=[~/m.py:Net,mlp]", lambda c: c.model == ["~/m.py:Net", "mlp"]),
        ("model=[./m.py:Net,mlp]", lambda c: c.model == ["./m.py:Net", "mlp"]),
        ("fit={lr:1,epochs:3}", lambda c: (c.fit.lr, c.fit.epochs) == (1.0, 3)),
        ("run_dir=/tmp/a,b=c/[x] y", lambda c: c.run_dir == "/tmp/a,b=c/[x] y"),
        ("run_dir='/tmp/quoted'", lambda c: c.run_dir == "/tmp/quoted"),
        ("run_dir=null", lambda c: c.run_dir is None),
        ("distil.lr=${fit.lr}", lambda c: c.distil.lr == 0.05),
        ("transfer.labelled=true", lambda c: c.transfer.labelled is True),
    ],
)
def test_values_arrive(override, read):
    assert read(compose([override]))


def test_a_data_folder_may_have_any_name(tmp_path):
    folder = tmp_path / "my, data (1)"
    folder.mkdir()
    assert compose([f"data={folder}"]).data.name == str(folder)


@pytest.mark.parametrize("group", GROUPS)
def test_an_unknown_key_of_a_group_lists_that_groups_keys(group):
    inside = sorted(leaf for leaf in LEAVES if leaf.startswith(f"{group}."))
    for given in ({f"{group}.qwertz": 1}, {group: {"qwertz": 1}}):
        with pytest.raises(ConfigError) as caught:
            merge(RunConfig(), **given)
        assert (caught.value.key, caught.value.allowed) == (f"{group}.qwertz", inside)


def test_later_overrides_win_and_parameters_can_be_removed():
    assert compose(["seed=1", "seed=2"]).seed == 2
    assert compose(["strategy.a=1", "strategy.b=2", "~strategy.a"]).strategy["b"] == 2
    assert "a" not in compose(["strategy.a=1", "~strategy.a"]).strategy


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("clents=5", "clents=5: unknown key; did you mean 'clients'?"),
        ("alpha=1", "did you mean 'data.alpha'?"),
        ("epochs=1", "allowed: distil.epochs, fit.epochs"),
        ("fit.lrr=1", "did you mean 'fit.lr'?"),
        ("fit.learning_rate=1", "unknown key; did you mean 'fit.lr'? (allowed: fit.align, "),
        ("learning_rate=1", "did you mean 'fit.lr'? (allowed: distil.lr, fit.lr)"),
        ("fit.lr.decay=1", "unknown key (allowed: fit.lr)"),
        ("secure.agg=true", "did you mean 'secure.aggregation'?"),
        ("fit={lrr:1}", "fit.lrr=1: unknown key"),
        ("hydra.job.name=x", "unknown key"),
        ("rounds=abc", "rounds=abc: must be an integer"),
        ("rounds=1.5", "must be an integer"),
        ("rounds=true", "must be an integer"),
        ("rounds=null", "must be an integer"),
        ("rounds=${fit.lr}", "could not be converted to Integer"),
        ("fit.lr=fast", "must be a number"),
        ("data.alpha=often", "must be a number or null"),
        ("transfer.labelled=maybe", "must be true or false"),
        ("fit.align=1", "must be true, false or upload"),
        ("fit.align=Upload", "must be true, false or upload"),
        ("evaluate.every=[1]", "must be auto or at least 1"),
        ("clients=many", "must be auto or at least 1"),
        ("transfer.views=1001", "must be in [1, 1000]"),
        ("data=[a,b]", "must be text"),
        ("engine.state_memory=true", "must be an integer or text or null"),
        ("engine.state_memory=1e9", "must be an integer or text or null"),
        ("secure.threshold=nan", "secure.threshold=nan: must be in (0.5, 1] and finite"),
        ("fit=3", "group of settings"),
        ("clients=0", "clients=0: must be auto or at least 1"),
        ("rounds=0", "must be at least 1"),
        ("data.alpha=-1", "must be greater than 0"),
        ("data.alpha=nan", "must be greater than 0"),
        ("engine=rayy", "did you mean 'ray'?"),
        ("experiment=dmo", "did you mean 'demo'?"),
        ("experiment=[demo,knfu_mnist]", "no such experiment"),
        ("seed=1,2", "is a sweep: add -m"),
        ("strategy=knfu,local", "is a sweep: add -m"),
        ("strategy=[1,2", "strategy=[1,2: cannot be read"),
        ("rounds=range(0,3", "rounds=range(0,3: cannot be read"),
        ("strategy..x=1", "cannot be read"),
        ("seed", "override=seed: is not of the form KEY=VALUE"),
        ("=3", "is not of the form KEY=VALUE"),
        ("~fit.lr", "only a plug-in's parameters can be removed"),
        ("~strategy.beta", "is not set"),
        ("distil.lr=${fit.lrr}", "'fit.lrr' not found"),
        ("strategy.x=???", "Missing mandatory value"),
    ],
)
def test_mistakes_are_one_line(override, message):
    with pytest.raises(ConfigError) as caught:
        compose([override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_every_preset_composes():
    assert {"demo", "knfu_mnist", "attack_defence", "topics", "letter", "diamonds", "novels"} <= {
        *presets()
    }
    for name in presets():
        assert isinstance(compose([f"experiment={name}"]), RunConfig)
    study = compose(["experiment=knfu_mnist", "clients=5"])
    assert (study.data.name, study.data.samples_per_client) == ("mnist", 200)
    assert (study.clients, study.transfer.size, study.fit.epochs) == (5, 1000, 2)


def test_a_file_says_it_as_an_override_does(tmp_path, monkeypatch):
    """A mere name in a preset, or in a run's own configuration, is no traceback."""
    text = "task: regression\nstrategy: fedmd\nengine: inline\ndata:\n  partitioner: iid\n"
    preset, run = tmp_path / "mine.yaml", tmp_path / "config.yaml"
    preset.write_text(text)
    run.write_text(text)
    monkeypatch.setattr("fedkd.config.overrides.presets", lambda: {"mine": preset})
    said = compose(["task=regression", "strategy=fedmd", "engine=inline", "data.partitioner=iid"])
    assert compose(["experiment=mine"]) == said
    assert compose([f"resume={tmp_path}", "trust=true"]).task == said.task
    assert compose(["experiment=mine", "task=tokens"]).task == {"name": "tokens"}
    for wrong, line in {
        "seeds: 3": "seeds=3: unknown key; did you mean 'seed'",
        "fit: {lr: fast}": "fit.lr=fast: must be a number",
        "- 3": "is no mapping of keys",
        "a: [": "cannot be read",
    }.items():
        preset.write_text(wrong)
        with pytest.raises(ConfigError, match=line) as caught:
            compose(["experiment=mine"])
        assert "\n" not in str(caught.value)


def test_naming_another_method_drops_the_first_ones_parameters():
    base = RunConfig(strategy={"name": "knfu", "beta": 3.0})
    assert merge(base, strategy="knfu").strategy == {"name": "knfu", "beta": 3.0}
    assert merge(base, strategy="fedmd").strategy == {"name": "fedmd"}
    chosen = {"name": "fedmd", "exchange": "logits"}
    assert merge(base, strategy=chosen).strategy == chosen


def test_merge_takes_nested_dotted_and_numpy_values():
    base = RunConfig()
    config = merge(
        base,
        clients=np.int64(3),
        run_dir=Path("/x"),
        model=("mlp", "lenet5"),
        fit={"lr": np.float32(1)},
        data={"name": "mnist", "partitioner": "iid"},
        **{"engine.actors": 2, "strategy.beta": 4},
    )
    assert (config.clients, config.run_dir, config.model) == (3, "/x", ["mlp", "lenet5"])
    assert (config.fit.lr, config.fit.epochs, config.engine.actors) == (1.0, 2, 2)
    assert (config.data.name, config.data.partitioner) == ("mnist", {"name": "iid"})
    assert config.strategy == {"name": "knfu", "beta": 4}
    assert base == RunConfig()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"clents": 1}, "did you mean 'clients'?"),
        ({"fit": {"lrr": 1}}, "fit.lrr=1: unknown key"),
        ({"rounds": "many"}, "must be an integer"),
        ({"rounds": 0}, "must be at least 1"),
        ({"strategy": object()}, "not a supported"),
    ],
)
def test_merge_refuses(given, message):
    with pytest.raises(ConfigError, match=message):
        merge(RunConfig(), **given)


def test_sweeps_span_every_combination():
    runs = sweep(["strategy=~/a.py:X,knfu", "rounds=5", "seed=range(0,2)"])
    assert [run[2] for run in runs] == ["seed=0", "seed=1"] * 2
    assert [compose(run).strategy["name"] for run in runs] == ["~/a.py:X"] * 2 + ["knfu"] * 2
    assert {compose(run).rounds for run in runs} == {5}
    assert sweep(["fit.lr=choice(0.1,0.2)"]) == [["fit.lr=0.1"], ["fit.lr=0.2"]]
    assert [compose(run).model for run in sweep(["model=[mlp,lenet5],mlp"])] == [
        ["mlp", "lenet5"],
        "mlp",
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["seed=range(0,0)"], "seed=range\\(0,0\\): has no value: no run at all"),
        (["seed=range(0,10000000000)"], "spans more than 100000 runs"),
        (["seed=range(0,1000)", "rounds=range(1,1000)"], "rounds=range.*spans more than"),
    ],
)
def test_a_sweep_of_no_run_or_too_many_is_refused(given, message):
    with pytest.raises(ConfigError, match=message):
        sweep(given)


def test_sweep_folders_have_names_that_a_file_system_takes():
    names = sweep_names(sweep([f"strategy={'a' * 300},{'a' * 300}b,knfu"]))
    assert len(set(names)) == 3
    assert max(map(len, names)) < 255


def test_sweep_folders_are_distinct_and_plain():
    runs = sweep(["strategy=./a.py:M,b/c.py:M,knfu", "seed=0,1", "fit.lr=0.1"])
    names = sweep_names(runs)
    assert names[-1] == "strategy-knfu_seed-1_5" or names[-1] == "strategy-knfu_seed-1"
    assert len(set(names)) == len(runs) == 6
    assert not set("=,/ []'") & set("".join(names))
    assert sweep_names([["seed=3"]]) == ["run"]


@pytest.mark.parametrize("override", ["seed=interval(0,1)", "experiment=glob(*)"])
def test_what_cannot_be_enumerated_cannot_be_swept(override):
    with pytest.raises(ConfigError, match="cannot be swept over"):
        sweep([override])


def test_a_surrounding_hydra_application_is_left_alone():
    with initialize(config_path=None, version_base="1.2"):
        outer = GlobalHydra.instance().hydra
        for _ in range(3):
            assert compose(["seed=4"]).seed == 4
        with pytest.raises(ConfigError):
            compose(["seed=x"])
        assert GlobalHydra.instance().hydra is outer
        assert str(VersionBase.instance().getbase()) == "1.2"
        assert hydra_compose(overrides=["+a=1"]).a == 1
    assert not GlobalHydra.instance().is_initialized()


def test_errors_travel_between_processes():
    """What a pool's worker raises is raised in its parent, with the same words."""
    error = ConfigError("fit.lr", [lambda: None], "must be a number", ["0.1"])
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.exit_code) == (ConfigError, str(error), 2)
