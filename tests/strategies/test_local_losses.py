"""FedAvg with a local loss: formulas by hand, what is frozen, what is kept, what is refused."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fedkd.clients.base import Client
from fedkd.clients.exchange.contrastive import PREVIOUS, Contrastive, contrast
from fedkd.clients.exchange.counted_steps import CountedSteps
from fedkd.clients.exchange.group_distillation import GroupDistillation
from fedkd.clients.exchange.head_then_body import HeadThenBody
from fedkd.clients.exchange.label_masking import LabelMasking
from fedkd.clients.exchange.mentee import Mentee
from fedkd.clients.exchange.not_true import NotTrue
from fedkd.clients.exchange.parameters import Parameters
from fedkd.clients.exchange.received import LocalLoss
from fedkd.clients.standard import Standard
from hypothesis import given
from hypothesis import strategies as st
from support import MIXED, TINY
from torch import Tensor, nn
from torch.nn import functional as F

import fedkd
from fedkd.errors import ConfigError
from fedkd.knowledge import to_tensor
from fedkd.maths.groups import group_divergence
from fedkd.maths.imbalance import frequent
from fedkd.maths.masked import divergence_among
from fedkd.models import build
from fedkd.models.flat import flatten, unflatten
from fedkd.models.resnet8 import ResNet8
from fedkd.rundir.checkpoint import newest
from fedkd.tasks.samples import Tokens

SMALL = TINY | {"fit.epochs": 1}
METHODS = ("fedntd", "fedlmd", "moon", "feddistill_group")
FIT = {"epochs": 1, "batch_size": 8, "lr": 0.05, "momentum": 0.9, "optimizer": "sgd"}
NOBODY = torch.zeros(3, dtype=torch.bool)
LOGITS = st.lists(st.floats(-9, 9), min_size=4, max_size=4)


def phase_of(model: nn.Module, tensors: dict[str, Tensor] | None = None, n: int = 12) -> Any:
    """What an exchange looks at, without a message: 3 classes, n samples of 4 numbers."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(n, 4, generator=generator), torch.arange(n) % 3
    client = Client(0, model, x, y, generator, tensors=tensors if tensors is not None else {})
    loop = Standard(fit=FIT, distil=FIT, device="cpu")
    return SimpleNamespace(client=client, loop=loop, classes=3, index=0, round=1, options={})


def small(classes: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, classes))


# -- by hand ---------------------------------------------------------------------------------------


def test_not_true_distillation_by_hand_leaves_the_true_class_alone() -> None:
    """z = (5, 0, 0), zg = (-7, ln 3, 0), y = 0: KL((3/4, 1/4) || (1/2, 1/2)) = .1308."""
    own = torch.tensor([[5.0, 0.0, 0.0]], requires_grad=True)
    received = torch.tensor([[-7.0, math.log(3), 0.0]])
    value = divergence_among(received, own, NOBODY, torch.tensor([0]), 1.0)
    assert value.item() == pytest.approx(0.1308, abs=5e-5)
    value.backward()
    assert own.grad is not None
    assert own.grad[0, 0] == 0
    torch.testing.assert_close(own.grad[0, 1:], torch.tensor([-0.25, 0.25]))


def test_label_masking_by_hand() -> None:
    """C = 4, y = 0, M = {0, 1}, all logits 0: (1/2, 1/2) against (1/3, 1/3, 1/3) is ln 1.5."""
    zeros, masked = torch.zeros(1, 4), torch.tensor([True, True, False, False])
    value = divergence_among(zeros, zeros, masked, torch.tensor([0]), 1.0)
    assert value.item() == pytest.approx(math.log(1.5))
    assert frequent(torch.tensor([0, 0, 0, 1, 1, 2]), 4).tolist() == [True, True, False, False]
    assert not frequent(torch.arange(4), 4).any()


def test_temperature_counts_as_its_square() -> None:
    own, received, y = (
        torch.zeros(1, 3),
        torch.tensor([[0.0, 2 * math.log(3), 0.0]]),
        torch.zeros(1),
    )
    value = divergence_among(received, own, NOBODY, y.long(), 2.0)
    assert value.item() == pytest.approx(4 * 0.1308, abs=2e-4)


