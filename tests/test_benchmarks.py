"""The benchmark: the plain loop and fedkd do the same work, and the command reports it."""

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import ray
import torch
import typer
from fedkd.experiments.benchmarks import (
    bare,
    corpora,
    floor,
    launching,
    measure,
    ours,
    printing,
    rounds,
    training,
    works,
)
from fedkd.experiments.benchmarks.results import caption, lines, summarise
from fedkd.experiments.benchmarks.stopwatch import Stopwatch
from fedkd.experiments.benchmarks.systems import LOOP, LOOP_ALL
from support import LIMIT
from typer.testing import CliRunner

from fedkd.config import RunConfig
from fedkd.errors import ConfigError
from fedkd.models import build

SIZE = works.Size(clients=3, samples=40, transfer=70, rounds=1, test=60)
LOOPED = [work for work in floor.LOOPS if works.WORKS[work].crowd == 1]
WHOLE = [work for work in floor.LOOPS if works.WORKS[work].whole]
COMMAND = [sys.executable, "-m", "fedkd.experiments.benchmarks.rounds"]


@pytest.fixture(scope="module")
def dealt(tmp_path_factory: pytest.TempPathFactory) -> corpora.Dealt:
    return corpora.Dealt(tmp_path_factory.mktemp("bench"), random=True)


@pytest.fixture
def template(dealt: corpora.Dealt) -> works.Job:
    return dealt(works.Job("loop", "W1", asdict(SIZE), "", ""))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the batch size of every training step that is made in this process."""
    seen: list[int] = []
    forward = torch.nn.Flatten.forward

    def watched(self: torch.nn.Flatten, x: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            seen.append(len(x))
        return forward(self, x)

    monkeypatch.setattr(torch.nn.Flatten, "forward", watched)
    return seen


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Keep what a job's run had before its directory goes."""
    found, simulate = SimpleNamespace(), ours.simulate

    def watched(*args, **settings):
        result = simulate(*args, **settings)
        found.rounds = result.rounds
        found.models = [result.model(client) for client in range(SIZE.clients)]

    monkeypatch.setattr(ours, "simulate", watched)
    return found


@pytest.mark.parametrize("work", LOOPED)
def test_loop_and_fedkd_do_the_same_work(work, template, dealt, steps, kept):
    template = dealt(replace(template, work=work))
    told = ours.run(replace(template, system="inline"))
    assert len(told["ends"]) == SIZE.rounds + 1  # the first round's, then the steady ones'
    fedkd_steps = list(steps)
    steps.clear()

    loop = floor.LOOPS[work](template)
    for number in range(1, SIZE.rounds + 3):
        loop.round(number)

    assert steps == fedkd_steps
    assert bool(steps) is not works.WORKS[work].messages
    for client, model in enumerate(loop.models):
        theirs = kept.models[client].state_dict()
        for name, value in zip(theirs, model.state_dict().values(), strict=True):
            torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-5)
    if works.WORKS[work].messages:
        assert told["phases"]["fit"] > 0
        assert kept.rounds["bytes_up"][0].as_py() >= len(loop.models) * SIZE.transfer * 10 * 4


@pytest.mark.parametrize("work", WHOLE)
def test_whole_runs_are_measured_alike(work, template, dealt, kept, monkeypatch):
    few = replace(works.WORKS[work], settings=works.WORKS[work].settings | {"evaluate.samples": 20})
    monkeypatch.setitem(works.WORKS, work, few)
    job = dealt(replace(template, work=work, tested=[20, 20, 60]))
    told = ours.run(replace(job, system="inline"))
    loops = [floor.LOOPS[work](replace(job, system=name)) for name in (LOOP, LOOP_ALL)]
    for number in range(1, job.rounds + 1):
        for loop in loops:
            loop.round(number)
    table = kept.rounds.to_pydict()
    measured = [
        row for row in zip(table["alma_local"], table["alma_global"], strict=True) if row[0]
    ]
    np.testing.assert_allclose(loops[0].accuracies, measured, atol=1e-6)
    assert told["tested"] == table["evaluated"]
    assert loops[1].tested == [60, 60, 60]
    assert loops[1].accuracies[-1] == loops[0].accuracies[-1]


def test_whole_runs_are_of_fedkds_defaults():
    config, work = RunConfig(), works.WORKS["W4"]
    fit, distil = asdict(config.fit), asdict(config.distil)
    assert fit == fit | work.fit
    assert distil | {"lr": distil["lr"] or fit["lr"]} == distil | works.DISTIL_DEFAULT
    settings = works.Job("ray", "W4", works.sized("W4", {}), "mnist", "").settings()
    chosen = {"data.name", "data.samples_per_client", "transfer.size", "clients", "rounds"}
    named = chosen | {"strategy", "model", "device", "engine.name", "engine.actors"}
    assert settings.keys() == named


