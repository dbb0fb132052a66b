"""From Python: objects in place of names, on every engine."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from fedkd.strategies import FusionStrategy
from sklearn.datasets import load_digits, load_iris
from support import slow
from torch import nn

from fedkd import ConfigError, resume, simulate
from fedkd.callbacks import Callback


class Equal(FusionStrategy):
    """Everybody learns from everybody."""

    def weights(self, knowledge):
        """Return ``[clients, clients]``."""
        n = len(knowledge.clients)
        return torch.full((n, n), 1 / n)


def tiny(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), classes))


@pytest.mark.parametrize("engine", ["inline", slow("ray"), slow("flower")])
def test_objects_everywhere(engine):
    x, y = load_digits(return_X_y=True)
    data = (x.reshape(-1, 8, 8).astype(np.float32) / 16, y)
    settings = {"clients": 4, "rounds": 2, "data.alpha": None, "transfer.size": 100}
    models = [tiny, lambda num_classes: nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))]
    run = simulate(Equal(), data, models, engine={"name": engine, "actors": 2}, **settings)
    inline = simulate(Equal(), data, models, engine="inline", **settings)
    assert run.summary["digest"] == inline.summary["digest"]
    assert run.summary["strategy"] == "Equal"
    assert run.summary["alma_global"]["last"] > 0.3
    assert run.rounds.num_rows == 2


class Strong(FusionStrategy):
    """Has a parameter."""

    def __init__(self, beta: float = 1.0, **base):
        super().__init__(**base)
        self.beta = beta

    def fuse(self, knowledge):
        """Return ``[samples, classes]``."""
        return (knowledge.soft_labels.mean(dim=0) ** self.beta).clamp_min(1e-9)


def test_a_strategy_is_given_as_a_class(tmp_path):
    small = {"clients": 3, "engine": "inline", "transfer.size": 40, "checkpoint.every": 1}
    run = simulate(Strong, rounds=1, run_dir=tmp_path / "a", **small, **{"strategy.beta": 2})
    with pytest.raises(ConfigError, match=r"go on from Python: fedkd.resume\(.*, strategy=...\)"):
        resume(run.run_dir, rounds=2)
    on = resume(run.run_dir, strategy=Strong, rounds=2)
    assert on.summary["digest"] == simulate(Strong(beta=2), rounds=2, **small).summary["digest"]
    with pytest.raises(ConfigError, match=r"^strategy\.gamma=3: unknown key, Strong has no such"):
        simulate(Strong, **small, **{"strategy.gamma": 3})
    with pytest.raises(ConfigError, match=r"^strategy=dict: must be a name, a dict, or a Strategy"):
        simulate(dict, **small)


def test_arrays_are_given_again_from_python(tmp_path):
    data = np.ones((60, 4), np.float32), np.zeros(60, np.int64)
    small = {"clients": 3, "engine": "inline", "transfer.size": 20}
    run = simulate("fedmd", data, rounds=1, run_dir=tmp_path / "a", **small)
    assert "all its labels are one class (0)" in (run.run_dir / "log.txt").read_text()
    with pytest.raises(ConfigError, match=r"^data=tuple: .* fedkd.resume\(.*, data=...\)"):
        resume(run.run_dir, rounds=2)
    assert resume(run.run_dir, data=data, rounds=2).rounds.num_rows == 2


@pytest.mark.parametrize("engine", ["inline", slow("ray")])
def test_runs_in_threads_are_what_they_are_one_after_the_other(engine):
    """They would draw from the same random generators, and each start Ray."""
    settings = {"clients": 3, "rounds": 3, "data.samples_per_client": 20, "transfer.size": 40}

    def digest(seed):
        return simulate("fedmd", seed=seed, engine=engine, **settings).summary["digest"]

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(digest, [0, 1, 0, 1]))
    assert found == [digest(0), digest(1)] * 2


def test_tabular_data_as_a_dataset():
    x, y = load_iris(return_X_y=True)
    names = [f"f{i}" for i in range(4)]
    features = Features(
        {**{n: Value("float32") for n in names}, "label": ClassLabel(num_classes=3)}
    )
    columns = {**dict(zip(names, x.T.astype(np.float32), strict=True)), "label": y}
    data = Dataset.from_dict(columns, features=features)
    settings = {"clients": 3, "rounds": 2, "data.alpha": None, "transfer.size": 20}
    run = simulate("fedmd", data, engine="inline", **settings)
    assert run.summary["alma_global"]["last"] > 0.5
    assert run.model(0)(torch.zeros(1, 4)).shape == (1, 3)


def test_the_result_draws_itself():
    run = simulate(clients=4, rounds=2, engine="inline")
    for figure in (run.plot_curves(), run.plot_weights(), run.plot_partition()):
        assert figure.axes


def test_callbacks_see_the_run():
    seen = []

    class Watch(Callback):
        def on_run_start(self, run):
            seen.append(("start", run.sizes))

        def on_phase(self, round_, phase, done, total):
            if done == total:
                seen.append((round_, phase))

        def on_round(self, record):
            seen.append(("round", record.round, sorted({k for _, k, _ in record.clients})[:2]))

        def on_run_end(self, summary, error):
            seen.append(("end", summary is not None, error))

    simulate("fedmd", clients=2, rounds=1, engine="inline", callbacks=[Watch()])
    assert seen[0] == ("start", [12, 12])
    phases = [event for event in seen if event[0] in (0, 1)]
    assert phases[:3] == [(0, "hello"), (1, "fit"), (1, "distil")]
    assert seen[-1] == ("end", True, None)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"strategy": 3}, "strategy"),
        ({"fit": {"lrr": 1}}, "fit.lr"),
        ({"data": (np.zeros((5, 4)), np.zeros(4))}, "data"),
        ({"model": nn.Linear(2, 2)}, "each client needs its own"),
        ({"model": lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 7))}, "logits of shape"),
        ({"engine": {"name": "inline", "actors": 0}}, "engine.actors=0"),
    ],
)
def test_what_cannot_be_used_is_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        simulate(**{"clients": 3, "rounds": 1, "engine": "inline"} | settings)


def test_a_report_is_written_unless_the_environment_says_not(monkeypatch):
    settings = {"clients": 2, "rounds": 1, "engine": "inline"}
    assert not (simulate("local", **settings).run_dir / "report.html").exists()
    with monkeypatch.context() as patch:
        patch.delenv("FEDKD_REPORT")
        assert (simulate("local", **settings).run_dir / "report.html").exists()
    monkeypatch.setenv("FEDKD_REPORT", "no")
    with pytest.raises(ConfigError, match="FEDKD_REPORT=no: must be 0"):
        simulate("local", **settings)


def test_a_report_that_cannot_be_drawn_costs_no_run(monkeypatch, report):
    def broken(runs):
        raise ValueError("no ink")

    monkeypatch.setattr("fedkd.report.render", broken)
    run = simulate("local", clients=2, rounds=1, engine="inline")
    assert run.summary["rounds"] == 1
    assert "no ink" in (run.run_dir / "log.txt").read_text()
