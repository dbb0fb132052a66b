"""FedAvg+KD: what the average learns, by hand, and how that differs from FedDF."""

import math

import pytest
import torch
from fedkd.strategies.fedavg_kd import FedAvgKD
from fedkd.strategies.feddf import FedDF, mean_probability
from support import MIXED, TINY
from torch import nn

import fedkd
from fedkd.rounds.server import Study

VOTES = torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]])


def test_probabilities_are_averaged_where_feddf_averages_logits() -> None:
    """Of (.9, .1) and (.5, .5): (.7, .3), and (.75, .25)."""
    target = FedAvgKD().ensemble(VOTES.log()).softmax(-1)
    torch.testing.assert_close(target, torch.tensor([[0.7, 0.3]]))
    other = FedDF().ensemble(VOTES.log()).softmax(-1)
    torch.testing.assert_close(other, torch.tensor([[0.75, 0.25]]))


def test_the_loss_at_another_temperature_by_hand() -> None:
    """T = 2, student (0, 0): 4 KL( (.7, .3) || (.5, .5) ), both softened before the mean."""
    method = FedAvgKD(temperature=2.0)
    batch = {"ensemble": method.ensemble(2 * VOTES.log())}
    loss = method.lesson(Study(nn.Linear(1, 2), torch.zeros(1, 1))).loss
    kl = 0.7 * math.log(1.4) + 0.3 * math.log(0.6)
    assert loss(torch.zeros(1, 2), batch).item() == pytest.approx(4 * kl, rel=1e-5)


def test_a_probability_that_underflows_is_no_nan() -> None:
    target = mean_probability(torch.tensor([[[0.0, -500.0]]]), 1.0)
    assert target.tolist() == [[0.0, -500.0]]


def test_architectures_share_an_ensemble_and_a_run_can_be_resumed(tmp_path) -> None:
    settings = TINY | {"fraction": 0.6, "model": MIXED}
    whole = fedkd.simulate("fedavg_kd", **settings | {"rounds": 3})
    fedkd.simulate("fedavg_kd", run_dir=str(tmp_path / "run"), **settings)
    resumed = fedkd.resume(tmp_path / "run", rounds=3)
    assert resumed.summary["digest"] == whole.summary["digest"]
    fedavg = fedkd.simulate(FedAvgKD(epochs=0), **settings | {"rounds": 3})
    assert fedavg.summary["digest"] != whole.summary["digest"]