def test_padded_places_of_texts_count_for_nothing_in_the_contrast() -> None:
    """As in the loss on next tokens: what is behind the end costs 0, the rest weighs as in full."""
    own, near, far = torch.randn(3, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    counted = torch.tensor([[True, True, False, False], [True] * 4])
    value = contrast(own, near, far, 0.5, counted)
    parts = contrast(own[:1, :2], near[:1, :2], far[:1, :2], 0.5) * 2
    parts += contrast(own[1:], near[1:], far[1:], 0.5) * 4
    torch.testing.assert_close(value, parts / 8)

    model = build("gru", Tokens(6, 300), (6, 300), "tokens")
    phase = phase_of(model, {PREVIOUS: flatten(model) + 0.1})
    exchange = Contrastive()
    exchange.input_shape = Tokens(6, 300)
    x = torch.tensor([[5, 6, 7, 8, 9, 3], [5, 6, 0, 0, 0, 0]])
    with exchange.fitting(phase):
        assert phase.client.extra_loss is not None
        short, whole = (phase.client.extra_loss(model(part), part) for part in (x[1:], x[1:, :2]))
    torch.testing.assert_close(short * 3, whole)  # of six places two count


def test_the_contrast_by_hand() -> None:
    one, other = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    assert contrast(one, one, other, 0.5).item() == pytest.approx(math.log(1 + math.exp(-2)))
    assert contrast(one, other, other, 0.5).item() == pytest.approx(math.log(2))


def test_group_distillation_by_hand_and_what_the_paper_says_of_it_is_not_so() -> None:
    """q~g = (.75, .25), q~l = (.5, .5), a class a group: RC = FC = .1308, twice the KL."""
    received, own = torch.tensor([[9.0, math.log(3), 0.0]]), torch.zeros(1, 3)
    label, rich = torch.tensor([0]), torch.tensor([False, True, False])

    def gd(*alphas: float) -> float:
        return group_divergence(received, own, label, rich, alphas).item()

    assert gd(0, 1, 0) == pytest.approx(0.1308, abs=5e-5)
    assert gd(0, 0, 1) == pytest.approx(0.1308, abs=5e-5)
    q = received.softmax(1)[0, 0].item()
    true = q * math.log(3 * q) + (1 - q) * math.log(3 / 2 * (1 - q))
    assert gd(1, 0, 0) == pytest.approx(true, rel=1e-4)
    whole = F.kl_div(own.log_softmax(1), received.softmax(1), reduction="batchmean").item()
    assert gd(1, 1 - q, 1 - q) == pytest.approx(whole + (1 - q) * 0.1308, rel=1e-3)
    assert gd(1, 1 - q, 1 - q) > whole * 1.00001


def test_rich_classes_have_more_than_an_even_share() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 2])
    assert frequent(labels, 3).tolist() == [True, False, False]  # 1 has a third, and no more
    assert frequent(labels, 3, 0.1).tolist() == [True, True, True]


# -- properties ------------------------------------------------------------------------------------


@given(LOGITS, LOGITS, st.integers(0, 3), st.lists(st.booleans(), min_size=4, max_size=4))
def test_terms_are_divergences(q: list[float], p: list[float], y: int, some: list[bool]) -> None:
    """At least 0, finite with finite gradients whatever is masked, 0 where models agree."""
    teacher, label, group = torch.tensor([q]), torch.tensor([y]), torch.tensor(some)
    for term in (
        lambda t, s: divergence_among(t, s, group, label, 1.0),
        lambda t, s: group_divergence(t, s, label, group, (1.0, 1.0, 1.0)),
    ):
        own = torch.tensor([p], requires_grad=True)
        value = term(teacher, own)
        assert value.item() > -1e-5
        assert value.isfinite()
        value.backward()
        assert own.grad is not None
        assert own.grad.isfinite().all()
    agreed = group_divergence(teacher, teacher, label, group, (1.0, 1.0, 1.0))
    assert agreed.item() == pytest.approx(0, abs=1e-5)
    alone = divergence_among(teacher, teacher, NOBODY.new_zeros(4), label, 1.0)
    assert alone.item() == pytest.approx(0, abs=1e-5)