def test_a_loop_takes_the_samples_that_a_round_is_measured_on(template, dealt, monkeypatch):
    job = dealt(replace(template, work="W4", tested=[0, 60, 60]))
    loop = floor.LOOPS["W4"](job)
    for number in (1, 2):
        loop.round(number)
    assert len(loop.accuracies) == 1  # the first round was not measured
    given = []

    def measured(job, *_):
        given.append((job.system, list(job.tested)))
        return measure.Measurement(job.system, job.work, tested=[20, 20, 60])

    monkeypatch.setattr(rounds, "measure", measured)
    asked = {"given": asdict(SIZE), "random": True, "actors": None, "device": "cpu", "timeout": 1}
    list(rounds.bench(works=["W4"], systems=["inline"], repeats=1, **asked))
    assert given == [("loop_all", []), ("inline", []), ("loop", [20, 20, 60])]


@pytest.mark.parametrize("work", ["W1", "W2", "W3"])
def test_bare_actors_and_the_loop_do_the_same_work(work, template, monkeypatch):
    job = replace(template, work=work)
    loop = floor.LOOPS[work](job)
    with without_ray(monkeypatch):
        driver = bare.Driver(job, 2)
        assert [list(share) for share in driver.shares] == [[0, 2], [1]]
        for number in (1, 2):
            driver.round(number)
            loop.round(number)
        for client, model in enumerate(loop.models):
            for name, value in driver.state(client).items():
                mine = model.state_dict()[name].numpy()
                np.testing.assert_allclose(value, mine, rtol=1e-4, atol=1e-5)


@contextmanager
def without_ray(monkeypatch):
    """Have bare Ray actors be objects of this process."""

    class Remote:
        def __init__(self, call):
            self.remote = call

    class Handle:
        def __init__(self, worker):
            self._worker = worker

        def __getattr__(self, name):
            return Remote(getattr(self._worker, name))

    monkeypatch.setattr(ray, "remote", lambda **_: lambda cls: Remote(lambda *a: Handle(cls(*a))))
    monkeypatch.setattr(ray, "get", lambda value: value)
    monkeypatch.setattr(ray, "put", lambda value: value)
    yield
    monkeypatch.undo()


@pytest.mark.slow
def test_bare_actors_run_on_ray(template):
    told = measure.measure(replace(template, system="bare"), 120)
    assert told.error is None
    assert len(told.seconds) == SIZE.rounds
    assert told.cpu > 0
    loop = measure.measure(template, 120)
    assert told.loss == pytest.approx(loop.loss, rel=1e-4)  # after the same number of rounds


@pytest.mark.parametrize(
    ("model", "shapes"),
    [
        ("mlp", [(200, 784), (200,), (10, 200), (10,)]),
        (
            "lenet5",
            [
                *[(6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,)],
                *[(120, 256), (120,), (84, 120), (84,), (10, 84), (10,)],
            ],
        ),
    ],
)
def test_the_models_are_those_of_the_table(model, shapes):
    mine, zoo = training.NETWORKS[model](), build(model, (1, 28, 28), 10)
    assert [tuple(parameter.shape) for parameter in mine.parameters()] == shapes
    assert [str(layer) for layer in mine] == [str(layer) for layer in zoo]


