"""`log=[...]`: the real packages get what a run measures, and nothing leaves the machine."""

import json

import pytest
from support import fedkd

from fedkd.callbacks.loggers import LOGGERS, check_installed
from fedkd.config import RunConfig, settings
from fedkd.errors import ConfigError
from fedkd.report import Run
from fedkd.rundir.identity import identity

SMALL = ("strategy=local", "clients=3", "engine=inline", "transfer.size=40", "checkpoint.every=1")


def logged(tmp_path, name, *overrides):
    done = fedkd("run", *SMALL, f"log=[{name}]", *overrides)
    assert done.exit_code == 0, done.output
    return Run.load(tmp_path / "run")


def test_names_are_those_of_the_key():
    assert tuple(LOGGERS) == settings.LOGGERS
    with pytest.raises(ConfigError, match=r"log=wandbb: no such logger; did you mean 'wandb'"):
        RunConfig(log=["wandbb"]).check()


def test_a_package_that_is_missing_is_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("fedkd.callbacks.loggers.find_spec", lambda name: None)
    done = fedkd("run", *SMALL, "log=[wandb]", f"run_dir={tmp_path}/run")
    assert done.exit_code == 2
    assert "log=wandb: not installed; pip install 'fedkd[wandb]'" in done.output
    assert not (tmp_path / "run").exists()
    check_installed([])


def test_loggers_do_not_part_runs():
    configs = [RunConfig(log=names).to_dict() for names in ([], ["mlflow"])]
    assert identity(configs[0]) == identity(configs[1])


def test_tensorboard_by_key(tmp_path):
    pytest.importorskip("tensorboard")
    run = logged(tmp_path, "tensorboard", f"run_dir={tmp_path}/run", "rounds=1")
    assert list((run.path / "tensorboard").iterdir())


@pytest.mark.slow
def test_mlflow_goes_on_in_the_run_it_was(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    run = logged(tmp_path, "mlflow", f"run_dir={tmp_path}/run", "rounds=1")
    run = logged(tmp_path, "mlflow", f"resume={run.path}", "rounds=2")
    client = mlflow.MlflowClient()
    [experiment] = [each for each in client.search_experiments() if each.name == "fedkd"]
    [found] = client.search_runs([experiment.experiment_id])
    assert (found.info.status, found.data.params["clients"]) == ("FINISHED", "3")
    history = client.get_metric_history(found.info.run_id, "alma_local")
    assert [one.step for one in history] == [1, 2]
    assert [one.value for one in history] == run.column("alma_local").tolist()


@pytest.mark.slow
def test_wandb_stays_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    run = logged(tmp_path, "wandb", f"run_dir={tmp_path}/run", "rounds=1")
    number = (run.path / "wandb.txt").read_text()
    run = logged(tmp_path, "wandb", f"resume={run.path}", "rounds=2")
    assert (run.path / "wandb.txt").read_text() == number
    kept = sorted((run.path / "wandb").glob(f"offline-run-*-{number}/run-{number}.wandb"))
    assert b"alma_local" in kept[0].read_bytes()
    assert json.loads((run.path / "summary.json").read_text())["rounds"] == 2
