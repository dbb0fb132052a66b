"""`model.PARAMETER` and ``{name: mlp, hidden: 64}``: checked by the signature, distinct by name."""

import json
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import TINY
from support import fedkd as command
from torch import nn

import fedkd
from fedkd.config.overrides import compose, sweep, sweep_names
from fedkd.config.trust import outside
from fedkd.errors import ConfigError
from fedkd.models import build, factories, model_name, model_names
from fedkd.models.mlp import MLP
from fedkd.plugins.table import SEAMS
from fedkd.run.estimate import plan

FILE = """
from math import prod
from torch import nn

class Wide(nn.Sequential):
    def __init__(self, shape, outputs, *, width: int = 8):
        super().__init__(nn.Flatten(), nn.Linear(prod(shape), width), nn.Linear(width, outputs))

def narrow(shape, classes, width=2, **more):
    return Wide(shape, classes, width=width)
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "wide.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    return "./wide.py"


@pytest.mark.parametrize(
    ("overrides", "model"),
    [
        ("model=mlp model.hidden=64", {"name": "mlp", "hidden": 64}),
        ("model.hidden=64 model=mlp", {"name": "mlp", "hidden": 64}),
        ("model.hidden=64", {"name": "auto", "hidden": 64}),
        ("experiment=knfu_mnist model.hidden=64", {"name": "mlp", "hidden": 64}),
        ("experiment=knfu_mnist model.hidden=64 model=lenet5", {"name": "lenet5", "hidden": 64}),
        ("model={name:mlp,hidden:64}", {"name": "mlp", "hidden": 64}),
        ("model={name:mlp,hidden:64} ~model.hidden", "mlp"),
        ("model=[{name:mlp,hidden:64},lenet5]", [{"name": "mlp", "hidden": 64}, "lenet5"]),
        ("model=[{name:./w.py:W,width:2},{name:mlp}]", [{"name": "./w.py:W", "width": 2}, "mlp"]),
    ],
)
def test_a_model_is_a_name_with_parameters(overrides: str, model: Any) -> None:
    assert compose(overrides.split()).model == model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"name": "mlp", "hiden": 3}, "model.hiden=3: unknown key, mlp has no such parameter; did"),
        ({"name": "mlp", "shape": [3]}, r"unknown key, mlp .*\(allowed: model.hidden\)"),
        ({"name": "mlp", "task": "x"}, r"unknown key, mlp .*\(allowed: model.hidden\)"),
        ({"name": "mlp", "hidden": "x"}, "model.hidden=x: must be an integer"),
        ({"name": "lenet5", "hidden": 3}, "unknown key, lenet5 has no such parameter$"),
        ({"name": "mpl", "hidden": 3}, "model=mpl: no such model.*did you mean 'mlp'"),
        ({"name": MLP, "hidden": 3}, r"model.name=.*functools.partial"),
        ([{"hidden": 3}], "model.name=null: must be a name"),
        ({"name": "./wide.py:Wide", "depth": 3}, r"no such parameter; .*\(allowed: model.width\)"),
        (
            {"name": "./wide.py:narrow", "depth": 3},
            r"no such parameter; .*\(allowed: model.width\)",
        ),
    ],
    ids=str,
)
def test_what_a_model_cannot_be_given_is_refused(file: str, model: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        fedkd.simulate("fedmd", model=model, **TINY)
    assert "\n" not in str(caught.value)


def test_parameters_for_a_list_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^model\.hidden=3: there are several models; give it"):
        compose(["model=[mlp,lenet5]", "model.hidden=3"])


def test_what_the_run_fills_in_is_no_key(file: str) -> None:
    hidden = SEAMS["models"].filled
    for name in [*SEAMS["models"].shipped(), f"{file}:Wide", f"{file}:narrow"]:
        done = command("list", *(() if ":" in name else ("models",)), name)
        assert done.exit_code == 0, done.output
        first = {line.split(" ")[0] for line in done.output.splitlines()[2:]}
        assert not first & set(hidden)
    assert "hidden  int = 200" in command("list", "models", "mlp").output
    assert "width  int = 2" in command("list", f"{file}:narrow").output.replace("     ", "  ")


SAME = [{"name": "mlp", "hidden": 8}, {"name": "mlp", "hidden": 16}, "mlp"]


def test_entries_of_one_architecture_are_told_apart(tmp_path: Path, file: str) -> None:
    """In the summary, by the check for one model, in the estimate, in folders, after a stop."""
    names = model_names(factories([*SAME, f"{file}:Wide"], 8))
    assert len(set(names)) == 4
    settings = {**TINY, "strategy": "fedmd", "model": SAME, "clients": 6}
    whole = fedkd.simulate(**settings)
    sizes = [sum(p.numel() for p in whole.model(k).parameters()) for k in range(3)]
    assert sizes == [610, 1210, 15010]
    saved = yaml.safe_load((whole.run_dir / "config.yaml").read_text())
    assert saved["model"] == SAME
    costs = plan(compose([], **settings)).architectures
    assert {name: cost.parameters for name, cost in costs.items()} == {
        "mlp(hidden=8)": 610,
        "mlp(hidden=16)": 1210,
        "mlp": 15010,
    }
    with pytest.raises(ConfigError, match=r"\[MLP\(hidden=8\),MLP\(hidden=16\),MLP\]: fedavg"):
        fedkd.simulate(**settings | {"strategy": "fedavg"})
    run_dir = tmp_path / "run"
    fedkd.simulate(**settings | {"rounds": 1}, run_dir=str(run_dir))
    again = fedkd.resume(run_dir, rounds=2)
    assert again.summary["digest"] == whole.summary["digest"]
    done = command("run", f"resume={run_dir}", "rounds=3", "model={name:mlp,hidden:8}")
    assert done.exit_code == 2
    assert 'the configuration differs: model was [{"name":"mlp","hidden":8}' in done.output


def test_equal_entries_are_one_model() -> None:
    one, other, again = factories([SAME[0], dict(SAME[0]), SAME[1]], 3)
    assert one is other
    assert model_names([one, other, again]) == ["MLP(hidden=8)"] * 2 + ["MLP(hidden=16)"]
    shared = {**TINY, "model": [SAME[0], dict(SAME[0])]}
    assert fedkd.simulate("fedavg", **shared).summary["rounds"] == 2


def test_python_callables_of_one_name_are_told_apart() -> None:
    """What comes from one factory with other parameters, and functions without a name."""
    assert model_name(partial(MLP, hidden=8)) == "MLP(hidden=8)"
    models = [
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)),
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False)),
        {"name": "mlp", "hidden": 8},
    ]
    with pytest.raises(ConfigError, match=r"\[<lambda>,<lambda> \(2\),MLP\(hidden=8\)\]: fedavg"):
        fedkd.simulate("fedavg", model=models, **TINY)
    result = fedkd.simulate("fedmd", model=models, **TINY)
    saved = json.loads((result.run_dir / "spec.json").read_text())["model"]
    assert saved == ["<lambda>", "<lambda>", {"name": "mlp", "hidden": 8}]


def test_runs_of_a_sweep_have_folders_of_their_own() -> None:
    swept = ["model={name:./w.py:W,width:2},{name:./w.py:W,width:3},./w.py:W"]
    names = sweep_names(sweep(swept))
    assert names == ["model-name-W-width-2", "model-name-W-width-3", "model-W"]
    assert sweep_names(sweep(["model.hidden=8,16"])) == ["model.hidden-8", "model.hidden-16"]


def test_a_model_with_parameters_travels() -> None:
    (one,) = factories({"name": "mlp", "hidden": 8}, 1)
    again = pickle.loads(pickle.dumps(one))
    assert model_name(again) == "MLP(hidden=8)"
    assert build(again, (64,), 10)[1].out_features == 8
    with pytest.raises(ConfigError, match="unknown key"):
        build({"name": "mlp", "width": 8}, (64,), 10)


def test_check_takes_parameters(file: str) -> None:
    done = command("check", f"{file}:Wide", "model.width=3")
    assert done.exit_code == 0, done.output
    assert "parameters: 235 for [64]" in done.output
    assert command("check", "mlp", "model.width=3").exit_code == 2


def test_code_in_a_model_with_parameters_is_not_run_unasked() -> None:
    models = [{"name": "./wide.py:Wide", "width": 2}, "mlp"]
    assert list(outside({"model": models})) == [("model", "./wide.py:Wide")]
    assert list(outside({"model": models[0]})) == [("model", "./wide.py:Wide")]
