"""Run directories from before there were tasks: read, compared, and gone on with."""

import json
from pathlib import Path

import yaml
from rich.console import Console
from support import TINY

from fedkd import simulate
from fedkd.config.overrides import compose, merge
from fedkd.report import Run, group_runs, load_runs, print_table
from fedkd.run.runner import run

OLD = Path(__file__).parents[1] / "golden" / "schema_1"
"""A run of 4 clients and 2 rounds as the version before wrote it, without models."""


def test_a_summary_of_schema_1_is_a_classifications():
    found = Run.load(OLD)
    assert json.loads((OLD / "summary.json").read_text())["schema"] == found.summary["schema"] == 1
    assert (found.summary["task"], found.summary["metric"]) == ("classification", "accuracy")
    for name in ("local", "global"):
        assert found.summary[f"score_{name}"] == found.summary[f"alma_{name}"]
    assert found.summary["more_is_better"] is True


def test_it_stands_beside_a_new_one_in_a_table(capsys):
    new = simulate("knfu", **TINY | {"clients": 4, "fit.epochs": 1})
    groups = group_runs(load_runs([OLD, new.run_dir]))
    assert all("task" not in key for group in groups for key in group.settings)
    print_table(groups, Console())
    assert "ALMA local %" in capsys.readouterr().out


def test_a_run_of_before_goes_on(tmp_path):
    settings = TINY | {"checkpoint.every": 1}
    whole = simulate("knfu", **settings | {"rounds": 3})
    simulate("knfu", run_dir=str(tmp_path), **settings)
    without(tmp_path / "config.yaml", yaml.safe_load, yaml.safe_dump, "task")
    without(tmp_path / "spec.json", json.loads, json.dumps, "task", "outputs", "score")
    new = ("task", "metric", "more_is_better", "score_local", "score_global")
    without(tmp_path / "summary.json", json.loads, json.dumps, *new)
    again = run(merge(compose([f"resume={tmp_path}"]), rounds=3))
    assert again.summary["digest"] == whole.summary["digest"]
    assert again.summary["schema"] == 2
    assert Run.load(tmp_path).config["task"] == {"name": "classification"}


def without(path, read, write, *keys):
    content = read(path.read_text())
    path.write_text(write({key: value for key, value in content.items() if key not in keys}))
