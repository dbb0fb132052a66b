"""KAFAL: cycles, pools, queries, averaging; on parameters and on soft labels."""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from fedkd.clients.pools import LABELS
from fedkd.clients.samplers import Sampler
from fedkd.clients.samplers.base import Pool
from fedkd.clients.samplers.ksas import KSAS
from fedkd.strategies.cycles import Cycles, imbalance
from fedkd.strategies.kafal import KAFAL
from fedkd.strategies.kafal_soft import KAFALSoft, by_class
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from typer.testing import CliRunner

from fedkd import ConfigError, RunResult, simulate
from fedkd.cli.app import app
from fedkd.config.overrides import compose, merge
from fedkd.knowledge import KnowledgeStack, to_tensor
from fedkd.models.flat import unflatten
from fedkd.plugins import available
from fedkd.report import Run
from fedkd.report.cycles import by_cycle
from fedkd.report.drawing.labels import imbalance_figure, last_imbalance
from fedkd.run.estimate import plan
from fedkd.rundir.checkpoint import newest
from fedkd.rundir.digest import digest
from fedkd.rundir.recordings import Recordings

SIZE = 40
SMALL: dict[str, Any] = {
    "clients": 4,
    "rounds": 6,
    "engine": "inline",
    "data.samples_per_client": SIZE,
    "transfer.size": 60,
    "checkpoint.every": 1,
}
CYCLE = {"rounds_per_cycle": 2, "budget": 0.1}
HARD = {"name": "kafal", **CYCLE}
SOFT = {"name": "kafal_soft", **CYCLE}


def run(strategy: dict[str, Any] = HARD, **settings: Any) -> RunResult:
    return simulate(strategy, **SMALL | settings)


def column(result: RunResult, name: str) -> list[Any]:
    return result.rounds[name].to_pylist()  # type: ignore[no-any-return]


def pools(run_dir: Path) -> list[Tensor]:
    """Return every client's labels as the newest checkpoint has them."""
    checkpoint = newest(run_dir)
    assert checkpoint is not None
    kept = {k: v for some in checkpoint.clients for k, v in some.items()}
    return [to_tensor(kept[k].array_records["tensors"][LABELS]) for k in sorted(kept)]


RECORD = {"knowledge": True}
LATE = {"rounds": 3, "clients": 10, "seed": 1, "faults.straggler": 0.4, "data.alpha": 1.0}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """Note the logits that KSAS has from the two models, client by client."""
    seen: list[dict[str, Tensor]] = []
    score = KSAS.score

    def noting(self: KSAS, pool: Pool) -> Tensor:
        probe = torch.ones(1, *pool.x.shape[1:])
        seen.append({which: pool.predict(which, probe) for which in ("local", "global")})
        return score(self, pool)

    monkeypatch.setattr(KSAS, "score", noting)
    return seen


@pytest.mark.parametrize("name", ["kafal", "kafal_student"])
def test_a_late_client_compares_its_model_with_the_last_that_it_received(
    name: str, asked: list[dict[str, Tensor]], tmp_path: Path
) -> None:
    result = run({**HARD, "name": name}, **LATE, run_dir=str(tmp_path / "r"), record=RECORD)
    rows = [row for row in result.clients.to_pylist() if row["round"] == 2]
    late = {row["client"] for row in rows if row["metric"] == "late"}
    assert len(late) == 4
    before, last = Recordings(tmp_path / "r").read(1), Recordings(tmp_path / "r").read(2)
    for client, logits in enumerate(asked):
        received = last.start(client)
        if client not in late or received is None:
            lesson = (before if client in late else last).target(client)
            assert lesson is not None
            received = lesson.values
        model = unflatten(result.model(client), received)
        torch.testing.assert_close(logits["global"], model(torch.ones(1, 64)).detach())
        assert not torch.equal(logits["global"], logits["local"])
    assert column(result, "unheard") == [None, None, 0]


def test_who_never_had_a_global_model_is_counted(asked: list[dict[str, Tensor]]) -> None:
    result = run(SOFT, **LATE)
    unheard = sum(torch.equal(each["local"], each["global"]) for each in asked)
    assert column(result, "unheard") == [None, None, unheard]
    assert unheard == 1


