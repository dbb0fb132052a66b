"""CFD: labels of few bits, and the model between them."""

import itertools
import math

import pytest
import torch
from fedkd.strategies.cfd import CFD, soft_cross_entropy
from fedkd.strategies.server_model import fresh
from hypothesis import given, settings
from hypothesis import strategies as st
from support import MIXED, TINY

import fedkd
from fedkd.codecs.quantisation import quantised
from fedkd.errors import ConfigError, RunError
from fedkd.knowledge import KnowledgeStack
from fedkd.maths.mixing import simplex_error
from fedkd.models.flat import unflatten

SMALL = TINY | {"evaluate.every": 100}
seeds = st.integers(0, 10_000)


def random_labels(seed: int, n: int, samples: int = 6, classes: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, samples, classes, generator=generator).mul(2).softmax(dim=-1)


# -- quantisation ------------------------------------------------------------------------------


def test_two_bits_by_hand() -> None:
    """In thirds: (2.1, 0.6, 0.3) is (2, 0, 0) and one third left, for the remainder 0.6."""
    p = torch.tensor([[0.7, 0.2, 0.1], [0.34, 0.33, 0.33], [1.0, 0.0, 0.0]])
    expected = torch.tensor([[2.0, 1.0, 0.0], [1.0, 1.0, 1.0], [3.0, 0.0, 0.0]]) / 3
    torch.testing.assert_close(quantised(p, 2), expected)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(2, 9))
def test_one_bit_is_the_hard_label(seed: int, classes: int) -> None:
    p = random_labels(seed, 3, classes=classes)
    hard = torch.nn.functional.one_hot(p.argmax(dim=-1), classes).float()
    assert torch.equal(quantised(p, 1), hard)
    tied = torch.full((1, classes), 1 / classes)
    assert quantised(tied, 1).tolist() == [[1.0] + [0.0] * (classes - 1)]


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 16))
def test_rows_are_whole_steps_that_sum_to_1(seed: int, bits: int) -> None:
    p, steps = random_labels(seed, 2, classes=7), 2**bits - 1
    rows = quantised(p, bits).double() * steps
    torch.testing.assert_close(rows, rows.round(), atol=1e-2, rtol=0)
    assert torch.equal(rows.round().sum(dim=-1), torch.full((2, 6), float(steps)).double())
    assert rows.min() >= 0
    assert (quantised(p, bits) - p).abs().max() <= 1 / steps + 1e-6
    assert simplex_error(quantised(p, bits)) < 1e-6
    torch.testing.assert_close(quantised(quantised(p, bits), bits), quantised(p, bits))


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 3))
def test_no_other_such_row_is_nearer(seed: int, bits: int) -> None:
    p, steps = random_labels(seed, 1, samples=4, classes=3)[0], 2**bits - 1
    grid = itertools.product(range(steps + 1), repeat=3)
    rows = torch.tensor([row for row in grid if sum(row) == steps]) / steps
    best = (p[:, None] - rows).norm(dim=-1).amin(dim=1)
    torch.testing.assert_close((p - quantised(p, bits)).norm(dim=-1), best, atol=1e-6, rtol=0)


def test_32_bits_are_the_soft_label_itself() -> None:
    p = random_labels(1, 2)
    assert torch.equal(quantised(p, 32), p)
    with pytest.raises(ValueError, match="bits=17 must be"):
        quantised(p, 17)


# -- the method --------------------------------------------------------------------------------


def test_hard_votes_are_averaged() -> None:
    """Votes 2 to 1, whatever the confidence: not the mean of the soft labels (0.5, 0.5)."""
    soft = torch.tensor([[[0.6, 0.4]], [[0.6, 0.4]], [[0.3, 0.7]]])
    stack = KnowledgeStack("soft_labels", quantised(soft, 1), [0, 1, 2], torch.arange(1))
    mean = CFD().fuse(stack)
    torch.testing.assert_close(mean, torch.tensor([[2 / 3, 1 / 3]]))
    assert (mean - soft.mean(dim=0)).abs().max() > 1e-3


def test_the_loss_by_hand() -> None:
    """Target (3/4, 1/4) against (1/2, 1/2) is log 2; the mean is over samples, not classes."""
    target = torch.tensor([[0.75, 0.25]])
    assert soft_cross_entropy(torch.zeros(1, 2), {"target": target}).item() == pytest.approx(
        math.log(2)
    )
    logits, targets = torch.randn(5, 3).requires_grad_(), torch.rand(5, 3).softmax(-1)
    soft_cross_entropy(logits, {"target": targets}).backward()
    torch.testing.assert_close(logits.grad, (logits.detach().softmax(-1) - targets) / 5)


class Watched(CFD):
    """Keeps what is uploaded, the mean and the teacher."""

    def refine(self, plan, knowledge, teacher):
        self.plan, self.uploaded, self.mean = plan, knowledge.values, teacher.values
        self.sent = super().refine(plan, knowledge, teacher)
        return self.sent


