"""Secure aggregation in runs: the same outcome, and the server sees sums only."""

import numpy as np
import pytest
from fedkd.clients.secure import Masking
from fedkd.strategies.secure import Sum
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from safetensors.numpy import load_file
from typer.testing import CliRunner

from fedkd import ConfigError, simulate
from fedkd.cli.app import app
from fedkd.config import EngineConfig, RunConfig
from fedkd.config.overrides import merge
from fedkd.engine import Fleet, shared_ray
from fedkd.plugins import available
from fedkd.rounds.protocol import Strategy
from fedkd.run.estimate import plan
from fedkd.run.objects import Objects
from fedkd.run.preparing import prepare_run
from fedkd.secure.shamir import SHARE_BYTES

TINY = {"clients": 4, "rounds": 1, "data.samples_per_client": 12, "transfer.size": 20}
ON = {"secure.aggregation": True}
STRATEGIES = available("strategies", Strategy)


def run(strategy="fedmd", **more):
    return simulate(strategy, engine=more.pop("engine", "inline"), **TINY | more)


def furthest(one, two):
    pairs = [(one.model(k).state_dict(), two.model(k).state_dict()) for k in range(4)]
    return max(float((a[n].float() - b[n].float()).abs().max()) for a, b in pairs for n in a)


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_catalogue_says_what_works(name):
    """``sums_only`` if and only if a run works, and then it ends like the plain one."""
    cls = STRATEGIES[name]
    more: dict = {"transfer.labelled": True} if cls.needs_labels else {}
    if not cls.sums_only:
        with pytest.raises(ConfigError, match=f"{name} .*it works with .*fedmd"):
            run(name, **more, **ON)
        return
    # Adam's first steps are signs: what rounding leaves of a gradient near 0 would be a whole step
    more["distil.optimizer"] = "sgd"
    plain, secure = run(name, **more), run(name, **more, **ON)
    assert secure.summary["rejected"] == 0
    assert furthest(plain, secure) < 1e-5
    assert secure.rounds["unmasked_dropouts"].to_pylist() == [0]


def test_the_refusal_is_one_line_and_exit_code_2():
    done = CliRunner().invoke(app, ["run", "strategy=knfu", "secure.aggregation=true", "clients=4"])
    assert done.exit_code == 2
    assert "knfu makes each client a teacher of its own" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"secure.threshold": 0.5}, r"secure.threshold=0.5: must be in \(0.5, 1\]"),
        ({"secure.threshold": 1.1}, "secure.threshold=1.1"),
        ({"secure.bits": 16}, "secure.bits=16: must be 32, 64"),
        ({"secure.clip": 0.0}, "secure.clip=0.0: must be greater than 0"),
        ({"secure.rng": "dice"}, "secure.rng=dice: not available"),
        ({"fraction": 0.25}, "only client"),
        ({"compress": "float16"}, "compress=float16: masked integers cannot be compressed"),
        ({"secure.clip": 1e9, "secure.bits": 32}, "secure.bits=32: leave .* secure.bits=64"),
        ({"strategy": {"name": "fd", "include_self": False}}, "fd looks at what each"),
        ({"strategy": "lg_fedavg", "model": ["mlp", "lenet5"]}, "different shapes"),
        ({"strategy": "flwr.serverapp.strategy:Krum"}, "looks at what each"),
    ],
)
def test_what_cannot_work_is_refused(more, message):
    more = dict(more)
    with pytest.raises(ConfigError, match=message):
        run(more.pop("strategy", "fedmd"), **ON | more)


def test_a_codec_for_the_way_down_is_fine():
    codec = {"name": "quantised", "up": False}
    strategy = {"name": "fedmd", "exchange": "soft_labels"}
    plain = run(strategy, compress=codec)
    assert furthest(plain, run(strategy, compress=codec, **ON)) < 1e-5


@pytest.mark.parametrize("name", ["fedmd", "uwa", "selective_fd", "fedproto", "fml", "fedavg"])
def test_dropouts_crashes_and_stragglers_are_recovered(name):
    """Who is lost after the keys were exchanged is taken out of the sum exactly."""
    faults = {"faults.dropout": 0.15, "faults.crash": 0.1, "faults.straggler": 0.1}
    more = {"clients": 10, "rounds": 3, "seed": 1, **faults}
    plain, secure = run(name, **more), run(name, **more, **ON)
    lost = secure.rounds["unmasked_dropouts"].to_pylist()
    assert max(lost) > 0
    assert secure.rounds["rejected"].to_pylist() == plain.rounds["rejected"].to_pylist() == lost
    assert furthest(plain, secure) < 1e-4


def test_below_the_threshold_a_round_is_skipped_and_says_why(tmp_path):
    more = {"clients": 6, "rounds": 2, "faults.dropout": 0.6, "seed": 3}
    secure = run(**more, **ON, **{"secure.threshold": 1.0}, run_dir=str(tmp_path / "run"))
    assert secure.rounds["skipped"].to_pylist() == [1, 1]
    assert "clients are left, it takes 6" in (tmp_path / "run" / "log.txt").read_text()


