"""DENSE: its three terms by hand, the traps of its code, and what a round of several is."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from fedkd.strategies.dense import Dense
from fedkd.strategies.synthesising import Synthesis, adversarial, likened, matching, synthesise
from support import TINY
from torch import nn

import fedkd
from fedkd.errors import ConfigError
from fedkd.models.flat import flatten
from fedkd.models.mlp import MLP
from fedkd.models.resnet8 import ResNet8
from fedkd.rng import scoped

FAST = {"name": "dense", **Dense.brief}
SMALL = TINY | {"clients": 4, "rounds": 2}
RECIPE = replace(Dense().recipe, epochs=3, steps=4, batch_size=16)


def made(kind: type, seed: int, shape: tuple[int, ...] = (1, 8, 8)) -> nn.Module:
    with scoped(seed):
        return kind(shape, 10)


def test_models_that_agree_have_no_adversarial_term() -> None:
    """Equal argmax: 0, however far apart; else minus the divergence, here tanh(1/2)."""
    near, far = torch.tensor([[2.0, 1.0]]), torch.tensor([[90.0, 0.0]])
    assert adversarial(near, far).item() == 0
    pair = torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 5.0]])
    assert adversarial(*pair).item() == pytest.approx(-math.tanh(0.5) / 2)


def test_batches_like_those_that_were_seen_have_no_gap() -> None:
    layer = nn.BatchNorm2d(2).eval()
    x = torch.randn(8, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    layer.running_mean = x.mean(dim=(0, 2, 3))
    layer.running_var = x.var(dim=(0, 2, 3), unbiased=False)
    with matching([layer]) as gaps:
        layer(x)
        layer(x + torch.tensor([3.0, 4.0]).view(1, 2, 1, 1))
    assert gaps[0].item() == pytest.approx(0, abs=1e-5)
    assert gaps[1].item() == pytest.approx(5, abs=1e-5)


def test_the_student_s_loss_by_hand() -> None:
    """T = 2, z = (0, 0), teacher (2 ln 3, 0): 4 * KL of (3/4, 1/4) from (1/2, 1/2)."""
    teacher = torch.tensor([[2 * math.log(3), 0.0]])
    by_hand = 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert likened(torch.zeros(1, 2), teacher, 2.0).item() == pytest.approx(by_hand)


def test_no_hook_stays_that_would_count_a_layer_twice_in_the_next_epoch() -> None:
    teachers = [made(ResNet8, seed) for seed in (1, 2)]
    layers = [m for one in teachers for m in one.modules() if isinstance(m, nn.BatchNorm2d)]
    counted = []
    for _ in range(2):
        with matching(teachers) as gaps:
            for one in teachers:
                one.eval()(torch.rand(4, 1, 8, 8))
            counted.append(len(gaps))
    assert counted == [len(layers)] * 2
    assert not any(layer._forward_pre_hooks for layer in layers)
    before = [flatten(one) for one in teachers]
    synthesise(Synthesis(teachers, [made(MLP, 3)], (1, 8, 8), 10, RECIPE, seed=0))
    assert all(torch.equal(flatten(one), old) for one, old in zip(teachers, before, strict=True))
    assert not any(layer._forward_pre_hooks for layer in layers)


@pytest.mark.parametrize("shape", [(1, 8, 8), (12,)])
def test_the_student_comes_to_answer_as_the_ensemble_does(shape) -> None:
    teachers = [made(MLP, seed, shape) for seed in (1, 2)]
    student = made(MLP, 3, shape)
    recipe = replace(RECIPE, steps=2, passes=30, student_lr=0.02)
    task = Synthesis(teachers, [copy.deepcopy(student)], shape, 10, recipe, seed=0)
    (found,) = synthesise(task)
    (again,) = synthesise(replace(task, students=[copy.deepcopy(student)]))
    assert torch.equal(found, again)
    x = torch.rand(200, *shape, generator=torch.Generator().manual_seed(5))
    target = task.ensemble(x)
    apart = [(one(x) - target).square().mean().item() for one in (student, *task.students)]
    assert apart[1] < 0.5 * apart[0]


def test_without_epochs_it_is_fedavg() -> None:
    ours = fedkd.simulate({"name": "dense", "epochs": 0}, model="mlp", **SMALL)
    theirs = fedkd.simulate({"name": "feddf", "epochs": 0}, model="mlp", **SMALL)
    for client in range(4):
        assert torch.equal(flatten(ours.model(client)), flatten(theirs.model(client)))


def test_each_architecture_has_a_student_which_the_next_round_starts_from(tmp_path) -> None:
    settings = SMALL | {"model": ["mlp", "resnet8"], "clients": 6, "fraction": 0.67}
    whole = fedkd.simulate(FAST, **settings)
    assert whole.summary["rejected"] == 0
    run_dir = tmp_path / "run"
    fedkd.simulate(FAST, run_dir=str(run_dir), **settings | {"rounds": 1})
    assert fedkd.resume(run_dir, rounds=2).summary["digest"] == whole.summary["digest"]
    plain = fedkd.simulate("fedavg", **SMALL | {"rounds": 1})
    ours = fedkd.simulate(FAST, **SMALL | {"rounds": 1})
    vectors = [flatten(ours.model(client)) for client in range(4)]
    assert all(torch.equal(vectors[0], one) for one in vectors)  # all have the student
    assert not torch.equal(vectors[0], flatten(plain.model(0)))


@pytest.mark.parametrize(
    "more",
    [
        {"compress": "float16"},
        {"privacy": {"name": "dp_sgd", "noise_multiplier": 1.0}},
    ],
    ids=["float16", "dp_sgd"],
)
def test_it_runs_with_what_else_there_is(more) -> None:
    assert fedkd.simulate(FAST, **SMALL | more).summary["rejected"] == 0


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="secure"):
        fedkd.simulate(FAST, **SMALL | {"secure.aggregation": True})
    with pytest.raises(ConfigError, match=r"norms=0\.5 has no effect: no model has BatchNorm"):
        fedkd.simulate({**FAST, "norms": 0.5}, **SMALL)
    texts = (["a b c", "b c d", "c d e", "d e f"] * 50, [0, 1, 0, 1] * 50)
    with pytest.raises(ConfigError, match="makes samples up, and token ids of texts"):
        fedkd.simulate(FAST, data=texts, **{k: v for k, v in SMALL.items() if k != "data"})


@pytest.mark.parametrize(
    "given", [{"epochs": -1}, {"steps": 0}, {"batch_size": 1}, {"norms": -1.0}, {"lr": 0.0}]
)
def test_parameters_out_of_range_are_refused(given) -> None:
    with pytest.raises(ValueError, match=r"must be (at least|greater than)"):
        Dense(**given)