def server_logits(strategy: Watched) -> torch.Tensor:
    server = strategy.plan.server
    model = unflatten(fresh(server, strategy.server_model), strategy.state["server"]).eval()
    with torch.no_grad():
        return model(server.transfer(strategy.plan.sample_ids))


@pytest.mark.parametrize(("up", "down"), [(1, 32), (2, 1), (32, 3)])
def test_what_travels_has_the_bits(up: int, down: int) -> None:
    strategy = Watched(b_up=up, b_down=down)
    fedkd.simulate(strategy, **SMALL | {"rounds": 1})
    assert torch.equal(strategy.uploaded, quantised(strategy.uploaded, up))
    assert (up == 1) == bool(((strategy.uploaded == 0) | (strategy.uploaded == 1)).all())
    assert torch.equal(strategy.sent.values, quantised(strategy.sent.values, down))


def test_the_teacher_is_the_servers_model_and_not_the_mean() -> None:
    """Dual distillation: clients learn from the server's model, which learnt from the mean."""
    strategy = Watched(server_model="lenet5")
    fedkd.simulate(strategy, **SMALL)
    soft = server_logits(strategy).softmax(dim=-1)
    torch.testing.assert_close(strategy.sent.values, soft, atol=1e-5, rtol=1e-4)
    assert (strategy.sent.values - strategy.mean).abs().max() > 1e-3


class Guessing(Watched):
    """Keeps what the server's model says at the beginning and at the end of each round."""

    def refine(self, plan, knowledge, teacher):
        before = self.guessed(plan).softmax(dim=-1)
        sent = super().refine(plan, knowledge, teacher)
        self.said = [*getattr(self, "said", []), (before, sent.values)]
        return sent


def test_the_servers_model_goes_on_learning() -> None:
    strategy = Guessing()
    fedkd.simulate(strategy, **SMALL)
    (first, learnt), (second, _) = strategy.said
    torch.testing.assert_close(second, learnt, atol=1e-5, rtol=1e-4)
    assert (first - learnt).abs().max() > 1e-2


def test_the_server_learns_from_the_mean() -> None:
    losses = []
    for epochs in (0, 10):
        strategy = Watched(server_epochs=epochs)
        fedkd.simulate(strategy, **SMALL | {"rounds": 1})
        logits = server_logits(strategy)
        losses.append(soft_cross_entropy(logits, {"target": strategy.mean}).item())
    assert losses[1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    "parameters",
    [
        {"b_up": 0},
        {"b_down": 17},
        {"server_epochs": -1},
        {"server_lr": 0.0},
        {"temperature": 0.0},
    ],
)
def test_parameters_out_of_range_are_refused(parameters: dict) -> None:
    with pytest.raises(ValueError, match="must be"):
        CFD(**parameters)


def test_a_server_model_that_is_not_there_is_refused_before_the_run() -> None:
    with pytest.raises(ConfigError, match=r"strategy=cfd: server_model.*did you mean 'mlp'"):
        fedkd.simulate({"name": "cfd", "server_model": "mpl"}, **SMALL)


def test_a_server_that_diverges_says_so() -> None:
    with pytest.raises(RunError, match="CFD: the server's model diverged in round 1; try a sm"):
        fedkd.simulate({"name": "cfd", "server_lr": 1e30}, **SMALL)


def test_a_run_with_mixed_models_can_be_resumed(tmp_path) -> None:
    shared = SMALL | {"fraction": 0.6, "model": MIXED, "strategy": "cfd", "transfer.per_round": 40}
    whole = fedkd.simulate(**shared | {"rounds": 3})
    run_dir = tmp_path / "run"
    fedkd.simulate(run_dir=str(run_dir), **shared)
    resumed = fedkd.resume(run_dir, rounds=3)
    assert resumed.summary["digest"] == whole.summary["digest"]
    assert whole.summary["rejected"] == 0


def down(bits: int, **settings) -> int:
    strategy = {"name": "cfd", "b_down": bits}
    return fedkd.simulate(strategy, **SMALL | settings).summary["bytes_down"]


@pytest.mark.parametrize("secure", [False, True])
def test_few_bits_down_are_few_bytes_down(secure: bool) -> None:
    settings = {"secure.aggregation": True} if secure else {}
    nothing = down(32, **settings | {"transfer.size": 1})
    whole, byte, bit = (down(bits, **settings) - nothing for bits in (32, 8, 1))
    assert byte < 0.35 * whole
    assert bit < 0.2 * whole


@pytest.mark.parametrize(("up", "bits"), [(1, 1), (32, 2), (4, 7), (2, 16)])
def test_packing_down_loses_nothing(up: int, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outcome is that of the quantised teacher as it is."""
    packed = fedkd.simulate(CFD(b_up=up, b_down=bits), **SMALL).summary
    monkeypatch.setattr(CFD, "compress_node", lambda self: None)
    plain = fedkd.simulate(CFD(b_up=up, b_down=bits), **SMALL).summary
    assert packed["digest"] == plain["digest"]
    headers = 10 * 400  # of ten messages
    assert packed["bytes_down"] < bits / 32 * plain["bytes_down"] + headers
    assert (packed["bytes_up"] < plain["bytes_up"]) == (up < 32)