def dropping(monkeypatch, change):
    """Tamper with what comes back in the last stage."""
    original = Fleet.call

    def call(self, action, contents, round_):
        replies = original(self, action, contents, round_)
        return change(replies) if action == "query.unmask" else replies

    monkeypatch.setattr(Fleet, "call", call)


@pytest.mark.parametrize("lost", [1, 2])
def test_who_vanishes_before_the_last_stage_is_done_without(monkeypatch, lost):
    plain = run(clients=5)
    dropping(monkeypatch, lambda replies: replies[lost:])
    assert furthest(plain, run(clients=5, **ON)) < 1e-5  # three of five suffice


def test_one_too_many_and_the_round_is_skipped(monkeypatch):
    dropping(monkeypatch, lambda replies: replies[3:])
    secure = run(clients=5, **ON)
    assert secure.rounds["skipped"].to_pylist() == [1]
    assert secure.summary["rejected"] == 5


@pytest.mark.parametrize("what", ["own", "mask"])
def test_a_lie_in_the_last_stage_is_noticed(monkeypatch, what):
    """A share that is not the one that was shared does not go unnoticed into a sum."""
    original = Masking.unmask
    row = {"own": 0, "mask": 4}[what]

    def lying(self, message, context):
        reply = original(self, message, context)
        if context.node_config["partition-id"] == 1:
            shares = reply.content.array_records["secure"]["shares"].numpy().copy()
            shares[row, -1] ^= 1
            reply.content.array_records["secure"]["shares"] = Array(shares)
        return reply

    lying.__name__ = "unmask"
    monkeypatch.setattr(Masking, "unmask", lying)
    original_close = Sum.close

    def close(self, found, layout):
        found.pop(4, None)  # client 4 drops out, so that its mask key has to be restored
        return original_close(self, found, layout)

    monkeypatch.setattr(Sum, "close", close)
    secure = run(clients=5, **ON)
    assert secure.rounds["skipped"].to_pylist() == [1]


@pytest.mark.parametrize("broken", ["shape", "dtype", "missing"])
def test_an_upload_that_is_no_integers_is_dropped(monkeypatch, broken):
    original = Masking.__call__

    def odd(self, message, context, call_next):
        reply = original(self, message, context, call_next)
        if context.node_config["partition-id"] == 2 and "secure" in reply.content:
            wrong = {"shape": np.zeros(3, np.uint32), "dtype": np.zeros(200, np.float32)}
            record = {} if broken == "missing" else {"vector": Array(wrong[broken])}
            reply.content["secure"] = ArrayRecord(record)
        return reply

    monkeypatch.setattr(Masking, "__call__", odd)
    secure = run(**ON)
    assert secure.summary["rejected"] == 1
    assert secure.rounds["unmasked_dropouts"].to_pylist() == [1]


def test_the_server_gets_integers_and_records_the_mean(monkeypatch, tmp_path):
    """No message brings the server a single client's knowledge; what is recorded is one row."""
    seen = []
    original = Fleet.call

    def call(self, action, contents, round_):
        replies = original(self, action, contents, round_)
        if action == "train.fit":
            seen.extend(reply.ok for reply in replies)
        return replies

    monkeypatch.setattr(Fleet, "call", call)
    run(**ON, run_dir=str(tmp_path / "run"), **{"record.knowledge": True})
    assert len(seen) == 4
    for content in seen:
        assert list(content.array_records) == ["secure"]
        assert content.array_records["secure"]["vector"].dtype == "uint32"
    kept = load_file(tmp_path / "run" / "knowledge" / "round_0001.safetensors")
    assert kept["values"].shape == (1, 20, 10)
    assert kept["clients"].tolist() == [0, 1, 2, 3]


def test_what_travels_is_counted():
    plain, secure = run().summary, run(**ON).summary
    vector = 4 * 20 * 10  # one client's integers are as large as its float32 numbers
    shares = 4 * SHARE_BYTES + 4 * 200  # of each for the last stage, and encrypted ones
    assert secure["bytes_up"] > 4 * (vector + shares)
    assert secure["bytes_up"] < plain["bytes_up"] + 4 * (shares + 4 * 100 + 1500)
    assert secure["bytes_down"] > plain["bytes_down"] + 4 * (4 * 98 + 4 * 200)


@pytest.mark.parametrize("name", ["fedmd", "fedavg"])
def test_a_dry_run_counts_keys_shares_and_integers(name):
    size = {"transfer.size": 300}
    planned = plan(merge(RunConfig(), strategy=name, **TINY | ON | size))
    spent = run(name, **ON | size).summary
    assert 4 * planned.bytes_up == pytest.approx(spent["bytes_up"], rel=0.1)  # headers
    assert 4 * planned.bytes_down == pytest.approx(spent["bytes_down"], rel=0.1)  # headers