def test_the_steps_are_those_of_the_table():
    size = works.Size()
    assert -(-size.samples // training.BATCH) == 19
    assert -(-size.transfer // training.DISTIL_BATCH) == 32


def test_five_times_the_clients_have_as_many_samples_in_all(template):
    job = works.Job("ray", "W0x5", asdict(works.Size()), "mnist", "more")
    assert (job.sizes.clients, job.sizes.samples) == (500, 120)
    assert job.settings()["clients"] == 500
    assert job.settings()["client"]["name"].endswith("noop:NoOp")


def test_a_stopwatch_counts_processors_from_the_first_round_to_the_last_steady_one():
    watch = Stopwatch(2)
    for _ in range(4):
        sum(range(10**6))
        watch.lap()
    told = watch.told()
    assert len(told["ends"]) == 3  # the fourth round does not count
    assert 0 < told["cpu"] < watch.ends[-1] - watch.began + 1
    assert len(watch.seconds) == 2


def test_start_up_and_memory_are_compared_with_bare_actors():
    def one(system, startup, pss):
        timed = measure.Measurement(system, "W1", [1.0], startup=startup)
        return [timed, measure.Measurement(system, "W1", pss_mb=pss)]

    found = summarise([*one("loop", 1, 1), *one("bare", 4, 1000), *one("ray", 5, 1500)])
    assert [row["startup_ratio"] for row in found] == [0.25, 1, 1.25]
    assert [row["pss_ratio"] for row in found] == [0.001, 1, 1.5]
    shown = {title: cells for title, *cells in lines(found)}
    assert shown["W1 start-up to bare"] == ["0.25", "1.00", "1.25"]
    assert shown["W1 peak PSS MB"] == ["1", "1,000", "1,500"]


def test_peers_do_what_they_can_express_and_say_when_they_are_missing(template, monkeypatch):
    found = list(rounds.jobs(["W1", "W3"], ["fluke", "ray"], template, repeats=2))
    assert {job.work for job in found if job.system == "fluke"} == {"W1"}
    assert sum(job.system == "ray" and not job.memory for job in found) == 4
    monkeypatch.setattr(launching, "PEERS", "/nowhere")
    told = measure.measure(replace(template, system="fluke"), 60)
    assert told.error.startswith("/nowhere/fluke/bin/python is missing")


def test_whole_runs_are_compared_in_all_and_say_what_they_skip():
    def one(system, seconds, tested):
        return measure.Measurement(
            system, "W4", [1.0, 1.0], run_seconds=seconds, tested=[5, tested - 5], startup=1
        )

    sweep = measure.Measurement("ray", "W6", run_seconds=21.0, later_seconds=2.0)
    told = [one("loop_all", 50, 30), one("ray", 10, 20), one("loop", 20, 20), sweep]
    rows = summarise(told)
    shown = {title: cells for title, *cells in lines(rows)}
    assert shown["W4 s in all"] == ["20.0", "50.0", "10.0"]
    assert shown["W4 ratio in all"] == ["1.00", "2.50", "0.50"]
    assert shown["W4 ratio in all, to the loop with all test samples"] == ["0.40", "1.00", "0.20"]
    assert shown["W4 test samples a model, all rounds"] == ["20", "30", "20"]
    assert shown["W6 s in all"] == ["-", "-", "21.0"]
    assert shown["W6 s each run but the first"] == ["-", "-", "2.00"]
    sizes = {work: works.WORKS[work].size for work in ("W4", "W6")}
    about = caption(rows, sizes)
    assert about[0].startswith("W4: 20 clients x 200 samples, median of 3 rounds (of 5); W6: 100")
    assert about[1] == "W4: fedkd ray skips 10 of the 30 evaluations of a model"


def test_sizes_are_a_works_own_unless_given(template):
    found = list(rounds.jobs(["W1", "W4", "W6"], ["inline"], template, given={"rounds": 2}))
    assert {(job.work, job.size["rounds"]) for job in found} == {("W1", 2), ("W4", 2), ("W6", 2)}
    assert {(job.work, job.size["clients"]) for job in found if job.work != "W6"} == {
        ("W1", 100),
        ("W4", 20),
    }
    assert [job.system for job in found if job.work == "W6"] == ["inline"]  # no loop and no memory


@pytest.mark.slow
def test_a_sweep_is_typed_and_timed(template, monkeypatch):
    few = replace(works.WORKS["W6"], sweep=("strategy=local,fedmd",))
    monkeypatch.setitem(works.WORKS, "W6", few)
    told = ours.run(replace(template, work="W6", system="inline"))
    assert told["began"] < told["ends"][0] < told["began"] + told["later"] + 600
    assert told["later"] > 0


@pytest.mark.slow
def test_command_writes_json_and_a_table(tmp_path):
    path = tmp_path / "out" / "bench.json"
    given = "--synthetic --clients 3 --samples 40 --transfer 70 --rounds 1 --works W3"
    done = subprocess.run(
        [*COMMAND, *given.split(), "--systems", "inline", "--markdown", "--json", str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT,
    )
    assert "|  | plain torch loop | fedkd inline |" in done.stdout
    assert "| W3 ratio | 1.00 |" in done.stdout
    again = typer.Typer()
    again.command()(printing.command)
    assert CliRunner().invoke(again, [str(path), "--markdown"]).stdout.strip() in done.stdout
    told = json.loads(path.read_text())
    assert told["schema"] == 3
    assert told["sizes"] == {"W3": asdict(replace(SIZE, test=10_000))}
    assert told["machine"]["cores"] >= 1
    assert {"torch", "flwr", "ray"} <= told["machine"]["versions"].keys()
    systems = [one["system"] for one in told["measurements"]]
    assert systems == ["loop", "inline", "loop", "loop", "inline"]  # the last two for the memory
    loop, inline = told["rows"]
    assert (loop["system"], loop["ratio"]) == ("loop", 1)
    assert (inline["system"], inline["error"]) == ("inline", None)
    assert inline["ratio"] == pytest.approx(inline["round_seconds"] / loop["round_seconds"])
    for row in (loop, inline):
        assert row["startup"] > 0
        assert row["first_round"] > 0
        assert row["pss_mb"] > 50
        assert row["cpu_seconds"] > 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--works", "W9"], "works=W9: not available"),
        (["--systems", "rai"], "did you mean 'ray'"),
        ([], "FEDKD_DATA_DIR=/nowhere: has no mnist"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_2(given, message, monkeypatch):
    monkeypatch.setenv("FEDKD_DATA_DIR", "/nowhere")
    app = typer.Typer()
    app.command()(rounds.command)
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_too_many_clients_for_the_data_are_refused(template):
    more = replace(template, size=template.size | {"clients": 5})
    with pytest.raises(ConfigError, match="samples_per_client"):
        corpora.write_tensors(more, Path(template.tensors).parent)


@pytest.mark.slow
def test_a_job_that_fails_is_reported(template):
    broken = replace(template, tensors="/nowhere.safetensors")
    told = measure.measure(broken, 60)
    assert told.error
    assert "nowhere" in told.error
    late = measure.measure(template, 0.1)
    assert late.error == "no result after 0.1 s"
    rows = summarise([told, late])
    assert [(row["system"], row["error"]) for row in rows] == [("loop", told.error)]