@pytest.mark.parametrize("strategy", [HARD, SOFT], ids=["hard", "soft"])
def test_cycles_labels_and_queries(strategy: dict[str, Any]) -> None:
    result = run(strategy)
    assert column(result, "cycle") == [1, 1, 2, 2, 3, 3]
    first, each = 4 * 4, 4 * 4  # ceil(0.1 * 40) a client, twice
    assert column(result, "labels") == [first] * 2 + [first + each] * 2 + [first + 2 * each] * 2
    assert column(result, "annotated") == [None, None, each, None, each, None]
    assert column(result, "cost") == [None, None, each, None, each, None]
    queried = [sum(column(result, f"queried_{c}")[2] for c in range(10))]
    assert queried == [each]
    picks = column(result, "picks")
    assert [bool(pick) for pick in picks] == [False, False, True, False, True, False]
    assert picks[2] != picks[4]


def test_pools_only_grow_hold_true_labels_and_are_never_sent(tmp_path: Path) -> None:
    before: list[Tensor] = []
    for rounds in (2, 3, 5):
        run_dir = tmp_path / "run"
        if rounds == 2:
            result = run(rounds=2, run_dir=str(run_dir))
        else:
            done = CliRunner().invoke(app, ["run", f"resume={run_dir}", f"rounds={rounds}"])
            assert done.exit_code == 0, done.output
        now = pools(run_dir)
        assert [int((labels >= 0).sum()) for labels in now] == [4 * (rounds // 2 + rounds % 2)] * 4
        for old, new in zip(before, now, strict=False):
            assert torch.equal(new[old >= 0], old[old >= 0])
        before = now
    # One vector of parameters and one number travel up, whatever is labelled.
    ups = column(result, "bytes_up")
    assert len(set(ups)) == 1


def test_the_last_round_of_a_cycle_has_everybody() -> None:
    result = run(fraction=0.5)
    assert column(result, "participants") == [2, 4, 2, 4, 2, 4]
    whole = [row for row in result.clients.to_pylist() if row["round"] == 6]
    values = {row["value"] for row in whole if row["metric"] == "global"}
    assert len(values) == 1  # all have the server's model


def test_parameters_are_averaged_by_labelled_samples() -> None:
    values, none = torch.tensor([[1.0, 0.0], [4.0, 4.0]]), torch.zeros(0, dtype=torch.int64)
    stack = KnowledgeStack(
        "parameters", values, [0, 1], none, extras={"samples": torch.tensor([[1.0], [3.0]])}
    )
    assert torch.equal(KAFAL().fuse(stack), torch.tensor([3.25, 3.0]))


@pytest.mark.parametrize("reset", [True, False])
def test_a_cycle_starts_afresh_or_goes_on(reset: bool) -> None:
    """Without any learning the server's model changes at a cycle's start, or never."""
    still = {"fit": {"epochs": 0}, "rounds": 3}
    one = run({**HARD, "reset": reset}, **still | {"rounds": 2})
    two = run({**HARD, "reset": reset}, **still)
    same = digest([one.model(0).state_dict()], {}) == digest([two.model(0).state_dict()], {})
    assert same == (not reset)


def test_compensation_is_off_in_each_cycles_first_round() -> None:
    """With one round a cycle it never plays a part; with two it does."""
    always_first = {"rounds_per_cycle": 1, "budget": 0.1}
    some = {"rounds": 2, "fit": {"epochs": 4}, "data.alpha": 1.0}
    one, two = (
        run({"name": "kafal", **always_first, "kd_weight": weight}, **some).summary["digest"]
        for weight in (1.0, 5.0)
    )
    assert one == two
    three, four = (
        run({**HARD, "kd_weight": weight}, **some).summary["digest"] for weight in (1.0, 5.0)
    )
    assert three != four


@pytest.mark.parametrize(
    "changed",
    [{"balanced": False}, {"persist": False}, {"beta": 0.5}, {"absent": "max"}, {"milestone": 1}],
    ids=lambda changed: next(iter(changed)),
)
def test_every_switch_matters(changed: dict[str, Any]) -> None:
    fit = {"fit": {"epochs": 4}, "rounds": 2, "data.alpha": 1.0}
    assert run({**HARD, **changed}, **fit).summary["digest"] != run(**fit).summary["digest"]


def test_buffers_of_batch_norm_survive() -> None:
    result = run(model="resnet8", rounds=2)
    state = result.model(0).state_dict()
    assert any(name.endswith("num_batches_tracked") for name in state)
    assert all(value.isfinite().all() for value in state.values() if value.is_floating_point())


def test_samplers_see_models_as_they_should_be(tmp_path: Path) -> None:
    """Local: right after the last fit. Global: what all clients share at the cycle's end."""
    plug_in = tmp_path / "spy.py"
    plug_in.write_text(
        "import torch\n"
        "from fedkd.clients.samplers import Sampler\n"
        "class Spy(Sampler):\n"
        "    def choose(self, pool, budget):\n"
        "        ours, theirs = pool.logits('local'), pool.logits('global')\n"
        "        assert not torch.equal(ours, theirs)\n"
        "        assert len(pool.x) == 36 and len(pool.labelled_x) == 4\n"
        "        assert pool.counts.sum() == 4\n"
        "        assert pool.features('global').shape[0] == 36\n"
        "        return torch.arange(budget)\n"
    )
    for strategy in (HARD, SOFT):
        result = run(strategy, sampler=f"{plug_in}:Spy", rounds=3)
        assert column(result, "annotated")[2] == 16


@pytest.mark.parametrize(
    "sampler",
    available("clients.samplers", Sampler),
)
def test_every_sampler_runs(sampler: str) -> None:
    result = run(sampler=sampler, rounds=3)
    assert column(result, "annotated")[2] == 16


def test_samplers_pick_differently() -> None:
    picks = {
        name: column(run(sampler=name, rounds=3), "picks")[2]
        for name in ("random", "margin", "ksas", "coreset")
    }
    assert len(set(picks.values())) == 4


def test_oracles() -> None:
    shy = run(oracle={"name": "abstaining", "p": 0.5}, rounds=5)
    assert 0 < column(shy, "annotated")[2] < 16
    assert column(shy, "cost")[2] == 16  # a question costs, answered or not
    assert (
        run(oracle={"name": "capped", "per_cycle": 1}, rounds=3).rounds["annotated"][2].as_py() == 4
    )
    wrong = run(oracle={"name": "noisy", "p": 1.0}, rounds=3)
    assert wrong.summary["digest"] != run(rounds=3).summary["digest"]


# -- edges ---------------------------------------------------------------------------------------


def test_a_pool_smaller_than_the_budget_is_labelled_whole_and_then_nothing() -> None:
    result = run({"name": "kafal", "rounds_per_cycle": 1, "budget": 0.6}, rounds=4)
    assert column(result, "annotated") == [None, 4 * 24, 4 * 12, 0]
    assert column(result, "labels")[-1] == 4 * SIZE


def test_everything_labelled_from_the_start() -> None:
    result = run({**HARD, "initial": 1.0}, rounds=3)
    assert column(result, "labels") == [4 * SIZE] * 3
    assert column(result, "annotated")[2] == 0


def test_one_class_per_client_works_and_is_seeded() -> None:
    one = {"data.partitioner": {"name": "pathological", "num_classes_per_partition": 1}}
    settings = one | {"data.samples_per_client": None, "clients": 10, "rounds": 3}
    first, second = (run(**settings) for _ in range(2))
    assert first.summary["digest"] == second.summary["digest"]
    assert column(first, "picks") == column(second, "picks")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"budget": 0.0}, r"budget=0\.0: must be in \(0, 1\]"),
        ({"budget": 1.5}, r"budget=1\.5: must be in \(0, 1\]"),
        ({"initial": 0.0}, r"initial=0\.0: must be in \(0, 1\]"),
        ({"rounds_per_cycle": 0}, "rounds_per_cycle=0: must be at least 1"),
        ({"kd_weight": -1.0}, "kd_weight=-1.0: must be at least 0"),
        ({"beta": 0.0}, "beta=0.0: must be greater than 0"),
        ({"milestone": 0}, "milestone=0: must be at least 1"),
    ],
)
@pytest.mark.parametrize("name", ["kafal", "kafal_soft"])
def test_bad_parameters_are_refused(name: str, wrong: dict[str, Any], message: str) -> None:
    if name == "kafal_soft" and "milestone" in wrong:
        pytest.skip("kafal_soft has no milestone")
    with pytest.raises(ConfigError, match=message):
        run({"name": name, **wrong})