def test_attacks_tamper_before_the_mask_and_cohorts_change():
    more = {"attack": {"name": "lma", "fraction": 0.5}, "fraction": 0.75, "rounds": 3}
    assert furthest(run("dsfl", **more), run("dsfl", **more, **ON)) < 1e-4


def test_keys_from_the_system_change_nothing_but_the_keys():
    digests = [run(**ON, **{"secure.rng": rng}).summary["digest"] for rng in ("seeded", "os")]
    assert digests[0] == digests[1]


def test_a_run_resumes(tmp_path):
    from fedkd import resume

    whole = run(rounds=4, **ON)
    run(rounds=2, **ON, run_dir=str(tmp_path / "run"))
    assert resume(tmp_path / "run", rounds=4).summary["digest"] == whole.summary["digest"]


@pytest.mark.parametrize("checkpoints", [1, None])
def test_sums_with_keys_from_the_system_are_not_made_again(tmp_path, checkpoints):
    from fedkd import resume

    more = {"secure.rng": "os", "checkpoint.every": checkpoints, "run_dir": str(tmp_path / "run")}
    run(rounds=2, **ON, **more)
    words = r"secure.rng=os: a resumed run would sum its last rounds again.*; start a new run"
    for settings in ({}, {"rounds": 4}):
        with pytest.raises(ConfigError, match=words):
            resume(tmp_path / "run", **settings)


@pytest.mark.parametrize(
    ("more", "restarts"),
    [
        ({}, 3),
        (ON, 3),
        (ON | {"secure.rng": "os"}, 0),
        ({"privacy": {"name": "gaussian", "clip": 1.0, "epsilon": 9.0, "secure_rng": True}}, 0),
    ],
)
def test_what_does_not_repeat_is_not_replayed_by_another_actor_either(tmp_path, more, restarts):
    config = merge(RunConfig(), strategy="fedmd", **TINY | more)
    assert prepare_run(config, tmp_path, Objects()).config.engine.max_restarts == restarts


@pytest.fixture(scope="module")
def ray_is_up():
    with shared_ray(EngineConfig()):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("ray_is_up")
@pytest.mark.parametrize(
    ("engine", "name"),
    [
        ("ray", "fedmd"),
        ("ray", "uwa"),
        ("ray", "fedavg"),
        ("flower", "fedmd"),  # sums are asked for as in fedavg
    ],
)
def test_engines_agree(engine, name):
    more = ON | {"rounds": 2, "faults.dropout": 0.2, "clients": 5}
    other = run(name, **more, engine={"name": engine, "actors": 2})
    assert other.summary["digest"] == run(name, **more).summary["digest"]


class FakeContext:
    """What a handler needs of a Flower context."""

    def __init__(self, client):
        self.node_config = {"partition-id": client}
        self.state = RecordDict()


class TestClientsRefuse:
    """Whatever a server says, a client gives away one share of each secret pair, once."""

    @pytest.fixture
    def talk(self):
        from fedkd.clients.exchange import SoftLabels
        from flwr.app import Message

        from fedkd.config import SecureConfig
        from fedkd.flower import identity, stamp

        masking = Masking(SecureConfig(aggregation=True), 0, SoftLabels())
        contexts = [FakeContext(k) for k in range(4)]

        def ask(stage, client, round_=1, **arrays):
            record = ArrayRecord({k: Array(np.asarray(v)) for k, v in arrays.items()})
            content = RecordDict({"secure": record, "config": ConfigRecord()})
            message = Message(content, 1000 + client, f"query.{stage}", group_id=str(round_))
            stamp(message)
            reply = getattr(masking, stage)(message, contexts[client])
            return next(iter(reply.content.array_records["secure"].values())).numpy()

        with identity():
            yield ask

    @pytest.fixture
    def adverts(self, talk):
        return np.stack([talk("advertise", k) for k in range(4)])

    def test_two_rounds_of_keys_in_one(self, talk, adverts):
        with pytest.raises(Exception, match="asked twice for keys"):
            talk("advertise", 0)
        talk("advertise", 0, round_=2)

    def test_keys_that_are_not_its_own_or_alike(self, talk, adverts):
        with pytest.raises(Exception, match="its own keys"):
            talk("share", 0, clients=np.arange(4, dtype=np.int32), adverts=adverts[[1, 0, 2, 3]])

    def test_keys_of_two_clients_that_are_alike(self, talk, adverts):
        with pytest.raises(Exception, match="are alike"):
            talk("share", 0, clients=np.arange(4, dtype=np.int32), adverts=adverts[[0, 1, 1, 3]])

    def test_stages_out_of_order_and_of_another_round(self, talk, adverts):
        with pytest.raises(Exception, match="out of order"):
            talk("unmask", 0, survivors=np.arange(4))
        with pytest.raises(Exception, match="another round"):
            talk("share", 0, round_=2, clients=np.arange(4), adverts=adverts)