# -- faults of public code ------------------------------------------------------------------------


def test_the_only_minority_class_is_skipped_and_does_not_make_the_loss_jump_to_1000() -> None:
    """FedLMD's code masks all of the teacher alike, which then has mass on the true class."""
    own, teacher = torch.randn(2, 3, requires_grad=True), torch.tensor([[9.0, 0, 0], [0, 0, 0]])
    minority = torch.tensor([False, True, True])  # class 0 is the only one
    value = divergence_among(teacher, own, minority, torch.tensor([0, 1]), 1.0)
    alone = divergence_among(teacher[1:], own[1:], minority, torch.tensor([1]), 1.0)
    torch.testing.assert_close(value, alone / 2)
    nothing = divergence_among(teacher[:1], own[:1], minority, torch.tensor([0]), 1.0)
    assert nothing.item() == 0
    nothing.backward()


def test_a_uniform_teacher_runs_and_divides_by_the_classes_it_speaks_of() -> None:
    """FedLMD-Tf's code lacks an argument, and divides by C less the batch's size."""
    phase = phase_of(small())
    phase.client.y[:9] = 0
    terms = []
    exchange = LabelMasking(teacher="uniform")
    with exchange.fitting(phase):
        for rows in (3, 12):
            logits = phase.client.model(phase.client.x[:rows])
            terms.append(phase.client.extra_loss(torch.zeros_like(logits), phase.client.y[:rows]))
    assert terms[0].item() == pytest.approx(0)  # y = 0: (1/2, 1/2) of 1 and 2, as the student has
    assert terms[1].item() == pytest.approx(2 / 12 * math.log(2))  # y = 1, 2: one of two classes


def test_a_client_that_fits_for_the_first_time_has_no_contrast_then_its_own_last_model() -> None:
    """In MOON's code the first pool is empty; and a batch of one sample breaks it."""
    model, phase = small(), None
    phase = phase_of(model)
    exchange = Contrastive(mu=2.0)
    with exchange.fitting(phase):
        assert phase.client.extra_loss is None
        phase.loop.fit([phase.client])
    kept = phase.client.tensors[PREVIOUS]
    assert torch.equal(kept, flatten(model))
    received = unflatten(model, kept + 0.1)
    features = [unflatten(small(), v)[:3].eval() for v in (kept + 0.1, kept)]
    with exchange.fitting(phase):
        x, y = phase.client.x[:1], phase.client.y[:1]
        value = phase.client.extra_loss(received(x), y)
        r = received[:3](x)
        near, far = (F.cosine_similarity(r, f(x), dim=-1) / 0.5 for f in features)
        by_hand = -2 * (near.exp() / (near.exp() + far.exp())).log()
        torch.testing.assert_close(value, by_hand.squeeze())


def test_every_client_of_the_cohort_trains() -> None:
    """A port of FedNTD overwrites the client's number: only client 1 ever trains there."""
    result = fedkd.simulate("fedntd", **SMALL | {"rounds": 1})
    rows = [row for row in result.clients.to_pylist() if row["metric"] == "loss_fit"]
    assert sorted(row["client"] for row in rows) == list(range(5))
    assert len({row["value"] for row in rows}) == 5


# -- the received model ----------------------------------------------------------------------------


@pytest.mark.parametrize("exchange", [NotTrue(), Contrastive(), GroupDistillation()])
def test_the_received_model_stays_as_it_came_and_nothing_is_left_behind(
    exchange: LocalLoss,
) -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, 3))
    phase = phase_of(model, {PREVIOUS: flatten(model) - 0.1})
    seen = []
    with exchange.fitting(phase):
        sight = phase.client.extra_loss.__closure__
        frozen = [c.cell_contents for c in sight if hasattr(c.cell_contents, "received")]
        before = flatten(frozen[0].received)
        phase.loop.fit([phase.client])
        seen.append(frozen[0].received)
    assert torch.equal(flatten(seen[0]), before)
    assert not seen[0].training
    assert not torch.equal(flatten(model), before)
    assert phase.client.extra_loss is None
    assert not any(module._forward_pre_hooks for module in model.modules())


