"""FedGen: what generator and clients learn, by hand; clients get the generator that was trained."""

import math

import pytest
import torch
from fedkd.clients.exchange.generated import regulariser
from fedkd.strategies.fedgen import FedGen
from support import MIXED, TINY
from torch import nn

import fedkd
from fedkd.config import RunConfig
from fedkd.config.overrides import merge
from fedkd.errors import ConfigError, RunError
from fedkd.models.flat import flatten, unflatten
from fedkd.models.generator import Generator, likeness, told_apart
from fedkd.run.estimate import plan

SMALL = TINY | {"clients": 6, "rounds": 3}
QUICK = {"steps": 5, "noise": 4, "hidden": 16, "lr": 0.01}


def probabilities(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows).log()


def test_clients_weigh_by_their_share_of_a_label() -> None:
    """Counts 3 and 1, p(y) = .5 and .25: .75 ln 2 + .25 ln 4 = .8664."""
    logits = probabilities([0.5, 0.5]), probabilities([0.25, 0.75])
    found = told_apart(logits, torch.tensor([0]), torch.tensor([[3.0, 0.0], [1.0, 0.0]]))
    assert found.item() == pytest.approx(0.8664, abs=1e-4)


def test_it_is_the_mean_of_products_and_not_the_product_of_means() -> None:
    """W = (1, 0), CE = (ln 2, ln 4): ln 2 / 2, not 3/4 ln 2; of the other client ln 2 / 2."""
    logits = probabilities([0.5, 0.5], [0.75, 0.25]), torch.zeros(2, 2)
    counts = torch.tensor([[5.0, 0.0], [0.0, 9.0]])
    found = told_apart(logits, torch.tensor([0, 1]), counts)
    assert found.item() == pytest.approx(math.log(2), abs=1e-6)


def test_who_lacks_a_label_has_no_say_in_it() -> None:
    wrong = probabilities([0.5, 0.5]), torch.tensor([[-50.0, 50.0]])
    counts = torch.tensor([[1.0, 0.0], [0.0, 100.0]])
    found = told_apart(wrong, torch.tensor([0]), counts)
    assert found.item() == pytest.approx(math.log(2))


def test_identical_noise_is_all_likeness() -> None:
    assert likeness(torch.ones(4, 3), torch.randn(4, 2)).item() == 1.0
    assert likeness(torch.randn(4, 3), torch.ones(4, 2)).item() == 1.0
    assert likeness(torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [2.0]])).item() == (
        pytest.approx(math.exp(-2))
    )


def test_the_weights_of_the_clients_terms_decay_to_a_floor() -> None:
    strategy = FedGen()
    assert strategy.strength(10.0, 101) == pytest.approx(1.326, abs=1e-3)
    assert strategy.strength(10.0, 10_000) == 1e-4
    assert strategy.strength(0.0, 1) == 0.0


def test_the_clients_terms_by_hand() -> None:
    """A generator of zeros: CE = ln 2 of a head at 0; KL( (.5, .5) || (.75, .25) )."""
    generator, model = Generator(2, 4), nn.Linear(4, 2)
    for module in (generator, model):
        for parameter in module.parameters():
            nn.init.zeros_(parameter)
    logits = probabilities([0.75, 0.25]).requires_grad_()
    given = generator.eval(), model, logits, torch.tensor([0]), torch.tensor([1])
    loss = regulariser(*given, (2.0, 3.0), torch.Generator())
    kl = -0.5 * math.log(0.75 * 0.25) - math.log(2)
    assert loss.item() == pytest.approx(2 * math.log(2) + 3 * kl, rel=1e-5)
    loss.backward()
    torch.testing.assert_close(logits.grad, 3 * torch.tensor([[0.25, -0.25]]))  # p less q
    torch.testing.assert_close(model.bias.grad, 2 * torch.tensor([0.5, -0.5]))  # of CE alone


