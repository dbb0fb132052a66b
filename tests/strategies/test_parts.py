"""Methods that share a part of a model: what travels, what stays, who has what; and by hand."""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import support
import torch
from fedkd.clients.exchange.beside_norms import BesideNorms
from fedkd.clients.exchange.body import Body
from fedkd.clients.standard import Standard
from fedkd.strategies.fedbabu import FedBABU
from fedkd.strategies.fedbn import FedBN
from fedkd.strategies.fedper import FedPer
from fedkd.strategies.fedrep import FedRep
from fedkd.strategies.fusing import fuse_in_blocks
from support import TINY
from torch import nn

import fedkd
from fedkd.engine.base import InlineBlocks
from fedkd.errors import ConfigError
from fedkd.knowledge import Target, to_tensor
from fedkd.models.flat import flatten, pack
from fedkd.models.lenet5 import LeNet5
from fedkd.models.mlp import MLP
from fedkd.models.parts import BATCH_NORMS, body, others, top, unnormalised
from fedkd.models.resnet8 import ResNet8

SMALL = TINY | {"clients": 6, "rounds": 4, "evaluate.every": 100}


class Named(nn.Module):
    """BatchNorm that no name gives away, and a name that does without being it."""

    def __init__(self, shape, classes):
        super().__init__()
        del shape
        self.shortcut = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
        self.bn_head = nn.Linear(4 * 36, classes)

    def forward(self, x):
        """``[batch, 1, 8, 8]`` to logits."""
        return self.bn_head(self.shortcut(x).relu().flatten(1))


class Flat(nn.Sequential):
    """Has nothing below its head."""

    def __init__(self, shape, classes):
        super().__init__(nn.Flatten(), nn.Linear(64, classes))


METHODS = {FedPer: "mlp", FedRep: "mlp", FedBABU: "mlp", FedBN: Named}


def noted(strategy):
    """Return an object of a class, and what it sends: ``{(when, round): {client: vector}}``."""
    sent = defaultdict(dict)

    class Noted(strategy):
        def before_fit(self, plan):
            records = super().before_fit(plan)
            sent["before", plan.number] = unpacked(records)
            return records

        def teach(self, plan, admitted, outcome):
            kind, records = super().teach(plan, admitted, outcome)
            sent["after", plan.number] = unpacked(records)
            return kind, records

    return Noted(), sent


def unpacked(records):
    return {k: to_tensor(record["teacher"]["values"]) for k, record in records.items()}


def phase_of(model):
    return SimpleNamespace(client=SimpleNamespace(model=model, tensors={}))


# -- what is a part --------------------------------------------------------------------------------


def test_a_model_is_its_body_and_its_head() -> None:
    for model in (MLP((64,), 10), LeNet5((1, 8, 8), 10), ResNet8((1, 8, 8), 10)):
        assert len(pack(body(model))) + len(pack(top(model))) == len(flatten(model))
        assert torch.equal(pack(others(model, body(model))), pack(top(model)))


def test_batchnorm_is_told_by_its_type_and_not_by_its_name() -> None:
    """The public rule, "bn" in the name, shares ``shortcut.1`` and keeps ``bn_head``."""
    model = Named((1, 8, 8), 10)
    own = ["weight", "bias", "running_mean", "running_var"]
    assert list(others(model, unnormalised(model))) == [f"shortcut.1.{name}" for name in own]
    model = ResNet8((1, 8, 8), 10)
    count = sum(len(flatten(layer)) for layer in model.modules() if isinstance(layer, BATCH_NORMS))
    assert len(flatten(model)) - len(pack(unnormalised(model))) == count > 0


def test_weights_in_common_with_the_head_stay_with_it() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[0].weight = model[1].weight
    assert list(body(model)) == ["0.bias"]


# -- by hand ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", METHODS)
def test_the_mean_by_hand(cls) -> None:
    """Parts 1 and 3 become 2 evenly, 1.5 by samples of 3 to 1."""
    trained = {"samples": torch.tensor([[30.0], [10.0]])}
    rows = support.stack_of(torch.tensor([[1.0], [3.0]]), kind="parameters", extras=trained)
    for weighting, mean in (("uniform", 2.0), ("samples", 1.5)):
        teacher, _ = fuse_in_blocks(cls(weighting=weighting), rows, InlineBlocks())
        assert teacher.shared
        assert teacher.values.tolist() == [mean]
    assert cls().weighting == ("samples" if cls is FedPer else "uniform")