class Deaf(Standard):
    """A loop that trains as it likes."""

    def _fit(self, client: Client) -> float:
        for _ in range(self.fit_config["epochs"]):
            loss = torch.nn.functional.cross_entropy(client.model(client.x), client.y)
            loss.backward()
        return 0.0


@pytest.mark.parametrize(
    ("exchange", "name"),
    [
        (NotTrue(), "extra_loss"),
        (CountedSteps(), "extra_loss"),
        (Mentee(), "extra_loss"),
        (HeadThenBody(), "epochs"),
        (Parameters(), "options"),
    ],
)
def test_a_loop_that_leaves_out_what_a_method_sets_fails_and_is_not_fedavg(
    exchange: Any, name: str
) -> None:
    mentee = flatten(build("mlp", (4,), 3))
    phase = phase_of(small(), {"mentee": mentee})
    phase.build = lambda spec, name: build(spec, (4,), 3)
    phase.client.options = {"proximal-mu": 0.1} if name == "options" else {}
    assert "loss_fit" in exchange.fit(phase)
    phase.loop = Deaf(fit=FIT, distil=FIT, device="cpu")
    told = rf"client: Deaf trains without what the method sets \(Client\.{name}\)"
    with pytest.raises(RuntimeError, match=told):
        exchange.fit(phase)
    assert type(phase.client) is Client
    assert "asked" not in vars(phase.client)
    if name != "epochs":
        phase.loop = Deaf(fit=FIT | {"epochs": 0}, distil=FIT, device="cpu")
        exchange.fit(phase)  # and one that does not train need not ask


def test_a_loop_with_no_use_for_them_fits_where_nothing_is_set() -> None:
    phase = phase_of(small())
    phase.loop = Deaf(fit=FIT, distil=FIT, device="cpu")
    assert Parameters().fit(phase) == {"loss_fit": 0.0}


def test_a_fit_that_fails_leaves_nothing_behind_and_keeps_no_model() -> None:
    phase = phase_of(small())
    with pytest.raises(ZeroDivisionError), Contrastive().fitting(phase):
        raise ZeroDivisionError
    assert phase.client.extra_loss is None
    assert not phase.client.tensors


def test_heads_are_exchanged_over_features_of_the_other_model() -> None:
    model = small()
    phase = phase_of(model)
    first = unflatten(small(), flatten(model)).eval()
    x, y = phase.client.x, phase.client.y
    with GroupDistillation(beta_l=0.0, beta_fc=0.0, beta_e=2.0).fitting(phase):
        with torch.no_grad():
            model[3].weight += 1  # type: ignore[operator]
            model[1].weight += 0.5  # type: ignore[operator]
        value = phase.client.extra_loss(model(x), y)
        torch.testing.assert_close(value, 2 * F.cross_entropy(first[3](model[:3](x)), y))
    with GroupDistillation(beta_l=0.0, beta_fc=1.0, beta_e=0.0).fitting(phase):
        first = unflatten(small(), flatten(model)).eval()
        with torch.no_grad():
            model[3].weight += 1  # type: ignore[operator]
        value = phase.client.extra_loss(model(x), y)
        crossed = model[3](first[:3](x))
        rich = torch.zeros(3, dtype=torch.bool)
        by_hand = group_divergence(first(x), crossed, y, rich, (0.0, 0.5, 1.0))
        torch.testing.assert_close(value, by_hand)


# -- runs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "node",
    [
        {"name": "fedntd", "beta": 0.0},
        {"name": "fedlmd", "beta": 0.0},
        {"name": "moon", "mu": 0.0},
        {"name": "feddistill_group", "beta_l": 0.0, "beta_e": 0.0, "beta_fc": 0.0},
    ],
)
def test_without_its_term_a_method_is_fedavg(node: dict[str, Any]) -> None:
    settings = SMALL | {"fraction": 0.6, "rounds": 3}
    plain = flatten(fedkd.simulate("fedavg", **settings).model(0))
    assert torch.equal(flatten(fedkd.simulate(node, **settings).model(0)), plain)
    ours = fedkd.simulate(node["name"], **settings)
    assert not torch.equal(flatten(ours.model(0)), plain)
    assert ours.summary["rejected"] == 0