class Watched(FedGen):
    """Keeps what clients are told and what they are sent, round by round."""

    def __init__(self, **more):
        super().__init__(**more)
        self.sent, self.kept = [], []

    def beside(self):
        self.sent.append(super().beside().get("generator"))
        return super().beside()

    def teach(self, plan, admitted, outcome):
        kind, lessons = super().teach(plan, admitted, outcome)
        self.kept.append(self.state["generator"].clone())
        return kind, lessons


def test_clients_learn_from_the_trained_generator_and_not_from_the_first() -> None:
    """A public code trains one, forgets it, and sends the random one again and again."""
    strategy = Watched(**QUICK)
    fedkd.simulate(strategy, **SMALL)
    first, second, third = strategy.kept
    assert len(first) == len(flatten(Generator(10, 200, 4, 16)))
    assert (first - second).abs().max() > 1e-3
    assert (second - third).abs().max() > 1e-3
    sent = [vector for vector in strategy.sent if vector is not None]
    assert {id(vector) for vector in sent}
    assert all(any(vector.equal(kept) for kept in strategy.kept) for vector in sent)
    assert strategy.state["optimizer.0.step"].item() == 15


def test_the_generator_learns_what_heads_take_for_a_label() -> None:
    strategy = FedGen(steps=100, lr=0.005)
    more = {"data.samples_per_client": 60, "data.alpha": 1.0, "rounds": 2}
    result = fedkd.simulate(strategy, **SMALL | more)
    generator, model = Generator(10, 200), result.model(0)
    unflatten(generator, strategy.state["generator"]).eval()
    labels = torch.arange(10).repeat(8)
    made = model[-1](generator.drawn(labels, torch.Generator().manual_seed(0)))
    assert (made.argmax(dim=1) == labels).float().mean() > 0.8


def test_with_weights_of_zero_it_is_fedavg() -> None:
    settings = SMALL | {"fraction": 0.5}
    plain = fedkd.simulate({"name": "feddf", "epochs": 0}, **settings)
    runs = [
        fedkd.simulate(QUICK | {"name": "fedgen", "alpha": w, "beta": w}, **settings)
        for w in (0, 1)
    ]
    models = [flatten(run.model(0)) for run in (plain, *runs)]
    torch.testing.assert_close(models[0], models[1])
    assert (models[0] - models[2]).abs().max() > 1e-3


def test_few_samples_and_absent_clients_are_fine_and_a_resumed_run_ends_the_same(tmp_path) -> None:
    """The official code fails with fewer than 32 samples; the optimiser goes on where it was."""
    settings = SMALL | {"fraction": 0.5, "data.samples_per_client": 9, "faults": {"dropout": 0.2}}
    method = QUICK | {"name": "fedgen"}
    whole = fedkd.simulate(method, **settings | {"rounds": 4})
    fedkd.simulate(method, run_dir=str(tmp_path / "run"), **settings | {"rounds": 2})
    resumed = fedkd.resume(tmp_path / "run", rounds=4)
    assert resumed.summary["digest"] == whole.summary["digest"]
    assert resumed.summary["alma_local"] == whole.summary["alma_local"]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"model": MIXED}, "fedgen shares one model"),
        ({"secure.aggregation": True}, "fedgen"),
        ({"privacy": {"name": "dp_sgd", "noise_multiplier": 1.0}}, "strategy fedgen"),
        ({"strategy": {"name": "fedgen", "decay": 1.5}}, "decay=1.5"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(more, problem) -> None:
    with pytest.raises(ConfigError, match=problem):
        fedkd.simulate(**{"strategy": "fedgen"} | SMALL | more)


def test_a_generator_that_diverges_ends_the_run() -> None:
    with pytest.raises(RunError, match=r"generator diverged.*strategy\.lr"):
        fedkd.simulate({"name": "fedgen", "lr": 1e30}, **SMALL)


def test_a_dry_run_counts_the_generator() -> None:
    method, model = {"name": "fedgen", "noise": 4, "hidden": 16}, {"name": "mlp", "hidden": 8}
    found = plan(merge(RunConfig(), strategy=method, **SMALL | {"model": model}))
    assert found.bytes_down == 4 * (
        610 + len(flatten(Generator(10, 8, 4, 16)))
    )  # the model, and it
