"""The digest by hand, and what a finished run gives back against its own tables."""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fedkd.clients.workbench import Workbench

import fedkd
from fedkd.data import Federation
from fedkd.run.result import RunResult
from fedkd.rundir.digest import Models, digest, digest_of, load_model
from fedkd.tasks.classification import Classification


def run(strategy: Any = "knfu", **settings: Any) -> RunResult:
    return fedkd.simulate(strategy, **({"clients": 5, "rounds": 2, "engine": "inline"} | settings))


@pytest.fixture(scope="module")
def knfu(cache: Path) -> RunResult:
    return run()


# -- the digest ----------------------------------------------------------------------------------


def test_the_digest_by_hand() -> None:
    clients = [
        {"w": torch.tensor([[1.0, -2.0]]), "a": torch.tensor([3, 4], dtype=torch.int64)},
        {"w": torch.tensor([0.5], dtype=torch.float64)},
    ]
    server = {"m": torch.tensor([True, False])}
    text = (
        b"a|int64|(2,)|" + struct.pack("<qq", 3, 4),
        b"w|float32|(1, 2)|" + struct.pack("<ff", 1.0, -2.0),
        b";",
        b"w|float64|(1,)|" + struct.pack("<d", 0.5),
        b";",
        b"m|bool|(2,)|" + b"\x01\x00",
        b";",
    )
    assert digest(clients, server) == hashlib.sha256(b"".join(text)).hexdigest()
    assert digest([], {}) == hashlib.sha256(b";").hexdigest()


def test_the_shape_of_a_scalar_is_its_own() -> None:
    """BatchNorm's step count has shape (), as the contract's (name, dtype, shape, bytes) says."""
    text = b"n|int64|()|" + struct.pack("<q", 6) + b";;"
    assert digest([{"n": torch.tensor(6)}], {}) == hashlib.sha256(text).hexdigest()


def test_what_the_digest_tells_apart() -> None:
    one = {"w": torch.arange(6.0)}
    base = digest([one], {})
    others = [
        digest([{"v": torch.arange(6.0)}], {}),
        digest([{"w": torch.arange(6.0).double()}], {}),
        digest([{"w": torch.arange(6.0).reshape(2, 3)}], {}),
        digest([{"w": torch.arange(6.0).nextafter(torch.tensor(9.0))}], {}),
        digest([one, one], {}),
        digest([], one),
        digest([one], one),
        digest([one, {}], {}),
    ]
    assert len({base, *others}) == 1 + len(others)
    assert digest([{"w": one["w"], "a": one["w"]}], {}) == (
        digest([{"a": one["w"], "w": one["w"]}], {})
    )
    assert digest([{"w": torch.arange(6.0).reshape(2, 3).T}], {}) == (
        digest([{"w": torch.arange(6.0).reshape(2, 3).T.contiguous()}], {})
    )
    two = {"w": torch.ones(1)}
    assert digest([one, two], {}) != digest([two, one], {})


def test_models_on_disk_have_the_digest(tmp_path: Path) -> None:
    shared = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    clients = [{"w": shared.T, "tied": shared, "n": torch.tensor(k)} for k in range(12)]
    server = {"m": torch.ones(2)}
    models = Models(tmp_path)
    for client in clients:
        models.add(client)
    assert models.finish(server) == digest_of(tmp_path) == digest(clients, server)
    loaded = load_model(tmp_path, 11)
    assert loaded["n"].item() == 11
    assert torch.equal(loaded["w"], shared.T)


@pytest.mark.parametrize("strategy", ["local", "fedavg", "fedadam"])
def test_a_runs_digest_is_recomputable(strategy: str) -> None:
    result = run(strategy)
    models = result.run_dir / "models"
    assert digest_of(models) == result.summary["digest"]
    assert len(list(models.glob("client_*.safetensors"))) == 5
    assert (models / "server.safetensors").exists()