def test_the_last_own_model_lives_with_the_client_and_a_resumed_run_ends_the_same(tmp_path) -> None:
    settings = SMALL | {"fraction": 0.4}
    whole = fedkd.simulate("moon", **settings | {"rounds": 4})
    run_dir = tmp_path / "run"
    early = fedkd.simulate("moon", run_dir=str(run_dir), **settings | {"rounds": 2})
    checkpoint = newest(run_dir)
    assert checkpoint is not None
    kept = {
        client: content.array_records["tensors"]
        for some in checkpoint.clients
        for client, content in some.items()
        if PREVIOUS in content.array_records["tensors"]
    }
    fitted = {row["client"] for row in early.clients.to_pylist() if row["metric"] == "loss_fit"}
    assert set(kept) == fitted
    assert len({tuple(to_tensor(one[PREVIOUS])[:50].tolist()) for one in kept.values()}) == len(
        kept
    )
    assert fedkd.resume(run_dir, rounds=4).summary["digest"] == whole.summary["digest"]


@pytest.mark.parametrize("name", METHODS)
def test_masked_sums_end_as_plain_ones(name: str) -> None:
    plain, masked = (
        flatten(fedkd.simulate(name, **SMALL, **more).model(0))
        for more in ({}, {"secure.aggregation": True})
    )
    assert (plain - masked).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["moon", "feddistill_group"])
def test_models_with_batchnorm_run(name: str) -> None:
    result = fedkd.simulate(name, model="resnet8", **SMALL)
    assert result.summary["rejected"] == 0


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"name": "fedntd", "beta": -1.0}, "beta=-1.0: must be at least 0"),
        ({"name": "fedlmd", "tau": 0.0}, "tau=0.0: must be greater than 0"),
        ({"name": "moon", "tau": float("nan")}, "tau=nan"),
        ({"name": "feddistill_group", "alpha_f": -0.5}, "alpha_f=-0.5: must be at least 0"),
        ({"name": "feddistill_group", "gamma": 1.0}, "gamma=1.0: must be at least 0 and below 1"),
    ],
)
def test_parameters_out_of_range_are_refused_by_their_key(node: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=rf"^strategy\.{words}"):
        fedkd.simulate(node, **SMALL)


class Headless(nn.Sequential):
    """Has no linear layer."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__(nn.Conv2d(1, classes, shape[-1]), nn.Flatten())


class Squashed(nn.Sequential):
    """Does something after its head."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(math.prod(shape), classes), nn.Tanh())


def test_what_cannot_be_done_right_is_refused_by_name() -> None:
    two = torch.randn(60, 4), torch.arange(60) % 2
    for name in METHODS:
        with pytest.raises(ConfigError, match="all clients need the same one"):
            fedkd.simulate(name, model=MIXED, **SMALL)
        with pytest.raises(ConfigError, match=f"privacy=dp_sgd: .*in its own way.*{name}"):
            fedkd.simulate(name, privacy={"name": "dp_sgd", "noise_multiplier": 1.0}, **SMALL)
        if name == "moon":
            continue
        with pytest.raises(ConfigError, match=f"strategy={name}: compares .* have 1; use fedavg"):
            fedkd.simulate(name, data=two, clients=2, engine="inline", **{"transfer.size": 10})
    for name in ("moon", "feddistill_group"):
        with pytest.raises(ConfigError, match="works on features, and Headless has no linear"):
            fedkd.simulate(name, model=Headless, **SMALL)
    with pytest.raises(ConfigError, match=r"exchanges heads.*not the last thing.*Squashed"):
        fedkd.simulate("feddistill_group", model=Squashed, **SMALL)
    assert fedkd.simulate("fedntd", model=Headless, **SMALL).summary["rejected"] == 0


def test_a_model_with_batchnorm_may_hand_over_its_head() -> None:
    exchange = GroupDistillation()
    exchange.input_shape = (1, 8, 8)
    assert exchange.refusal({"resnet8": ResNet8((1, 8, 8), 10)}) is None