def test_mixed_models_are_for_the_soft_one() -> None:
    with pytest.raises(ConfigError, match="kafal shares one model"):
        run(model=["mlp", "lenet5"])
    for aggregation in ("samples", "classes", "knfu"):
        result = run({**SOFT, "aggregation": aggregation}, model=["mlp", "lenet5"], rounds=3)
        assert column(result, "annotated")[2] == 16


# -- the soft consensus --------------------------------------------------------------------------


def soft_stack(**extras: Tensor) -> KnowledgeStack:
    labels = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]])
    return KnowledgeStack("soft_labels", labels, [0, 1], torch.arange(1), extras=extras)


def test_the_consensus_by_hand() -> None:
    counts = torch.tensor([[1.0, 0.0], [1.0, 2.0]])
    stack = soft_stack(samples=counts.sum(dim=1, keepdim=True), counts=counts)
    torch.testing.assert_close(KAFALSoft().fuse(stack), torch.tensor([[0.6, 0.4]]))
    wanted = torch.tensor([[0.7, 0.5]]) / 1.2
    torch.testing.assert_close(KAFALSoft(aggregation="classes").fuse(stack), wanted)
    assert KAFALSoft(aggregation="knfu").fuse(stack).shape == (2, 1, 2)


def test_a_class_that_nobody_has_falls_back_to_the_mean() -> None:
    counts = torch.tensor([[3.0, 0.0], [1.0, 0.0]])
    fallback = torch.tensor([[0.6, 0.4]])
    values = by_class(soft_stack().values, counts, fallback)
    torch.testing.assert_close(values, torch.tensor([[0.8, 0.4]]) / 1.2)


