"""What leaves a client where a mechanism has a guarantee: every strategy under every mechanism.

Real messages are read on their way, as the method gets them. What they say in clear must be
declared here with the reason, and must not change when the private data do.
"""

from dataclasses import replace

import pytest
import torch
from fedkd.clients.app import deployed
from fedkd.clients.exchange import SoftLabels
from fedkd.clients.exchange.logits import Logits
from fedkd.clients.privacy.base import Mechanism
from fedkd.strategies.flower_adapter import FlowerStrategy
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import strategy as flower

from fedkd import ConfigError, RunError, simulate
from fedkd.data.federation import Federation
from fedkd.engine import Fleet
from fedkd.engine.base import MEASURED
from fedkd.flower import identity, stamp
from fedkd.plugins import available
from fedkd.rounds.protocol import Strategy

STRATEGIES = available("strategies", Strategy)
OTHERS = ("FedAvgM", "FedMedian", "FedTrimmedAvg", "FedYogi", "Krum")
NAMES = [*STRATEGIES, *(f"flwr.serverapp.strategy:{name}" for name in OTHERS)]

MECHANISMS = {
    "gaussian": {"clip": 1.0, "noise_multiplier": 0.01},
    "laplace": {"clip": 1.0, "noise_multiplier": 0.01},
    "dp_sgd": {"noise_multiplier": 1.0},
    "pate": {"noise_multiplier": 1.0},
    "nfdp": {"k": 9},
}

TINY = {
    "clients": 2,
    "rounds": 2,
    "engine": "inline",
    "data.samples_per_client": 12,
    "transfer.size": 20,
    "transfer.labelled": True,
    "fit.epochs": 1,
    "evaluate.samples": 10,
}

CLEAR = {
    "about.client": "who answers",
    "about.round": "the message's",
    "about.kind": "the exchange's",
    "knowledge.sample_ids": "the server asked for them",
    "knowledge.samples": "how many samples the client trained on: public, see PUBLIC",
    "metrics.num-examples": "how many samples the client trained on: public, see PUBLIC",
}
"""What may leave in clear, and why."""

COVERED = {
    "gaussian": {"knowledge.values"},
    "laplace": {"knowledge.values"},
    "pate": {"knowledge.values"},  # votes, for the server; the teacher is what is private
    "dp_sgd": {"knowledge.values", "arrays.*"},
    "nfdp": {"knowledge.*", "arrays.*"},  # whatever is made of the subset
}
"""What mechanisms protect."""

MESSAGES = (
    *("train", "train.fit", "train.distil"),
    *("query.advertise", "query.share", "query.unmask"),  # keys, and shares of them
    *("query.hello", "query.evaluate", "query.snapshot"),  # the simulation's own
)
"""What is sent."""


def test_every_mechanism_with_a_guarantee_is_looked_at():
    found = available("clients.privacy", Mechanism)
    assert {name for name, cls in found.items() if cls.protects} == set(MECHANISMS)
    assert {n for n in vars(flower) if n in OTHERS} == set(OTHERS)


def leaving(strategy, mechanism, changed=False, **more):
    """Run; return ``{(round, client, type): {"record.name": bytes}}`` as the method sees it."""
    seen, send, private = {}, Fleet.send, Federation.client

    def spy(fleet, messages):
        replies = send(fleet, messages)
        kinds = {message.metadata.message_type for message in messages}
        assert kinds <= set(MESSAGES)
        for reply in replies if "train" in str(kinds) else ():
            if reply.content is None:
                assert reply.fault is not None
                continue
            assert MEASURED not in reply.message.content
            assert reply.measured["seconds_phase"] > 0
            seen[len(seen), reply.client, *kinds] = dict(parts(reply.ok))
        return replies

    def other(federation, client):
        x, y = private(federation, client)
        return (x.flip(-1), (y + 1) % federation.classes) if changed else (x, y)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Fleet, "send", spy)
        patch.setattr(Federation, "client", other)
        node = {"name": mechanism, **MECHANISMS[mechanism]}
        result = simulate(strategy, privacy=node, **TINY | more)
    assert "loss_fit" in {row["metric"] for row in result.clients.to_pylist()}  # it is measured
    return seen


def parts(content):
    for name, record in content.items():
        for key, value in record.items():
            yield f"{name}.{key}", value.data if isinstance(record, ArrayRecord) else value


def check(strategy, mechanism, **more):
    """Assert that what leaves in clear is declared, and the same whatever the private data."""
    seen, again = (leaving(strategy, mechanism, changed, **more) for changed in (False, True))
    assert seen.keys() == again.keys()
    covered, differs = COVERED[mechanism] | {"secure.vector"}, False
    for key, content in seen.items():
        for name, value in content.items():
            if name in covered or f"{name.partition('.')[0]}.*" in covered:
                differs |= value != again[key][name]
                continue
            assert name in CLEAR, f"{strategy} under {mechanism}: {name} leaves in clear"
            assert value == again[key][name], f"{name} depends on private data"
    assert differs or strategy == "local"  # the data did change


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("strategy", NAMES)
def test_what_leaves_is_protected_or_public_by_declaration_or_refused(strategy, mechanism):
    refused = "privacy"
    least = STRATEGIES[strategy]().least_epochs if strategy in STRATEGIES else 0
    try:
        check(strategy, mechanism, **{"fit.epochs": max(1, least)})
    except ConfigError as error:
        refused = f"{error.key}={error.value}"
    assert refused.startswith(("privacy", "strategy."))


