"""Staged: a sum of logits, client by client."""

from typing import Any

import pytest
import torch
from fedkd.strategies.staged import Staged, cross_entropy, joined
from support import TINY, stack_of

import fedkd
from fedkd.errors import ConfigError

SMALL = TINY | {"strategy": "staged", "transfer.labelled": True, "evaluate.every": 100}


def made(samples: int, classes: int, **parameters: Any) -> Staged:
    strategy = Staged(**parameters)
    strategy.state["sum"] = torch.zeros(samples, classes)
    return strategy


def test_two_stages_by_hand() -> None:
    """On two samples, each client is right about one and silent about the other."""
    logits = torch.tensor([[[3.0, -3.0], [0.0, 0.0]], [[0.0, 0.0], [-1.0, 1.0]]])
    target = torch.eye(2)
    total, steps = joined(logits, target, torch.zeros(2, 2), 2, 1.0)
    # <r, z> / |z| is 3 / sqrt 18 = 1 / sqrt 2 of both, so the first begins; each goes to the end
    assert steps.tolist() == [2.0, 2.0]
    assert total.tolist() == [[6.0, -6.0], [-2.0, 2.0]]
    total, steps = joined(logits, target, torch.zeros(2, 2), 1, 0.5)
    assert total.tolist() == [[3.0, -3.0], [0.0, 0.0]]


def test_who_is_wrong_does_not_join() -> None:
    logits = torch.tensor([[[1.0, -1.0]], [[-1.0, 1.0]]])
    _, steps = joined(logits, torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2), 2, 1.0)
    assert steps.tolist() == [2.0, 0.0]


def test_a_step_is_where_the_loss_is_least() -> None:
    """Target (.6, .4): softmax(2 a) is .6 at a = ln(1.5) / 2 = .203, next to .2 on the grid."""
    logits, target = torch.tensor([[[1.0, -1.0]]]), torch.tensor([[0.6, 0.4]])
    _, steps = joined(logits, target, torch.zeros(1, 2), 1, 1.0)
    assert steps.item() == pytest.approx(0.2)


def test_every_stage_lowers_the_loss() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(6, 40, 5, generator=generator)
    logits -= logits.mean(dim=-1, keepdim=True)
    target = (3 * torch.randn(40, 5, generator=generator)).softmax(dim=-1)
    losses = [
        cross_entropy(joined(logits, target, torch.zeros(40, 5), k, 1.0)[0], target).item()
        for k in range(7)
    ]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


def test_labels_and_consensus_are_weighed() -> None:
    logits = torch.tensor([[[1.0, 1.0]]])
    knows = stack_of(logits, kind="logits", labels=torch.tensor([1]))
    assert made(1, 2, hard=0.5).target(knows).tolist() == [[0.25, 0.75]]
    assert made(1, 2, hard=0.0).target(knows).tolist() == [[0.5, 0.5]]


def test_who_is_away_speaks_through_the_sum() -> None:
    strategy = made(1, 2, keep=0.5, hard=1.0)
    strategy.state["sum"] = torch.tensor([[4.0, -4.0]])
    silent = stack_of(torch.zeros(1, 1, 2), kind="logits", labels=torch.tensor([0]))
    assert strategy.fuse(silent).tolist() == [[2.0, -2.0]]


def test_it_needs_labels_and_more_than_sums() -> None:
    with pytest.raises(ConfigError, match="labelled"):
        fedkd.simulate(**SMALL | {"transfer.labelled": False})
    with pytest.raises(ConfigError, match="each client has uploaded"):
        fedkd.simulate(**SMALL | {"secure.aggregation": True})


def test_mixed_models_some_away_and_resumed(tmp_path: Any) -> None:
    settings = SMALL | {"model": ["mlp", "lenet5"], "fraction": 0.6, "transfer.per_round": 30}
    whole = fedkd.simulate(**settings | {"rounds": 3})
    assert whole.summary["rejected"] == 0
    fedkd.simulate(run_dir=str(tmp_path), **settings | {"rounds": 1})
    again = fedkd.resume(tmp_path, rounds=3)
    assert again.summary["digest"] == whole.summary["digest"]


@pytest.mark.parametrize("bad", [{"stages": 0}, {"rate": 0.0}, {"keep": 1.0}, {"hard": 1.5}])
def test_parameters_are_checked(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        fedkd.simulate(**SMALL | {f"strategy.{key}": value for key, value in bad.items()})
