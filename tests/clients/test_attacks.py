"""Hostile clients: what they send is what the formulas say, and nobody else is touched."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fedkd.clients.attacks import Attack, View
from fedkd.clients.attacks.base import RECORD
from fedkd.clients.attacks.cpa import CPA
from fedkd.clients.attacks.fdla import FDLA
from fedkd.clients.attacks.free_rider import FreeRider
from fedkd.clients.attacks.hips import HIPS
from fedkd.clients.attacks.label_flip import LabelFlip
from fedkd.clients.attacks.lma import LMA
from fedkd.clients.attacks.none import NONE
from fedkd.clients.attacks.random_one_hot import RandomOneHot
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from support import TINY
from torch import Tensor

from fedkd import ConfigError, simulate
from fedkd.callbacks import Callback
from fedkd.config import EngineConfig
from fedkd.config.overrides import compose
from fedkd.engine import shared_ray
from fedkd.flower import identity
from fedkd.knowledge import Knowledge, to_record, to_tensor
from fedkd.knowledge.admission import Expected, admit
from fedkd.maths.mixing import simplex_error
from fedkd.plugins import available
from fedkd.rng import stream, torch_generator
from fedkd.run.runner import run

SHORT: dict[str, Any] = TINY | {"clients": 6}
MEAN = {"name": "fedmd", "exchange": "soft_labels"}
KNOWLEDGE = [LMA, CPA, HIPS, lambda **b: HIPS(by="covariance", **b), FDLA, RandomOneHot]
KNOWLEDGE += [FreeRider, lambda **b: FreeRider(reply="teacher", **b)]


def view_of(own: object, teacher: object = None, kind: str = "soft_labels", seed: int = 0) -> View:
    values = torch.as_tensor(own)
    believed = values if teacher is None else torch.as_tensor(teacher)
    return View(kind, values, believed, torch_generator(seed))


def one_hot(classes: list[int], count: int = 3) -> Tensor:
    return torch.nn.functional.one_hot(torch.tensor(classes), count).float()


OWN = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]])
TEACHER = torch.tensor([[0.7, 0.1, 0.2], [0.3, 0.5, 0.2]])

# -- formulas ------------------------------------------------------------------------------------


def test_lma_is_sure_of_the_least_likely_class() -> None:
    assert torch.equal(LMA().poison(view_of(OWN, TEACHER)), one_hot([1, 2]))
    assert torch.equal(LMA().poison(view_of(OWN)), one_hot([2, 0]))  # ties: the first


def test_cpa_is_sure_of_the_least_related_class() -> None:
    """Classes 0 and 1 rise and fall together, so 2 is the least related to both."""
    teacher = torch.tensor([[0.45, 0.4, 0.15], [0.4, 0.45, 0.15], [0.1, 0.1, 0.8]])
    covariance = np.cov(teacher.T.numpy(), bias=True)
    expected = [int(covariance[int(row.argmax())].argmin()) for row in teacher]
    assert expected == [2, 2, 0]
    assert torch.equal(CPA().poison(view_of(teacher * 0 + 1 / 3, teacher)), one_hot(expected))


def test_hips_sends_the_more_harmful_of_two_honest_vectors() -> None:
    # The teacher believes in 0 and 1; own gives them less (0.6 < 0.7, 0.2 < 0.5).
    assert torch.equal(HIPS().poison(view_of(OWN, TEACHER)), OWN)
    assert torch.equal(HIPS().poison(view_of(TEACHER, OWN)), torch.stack([OWN[0], TEACHER[1]]))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.sampled_from(["loss", "covariance"]), st.booleans())
def test_hips_hides_among_the_honest(seed: int, by: Any, soft: bool) -> None:
    generator = torch_generator(seed)
    own, teacher = torch.randn(2, 8, 4, generator=generator) * 3
    kind = "soft_labels" if soft else "logits"
    if soft:
        own, teacher = own.softmax(-1), teacher.softmax(-1)
    sent = HIPS(by=by).poison(view_of(own, teacher, kind))
    is_own, is_teacher = (sent == own).all(dim=1), (sent == teacher).all(dim=1)
    assert (is_own | is_teacher).all()
    assert torch.equal(HIPS(by=by).poison(view_of(own, None, kind)), own)
    if by == "loss":
        believed = teacher if soft else teacher.softmax(-1)
        mine = own if soft else own.softmax(-1)
        row, likely = torch.arange(8), believed.argmax(dim=1)
        assert torch.equal(is_own, mine[row, likely] <= believed[row, likely])


def test_fdla_moves_every_confidence_one_rank_down() -> None:
    own = torch.tensor([[0.5, 0.1, 0.3, 0.1]])
    # ranks: 0, 2, 1, 3; so 2 takes 0's 0.5, 1 takes 2's 0.3, 3 takes 1's, 0 takes 3's
    assert torch.equal(FDLA().poison(view_of(own)), torch.tensor([[0.1, 0.3, 0.5, 0.1]]))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999))
def test_fdla_is_a_permutation_whose_winner_was_second(seed: int) -> None:
    own = torch.randn(9, 5, generator=torch_generator(seed))
    sent = FDLA().poison(view_of(own, kind="logits"))
    assert torch.equal(sent.sort(dim=1).values, own.sort(dim=1).values)
    assert torch.equal(sent.argmax(dim=1), own.topk(2, dim=1).indices[:, 1])
    assert torch.equal(sent.argmin(dim=1), own.argmax(dim=1))


def test_random_one_hot_draws_from_the_stream_alone() -> None:
    own = torch.full((500, 4), 0.25)
    sent = RandomOneHot().poison(view_of(own, seed=3))
    drawn = torch.randint(4, (500,), generator=torch_generator(3))
    assert torch.equal(sent, one_hot(drawn.tolist(), 4))
    assert len(sent.argmax(dim=1).unique()) == 4


def test_free_riders() -> None:
    assert torch.equal(FreeRider().poison(view_of(OWN, TEACHER)), torch.full((2, 3), 1 / 3))
    assert torch.equal(FreeRider().poison(view_of(OWN, TEACHER, "logits")), torch.zeros(2, 3))
    assert torch.equal(FreeRider(reply="teacher").poison(view_of(OWN, TEACHER)), TEACHER)


def test_one_hot_logits_have_the_range_of_the_honest_ones() -> None:
    own = torch.tensor([[3.0, -1.0, 0.5]])
    sent = LMA().poison(view_of(own, torch.tensor([[5.0, 1.0, -9.0]]), "logits"))
    assert torch.equal(sent, torch.tensor([[-1.0, -1.0, 3.0]]))


# -- the mod -------------------------------------------------------------------------------------


def context_of(client: int) -> Context:
    return Context(1, 1000 + client, {"partition-id": client}, RecordDict(), {})


def asked(attack: Attack, context: Context, own: Tensor, kind: str, ids: Tensor, round_: int = 1):
    """Return the reply to a ``train.fit`` and the configuration that the client was given."""
    client, seen = int(context.node_config["partition-id"]), {}

    def honest(message: Message, context: Context) -> Message:
        seen.update(message.content.config_records["config"])
        record = to_record(Knowledge(client, kind, own, ids), round_, {"loss_fit": 5})
        record["measured"] = MetricRecord()
        return Message(record, reply_to=message)

    with identity():
        content = RecordDict({"config": ConfigRecord({"kind": kind})})
        message = Message(content, 1000 + client, "train.fit", group_id=str(round_))
        reply = attack(message, context, honest)
        assert dict(content.config_records["config"]) == {"kind": kind}, "others share it"
    return reply.content, seen


def taught(attack: Attack, context: Context, values: Tensor, ids: Tensor | None = None) -> None:
    """Send a teacher."""
    content = RecordDict({"teacher": ArrayRecord({"values": Array(values.numpy())})})
    content["config"] = ConfigRecord({"kind": "soft_labels"})
    if ids is not None:
        content["transfer"] = ArrayRecord({"sample_ids": Array(ids.int().numpy())})

    def honest(message: Message, context: Context) -> Message:
        assert message.content is content
        return Message(RecordDict({"measured": MetricRecord()}), reply_to=message)

    with identity():
        message = Message(content, context.node_id, "train.distil", group_id="1")
        attack(message, context, honest)


@pytest.mark.parametrize("kind", ["soft_labels", "logits"])
@pytest.mark.parametrize("make", KNOWLEDGE)
def test_every_reply_is_admitted(make: Any, kind: str) -> None:
    attack, context = make(fraction=1.0, seed=1, clients=3), context_of(2)
    ids, generator = torch.arange(20), torch_generator(0)
    for round_ in (1, 2):
        own, teacher = 5 * torch.randn(2, 20, 6, generator=generator)
        if kind == "soft_labels":
            own, teacher = own.softmax(-1), teacher.softmax(-1)
        reply, _ = asked(attack, context, own, kind, ids, round_)
        sent = admit(reply, Expected(2, round_, kind, ids, (len(ids), 6))).values
        assert kind == "logits" or simplex_error(sent) < 1e-6
        assert reply.metric_records["measured"]["hostile"] == 1
        assert reply.metric_records["metrics"]["loss_fit"] == 5
        taught(attack, context, teacher)


def test_the_last_teacher_is_kept_in_the_context_and_used_where_it_applies() -> None:
    attack, context = LMA(fraction=1.0), context_of(0)
    ids = torch.tensor([2, 5])
    first = to_tensor(asked(attack, context, OWN, "soft_labels", ids)[0]["knowledge"]["values"])
    assert torch.equal(first, one_hot([2, 0]))  # its own reply is all that it knows
    assert RECORD not in context.state
    taught(attack, context, TEACHER, torch.tensor([5, 9]))
    kept = context.state.array_records[RECORD]
    assert torch.equal(to_tensor(kept["values"]), TEACHER)
    assert to_tensor(kept["sample_ids"]).tolist() == [5, 9]
    again = to_tensor(asked(attack, context, OWN, "soft_labels", ids)[0]["knowledge"]["values"])
    assert torch.equal(again, one_hot([2, 1]))  # sample 5: the teacher's first row


def test_an_honest_client_is_left_alone() -> None:
    attack = FreeRider(fraction=0.5, seed=0, clients=2)
    (honest,) = {0, 1} - attack.hostile
    context = context_of(honest)
    reply, options = asked(attack, context, OWN, "soft_labels", torch.arange(2))
    assert torch.equal(to_tensor(reply["knowledge"]["values"]), OWN)
    assert options == {"kind": "soft_labels"}
    assert reply.metric_records["measured"]["hostile"] == 0
    taught(attack, context, TEACHER)
    assert not context.state


def test_what_hostile_clients_are_told() -> None:
    for attack, option in [(LabelFlip, "flip-labels"), (FreeRider, "skip-fit")]:
        made = attack(fraction=1.0)
        _, options = asked(made, context_of(0), OWN, "soft_labels", torch.arange(2))
        assert options == {"kind": "soft_labels", option: True}


@given(st.integers(0, 999), st.integers(1, 60), st.floats(0, 1))
def test_the_hostile_share_is_drawn_from_the_runs_stream(seed: int, n: int, share: float) -> None:
    one, two = LMA(fraction=share, seed=seed, clients=n), CPA(fraction=share, seed=seed, clients=n)
    assert one.hostile == two.hostile <= set(range(n))
    assert len(one.hostile) == round(share * n)
    assert not NONE(fraction=share, seed=seed, clients=n).hostile


def test_random_replies_differ_by_client_and_round() -> None:
    attack, own = RandomOneHot(fraction=1.0, seed=7, clients=2), torch.full((50, 4), 0.25)
    for client in (0, 1):
        for round_ in (1, 2):
            reply, _ = asked(
                attack, context_of(client), own, "soft_labels", torch.arange(50), round_
            )
            generator = torch_generator(stream(7, client, round_, "attack"))
            expected = one_hot(torch.randint(4, (50,), generator=generator).tolist(), 4)
            assert torch.equal(to_tensor(reply["knowledge"]["values"]), expected)


# -- in a run ------------------------------------------------------------------------------------


class Seen(Callback):
    """Keeps what the server admitted."""

    def __init__(self) -> None:
        self.stacks: list[Any] = []

    def on_round(self, record: Any) -> None:
        self.stacks.append(record.knowledge)


def metric(result: Any, name: str, round_: int = 1) -> dict[int, float]:
    rows = result.clients.to_pylist()
    found = [r for r in rows if r["metric"] == name and r["round"] == round_]
    return {row["client"]: row["value"] for row in found}


def attacked(name: str, **more: Any) -> tuple[Any, Seen]:
    seen = Seen()
    node = {"name": name, "fraction": 0.34}
    result = simulate(**{"strategy": MEAN} | SHORT | more, attack=node, callbacks=[seen])
    return result, seen


@pytest.mark.parametrize("name", [n for n in available("clients.attacks", Attack) if n != "none"])
def test_only_hostile_clients_send_something_else(name: str) -> None:
    clean = attacked("none")[1].stacks[0].values
    result, seen = attacked(name)
    hostile = {client for client, value in metric(result, "hostile").items() if value}
    assert len(hostile) == 2
    assert result.summary["rejected"] == 0
    different = {k for k in range(6) if not torch.equal(clean[k], seen.stacks[0].values[k])}
    assert different <= hostile
    if name != "hips":  # it has only one vector to choose from in the first round
        assert different == hostile
    again = attacked(name)[0]
    assert again.summary["digest"] == result.summary["digest"]


def test_the_same_clients_are_hostile_in_every_round_and_for_every_attack() -> None:
    first = attacked("lma")[0]
    drawn = metric(first, "hostile")
    assert metric(first, "hostile", 2) == drawn == metric(attacked("free_rider")[0], "hostile")
    assert not metric(attacked("none")[0], "hostile")


def test_hostile_clients_answer_the_last_teacher() -> None:
    """In round 2, LMA's vector is at the least likely class of round 1's mean."""
    result, seen = attacked("lma")
    teacher = seen.stacks[0].values.mean(dim=0)
    for client, hostile in metric(result, "hostile").items():
        if hostile:
            sent = seen.stacks[1].values[client]
            assert torch.equal(sent, one_hot(teacher.argmin(dim=1).tolist(), 10))


def test_free_riders_do_not_train_but_learn() -> None:
    result, _ = attacked("free_rider")
    hostile = {client for client, value in metric(result, "hostile").items() if value}
    assert set(metric(result, "loss_fit")) == set(range(6)) - hostile
    assert set(metric(result, "loss_distil")) == set(range(6))


def test_flipped_labels_are_what_is_learned() -> None:
    """A client alone with flipped labels predicts flipped classes."""
    settings_ = SHORT | {"fit.epochs": 30, "data.alpha": None, "clients": 2, "rounds": 1}
    honest = simulate("local", **settings_)
    flipped = simulate("local", **settings_, attack={"name": "label_flip", "fraction": 1.0})
    spec = json.loads((flipped.run_dir / "spec.json").read_text())
    from fedkd.data import Federation

    x, y = Federation.open(spec["data"]).client(0)
    assert (honest.model(0)(x).argmax(dim=1) == y).float().mean() > 0.9
    assert (flipped.model(0)(x).argmax(dim=1) == 9 - y).float().mean() > 0.9


def test_label_flip_works_where_parameters_are_exchanged() -> None:
    result, _ = attacked("label_flip", strategy="fedavg")
    assert sum(metric(result, "hostile").values()) == 2
    assert result.summary["rejected"] == 0


ZEROS = """
from fedkd.clients.attacks import Attack

