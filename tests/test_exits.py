"""``sys.exit`` in a plug-in, and what else passes ``except Exception``: a failure by name."""

import re
from pathlib import Path
from typing import Any

import pytest
from support import mostly_slow
from typer.testing import CliRunner

import fedkd
from fedkd.cli.app import app
from fedkd.errors import ConfigError, RunError
from fedkd.plugins import load_object

FILE = f"{Path(__file__).parent}/plugins/leaving.py"
ENGINES = {
    "inline": "inline",
    "ray": {"name": "ray", "actors": 2},
    "flower": {"name": "flower", "actors": 1},
}
HOSTILE = {"attack": {"name": f"{FILE}:Hostile", "fraction": 0.25}}
SIDE_BY_SIDE = {"name": "inline", "stack": 4}
TINY = {"clients": 4, "rounds": 2, "transfer.size": 40, "engine": "inline"}


def run(strategy: Any = "fedmd", **settings: Any) -> Any:
    return fedkd.simulate(strategy, **TINY | settings)


def rejected(result: Any) -> list[tuple[int, int]]:
    rows = result.clients.to_pylist()
    return [(row["round"], row["client"]) for row in rows if row["metric"] == "rejected"]


# -- at a client ---------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["exit", "generator", "own"])
@pytest.mark.parametrize("phase", ["fit", "distil", "predict"])
def test_a_client_loop_that_leaves_costs_its_client(how: str, phase: str) -> None:
    loop = {"name": f"{FILE}:Loop", "how": how, "phase": phase}
    result = run(client=loop)
    assert rejected(result) == [(1, 1), (2, 1)]
    assert result.summary["rejected"] == 2


@pytest.mark.parametrize("engine", mostly_slow(ENGINES, "inline"))
def test_it_is_the_same_on_every_engine(engine: str, tmp_path: Path) -> None:
    """Also with no actor lost: other clients live on it."""
    settings = {"client": {"name": f"{FILE}:Loop"}, **HOSTILE}
    result = run(run_dir=str(tmp_path / "run"), engine=ENGINES[engine], **settings)
    alone = run(**settings)
    assert {(1, 1), (2, 1)} < set(rejected(result))
    assert rejected(result) == rejected(alone)
    assert result.summary["restarts"] == 0
    assert result.summary["digest"] == alone.summary["digest"]
    told = "client 1, round 1, train.fit: SystemExit: 0"
    assert told in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.parametrize(
    "setting",
    [
        {"strategy": f"{FILE}:Uploads"},
        HOSTILE,
    ],
    ids=["exchange", "mod"],
)
def test_so_does_whatever_else_runs_at_a_client(setting: dict[str, Any]) -> None:
    result = run(**setting)
    assert result.summary["rejected"] == 2
    assert result.summary["restarts"] == 0


def test_an_objective_that_leaves_fails_alone_and_side_by_side() -> None:
    """Nobody can learn, so the run has failed."""
    for engine in ("inline", SIDE_BY_SIDE):
        with pytest.raises(RunError, match=r"^every client failed in train\.distil; .*SystemExit"):
            run(objective=f"{FILE}:Objective", engine=engine)


MEMORY = "objective", "Counting", r"distil; .*Counting's memory\['batches'\]=2 is of type int"


@pytest.mark.parametrize(
    ("engine", "key", "name", "words"),
    [
        ("inline", *MEMORY),
        ("inline", "client", "Noting", r"fit; .*TypeError: losses=\[.*\] is of type list"),
        pytest.param("flower", *MEMORY, marks=pytest.mark.slow),
    ],
)
def test_what_is_no_tensor_is_not_kept(key: str, name: str, words: str, engine: str) -> None:
    """In the first round, not when a checkpoint is written or the client moves."""
    line = rf"^every client failed in train\.{words}, and clients keep tensors alone: use torch"
    with pytest.raises(RunError, match=line) as caught:
        run(engine=engine, **{key: f"tests/plugins/keeping.py:{name}"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "query"), [({"sampler": "Picks"}, "score"), ({"oracle": "Labels"}, "annotate")]
)
def test_a_sampler_or_oracle_that_leaves_is_named(setting: dict[str, str], query: str) -> None:
    kafal = {"name": "kafal", "rounds_per_cycle": 1, "budget": 0.1, "initial": 0.2}
    given = {key: f"{FILE}:{name}" for key, name in setting.items()}
    cause = rf"^every client failed in query\.{query}; the first: client 0, .*: SystemExit: 0"
    with pytest.raises(RunError, match=cause):
        run(kafal, **{"data.samples_per_client": 30}, **given)


