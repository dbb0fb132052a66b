"""Models that are not finite any more are counted and named, in every phase and on every engine."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console
from support import slow
from torch import nn
from typer.testing import CliRunner

import fedkd
from fedkd.callbacks import Progress
from fedkd.cli.app import app
from fedkd.config import RunConfig
from fedkd.config.overrides import merge
from fedkd.models.finite import is_finite
from fedkd.report import Run
from fedkd.rounds.drawing import drawn_cohort
from fedkd.run.result import RunResult

LOOP = f"{Path(__file__).parent}/plugins/diverging.py"
RAY = {"name": "ray", "actors": 2}


def run(strategy: Any = "local", **settings: Any) -> RunResult:
    settings = {"clients": 4, "rounds": 2, "engine": "inline", "transfer.size": 40} | settings
    return fedkd.simulate(strategy, **settings)


def spoilt(strategy: Any = "local", loop: str = "Diverging", **settings: Any) -> RunResult:
    """Run with a loop that spoils a model; parameters of the loop are those it knows."""
    own = {k: settings.pop(k) for k in ("client", "round", "phase", "value") if k in settings}
    node = {"name": f"{LOOP}:{loop}", **({"client": 1, "round": 1} | own)}
    return run(strategy, client=node, **settings)


def named(result: RunResult) -> list[tuple[int, int]]:
    """Return round and client of the rows that say so."""
    rows = result.clients.to_pylist()
    return [(row["round"], row["client"]) for row in rows if row["metric"] == "diverged"]


def counted(result: RunResult) -> list[int]:
    counts: list[int] = result.rounds["diverged"].to_pylist()
    assert result.summary["diverged"] == counts[-1]
    assert counts == [
        sum(n == number for n, _ in named(result)) for number in range(1, 1 + len(counts))
    ]
    return counts


@pytest.mark.parametrize(
    "engine",
    ["inline", slow(RAY), slow({"name": "flower", "actors": 1})],
    ids=["inline", "ray", "flower"],
)
def test_too_large_a_learning_rate_is_named(engine: Any, tmp_path: Path, report: None) -> None:
    console = Console(file=io.StringIO(), width=200)
    result = run(
        model="resnet8",
        fit={"lr": 1e4},
        engine=engine,
        run_dir=str(tmp_path / "run"),
        callbacks=[Progress(console)],
    )
    gone = [k for k in range(4) if not is_finite(result.model(k))]
    assert len(gone) == 3
    assert counted(result)[-1] == 3
    assert [client for number, client in named(result) if number == 2] == gone
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown.count("diverged clients 0, 1, 3: models or predictions are not finite") == 1
    stored = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert stored["diverged"] == 3
    assert "Diverged clients" in (tmp_path / "run" / "report.html").read_text()
    assert "diverged clients 0, 1, 3" in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.parametrize("phase", ["fit", "distil"])
@pytest.mark.parametrize("evaluated", [1, 100])
def test_it_is_noticed_in_every_phase(phase: str, evaluated: int) -> None:
    """Also in a round in which nobody is measured."""
    result = spoilt("knfu", phase=phase, rounds=3, **{"evaluate.every": evaluated})
    assert counted(result) == [1, 1, 1]
    assert not is_finite(result.model(1))


def test_a_spoilt_buffer_is_enough() -> None:
    result = spoilt(loop="DivergingBuffer", model="resnet8")
    assert counted(result) == [1, 1]
    assert all(p.isfinite().all() for p in result.model(1).parameters())


def test_predictions_that_are_not_finite_are_enough() -> None:
    """All parameters are finite; what they make of a sample is not."""
    result = spoilt(value=3e38, round=2)
    assert counted(result) == [0, 1]
    assert is_finite(result.model(1))


def test_clients_side_by_side_are_told_apart() -> None:
    alone = run(fit={"lr": 1e38}, model="mlp")
    together = run(fit={"lr": 1e38}, model="mlp", engine={"name": "inline", "stack": 4})
    assert counted(alone)[-1] > 0
    assert named(alone) == named(together)


def test_who_is_away_afterwards_still_counts() -> None:
    """In rounds that have nothing to do with it."""
    settings = {"rounds": 5, "fraction": 0.5, "seed": 1}
    config = merge(RunConfig(), clients=4, **settings)
    first, *later = (drawn_cohort(config, number) for number in range(1, 6))
    client = next(k for k in first if not all(k in cohort for cohort in later))
    result = spoilt(client=client, **settings)
    assert counted(result) == [1] * 5


def test_the_count_survives_a_resume(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"fraction": 0.5, "evaluate.every": 100, "checkpoint.every": 1}
    whole = spoilt(client=0, round=2, rounds=5, **settings)
    assert max(counted(whole)) == 1
    spoilt(client=0, round=2, rounds=3, run_dir=str(tmp_path / "run"), **settings)
    resumed = fedkd.resume(tmp_path / "run", rounds=5)
    assert counted(resumed) == counted(whole)
    assert resumed.summary["digest"] == whole.summary["digest"]
    again = fedkd.resume(tmp_path / "run")  # nothing left to do
    assert again.summary["diverged"] == whole.summary["diverged"]


@pytest.mark.parametrize("strategy", ["fedavg", "feddf"])
def test_who_receives_a_finite_model_has_not_diverged_any_longer(strategy: str) -> None:
    """What it sent is rejected by name; what it has is the server's."""
    result = spoilt(strategy, rounds=3)
    assert result.rounds["rejected"].to_pylist() == [1, 0, 0]
    assert counted(result)[-1] == 0
    assert is_finite(result.model(1))


