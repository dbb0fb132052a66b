"""The benchmark: the plain loop and fedkd do the same work, and the command reports it."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import typer
from fedkd.experiments.benchmarks import corpora, floor, measure, ours, rounds, works
from fedkd.experiments.benchmarks.results import summarise
from typer.testing import CliRunner

from fedkd.errors import ConfigError

SIZE = works.Size(clients=3, samples=40, transfer=70, rounds=1)
COMMAND = [sys.executable, "-m", "fedkd.experiments.benchmarks.rounds"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> works.Job:
    folder = tmp_path_factory.mktemp("bench")
    job = works.Job("loop", "W1", asdict(SIZE), *corpora.synthetic(folder, SIZE))
    return replace(job, tensors=str(corpora.write_tensors(job, folder)))


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


@pytest.mark.parametrize("work", list(works.WORKS))
def test_loop_and_fedkd_do_the_same_work(work, template, steps, monkeypatch):
    kept = []
    simulate = ours.simulate
    monkeypatch.setattr(ours, "simulate", lambda *a, **k: kept.append(simulate(*a, **k)))
    told = ours.run(replace(template, work=work, system="inline"))
    assert len(told["ends"]) == SIZE.rounds + 1  # the first round's, then the steady ones'
    fedkd_steps = list(steps)
    steps.clear()

    loop = floor.LOOPS[work](replace(template, work=work))
    for number in range(1, SIZE.rounds + 3):
        loop.round(number)

    assert steps == fedkd_steps
    assert loop.steps == len(steps)
    for client, model in enumerate(loop.models):
        theirs = kept[0].model(client).state_dict()
        for name, value in zip(theirs, model.state_dict().values(), strict=True):
            torch.testing.assert_close(value, theirs[name], rtol=1e-4, atol=1e-5)


def test_the_works_are_those_of_the_table():
    per_round = {"W1": 100 * 19, "W3": 100 * (19 + 32)}  # 600 / 32 and 2,000 / 64, rounded up
    size = works.Size()
    fits, digests = -(-size.samples // 32), -(-size.transfer // 64)
    assert {"W1": 100 * fits, "W3": 100 * (fits + digests)} == per_round
    network = floor.NETWORKS["mlp"]()
    assert sum(p.numel() for p in network.parameters()) == 784 * 200 + 200 + 200 * 10 + 10


@pytest.mark.slow
def test_command_writes_json_and_a_table(tmp_path):
    path = tmp_path / "out" / "bench.json"
    given = "--synthetic --clients 3 --samples 40 --transfer 70 --rounds 1 --works W3"
    done = subprocess.run(
        [*COMMAND, *given.split(), "--engines", "inline", "--json", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "plain torch loop" in done.stdout
    assert "fedkd inline" in done.stdout
    told = json.loads(path.read_text())
    assert told["schema"] == 1
    assert told["size"] == asdict(SIZE)
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


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--works", "W9"], "works=W9: not available"),
        (["--engines", "rai"], "did you mean 'ray'"),
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
    more = replace(template, size=template.size | {"clients": 4})
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