@pytest.mark.parametrize(("exchange", "model"), [(Body(), MLP), (BesideNorms(), Named)])
def test_the_rest_is_bit_equal_before_and_after_the_server(exchange, model) -> None:
    phase = phase_of(model((1, 8, 8), 10))
    own = others(phase.client.model, exchange.part(phase.client.model))
    before, shared = pack(own), exchange.vector(phase)
    exchange.learn(phase, Target(shared + 1, "parameters"))
    assert torch.equal(pack(own), before)
    assert torch.equal(exchange.vector(phase), shared + 1)


def test_a_first_model_is_taken_once_and_later_only_its_part() -> None:
    """A client whose first reply was lost is sent a first model again: its head stays."""
    exchange, phase, first = Body(), phase_of(MLP((64,), 10)), MLP((64,), 10)
    exchange.receive(phase, Target(flatten(first), "parameters"))
    assert torch.equal(flatten(phase.client.model), flatten(first))
    exchange.receive(phase, Target(flatten(first) + 1, "parameters"))
    assert torch.equal(pack(body(phase.client.model)), pack(body(first)) + 1)
    assert torch.equal(pack(top(phase.client.model)), pack(top(first)))


# -- who has what ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", METHODS)
def test_newcomers_get_all_returners_the_part_and_who_stayed_nothing(cls) -> None:
    strategy, sent = noted(cls)
    model = METHODS[cls]
    result = fedkd.simulate(strategy, model=model, **SMALL | {"fraction": 0.5, "rounds": 6})
    net = result.model(0)
    whole, names = len(flatten(net)), set(strategy.part(net))
    rest = torch.cat([torch.full((v.numel(),), n not in names) for n, v in body_of(net).items()])
    met, has, kinds, first = set(), set(), set(), sent["before", 1]
    for number in range(1, 7):
        told, taught = sent["before", number], sent["after", number]
        for client in taught:
            size = len(told[client]) if client in told else 0
            expected = whole if client not in met else 0 if client in has else whole - rest.sum()
            assert size == expected
            kinds.add((client in met, client in has))
            if size == whole:  # what is not shared is as it was for the first
                start = next(iter(first.values()))
                assert torch.equal(told[client][rest], start[rest])
        met, has = met | set(taught), set(taught)
    assert len(kinds) == 3
    assert result.summary["rejected"] == 0


def body_of(net):
    return {name: v for name, v in net.state_dict().items() if v.is_floating_point()}


@pytest.mark.parametrize("cls", METHODS)
def test_parts_meet_and_the_rest_does_not(cls) -> None:
    result = fedkd.simulate(cls(), model=METHODS[cls], **SMALL)
    nets, part = [result.model(client) for client in range(6)], cls().part
    shared = [pack(part(net)) for net in nets]
    assert all(torch.equal(one, shared[0]) for one in shared)
    rest = [pack(others(net, part(net))) for net in nets]
    assert all(torch.equal(one, rest[0]) == (cls is FedBABU) for one in rest[1:])


@pytest.mark.parametrize("cls", [FedPer, FedRep, FedBABU])
def test_mixed_models_share_with_their_like(cls) -> None:
    result = fedkd.simulate(cls(), model=["mlp", "lenet5"], **SMALL)
    parts = [pack(body(result.model(client))) for client in range(6)]
    assert all(torch.equal(parts[k], parts[k % 2]) for k in range(6))
    assert len(parts[0]) != len(parts[1])


@pytest.mark.parametrize("cls", METHODS)
def test_a_resumed_run_ends_the_same(cls, tmp_path) -> None:
    settings = SMALL | {"model": METHODS[cls], "fraction": 0.5}
    whole = fedkd.simulate(cls(), **settings)
    run_dir = tmp_path / "run"
    fedkd.simulate(cls(), run_dir=str(run_dir), **settings | {"rounds": 2})
    resumed = fedkd.resume(run_dir, strategy=cls(), model=METHODS[cls], rounds=4)
    assert resumed.summary["digest"] == whole.summary["digest"]


# -- FedRep ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_head_learns_first_and_then_the_body(optimizer, monkeypatch) -> None:
    """Of 3 epochs 2 are the head's; what rests is bit-equal, statistics of BatchNorm included."""
    seen, fit = defaultdict(list), Standard.fit

    def spy(loop, clients):
        for client in clients:
            parts = pack(body(client.model)), pack(top(client.model))
            seen[client.index].append((client.epochs, *parts))
        return fit(loop, clients)

    monkeypatch.setattr(Standard, "fit", spy)
    more = {"fit.epochs": 3, "fit.optimizer": optimizer, "fit.weight_decay": 0.01, "rounds": 1}
    result = fedkd.simulate("fedrep", model=Named, **SMALL | more | {"clients": 2})
    for client in range(2):
        net, turns = result.model(client), seen[client]
        assert [epochs for epochs, *_ in turns] == [2, 1]
        bodies, heads = [one[1] for one in turns], [one[2] for one in turns]
        assert torch.equal(bodies[0], bodies[1])
        assert not torch.equal(heads[0], heads[1])
        assert torch.equal(heads[1], pack(top(net)))
        assert not torch.equal(bodies[1], pack(body(net)))
        assert all(parameter.requires_grad for parameter in net.parameters())