def test_a_late_reply_tells_it_too() -> None:
    settings = {"faults.straggler": 0.6, "evaluate.every": 100, "rounds": 3, "seed": 2}
    rows = run("knfu", **settings).clients.to_pylist()
    late = next(row["client"] for row in rows if row["metric"] == "late" and row["round"] == 1)
    assert counted(spoilt("knfu", client=late, **settings))[0] == 1


def test_sound_models_are_not_mentioned(tmp_path: Path, report: None) -> None:
    console = Console(file=io.StringIO(), width=200)
    result = run("knfu", run_dir=str(tmp_path / "run"), callbacks=[Progress(console)])
    assert counted(result) == [0, 0]
    assert "diverged" not in console.file.getvalue()  # type: ignore[attr-defined]
    assert "Diverged" not in (tmp_path / "run" / "report.html").read_text()


def test_the_command_line_says_so(tmp_path: Path) -> None:
    base = ["engine=inline", "clients=4", "rounds=2", "model=resnet8", "fit.lr=1e4"]
    runner = CliRunner()
    one = runner.invoke(app, ["run", "strategy=local", *base, f"run_dir={tmp_path}/one"])
    assert one.exit_code == 0
    assert "3 of 4 clients: models or predictions are not finite" in " ".join(one.output.split())
    sound = [word for word in base if not word.startswith("fit.lr")]
    runner.invoke(app, ["run", "strategy=local", *sound, f"run_dir={tmp_path}/two"])
    both = runner.invoke(app, ["compare", f"{tmp_path}/one", f"{tmp_path}/two"])
    assert both.exit_code == 0
    assert "! diverged, 3 of 4 clients (models not finite): " in both.output
    assert both.output.count("local!") == 1


def test_runs_of_earlier_versions_can_be_read(tmp_path: Path) -> None:
    run(run_dir=str(tmp_path / "run"))
    path = tmp_path / "run" / "summary.json"
    old = {k: v for k, v in json.loads(path.read_text()).items() if k != "diverged"}
    path.write_text(json.dumps(old))
    table = pq.read_table(tmp_path / "run" / "rounds.parquet").drop_columns("diverged")
    pq.write_table(table, tmp_path / "run" / "rounds.parquet")
    assert Run.load(tmp_path / "run").summary["diverged"] is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_number_is_enough(value: float) -> None:
    model = nn.Sequential(nn.Linear(40, 30), nn.BatchNorm1d(30), nn.Linear(30, 10)).double()
    assert is_finite(model)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            old = tensor.detach().clone()
            tensor.data.view(-1)[-1] = value
            assert not is_finite(model)
            tensor.data.copy_(old)
    assert is_finite(model)


def test_large_numbers_are_finite() -> None:
    """Their sum is not."""
    model = nn.Linear(40, 30)
    nn.init.constant_(model.weight, 3e38)
    assert not model.weight.sum().isfinite()
    assert is_finite(model)
    assert is_finite(nn.Sequential(nn.Flatten()))
    assert torch.isfinite(model.weight).all()


@pytest.mark.parametrize("name", ["fedgh", "ccvr"])
def test_a_server_that_diverges_ends_the_run_by_name(name: str) -> None:
    with pytest.raises(fedkd.RunError, match=r"server would send is not finite.*strategy\.\*"):
        run({"name": name, "lr": float("inf")}, rounds=1)


@pytest.mark.parametrize("strategy", ["fedavg", "fedmd", "fd"])
def test_where_all_have_diverged_the_error_says_what_to_lower(strategy: str) -> None:
    with pytest.raises(fedkd.RunError, match=r"^every client failed in train.*lower fit\.lr or"):
        run(strategy, **{"fit.lr": 1e30})
