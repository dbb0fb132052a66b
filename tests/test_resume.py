"""Killed at any moment and resumed, a run ends as if nothing had happened."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp

import pyarrow.parquet as pq
import pytest
import torch
from fedkd.clients.workbench import Workbench
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import fedkd
from fedkd import ConfigError, simulate
from fedkd.cli.app import app
from fedkd.config.overrides import compose
from fedkd.rundir.checkpoint import newest
from fedkd.rundir.manifest import Manifest, sha256
from fedkd.rundir.packing import pack, unpack
from fedkd.rundir.shards import Shards

SMALL = {"clients": 5, "rounds": 5, "engine": "inline", "checkpoint.every": 2}
CASES = {
    "knfu": {"strategy": "knfu"},
    "mixed": {"model": ["mlp", "resnet8"], "fraction": 0.5, "evaluate.samples": 50},
    "fedadam": {"strategy": "fedadam", "fraction": 0.7},
    "fedavgm": {
        "strategy": {"name": "flwr.serverapp.strategy:FedAvgM", "server_momentum": 0.9},
    },
    "local": {"strategy": "local", "evaluate.every": 3},
    "private": {
        "privacy": {"name": ["dp_sgd", "gaussian"], "noise_multiplier": 0.1},
        "fraction": 0.5,
    },
    "secure": {"strategy": "fedmd", "secure.aggregation": True},
    "subsets": {"strategy": "fedmd", "transfer.per_round": 50, "data.validation": 0.2},
}
KILL = """
import os, signal, sys, json
from fedkd import simulate
from fedkd.callbacks import Callback

class Kill(Callback):
    def __init__(self, at): self.at, self.calls = at, 0
    def on_phase(self, round_, phase, done, total):
        self.calls += 1
        if self.calls == self.at: os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    simulate(callbacks=[Kill(int(sys.argv[2]))], **settings)
"""


def resume(run_dir, *overrides):
    return CliRunner().invoke(app, ["run", f"resume={run_dir}", *overrides])


def tables(run_dir):
    """Return both tables as plain rows, without what is timing."""
    rounds = pq.read_table(run_dir / "rounds.parquet").to_pylist()
    kept = [{k: v for k, v in row.items() if "seconds" not in k} for row in rounds]
    return kept, pq.read_table(run_dir / "clients.parquet").to_pylist()


def digest(run_dir):
    return json.loads((run_dir / "summary.json").read_text())["digest"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the directory of a case's uninterrupted run, made once."""
    made = {}

    def run(case):
        if case not in made:
            made[case] = tmp_path_factory.mktemp(case) / "run"
            simulate(run_dir=str(made[case]), **SMALL | CASES[case])
        return made[case]

    return run


def killed(run_dir, settings, at):
    """Run in a process that SIGKILLs itself at its ``at``-th sign of progress."""
    done = subprocess.run(
        [sys.executable, "-c", KILL, json.dumps(settings | {"run_dir": str(run_dir)}), str(at)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (run_dir / "summary.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "at"),
    [
        ("knfu", 3),
        ("mixed", 26),
        ("fedavgm", 40),
        ("private", 22),
        ("secure", 60),
    ],
)
def test_a_killed_driver_resumes_to_the_same_end(case, at, whole, tmp_path):
    run_dir = tmp_path / "run"
    killed(run_dir, SMALL | CASES[case], at)
    done = resume(run_dir)
    assert done.exit_code == 0, done.output
    assert digest(run_dir) == digest(whole(case))
    assert tables(run_dir) == tables(whole(case))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "flower"])
def test_a_killed_driver_of_actors_resumes(engine, whole, tmp_path):
    run_dir = tmp_path / "run"
    name = {"name": engine, "actors": 1}
    # With actors several replies may come at once: a number of calls hits less exactly.
    killed(run_dir, SMALL | CASES["knfu"] | {"engine": name}, 14)
    done = resume(run_dir, "engine=inline")
    assert done.exit_code == 0, done.output
    assert digest(run_dir) == digest(whole("knfu"))
    assert tables(run_dir) == tables(whole("knfu"))


@pytest.mark.parametrize("case", CASES)
def test_a_larger_number_of_rounds_extends_a_finished_run(case, whole, tmp_path):
    run_dir = tmp_path / "run"
    simulate(run_dir=str(run_dir), **SMALL | CASES[case] | {"rounds": 3})
    done = resume(run_dir, "rounds=5")
    assert done.exit_code == 0, done.output
    assert digest(run_dir) == digest(whole(case))
    assert tables(run_dir) == tables(whole(case))
    assert resume(run_dir, "rounds=4").exit_code == 2
    again = resume(run_dir)
    assert again.exit_code == 0
    assert digest(run_dir) == digest(whole(case))
    assert tables(run_dir) == tables(whole(case))