@pytest.mark.parametrize(
    "more",
    [
        {"secure.aggregation": True},
        {"compress": "float16"},
        {"attack": {"name": "label_flip", "fraction": 0.5}},
        {"faults.straggler": 0.3, "clients": 4, "seed": 1},
        {"model": ["mlp", "lenet5"]},
        {"guard": ["kl_dp", "kd3"]},
    ],
    ids=["secure", "compress", "attack", "faults", "models", "guard"],
)
@pytest.mark.parametrize(
    ("strategy", "mechanism"), [("fedmd", "gaussian"), ("fedavg", "dp_sgd"), ("fml", "nfdp")]
)
def test_so_it_is_with_everything_else_that_travels(strategy, mechanism, more):
    if "model" in more and strategy == "fedavg":
        return  # it has one model
    if "guard" in more and strategy != "fedmd":
        return  # they teach nothing that could be guarded
    check(strategy, mechanism, **more)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_nobody_is_told_of_how_many_samples_a_client_is_surer_than_its_teacher(mechanism):
    """It depends on the private data; the tables have it all the same."""
    strategy = {"name": "fedmd", "exchange": "soft_labels"}
    told = leaving(strategy, mechanism, guard="bsd")
    assert not any("guard" in name for content in told.values() for name in content)
    node = {"name": mechanism, **MECHANISMS[mechanism]}
    result = simulate(strategy, guard="bsd", privacy=node, **TINY)
    assert "guard_kept" in {row["metric"] for row in result.clients.to_pylist()}
    assert "guard_kept" in result.rounds.column_names


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("FedAvg", {"weighted_by_key": "loss_fit"}),
        ("FedAdam", {"weighted_by_key": "seconds_phase"}),
        ("QFedAvg", {"train_loss_key": "loss_fit", "client_learning_rate": 0.1}),
    ],
)
@pytest.mark.parametrize("mechanism", ["dp_sgd", "nfdp"])
def test_a_private_number_is_no_weight(name, parameters, mechanism):
    strategy = {"name": f"flwr.serverapp.strategy:{name}", **parameters}
    key, value = next(iter(parameters.items()))
    words = f"strategy.{key}={value}: is a client's own number, which {mechanism} does not protect"
    with pytest.raises(ConfigError, match=words):
        simulate(strategy, privacy={"name": mechanism, **MECHANISMS[mechanism]}, **TINY)


def test_nor_is_one_that_a_strategy_wraps_another_for():
    class Wrapping(FlowerStrategy):
        def __init__(self):
            inner = flower.FedAvg(weighted_by_key="loss_fit")
            super().__init__(flower.DifferentialPrivacyServerSideFixedClipping(inner, 1.0, 1.0, 2))

    node = {"name": "dp_sgd", "noise_multiplier": 1.0}
    with pytest.raises(ConfigError, match=r"strategy\.weighted_by_key=loss_fit"):
        simulate(Wrapping(), privacy=node, **TINY)


def test_without_a_guarantee_a_method_may_weigh_by_the_loss():
    strategy = {"name": "flwr.serverapp.strategy:QFedAvg", "client_learning_rate": 0.1}
    strategy["train_loss_key"] = "loss_fit"
    weighed, plain = simulate(strategy, **TINY).summary, simulate("fedavg", **TINY).summary
    assert weighed["rejected"] == 0
    assert weighed["digest"] != plain["digest"]


class Talkative(Logits):
    """Uploads what it does not declare."""

    def upload(self, phase):
        labels = phase.client.y.float()
        return replace(super().upload(phase), extras={"labels": labels})


class Scoring(SoftLabels):
    def upload(self, phase):
        return replace(super().upload(phase), scores=torch.ones(20))


@pytest.mark.parametrize(("kind", "name"), [(Talkative, "labels"), (Scoring, "scores")])
def test_what_an_exchange_does_not_declare_does_not_leave(kind, name):
    class Method(STRATEGIES["fedmd"]):
        def exchange_node(self):
            return {"name": f"{__file__}:{kind.__name__}"}

    with pytest.raises(RunError, match=f"{kind.__name__} uploads {name}, which it does not"):
        simulate(Method(), **TINY)


@pytest.mark.parametrize("privacy", ["none", {"name": "dp_sgd", "noise_multiplier": 1.0}])
def test_a_deployed_app_does_not_send_what_is_measured_under_a_guarantee(privacy, tmp_path):
    made = simulate("fedavg", privacy=privacy, run_dir=str(tmp_path / "run"), **TINY)
    spec = {"fedkd-spec": (made.run_dir / "spec.json").read_text()}
    node = {"partition-id": 0, "num-partitions": 2}
    context = Context(1, 1000, node, RecordDict(), spec)
    state = ArrayRecord(made.model(0).state_dict())
    config = ConfigRecord({"server-round": 1})
    with identity():
        request = Message(RecordDict({"arrays": state, "config": config}), 1000, "train")
        stamp(request)
        content = deployed(request, context).content
        asked = Message(RecordDict(), 1000, "query.snapshot", group_id="1")
        stamp(asked)
        if privacy == "none":
            assert {"loss_fit", "num-examples"} <= set(content["metrics"])
            assert "arrays" in deployed(asked, context).content
            return
        assert set(dict(parts(content))) == {
            "metrics.num-examples",
            *(f"arrays.{name}" for name in state),
        }
        with pytest.raises(RuntimeError, match="what a client remembers is private"):
            deployed(asked, context)
