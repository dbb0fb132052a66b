"""Compressed runs: codecs compose with any method, attack and engine; bad replies are rejected."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from fedkd.clients.mods import compressing
from fedkd.strategies.cfd import CFD
from fedkd.strategies.dsfl import DSFL
from flwr.app import Array, RecordDict
from support import TINY
from typer.testing import CliRunner

from fedkd import ConfigError, simulate
from fedkd.callbacks import Callback
from fedkd.cli.app import app
from fedkd.config import EngineConfig
from fedkd.config.overrides import compose
from fedkd.engine import shared_ray
from fedkd.knowledge import to_arrays
from fedkd.knowledge.admission import Expected, Rejected, admit
from fedkd.maths.mixing import simplex_error
from fedkd.run.runner import run

NODES = {
    "float16": {"name": "float16"},
    "topk": {"name": "topk", "k": 2},
    "bits8": {"name": "quantised"},
    "bit": {"name": "quantised", "bits": 1},
    "unit": {"name": "quantised", "bits": 2, "scale": "unit"},
}


# -- parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings_", "words"),
    [
        ({"compress": "gzip"}, "no such compress"),
        ({"compress": {"name": "topk", "k": 0}}, "compress.k=0: must be at least 1"),
        ({"compress": {"name": "quantised", "bits": 17}}, "compress.bits=17: must be 1 to 16"),
        ({"compress": {"name": "quantised", "scale": "log"}}, "must be one of 'row', 'unit'"),
        ({"compress.bits": 3}, "none has no such parameter"),
        (
            {"compress": "topk", "strategy": "fedavg"},
            "compress=topk: is for soft_labels or logits, and fedavg has parameters",
        ),
        ({"compress": "topk", "strategy": "fd"}, "fd has class_knowledge"),
        (
            {"compress": {"name": "quantised", "scale": "unit"}, "strategy": "fedmd"},
            "is for soft_labels, and fedmd has logits",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_the_run(settings_, words):
    with pytest.raises(ConfigError, match=words) as caught:
        simulate(**TINY | settings_)
    assert "\n" not in str(caught.value)


def test_nothing_exchanged_is_fine():
    plain = simulate("local", **TINY).summary
    small = simulate("local", compress="topk", **TINY).summary
    assert small["digest"] == plain["digest"]
    assert small["bytes_up"] == plain["bytes_up"] == 0


# -- whole runs ----------------------------------------------------------------------------------


class Watcher(Callback):
    """Keeps what was admitted, and why the rest was not."""

    def __init__(self):
        self.stacks, self.rejected = [], []

    def on_round(self, record):
        self.stacks.append(record.knowledge)
        self.rejected.append(record.rejected)


@pytest.fixture(scope="module")
def plain():
    """Return the summary of a strategy's run without a codec, made once."""
    known = {}

    def summary(strategy):
        if strategy not in known:
            known[strategy] = simulate(strategy, **TINY).summary
        return known[strategy]

    return summary


@pytest.mark.parametrize(
    ("strategy", "name", "up", "down"),
    [
        *(("knfu", name, 0.7, 0.7) for name in NODES),
        ("fedmd", "topk", 0.7, 0.7),
        ("fd", "float16", 0.9, 0.9),
        ("feddf", "float16", 0.51, 0.51),
        ("feddf", "bits8", 0.28, 0.28),
        ("fedavg", "float16", 0.52, 0.52),
        ("fedavg", "bits8", 0.35, 0.35),
    ],
)
def test_a_run_exchanges_less_and_works(strategy, name, up, down, plain):
    watcher = Watcher()
    summary = simulate(strategy, compress=NODES[name], callbacks=[watcher], **TINY).summary
    before = plain(strategy)
    assert summary["rejected"] == 0
    assert summary["bytes_up"] < up * before["bytes_up"]
    assert summary["bytes_down"] < down * before["bytes_down"]
    assert summary["digest"] != before["digest"]
    if watcher.stacks[-1] is not None and watcher.stacks[-1].kind == "soft_labels":
        assert simplex_error(watcher.stacks[-1].values) < 1e-5


def test_either_way_can_be_left_alone(plain):
    before = plain("knfu")
    only_up = simulate("knfu", compress={"name": "float16", "down": False}, **TINY).summary
    assert only_up["bytes_down"] == before["bytes_down"]
    assert only_up["bytes_up"] < 0.7 * before["bytes_up"]
    only_down = simulate("knfu", compress={"name": "float16", "up": False}, **TINY).summary
    assert only_down["bytes_up"] == before["bytes_up"]
    assert only_down["bytes_down"] < 0.7 * before["bytes_down"]
    neither = {"name": "float16", "up": False, "down": False}
    assert simulate("knfu", compress=neither, **TINY).summary["digest"] == before["digest"]