def test_only_class_wise_aggregation_shares_label_counts() -> None:
    assert KAFALSoft().exchange_node()["share_counts"] is False
    assert KAFALSoft(aggregation="classes").exchange_node()["share_counts"] is True


# -- the same picks ------------------------------------------------------------------------------


def ends(run_dir: Path) -> tuple[Any, ...]:
    rounds = pq.read_table(run_dir / "rounds.parquet").to_pylist()
    summary = (run_dir / "summary.json").read_text()
    return [row.get("picks") for row in rounds], json.loads(summary)["digest"]


KILL = """
import os, signal, sys, json
from fedkd import simulate
from fedkd.callbacks import Callback

class Kill(Callback):
    def __init__(self, round_, phase): self.when = round_, phase
    def on_phase(self, round_, phase, done, total):
        if (round_, phase) == self.when: os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    simulate(callbacks=[Kill(int(sys.argv[2]), sys.argv[3])], **json.loads(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], Path]:
    """Return the directory of a strategy's whole run, run once."""

    @cache
    def made(name: str) -> Path:
        run_dir = tmp_path_factory.mktemp("whole") / "run"
        run(json.loads(name), run_dir=str(run_dir), fraction=0.5)
        return run_dir

    return lambda strategy: made(json.dumps(strategy))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "round_", "phase"),
    [
        (HARD, 3, "score"),
        (SOFT, 3, "annotate"),
        (HARD, 3, "kcfu"),
        (SOFT, 4, "kcfu"),
        (SOFT, 4, "distil"),
    ],
)
def test_killed_anywhere_and_resumed_the_picks_are_the_same(
    strategy: dict[str, Any],
    round_: int,
    phase: str,
    whole: Callable[[dict[str, Any]], Path],
    tmp_path: Path,
) -> None:
    broken = tmp_path / "broken"
    settings = SMALL | {"strategy": strategy, "run_dir": str(broken), "fraction": 0.5}
    program = [sys.executable, "-c", KILL, json.dumps(settings), str(round_), phase]
    done = subprocess.run(program, capture_output=True, timeout=120, check=False, env=os.environ)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert CliRunner().invoke(app, ["run", f"resume={broken}"]).exit_code == 0
    assert ends(broken) == ends(whole(strategy))


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "actors"), [(HARD, 2), (SOFT, 1)])
def test_actors_make_the_same_picks(strategy: dict[str, Any], actors: int) -> None:
    one = run(strategy, sampler="badge")
    two = run(strategy, sampler="badge", engine={"name": "ray", "actors": actors})
    assert column(one, "picks") == column(two, "picks")
    assert one.summary["digest"] == two.summary["digest"]