def test_the_digest_changes_with_seed_rounds_and_strategy(knfu: RunResult) -> None:
    models = knfu.run_dir / "models"
    assert digest_of(models) == knfu.summary["digest"]
    assert run().summary["digest"] == knfu.summary["digest"]
    others = [
        run(seed=1),
        run(rounds=1),
        run("fedmd"),
        run({"name": "knfu", "beta": 0.0}),
        run(fit={"lr": 0.01}),
    ]
    assert len({knfu.summary["digest"], *(one.summary["digest"] for one in others)}) == 6


def test_the_digest_does_not_depend_on_how_often_a_run_is_measured(knfu: RunResult) -> None:
    assert run(evaluate={"every": 2}).summary["digest"] == knfu.summary["digest"]
    assert run(evaluate={"samples": 20}).summary["digest"] == knfu.summary["digest"]


# -- the result ----------------------------------------------------------------------------------


def accuracies(result: RunResult, client: int) -> tuple[float, float]:
    """Return local and global accuracy of a client's final model, class by class (design 1)."""
    spec = json.loads((result.run_dir / "spec.json").read_text())
    federation = Federation.open(spec["data"])
    x, y = federation.test()
    with torch.no_grad():
        guess = result.model(client)(x).argmax(dim=1)
    _, own = federation.client(client)
    local = 0.0
    for label in own.unique().tolist():
        share = (own == label).double().mean().item()
        local += share * (guess[y == label] == label).double().mean().item()
    return local, (guess == y).double().mean().item()


@pytest.mark.parametrize(
    ("strategy", "settings"),
    [
        ("knfu", {}),
        ("local", {"evaluate": {"samples": 30}}),
        ("fedmd", {"fraction": 0.4, "rounds": 3}),
        ("fedavg", {"evaluate": {"every": 2}, "rounds": 3, "fraction": 0.6}),
        ("knfu", {"model": ["mlp", "lenet5"], "evaluate": {"every": 3}}),
    ],
)
def test_the_last_rounds_accuracies_are_those_of_the_models(strategy: str, settings: dict) -> None:
    """For everybody: clients of the round, clients that were absent, clients with a broadcast."""
    result = run(strategy, **settings)
    recomputed = np.array([accuracies(result, client) for client in range(5)])
    for column, name in enumerate(("local", "global")):
        values = recomputed[:, column]
        told = result.summary[f"alma_{name}"]
        assert told["last"] == pytest.approx(values.mean(), abs=1e-12)
        assert told["std"] == pytest.approx(values.std(), abs=1e-12)
        assert result.rounds[f"alma_{name}"].to_pylist()[-1] == told["last"]
    frame = result.clients.to_pandas()
    for client in range(5):
        mine = frame[frame["client"] == client]
        for column, name in enumerate(("local", "global")):
            last = mine[mine["metric"] == name]["value"].iloc[-1]
            assert last == pytest.approx(recomputed[client, column], abs=1e-12)


def test_every_clients_model_is_the_one_it_received() -> None:
    """Parametric strategies: absent clients have the server's model as well."""
    result = run("fedavg", fraction=0.4)
    states = [result.model(client).state_dict() for client in range(5)]
    for state in states[1:]:
        assert all(torch.equal(state[name], states[0][name]) for name in state)


def test_model_is_ready_to_use(knfu: RunResult) -> None:
    model = knfu.model(3)
    assert not model.training
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert knfu.model(3) is not model
    assert not torch.equal(next(model.parameters()), next(knfu.model(2).parameters()))
    with pytest.raises((IndexError, FileNotFoundError)):
        knfu.model(5)