def test_a_fit_without_an_epoch_for_the_head_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"fit.epochs=2: must be at least 3 for fedrep"):
        fedkd.simulate({"name": "fedrep", "body_epochs": 2}, **SMALL | {"fit.epochs": 2})


# -- FedBABU ---------------------------------------------------------------------------------------


def test_the_head_is_the_first_one_to_the_end() -> None:
    strategy, sent = noted(FedBABU)
    more = {"fit.weight_decay": 0.1, "fit.momentum": 0.9, "fraction": 0.5, "evaluate.every": 1}
    result = fedkd.simulate(strategy, **SMALL | more)
    start = next(iter(sent["before", 1].values()))
    for client in {client for when in sent.values() for client in when}:
        net = result.model(client)
        assert torch.equal(pack(top(net)), start[-len(pack(top(net))) :])


def test_what_is_measured_is_tuned_and_what_is_kept_is_not() -> None:
    runs = {
        name: fedkd.simulate({"name": "fedbabu", **node}, **SMALL | {"evaluate.every": 2})
        for name, node in {
            "none": {"tune": 0},
            "model": {},
            "head": {"tuned": "head"},
            "body": {"tuned": "body"},
        }.items()
    }
    assert len({run.summary["digest"] for run in runs.values()}) == 1
    local = {name: run.summary["alma_local"]["last"] for name, run in runs.items()}
    assert len(set(local.values())) == 4
    assert min(local["model"], local["head"]) > local["none"] + 0.1


def test_what_to_tune_is_refused_where_nothing_is() -> None:
    with pytest.raises(ConfigError, match=r"strategy.tuned=head: has no effect: strategy.tune=0"):
        fedkd.simulate({"name": "fedbabu", "tune": 0, "tuned": "head"}, **SMALL)


# -- refused, and together with the rest -----------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "model", "words"),
    [
        ("fedbn", ["resnet8", "mlp"], "fedbn shares all but BatchNorm, and MLP has none: use a"),
        ("fedper", Flat, "fedper shares what is below the last linear layer, and Flat has nothing"),
        ("fedrep", ["mlp", Flat], "fedrep shares what is below"),
    ],
)
def test_models_that_do_not_fit_are_refused(strategy, model, words) -> None:
    with pytest.raises(ConfigError, match=words):
        fedkd.simulate(strategy, model=model, **SMALL)


def test_a_run_where_nobody_could_share_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no two clients have bodies of one shape \(13000 numb"):
        fedkd.simulate("fedper", model=["mlp", "lenet5"], **SMALL | {"clients": 2})


def test_without_more_words_fedbn_has_a_model_that_fits() -> None:
    result = fedkd.simulate("fedbn", **SMALL | {"rounds": 1, "clients": 2})
    assert isinstance(result.model(0), ResNet8)


@pytest.mark.parametrize("name", ["fedrep", "fedbabu"])
def test_clients_side_by_side_rest_and_learn_as_they_do_alone(name) -> None:
    alone, stacked = (
        fedkd.simulate(name, **SMALL | {"fit.epochs": 3, "engine.stack": size})
        for size in ("off", "3")
    )
    assert 3.0 in {row["value"] for row in stacked.clients.to_pylist() if row["metric"] == "stack"}
    for client in range(6):
        one, two = flatten(alone.model(client)), flatten(stacked.model(client))
        torch.testing.assert_close(one, two, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["fedper", "fedrep", "fedbabu"])
@pytest.mark.parametrize(
    "more",
    [
        {"privacy": {"name": "dp_sgd", "noise_multiplier": 1.0}},
        {"secure.aggregation": True, "fraction": 0.5},
        {"compress": "float16"},
        {"attack": {"name": "label_flip", "fraction": 0.4}},
        {"faults.dropout": 0.4},
    ],
    ids=["private", "secure", "float16", "hostile", "faults"],
)
def test_it_runs_with_what_else_there_is(name, more) -> None:
    result = fedkd.simulate(name, **SMALL | more)
    assert bool(result.summary["rejected"]) == ("faults.dropout" in more)
    assert result.summary["alma_local"]["last"] > 0.1