def test_clients_learn_from_what_was_decoded():
    """A model that was sent in half precision has no other numbers."""
    result = simulate("fedavg", compress="float16", **TINY)
    for client in range(TINY["clients"]):
        for value in result.model(client).state_dict().values():
            assert torch.equal(value, value.half().float())
    whole = simulate("fedavg", compress={"name": "float16", "down": False}, **TINY)
    weight = next(iter(whole.model(0).state_dict().values()))
    assert not torch.equal(weight, weight.half().float())


@pytest.mark.parametrize("name", ["float16", "bits8", "unit"])
def test_attacks_act_before_the_encoding(name, plain):
    """What hostile clients are sure of arrives as sure as they sent it."""
    watcher = Watcher()
    summary = simulate(
        {"name": "fedmd", "exchange": "soft_labels"},
        compress=NODES[name],
        attack={"name": "random_one_hot", "fraction": 0.4},
        callbacks=[watcher],
        **TINY,
    ).summary
    assert summary["rejected"] == 0
    for stack in watcher.stacks:
        sure = (stack.values.amax(dim=-1) == 1).all(dim=-1)
        assert int(sure.sum()) == 2


def test_an_attack_that_remembers_its_teacher_sees_the_decoded_one():
    shared = {"attack": {"name": "lma", "fraction": 0.4}, "compress": NODES["bits8"]}
    once = simulate("dsfl", **shared, **TINY).summary
    assert once["rejected"] == 0
    assert once["digest"] == simulate("dsfl", **shared, **TINY).summary["digest"]
    assert once["digest"] != simulate("dsfl", compress=NODES["bits8"], **TINY).summary["digest"]


def test_simulated_faults_and_absent_clients(plain):
    more = {"fraction": 0.6, "faults.dropout": 0.2, "faults.straggler": 0.2, "faults.crash": 0.2}
    result = simulate("knfu", compress="quantised", **TINY | more | {"rounds": 4})
    reasons = {row["metric"] for row in result.clients.to_pylist() if row["value"]}
    assert reasons & {"dropped_out", "late", "crashed"}


def test_a_resumed_run_ends_like_a_whole_one(tmp_path):
    settings_ = TINY | {"compress": NODES["bits8"], "fraction": 0.6, "checkpoint.every": 2}
    whole = simulate("knfu", **settings_ | {"rounds": 4}).summary
    run_dir = tmp_path / "run"
    simulate("knfu", **settings_, run_dir=str(run_dir))
    again = run(compose([f"resume={run_dir}", "rounds=4"])).summary
    assert again["digest"] == whole["digest"]
    assert (again["bytes_up"], again["bytes_down"]) == (whole["bytes_up"], whole["bytes_down"])


class Frugal(DSFL):
    """Has a codec of its own."""

    def compress_node(self):
        """Return four bits."""
        return {"name": "quantised", "bits": 4}


def test_a_strategy_may_bring_its_own(tmp_path, plain):
    own = simulate(Frugal(), run_dir=str(tmp_path / "own"), **TINY)
    named = simulate("dsfl", compress={"name": "quantised", "bits": 4}, **TINY)
    assert own.summary["digest"] == named.summary["digest"]
    assert own.summary["digest"] != plain("dsfl")["digest"]
    saved = yaml.safe_load((tmp_path / "own" / "config.yaml").read_text())
    spec = json.loads((tmp_path / "own" / "spec.json").read_text())
    assert saved["compress"] == spec["compress"] == {"name": "quantised", "bits": 4}
    other = simulate(Frugal(), compress="float16", **TINY)
    named = simulate("dsfl", compress="float16", **TINY)
    assert other.summary["digest"] == named.summary["digest"]


class Unpacked(CFD):
    def compress_node(self):
        return None


def test_what_a_method_has_quantised_loses_nothing_more():
    plain = simulate(Unpacked(), **TINY).summary
    small = simulate("cfd", **TINY).summary
    assert small["digest"] == plain["digest"]
    assert small["bytes_up"] < 0.4 * plain["bytes_up"]


# -- hostile replies in whole runs ---------------------------------------------------------------


def spoilt(change):
    """Return the clients' mod with a change to what client 2 sends, after it is encoded."""

    def mod(codec, kind, message, context, call_next):
        reply = compressing(codec, kind, message, context, call_next)
        upload = message.metadata.message_type in ("train.fit", "train")
        if upload and context.node_config["partition-id"] == 2:
            change(reply.content.array_records)
        return reply

    return mod


def without(records):
    records["knowledge"].pop("values:codes")


def other(records):
    records["knowledge"]["values:shape"] = Array(np.array([60, 9_999_999], np.int32))


def junk(records):
    codes = records["knowledge"]["values:codes"]
    records["knowledge"]["values:codes"] = Array("uint8", codes.shape, "numpy.ndarray", b"hello")