class Zeros(Attack):
    kinds = ("parameters",)

    def poison(self, view):
        assert view.kind == "parameters" and view.teacher.shape == view.own.shape
        return 0 * view.own
"""


@pytest.mark.parametrize("more", [{}, {"secure.aggregation": True}, {"compress": "float16"}])
def test_parameters_are_poisoned_where_they_travel_as_a_model(
    more: dict[str, Any], tmp_path: Path
) -> None:
    """Flower's strategies have no knowledge in a reply: such an attack was accepted, and not heard.

    Where all clients send zeros, the server's model is zeros.
    """
    (tmp_path / "own.py").write_text(ZEROS)
    attack = {"attack": f"{tmp_path}/own.py:Zeros", "attack.fraction": 1.0}
    result = simulate("fedavg", **SHORT | attack | more, run_dir=tmp_path / "run")
    shared = load_file(next((tmp_path / "run").rglob("models/server.safetensors")))
    assert result.summary["rejected"] == 0
    assert len(shared) > 2
    assert all(not value.any() for value in shared.values())


def test_an_attack_on_knowledge_needs_knowledge() -> None:
    with pytest.raises(ConfigError, match="attack=lma: poisons soft_labels or logits, and fedavg"):
        attacked("lma", strategy="fedavg")
    attacked("lma", strategy="local")  # nothing is exchanged: nothing to poison


def test_wrong_attacks_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"attack=lmaa.*did you mean 'lma'"):
        attacked("lmaa")
    with pytest.raises(ConfigError, match=r"attack\.by=worst"):
        simulate(MEAN, **SHORT, attack={"name": "hips", "by": "worst"})
    with pytest.raises(ConfigError, match=r"fraction=1\.5: must be in \[0, 1\]"):
        simulate(MEAN, **SHORT, attack={"name": "lma", "fraction": 1.5})


def test_overrides() -> None:
    config = compose(["attack=lma", "attack.fraction=0.2"])
    assert config.attack == {"name": "lma", "fraction": 0.2}
    assert compose([]).attack == {"name": "none"}


def test_a_resumed_run_remembers_its_teachers(tmp_path: Any) -> None:
    whole = attacked("lma", rounds=3)[0]
    run_dir = tmp_path / "run"
    attacked("lma", run_dir=str(run_dir))
    resumed = run(compose([f"resume={run_dir}", "rounds=3"]))
    assert resumed.summary["digest"] == whole.summary["digest"]


def test_rounds_on_different_samples() -> None:
    more = {"transfer.per_round": 20, "rounds": 3, "strategy": "cronus"}
    (clean, _), (result, _) = attacked("none", **more), attacked("cpa", **more)
    assert result.summary["rejected"] == 0
    assert result.summary["digest"] != clean.summary["digest"]


@pytest.mark.parametrize("name", ["lma", "random_one_hot", "free_rider"])
def test_logits(name: str) -> None:
    (clean, _), (result, _) = attacked("none", strategy="fedmd"), attacked(name, strategy="fedmd")
    assert result.summary["rejected"] == 0
    assert result.summary["digest"] != clean.summary["digest"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lma", "label_flip", "random_one_hot"])
def test_ray_agrees_on_attacks(name: str) -> None:
    """Flower's engine, too: `test_engines_agree` has hostile clients among its cases."""
    more = {"strategy": "expguard", "fraction": 0.7, "rounds": 3}
    with shared_ray(EngineConfig()):
        other = attacked(name, **more, engine={"name": "ray", "actors": 2})[0]
    assert other.summary["digest"] == attacked(name, **more)[0].summary["digest"]
