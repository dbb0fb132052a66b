"""FedKD (Wu et al.) against its formula: adaptive losses, low rank both ways, one start for all."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from fedkd.clients.base import Client
from fedkd.clients.exchange.mentee import size_of
from fedkd.clients.exchange.mentor import Mentor
from fedkd.clients.standard import Standard
from fedkd.strategies.fedkd_wu import FedKDWu
from support import MIXED, TINY
from torch import nn
from torch.nn import functional as F

import fedkd
from fedkd.errors import ConfigError
from fedkd.knowledge import KnowledgeStack, Target, to_tensor
from fedkd.maths.mutual import adaptive
from fedkd.models import build
from fedkd.models.flat import flatten
from fedkd.models.lowrank import pack, shapes_of, unpack
from fedkd.models.mlp import MLP
from fedkd.rng import scoped
from fedkd.rundir.checkpoint import newest

SMALL = TINY | {"fit.epochs": 1}
FIT = {"epochs": 2, "batch_size": 8, "lr": 0.05, "momentum": 0.9, "optimizer": "sgd"}


def phase_of(model: nn.Module, tensors: dict) -> SimpleNamespace:
    """What an exchange looks at, without a message."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 4, generator=generator), torch.arange(20) % 3
    client = Client(0, model, x, y, generator, tensors=tensors)

    def make(spec, name):
        with scoped(len(name)):
            return build(spec, (4,), 3)

    loop = Standard(fit=FIT, distil=FIT, device="cpu")
    return SimpleNamespace(client=client, loop=loop, build=make, index=0, round=1, options={})


def test_the_losses_by_hand() -> None:
    """Both sure of nothing but one: CE ln 2 and ln 4/3; features 1 apart in one of two places."""
    own, shared, label = torch.zeros(1, 2), torch.tensor([[math.log(3), 0.0]]), torch.tensor([0])
    hidden = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 3.0]])
    cross_m, cross_s = math.log(2), math.log(4 / 3)
    kl_sm = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    kl_ms = 0.5 * math.log(2 / 3) + 0.5 * math.log(2)
    by_hand = cross_m + cross_s + (kl_sm + kl_ms + 0.5) / (cross_m + cross_s)
    whole = F.cross_entropy(own, label) + adaptive(own, shared, hidden, label, 1e-6)
    torch.testing.assert_close(whole.item(), by_hand)
    floored = F.cross_entropy(own, label) + adaptive(own, shared, hidden, label, 2.0)
    expected = cross_m + cross_s + (kl_sm + kl_ms + 0.5) / 2
    torch.testing.assert_close(floored.item(), expected)


def test_each_loss_trains_its_own_model_and_the_divisor_is_a_weight() -> None:
    """Through the divisor, a larger cross-entropy would be rewarded."""
    own = torch.randn(4, 3, requires_grad=True)
    shared = torch.randn(4, 3, requires_grad=True)
    h, wh = torch.randn(4, 5, requires_grad=True), torch.randn(4, 5, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 0])
    divisor = (F.cross_entropy(own, labels) + F.cross_entropy(shared, labels)).item()
    (F.cross_entropy(own, labels) + adaptive(own, shared, (h, wh), labels, 0.01)).backward()
    p, q, one = own.detach().softmax(1), shared.detach().softmax(1), F.one_hot(labels, 3)
    torch.testing.assert_close(own.grad, (p - one + (p - q) / divisor) / 4)
    torch.testing.assert_close(shared.grad, (q - one + (q - p) / divisor) / 4)
    apart = 2 * (h - wh).detach() / h.numel() / divisor
    torch.testing.assert_close(h.grad, apart)
    torch.testing.assert_close(wh.grad, -apart)