# -- at the server -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "name", "where"),
    [
        ("inline", "Strategy", "fuse"),
        ("inline", "Blocks", "fuse"),
        ("inline", "Strategy", "refine"),
        pytest.param("ray", "Blocks", "fuse", marks=pytest.mark.slow),
        pytest.param("flower", "Strategy", "refine", marks=pytest.mark.slow),
    ],
)
def test_a_strategy_that_leaves_has_failed(engine: str, name: str, where: str) -> None:
    strategy = {"name": f"{FILE}:{name}", "where": where}
    with pytest.raises(RunError, match="SystemExit: 0") as caught:
        run(strategy, engine=ENGINES[engine])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", ["exit", "generator", "own"])
@pytest.mark.parametrize("where", ["init", "refusal", "save"])
def test_so_has_one_that_leaves_beside_the_rounds(how: str, where: str, tmp_path: Path) -> None:
    strategy = {"name": f"{FILE}:Strategy", "where": where, "how": how}
    with pytest.raises(fedkd.errors.FedkdError, match=r"SystemExit|GeneratorExit|Enough"):
        run(strategy, run_dir=str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("engine", "hook"),
    [
        *(("inline", hook) for hook in ("start", "phase", "round", "end")),
        pytest.param("ray", "phase", marks=pytest.mark.slow),
    ],
)
def test_a_callback_that_leaves_fails_the_run(engine: str, hook: str) -> None:
    watcher = load_object(f"{FILE}:Watcher")(hook)
    with pytest.raises(RunError, match="SystemExit: 0"):
        run(callbacks=[watcher], engine=ENGINES[engine])


@pytest.mark.parametrize(("name", "verb"), [("Model", "fails on"), ("unbuilt", "cannot be built")])
def test_a_model_that_leaves_is_refused(name: str, verb: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"^model={re.escape(FILE)}:{name}: {verb}.*SystemExit: 0"
    ):
        run(model=f"{FILE}:{name}")


def test_an_interrupt_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C is the user's, and no client's failure."""

    def interrupted(*given: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("fedkd.clients.standard.Standard.fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()


def test_a_polite_kill_is_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a program handles no SIGTERM itself, Ray's handler raises SystemExit in it."""
    namespace = {"__name__": "ray._private.worker"}
    exec("import sys\ndef sigterm_handler(*given):\n    sys.exit(15)", namespace)
    monkeypatch.setattr("fedkd.clients.standard.Standard.fit", namespace["sigterm_handler"])
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 15


# -- the command line ----------------------------------------------------------------------------


def command(*words: str) -> Any:
    return CliRunner().invoke(app, [*words, "engine=inline", "clients=4", "rounds=1"])


def test_a_run_that_a_plug_in_ends_has_not_ended_well(tmp_path: Path) -> None:
    for where in ("init", "refusal", "fuse"):
        words = [f"strategy={FILE}:Strategy", f"strategy.where={where}"]
        got = command("run", *words, f"run_dir={tmp_path}/{where}")
        assert got.exit_code in (1, 2)
        assert "SystemExit: 0" in got.output
        assert "Traceback" not in got.output
        dry = command("run", *words, "--dry-run")
        assert (dry.exit_code == 0) == (where == "fuse")
    assert command("run", f"strategy={FILE}:Missing").exit_code == 2


@pytest.mark.parametrize("where", ["init", "refusal", "fuse"])
def test_a_sweep_goes_on_and_says_that_one_failed(where: str, tmp_path: Path) -> None:
    """But for a strategy that nobody can make: no run could use it."""
    file = tmp_path / "leaving_now.py"
    file.write_text(
        Path(FILE).read_text().replace('where: str = "fuse"', f'where: str = "{where}"')
    )
    strategies = f"strategy={file}:Strategy,local"
    got = command("run", "-m", strategies, f"run_dir={tmp_path}/sweep")
    assert got.exit_code in (1, 2)
    if where == "init":
        assert "SystemExit: 0" in got.output
        assert not (tmp_path / "sweep").exists()
        return
    assert "1 of 2 runs failed" in got.output
    assert len(list((tmp_path / "sweep").glob("*/summary.json"))) == 1


def test_check_says_that_a_plug_in_left() -> None:
    got = CliRunner().invoke(app, ["check", f"{FILE}:Strategy"])
    assert got.exit_code == 1
    assert "SystemExit: 0" in got.output