def test_the_summary_is_the_last_file_of_a_run(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is killed: a run with a summary counts as finished, and nobody goes on with it."""

    def files(folder: Path) -> dict[str, bytes]:
        found = (path for path in folder.rglob("[!.]*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in found}

    before: dict[str, bytes] = {}

    def write(path: Path, text: str) -> None:
        before.update(files(path.parent))
        path.write_text(text)

    monkeypatch.setattr("fedkd.run.executing.write_text", write)
    settings = {"checkpoint.every": 1, "record.knowledge": True, "log": ["tensorboard"]}
    result = run("knfu", **settings)
    after = files(result.run_dir)
    del after["summary.json"]
    assert "clients.parquet" in before
    assert after == before


def test_the_summary_has_exactly_the_contracts_fields(knfu: RunResult) -> None:
    summary = json.loads((knfu.run_dir / "summary.json").read_text())
    assert summary == knfu.summary
    fields = """
        schema strategy data clients rounds seed engine task metric more_is_better score_local
        score_global alma_local alma_global tested evaluated
        worst_decile ece privacy rejected diverged restarts bytes_up bytes_down seconds digest
        versions
    """
    assert list(summary) == fields.split()
    accuracy = {"last", "best", "std"}
    assert set(summary["alma_local"]) == set(summary["alma_global"]) == accuracy
    assert set(summary["seconds"]) == {"total", "fit", "fuse", "distil", "evaluate", "startup"}
    assert summary["schema"] == 2
    assert [summary[f"score_{name}"] for name in ("local", "global")] == [
        summary[f"alma_{name}"] for name in ("local", "global")
    ]
    assert (summary["task"], summary["metric"], summary["more_is_better"]) == (
        *("classification", "accuracy"),
        True,
    )
    told = [summary[name] for name in ("strategy", "data", "clients", "rounds", "seed", "engine")]
    assert told == ["knfu", "digits", 5, 2, 0, "inline"]
    assert summary["rejected"] == summary["restarts"] == 0
    assert len(summary["digest"]) == 64
    assert {"fedkd", "flwr", "torch", "python"} <= set(summary["versions"])
    assert all(value >= 0 for value in summary["seconds"].values())
    phases = sum(v for name, v in summary["seconds"].items() if name != "total")
    assert phases <= summary["seconds"]["total"] + 1e-6


def test_last_is_the_headline_and_best_stands_beside_it() -> None:
    result = run("fedmd", rounds=4, fit={"lr": 0.5})
    for name in ("local", "global"):
        column = result.rounds[f"alma_{name}"].to_pylist()
        told = result.summary[f"alma_{name}"]
        assert told["last"] == column[-1]
        assert told["best"] == max(column)
        assert told["std"] == result.rounds[f"alma_{name}_std"].to_pylist()[-1]
    for name in ("rejected", "bytes_up", "bytes_down"):
        assert result.summary[name] == sum(result.rounds[name].to_pylist())


def test_unmeasured_rounds_are_null_not_zero() -> None:
    result = run(rounds=3, evaluate={"every": 2})
    local = result.rounds["alma_local"].to_pylist()
    assert local[0] is None
    assert None not in local[1:]
    assert result.summary["alma_local"]["best"] == max(local[1:])


def test_knowledge_bytes_are_the_soft_labels(knfu: RunResult) -> None:
    """200 transfer samples x 10 classes x 4 bytes, and headers, from 5 clients in 2 rounds."""
    labels = 200 * 10 * 4
    for direction, ids in (("bytes_up", 4 * 200), ("bytes_down", 0)):
        payload = 2 * 5 * (labels + ids)
        assert payload <= knfu.summary[direction] <= payload + 2 * 5 * 400


def test_the_workbench_measures_like_design_section_1(knfu: RunResult) -> None:
    bench = Workbench((knfu.run_dir / "spec.json").read_text())
    x, _ = bench.test(None)
    with torch.no_grad():
        numbers = bench.scores(Classification(), 2, knfu.model(2)(x), None)
    expected = accuracies(knfu, 2)
    assert (numbers["local"], numbers["global"]) == pytest.approx(expected, abs=1e-12)


def test_a_temporary_run_directory_lives_as_long_as_the_result() -> None:
    result = run("local", rounds=1)
    folder = result.run_dir
    assert folder.exists()
    del result
    assert not folder.exists()