def test_the_updates_are_averaged_by_samples() -> None:
    values, trained = torch.tensor([[1.0, 0.0], [5.0, 4.0]]), torch.tensor([[30.0], [10.0]])
    none = torch.zeros(0, dtype=torch.int64)
    stack = KnowledgeStack("parameters", values, [0, 3], none, extras={"samples": trained})
    assert torch.equal(FedKDWu().fuse(stack), torch.tensor([2.0, 1.0]))
    assert (FedKDWu().fuse(stack) - values.mean(dim=0)).abs().min() > 1e-3


def test_a_fit_changes_mentor_mentee_and_bridge_and_gives_the_model_back() -> None:
    own = nn.Sequential(nn.Flatten(), nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3))
    start = flatten(MLP((4,), 3))
    phase, exchange = phase_of(own, {}), Mentor(hidden=6)
    exchange.receive(phase, Target(start, "parameters"))
    before, seen = flatten(own), []
    with exchange.fitting(phase):
        seen.append(phase.client.model)
        phase.loop.fit([phase.client])
    assert phase.client.model is own
    assert not torch.equal(flatten(own), before)
    pair, tensors = seen[0], phase.client.tensors
    assert pair.hidden.shape[1] == pair.shared_hidden.shape[1] == 6
    assert set(tensors) == {"mentee", "start", "bridge"}
    assert torch.equal(tensors["start"], start)
    assert not torch.equal(tensors["mentee"], start)
    first = flatten(phase.build(lambda: nn.Linear(6, 6, bias=False), "bridge"))
    assert not torch.equal(tensors["bridge"], first)
    with exchange.fitting(phase):
        assert torch.equal(flatten(phase.client.model.bridge), tensors["bridge"])


def test_what_goes_up_is_the_update_in_low_rank() -> None:
    exchange, shapes = Mentor(energy_start=0.1, energy_end=0.6, ramp=2), shapes_of(MLP((4,), 3))
    start = torch.zeros(sum(torch.Size(shape).numel() for shape in shapes))
    update = torch.randn(len(start), generator=torch.Generator().manual_seed(1))
    phase = phase_of(MLP((4,), 3), {"start": start + 2, "mentee": start + 2 + update})
    sent = []
    for phase.round in (1, 2, 3):
        upload = exchange.upload(phase)
        assert upload.mask is not None
        back = unpack(upload.values, upload.mask, shapes)
        lost = (update - back).square().sum() / update.square().sum()
        assert 0 < lost < 1 - (0.35, 0.6, 0.6)[phase.round - 1]
        sent.append(int(upload.mask.sum()))
    assert sent[0] < sent[1] == sent[2] < len(start)


def test_a_mean_update_is_added_to_where_all_started() -> None:
    exchange, shapes = Mentor(), shapes_of(MLP((4,), 3))
    size_ = sum(torch.Size(shape).numel() for shape in shapes)
    start, update = torch.randn(size_), torch.randn(size_)
    phase = phase_of(MLP((4,), 3), {"start": start, "mentee": start + 5})
    values, mask = pack(update, shapes, 1.0)
    exchange.learn(phase, Target(values, "parameters", mask=mask))
    expected = start + unpack(values, mask, shapes)
    assert torch.equal(phase.client.tensors["mentee"], expected)
    assert torch.equal(phase.client.tensors["start"], expected)


def checkpoint_of(run_dir):
    checkpoint = newest(run_dir)
    assert checkpoint is not None
    tensors = {
        k: c.array_records["tensors"] for some in checkpoint.clients for k, c in some.items()
    }
    return checkpoint.server, tensors


def test_server_and_clients_go_on_from_the_same_mentee(tmp_path) -> None:
    """All add the same truncated updates to the same start: they must not drift apart."""
    settings = SMALL | {"model": MIXED, "rounds": 4, "fraction": 0.6, "clients": 6}
    run_dir = tmp_path / "run"
    fedkd.simulate("fedkd_wu", run_dir=str(run_dir), **settings)
    server, tensors = checkpoint_of(run_dir)
    fresh = [client for client in range(6) if server["fresh"][client]]
    assert len(fresh) == 4
    for client in fresh:
        assert torch.equal(to_tensor(tensors[client]["start"]), server["shared.0"])
        assert torch.equal(to_tensor(tensors[client]["mentee"]), server["shared.0"])