SEEN = {
    "subset": {"evaluate.samples": 50},
    "now and then": {"evaluate.every": 2},
    "a subset now and then": {"evaluate.samples": 50, "evaluate.every": 2},
}


@pytest.mark.parametrize("strategy", ["knfu", "fedavg"])
@pytest.mark.parametrize("seen", SEEN)
def test_a_last_round_leaves_no_trace_in_a_longer_run(seen, strategy, tmp_path):
    settings = SMALL | SEEN[seen] | {"strategy": strategy, "fraction": 0.6, "rounds": 7}
    straight = simulate(run_dir=str(tmp_path / "straight"), **settings)
    run_dir = tmp_path / "run"
    for rounds in (3, 4, 7):
        last = (
            fedkd.resume(run_dir, rounds=rounds)
            if rounds > 3
            else simulate(run_dir=str(run_dir), **settings | {"rounds": rounds})
        )
        models = [last.model(client) for client in range(5)]
        rows = last.clients.to_pylist()
        measured = {
            r["client"]: r["value"] for r in rows if (r["round"], r["metric"]) == (rounds, "global")
        }
        x, y = Workbench((run_dir / "spec.json").read_text()).test(None)
        for client, model in enumerate(models):
            with torch.no_grad():
                right = (model(x).argmax(dim=1) == y).double().mean().item()
            assert measured[client] == pytest.approx(right, abs=1e-6)
    assert tables(run_dir) == tables(tmp_path / "straight")
    assert last.summary["alma_local"] == straight.summary["alma_local"]


def copy_of(run_dir, tmp_path):
    return Path(shutil.copytree(run_dir, tmp_path / "copy"))