@pytest.mark.parametrize(("rule", "wanted"), [("proportional", [2, 3, 4]), ("equal", [3, 3, 3])])
def test_budgets(rule: Any, wanted: list[int]) -> None:
    assert Cycles(budget=0.1, rule=rule).parts([11, 21, 31]) == wanted


# -- how even the labels are ---------------------------------------------------------------------


@given(counts=st.lists(st.integers(1, 500), min_size=1, max_size=20), scale=st.integers(1, 9))
def test_the_imbalance_ratio(counts: list[int], scale: int) -> None:
    ratio = imbalance(torch.tensor(counts))
    assert ratio == max(counts) / min(counts) >= 1
    assert imbalance(torch.tensor(counts) * scale) == pytest.approx(ratio)
    assert imbalance(torch.tensor([*counts, 0])) == math.inf


def test_the_imbalance_of_the_labelled_pools_is_a_column(tmp_path: Path) -> None:
    """It is that of the pools as the clients have them, from the first round of a cycle on."""
    result = run(rounds=5, run_dir=str(tmp_path / "run"), **{"data.alpha": 1.0})
    counts = torch.stack(
        [torch.bincount(own[own >= 0], minlength=10) for own in pools(result.run_dir)]
    )
    ratios, absent = column(result, "imbalance"), column(result, "absent")
    assert [ratio is None for ratio in ratios] == [False, True, False, True, False]
    assert ratios[-1] == imbalance(counts.sum(dim=0))
    assert absent[-1] == (counts == 0).sum(dim=1).double().mean().item()
    assert absent[0] >= absent[2] >= absent[4]  # labels only become more
    assert [second is None for second in column(result, "seconds_query")] == [
        ratio is None for ratio in ratios
    ]


def test_a_class_that_nobody_has_a_label_of_makes_the_ratio_infinite() -> None:
    one = {"data.partitioner": {"name": "pathological", "num_classes_per_partition": 1}}
    result = run(**one | {"data.samples_per_client": None, "rounds": 1})  # 4 clients: 4 classes
    assert column(result, "imbalance") == [math.inf]
    assert column(result, "absent") == [9.0]
    read = Run.load(result.run_dir)
    assert last_imbalance([read]) == math.inf
    texts = [text.get_text() for text in imbalance_figure(read).axes[0].texts]
    assert texts == ["infinite throughout"]


def test_what_a_cycle_cost_and_brought(report: None) -> None:
    result = run()
    rows = by_cycle(Run.load(result.run_dir))
    assert [row["cycle"] for row in rows] == [1, 2, 3]
    assert [row["labels"] for row in rows] == [16, 32, 48]
    assert math.isnan(rows[0]["annotated"])
    assert [row["annotated"] for row in rows[1:]] == [16, 16]
    for name in ("bytes_up", "bytes_down", "seconds"):
        assert sum(row[name] for row in rows) == pytest.approx(sum(column(result, name)))
    accuracies = column(result, "alma_global")
    assert [row["accuracy"] for row in rows] == accuracies[1::2]
    page = (result.run_dir / "report.html").read_text()
    assert "<h2>Cycles</h2>" in page
    assert "most frequent class / rarest" in page