def test_a_resumed_run_ends_the_same(tmp_path) -> None:
    """Also where it is extended: the energy does not depend on the number of rounds."""
    settings = SMALL | {"model": MIXED, "fraction": 0.6}
    whole = fedkd.simulate("fedkd_wu", **settings | {"rounds": 3})
    run_dir = tmp_path / "run"
    fedkd.simulate("fedkd_wu", run_dir=str(run_dir), **settings | {"rounds": 2})
    resumed = fedkd.resume(run_dir, rounds=3)
    assert resumed.summary["digest"] == whole.summary["digest"]


def test_the_saving_shows_in_the_bytes() -> None:
    run = fedkd.simulate("fedkd_wu", **SMALL)
    plain = fedkd.simulate("fml", **SMALL)
    assert run.summary["bytes_up"] < 0.6 * plain.summary["bytes_up"]
    assert run.summary["bytes_down"] < 0.9 * plain.summary["bytes_down"]
    numbers = 5 * size_of("mlp", (1, 8, 8), 10)
    for row in run.rounds.to_pylist():
        expected = numbers * (1 + 4 * row["sent_share"])  # a byte of mask, four of value
        assert row["bytes_up"] == pytest.approx(expected, rel=0.05)


def test_what_is_no_update_is_rejected_and_named(monkeypatch) -> None:
    """Whose factors pass, each for itself, and not what they multiply to."""
    honest = Mentor.upload

    def upload(self, phase):
        sent = honest(self, phase)
        assert sent.mask is not None
        if phase.index == 0:
            sent.mask[0] = False
        elif phase.index == 1:
            sent = replace(sent, values=sent.values * (5e5 / sent.values.abs().max()))
        return sent

    monkeypatch.setattr(Mentor, "upload", upload)
    run = fedkd.simulate("fedkd_wu", **SMALL | {"rounds": 1})
    assert run.summary["rejected"] == 2
    log = (run.run_dir / "log.txt").read_text()
    assert "client 0 rejected: " in log
    assert "are no factors of a" in log
    assert "client 1 rejected: magnitude" in log


@pytest.mark.parametrize(
    "parameters",
    [{"hidden": 0}, {"ramp": 0}, {"floor": 0.0}, {"energy_start": 0.0}, {"energy_end": 1.1}],
)
def test_parameters_out_of_range_are_refused(parameters: dict) -> None:
    with pytest.raises(ValueError, match=r"must be|> 0"):
        FedKDWu(**parameters)


def test_parameters_at_the_ends_of_their_ranges_are_taken() -> None:
    made = FedKDWu(hidden=1, ramp=1, energy_start=1.0, energy_end=1.0)
    assert (made.hidden, made.ramp, made.energy_start, made.energy_end) == (1, 1, 1.0, 1.0)


class Headless(nn.Module):
    """Has no linear layer."""

    def __init__(self, shape, classes):
        super().__init__()
        self.layer = nn.Conv2d(1, classes, shape[-1])

    def forward(self, x):
        return self.layer(x).flatten(1)


def test_models_without_a_last_layer_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model=\[Headless\].*Headless has no linear layer"):
        fedkd.simulate("fedkd_wu", model=Headless, **SMALL)


def test_a_mentee_without_a_last_layer_is_refused(tmp_path) -> None:
    file = tmp_path / "headless.py"
    file.write_text(
        "from torch import nn\n\n"
        "class Headless(nn.Sequential):\n"
        "    def __init__(self, shape, classes):\n"
        "        super().__init__(nn.Conv2d(1, classes, shape[-1]), nn.Flatten())\n"
    )
    spec = f"{file}:Headless"
    with pytest.raises(ConfigError, match=r"strategy\.mentee=.*: has no linear layer"):
        fedkd.simulate({"name": "fedkd_wu", "mentee": spec}, **SMALL)