@pytest.mark.parametrize(
    "file",
    [
        "clients_00000.safetensors",
        "clients_00000.json",
        "server.safetensors",
        "state.json",
        "rounds.parquet",
        "manifest.json",
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(file, whole, tmp_path):
    run_dir = copy_of(whole("knfu"), tmp_path)
    last, before = sorted((run_dir / "checkpoint").iterdir(), reverse=True)
    assert (last.name, before.name) == ("round_00005", "round_00004")
    data = (last / file).read_bytes()
    (last / file).write_bytes(data[: len(data) // 2])
    done = resume(run_dir)
    assert done.exit_code == 0, done.output
    assert digest(run_dir) == digest(whole("knfu"))
    assert f"{last} is skipped" in (run_dir / "log.txt").read_text()


def test_only_damaged_checkpoints_end_with_their_names(whole, tmp_path):
    run_dir = copy_of(whole("knfu"), tmp_path)
    for folder in (run_dir / "checkpoint").iterdir():
        (folder / "clients_00000.safetensors").unlink()
    done = resume(run_dir)
    assert done.exit_code == 2
    assert "round_00005: clients_00000.safetensors is missing" in done.stderr
    assert "round_00004" in done.stderr


def manifest_of(folder, change):
    """Change a checkpoint's manifest and give it the sum that it then has."""
    content = json.loads((folder / "manifest.json").read_text())
    del content["sum"]
    change(content)
    Manifest(**content).write(folder)


def fewer_clients(folder):
    """Take a client out of a checkpoint, with every sum as it then is; say so, or do not."""
    plain = json.loads((folder / "clients_00000.json").read_text())
    tensors = load_file(folder / "clients_00000.safetensors")
    gone = plain.popitem()[0]
    kept = {name: value for name, value in tensors.items() if not name.startswith(f"{gone}|")}
    save_file(kept, folder / "clients_00000.safetensors")
    (folder / "clients_00000.json").write_text(json.dumps(plain))

    def change(content):
        for name in content["files"]:
            content["files"][name] = sha256(folder / name)

    manifest_of(folder, change)


def without(name):
    def take(folder):
        (folder / name).unlink()
        manifest_of(folder, lambda content: content["files"].pop(name))

    return take


def lost_array(folder):
    """Drop an array of the server."""
    save_file({}, folder / "server.safetensors")
    manifest_of(
        folder,
        lambda content: content["files"].update(
            {"server.safetensors": sha256(folder / "server.safetensors")}
        ),
    )


def from_another_run(folder):
    other = Path(mkdtemp(dir=folder.parents[2]))
    simulate(run_dir=str(other), **SMALL | CASES["fedadam"] | {"seed": 1})
    shutil.rmtree(folder)
    shutil.copytree(other / "checkpoint" / folder.name, folder)


def deleted_line(folder):
    path = folder / "manifest.json"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(
        "".join(line for line in lines if "weights" not in line and "rounds" not in line)
    )


TAMPERED = {
    "another run's": (from_another_run, "it is another run's"),
    "a line deleted": (deleted_line, "manifest.json does not match its checksum"),
    "a client less": (fewer_clients, "it has 4 of 5 clients"),
    "a client less, and said": (
        lambda folder: (
            fewer_clients(folder),
            manifest_of(folder, lambda content: content.update(clients=4)),
        ),
        "it has 4 clients, the run 5",
    ),
    "no shards": (without("clients_00000.safetensors"), "it has 0 of 5 clients"),
    "no tables": (without("rounds.parquet"), "manifest.json does not list rounds.parquet"),
    "no state": (without("state.json"), "manifest.json does not list state.json"),
    "a server array less": (lost_array, "it cannot be read"),
    "another round": (
        lambda folder: manifest_of(folder, lambda content: content.update(round=3)),
        "it is that of round 3",
    ),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_a_checkpoint_that_is_not_the_runs_own_whole_one_is_skipped(case, whole, tmp_path):
    tamper, reason = TAMPERED[case]
    run_dir = copy_of(whole("fedadam"), tmp_path)
    last, before = sorted((run_dir / "checkpoint").iterdir(), reverse=True)
    tamper(last)
    done = resume(run_dir)
    assert done.exit_code == 0, done.output
    assert digest(run_dir) == digest(whole("fedadam"))
    assert tables(run_dir) == tables(whole("fedadam"))
    log = (run_dir / "log.txt").read_text()
    assert f"{last} is skipped: " in log
    assert reason in log
    shutil.rmtree(before)  # the last one was written again
    tamper(last)
    refused = resume(run_dir)
    assert refused.exit_code == 2
    assert f"no checkpoint can be used (round_00005: {reason}" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("name", ["round_00005", "clients_00000.safetensors"])
def test_a_checkpoint_that_vanishes_while_it_is_read_is_named(name, whole, tmp_path, monkeypatch):
    run_dir = copy_of(whole("knfu"), tmp_path)
    folder = run_dir / "checkpoint" / "round_00005"

    def vanish(shards):
        shutil.rmtree(folder) if name == folder.name else (folder / name).unlink()
        return begin(shards)

    begin = Shards.__iter__
    monkeypatch.setattr(Shards, "__iter__", vanish)
    done = resume(run_dir, "rounds=6")
    assert done.exit_code == 1, done.output
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert f"{folder} changed while it was read" in line
    monkeypatch.undo()
    again = resume(run_dir, "rounds=5")
    assert again.exit_code == 0, again.output
    assert digest(run_dir) == digest(whole("knfu"))


def test_what_is_restored_is_counted(whole, tmp_path, monkeypatch):
    run_dir = copy_of(whole("knfu"), tmp_path)
    monkeypatch.setattr(Shards, "__iter__", lambda self: iter(()))
    done = resume(run_dir, "rounds=6")
    assert done.exit_code == 1
    assert "the checkpoint of round 5 restored 0 of 5 clients" in done.stderr


def test_anothers_later_checkpoints_do_not_push_out_the_runs_own(whole, tmp_path):
    run_dir = copy_of(whole("knfu"), tmp_path)
    other = tmp_path / "other"
    simulate(run_dir=str(other), **SMALL | CASES["local"] | {"rounds": 9, "checkpoint.every": 1})
    for folder in (other / "checkpoint").iterdir():
        shutil.copytree(folder, run_dir / "checkpoint" / folder.name)
    assert resume(run_dir, "rounds=6").exit_code == 0
    assert resume(run_dir, "rounds=7").exit_code == 0
    assert {"round_00006", "round_00007"} <= {f.name for f in (run_dir / "checkpoint").iterdir()}


def test_a_half_written_checkpoint_does_not_count(whole, tmp_path):
    run_dir = copy_of(whole("knfu"), tmp_path)
    (run_dir / "checkpoint" / "round_00005").rename(run_dir / "checkpoint" / ".round_00005")
    checkpoint = newest(run_dir)
    assert checkpoint is not None
    assert checkpoint.round == 4


def test_another_configuration_is_refused_unless_forced(whole, tmp_path):
    run_dir = copy_of(whole("knfu"), tmp_path)
    done = resume(run_dir, "fit.lr=0.1", "rounds=6", "strategy.beta=3")
    assert done.exit_code == 2
    assert "fit.lr was 0.05, is 0.1" in done.stderr
    assert "strategy" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert digest(run_dir) == digest(whole("knfu"))
    forced = resume(run_dir, "fit.lr=0.1", "rounds=6", "force=true")
    assert forced.exit_code == 0, forced.output
    assert len(tables(run_dir)[0]) == 6


def contents(run_dir):
    """Return all files of a run directory."""
    return {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}


MISFITS = {
    False: {
        "model=[lenet5,mlp]": "model=lenet5: client 0 has another",
        "clients=4": "no checkpoint can be used",
        "strategy=flwr.serverapp.strategy:FedAvg": "cannot go on from the checkpoint of round 2",
        "transfer.hard=true": "the run was made without; set it to false",
    },
    True: {
        "transfer.size=60": "the checkpoint has views of 40 samples; give as many",
        "transfer.views=1": "give at least",
    },
}


@pytest.mark.parametrize("hard", MISFITS)
def test_a_forced_run_that_does_not_fit_its_checkpoint_leaves_all_as_it_was(hard, tmp_path):
    few = {"data": "digits", "clients": 3, "transfer.size": 40, "engine": "inline", "rounds": 2}
    run_dir = tmp_path / "run"
    simulate(
        run_dir=str(run_dir), strategy="fedmd", **few, **{"transfer.hard": True} if hard else {}
    )
    before = contents(run_dir)
    for override, problem in MISFITS[hard].items():
        done = resume(run_dir, "rounds=4", "force=true", override)
        assert done.exit_code == 2, done.output
        assert problem in done.stderr
        assert done.stderr.count("error: ") == 1
        assert contents(run_dir) == before
    done = resume(run_dir, "rounds=4")
    assert done.exit_code == 0, done.output


def test_changed_data_is_noticed(whole, tmp_path):
    run_dir = copy_of(whole("knfu"), tmp_path)
    split = run_dir / "split.npz"
    split.write_bytes(split.read_bytes() + b" ")
    done = resume(run_dir)
    assert done.exit_code == 2
    assert "the data changed" in done.stderr


def test_what_is_no_run_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        done = resume(path)
        assert done.exit_code == 2
        assert "is no run directory" in done.stderr


def test_nothing_in_a_checkpoint_is_a_pickle(whole):
    for folder in (whole("knfu") / "checkpoint").iterdir():
        for file in folder.iterdir():
            assert b"__reduce__" not in file.read_bytes()
            assert file.suffix in {".safetensors", ".json", ".parquet", ".npz", ""}


def test_records_of_every_kind_come_back():
    records = RecordDict(
        {
            "arrays": ArrayRecord({"z": torch.ones(2), "a": torch.tensor(3)}),
            "tensors": ArrayRecord(),
            "context.budget": MetricRecord({"epsilon": 1.5}),
            "context.note": ConfigRecord({"who": "me", "rounds": [1, 2]}),
        }
    )
    tensors, plain = pack({7: records})
    back = unpack(tensors, json.loads(json.dumps(plain)))[7]
    assert dict(back) == dict(records)
    assert list(back.array_records["arrays"]) == ["z", "a"]


def test_a_temporary_run_writes_no_checkpoint():
    run = simulate("local", clients=2, rounds=1, engine="inline")
    assert not (run.run_dir / "checkpoint").exists()
    assert os.path.isdir(run.run_dir)


def test_no_checkpoints_on_request(tmp_path):
    settings = SMALL | {"checkpoint.every": None, "rounds": 1}
    simulate(run_dir=str(tmp_path / "run"), **settings)
    assert not (tmp_path / "run" / "checkpoint").exists()


def test_python_objects_are_handed_over_again(tmp_path):
    from fedkd.experiments.plugins.nearest import Nearest

    settings = {"clients": 3, "engine": "inline"}
    whole = simulate(Nearest(beta=5.0), rounds=3, **settings)
    run_dir = tmp_path / "run"
    simulate(Nearest(beta=5.0), rounds=2, run_dir=str(run_dir), **settings)
    extended = fedkd.resume(run_dir, strategy=Nearest(beta=5.0), rounds=3)
    assert extended.summary["digest"] == whole.summary["digest"]
    assert extended.rounds.num_rows == 3


def test_resume_takes_no_preset():
    with pytest.raises(ConfigError, match="a resumed run has its own configuration"):
        compose(["resume=somewhere", "experiment=demo"])


@pytest.mark.parametrize("given", ["true", "3"])
def test_what_is_no_path_is_no_run_directory(given: str) -> None:
    with pytest.raises(ConfigError, match="is no run directory"):
        compose([f"resume={given}"])