def stowaway(records):
    records["knowledge"]["more:codes"] = Array(np.zeros(10**6, np.uint8))


def nan(records):
    records["knowledge"]["values:ends"] = Array(np.full((60, 2), np.nan, np.float16))


def narrow(records):
    records["knowledge"]["values:shape"] = Array(np.array([60, 5], np.int32))
    records["knowledge"]["values:codes"] = Array(np.zeros((60, 5), np.uint8))


def plain_arrays(records):
    values = torch.randn(60, 10, generator=torch.Generator().manual_seed(0)).softmax(dim=-1)
    records["knowledge"] = to_arrays({"values": values, "sample_ids": torch.arange(60).int()})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without, "undecodable: values: codes is missing"),
        (other, "undecodable: values: stands for 599999940 numbers, expected at most "),
        (junk, "undecodable: values: ValueError"),
        (stowaway, "size: "),
        (nan, "finite: "),
        (narrow, "shape: got [60, 5], expected [60, 10]"),
        (plain_arrays, None),
    ],
)
def test_a_reply_that_cannot_be_decoded_is_rejected(change, reason, monkeypatch):
    monkeypatch.setattr("fedkd.clients.app.compressing", spoilt(change))
    watcher = Watcher()
    settings_ = TINY | {"transfer.size": 60, "compress": "quantised", "callbacks": [watcher]}
    result = simulate("dsfl", **settings_)
    if reason is None:  # a client that does not encode is no worse for it
        assert watcher.rejected == [{}, {}]
        return
    assert [list(lost) for lost in watcher.rejected] == [[2], [2]]
    assert all(lost[2].startswith(reason) for lost in watcher.rejected)
    assert all(stack.clients == [0, 1, 3, 4] for stack in watcher.stacks)
    assert result.summary["rejected"] == 2


def test_flower_s_own_strategies_reject_it_too(monkeypatch):
    def drop(records):
        name = next(key for key in records["arrays"] if key.endswith(":codes"))
        records["arrays"].pop(name)

    monkeypatch.setattr("fedkd.clients.app.compressing", spoilt(drop))
    watcher = Watcher()
    simulate("fedavg", compress="quantised", callbacks=[watcher], **TINY)
    assert [list(lost) for lost in watcher.rejected] == [[2], [2]]
    assert "codes is missing" in watcher.rejected[0][2]


# -- engines and the command line ----------------------------------------------------------------


@pytest.mark.slow
def test_engines_agree():
    """Also in the bytes: what an engine's own process unpacks must not be counted unpacked."""
    cases = [
        {"strategy": "fedavg", "compress": NODES["float16"], "fraction": 0.6},
        {"strategy": "knfu", "compress": NODES["bits8"], "model": ["mlp", "lenet5"]},
    ]
    engines = ["inline", "ray", "flower"]
    with shared_ray(EngineConfig()):
        for case, names in zip(cases, (engines[:2], engines), strict=True):
            runs = [
                simulate(**TINY | case | {"engine": {"name": name, "actors": 2}}) for name in names
            ]
            assert len({result.summary["digest"] for result in runs}) == 1
            for column in ("bytes_up", "bytes_down"):
                assert len({tuple(result.rounds[column].to_pylist()) for result in runs}) == 1


def fedkd(*args):
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 0, done.output
    return done.output


def test_codecs_are_listed():
    output = fedkd("list", "codecs")
    assert all(name in output for name in ("none", "float16", "topk", "quantised"))
    assert "compress=FILE.py:Class" in output


def test_a_dry_run_counts_what_is_encoded():
    output = fedkd("run", "experiment=demo", "compress=quantised", "compress.up=false", "--dry-run")
    assert "800.0 kB up, 280.8 kB down" in output
    assert "400.0 kB up" in fedkd("run", "experiment=demo", "compress=float16", "--dry-run")


def test_a_codec_from_a_file(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(
        "from fedkd.codecs.float16 import Float16\n"
        "class Mine(Float16):\n"
        "    'Rounds twice.'\n"
        "    def encode(self, values):\n"
        "        return super().encode(values.half().float())\n"
    )
    run_dir = tmp_path / "run"
    mine = simulate("knfu", compress=f"{file}:Mine", run_dir=str(run_dir), **TINY)
    assert mine.summary["digest"] == simulate("knfu", compress="float16", **TINY).summary["digest"]
    rounds = pq.read_table(run_dir / "rounds.parquet")
    assert sum(rounds["bytes_up"].to_pylist()) == mine.summary["bytes_up"]


def test_rejected_is_what_admission_raises():
    """So that the tests above mean what they say."""
    with pytest.raises(Rejected):
        admit(RecordDict(), Expected(0, 1, "soft_labels", torch.arange(1), (1, 2)))