# -- what a dry run says -------------------------------------------------------------------------


def test_a_dry_run_counts_the_labels_of_each_cycle() -> None:
    strategy = KAFAL(rounds_per_cycle=2, initial=0.1, budget=0.25)
    samples = [[load.samples for load in strategy.workloads(r, [40, 8])] for r in (1, 2, 3, 5, 9)]
    assert samples == [[4, 1], [4, 1], [14, 3], [24, 5], [40, 8]]


def test_a_dry_run_counts_the_compensation() -> None:
    """A step on as many unlabelled samples, and the teacher's forward pass, but not at first."""

    def costs(number: int, **parameters: Any) -> tuple[float, float]:
        (load,) = KAFAL(**CYCLE, **parameters).workloads(number, [40])
        return load.steps, load.passes

    assert costs(1) == costs(3) == (1, 0)
    assert costs(2) == costs(4) == (2, 1)
    assert costs(2, kd_weight=0.0) == (1, 0)
    assert costs(2, initial=1.0) == (1, 0)  # nothing is left to compensate with


@pytest.mark.parametrize("strategy", ["kafal", "kafal_soft"])
def test_what_a_dry_run_says_is_what_the_run_does(strategy: str) -> None:
    node = {"name": strategy, **CYCLE}
    result = run(node, rounds=5, fraction=0.5)
    whole = compose([f"strategy={strategy}", "strategy.rounds_per_cycle=2", "strategy.budget=0.1"])
    expected = plan(merge(whole, **SMALL | {"rounds": 5, "fraction": 0.5}))
    assert expected.participations == sum(column(result, "participants"))
    assert expected.trained == (column(result, "labels")[0], column(result, "labels")[-1])
    headers = sum(column(result, "bytes_up")) - expected.participations * expected.bytes_up
    assert 0 <= headers < 1000 * expected.participations


def test_the_preset_is_the_papers_protocol() -> None:
    """Reference: Cao et al., the official configuration."""
    config = compose(["experiment=kafal_cifar10"])
    node = config.strategy
    assert (node["name"], node["rounds_per_cycle"], node["milestone"]) == ("kafal", 50, 260)
    assert (node["initial"], node["budget"], config.rounds) == (0.1, 0.05, 6 * 50)
    assert (config.clients, config.fraction, config.data.alpha) == (10, 0.8, 0.1)
    assert (config.fit.epochs, config.fit.batch_size, config.fit.lr) == (40, 128, 0.1)
    assert (config.fit.momentum, config.fit.weight_decay, config.fit.augment) == (0.9, 5e-4, True)
    assert (config.model, config.sampler["name"]) == ("resnet8", "ksas")
    strategy = KAFAL(**{key: value for key, value in node.items() if key != "name"})
    assert strategy.reset
    assert strategy.learner["persist"]
    assert strategy.learner["balanced"]
    assert (strategy.learner["kd_weight"], strategy.learner["beta"]) == (1.0, 2.0)
    labels = [sum(strategy.cycles.labelled([5000] * 10, 50 * c)) for c in range(1, 7)]
    assert labels == [5000, 7500, 10000, 12500, 15000, 17500]


@pytest.mark.slow
def test_a_sweep_over_samplers_and_its_comparison(tmp_path: Path) -> None:
    """Flags may come after the overrides."""
    sizes = ["rounds=10", "clients=4", "data.samples_per_client=60", "engine=inline"]
    words = ["experiment=kafal_digits", "sampler=random,ksas", "seed=0,1", *sizes]
    done = CliRunner().invoke(app, ["run", *words, f"run_dir={tmp_path}/sweep", "-m"])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, ["compare", f"{tmp_path}/sweep"])
    assert done.exit_code == 0, done.output
    titles = next(line for line in done.output.splitlines() if "area %" in line)
    assert "labels" in titles
    assert "imbalance" in titles
    assert "paired over 2 seeds" in " ".join(done.output.split())
    page = (tmp_path / "sweep" / "report.html").read_text()
    assert "labels used, all clients" in page
