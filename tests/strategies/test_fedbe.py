"""FedBE: the distribution around the average by hand, the ensemble, and the averaged steps."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from fedkd.strategies.fedbe import FedBE, gaussian, moments
from support import MIXED, TINY
from torch import nn

import fedkd
from fedkd.errors import ConfigError
from fedkd.models.flat import flatten, trained
from fedkd.rounds.server import Study, study

RNG = np.random.default_rng


def test_the_gaussian_by_hand() -> None:
    """Updates (3, 4) and (0, 5): m = (.3, .9), v = (.09, .01), r = 5."""
    middle, deviation = moments(torch.tensor([[3.0, 4.0], [0.0, 5.0]]))
    torch.testing.assert_close(middle, torch.tensor([1.5, 4.5]))
    torch.testing.assert_close(deviation, torch.tensor([0.15, 0.05]))


def test_an_update_of_zero_is_no_division_by_zero() -> None:
    """Units 0 and (0, 1): m = (0, .5), v = (1e-5 at least, .25), r = 1."""
    middle, deviation = moments(torch.tensor([[0.0, 0.0], [0.0, 2.0]]))
    torch.testing.assert_close(middle, torch.tensor([0.0, 0.5]))
    torch.testing.assert_close(deviation, torch.tensor([0.1 * math.sqrt(1e-5), 0.05]))


def test_each_tensor_has_a_distribution_of_its_own() -> None:
    """A weight that moves by 1 and a bias that moves by 100 do not share a norm."""
    model = nn.Linear(1, 1)
    drawn = gaussian(torch.tensor([[1.0, 100.0]]), torch.zeros(2), model, 500, RNG(0))
    torch.testing.assert_close(drawn.mean(dim=0), torch.tensor([1.0, 100.0]), rtol=1e-3, atol=0)
    deviation = 0.1 * math.sqrt(1e-5)  # one client: no variance but the least
    expected = torch.tensor([deviation, 100 * deviation])
    torch.testing.assert_close(drawn.std(dim=0), expected, rtol=0.1, atol=0)


def test_statistics_of_batchnorm_are_not_drawn() -> None:
    """A variance drawn by a Gaussian could be negative."""
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    vectors = torch.rand(3, len(flatten(model)), generator=torch.Generator().manual_seed(0))
    mean = vectors.mean(dim=0)
    drawn = gaussian(vectors, mean, model, 4, RNG(0))
    moved = (drawn != mean).all(dim=0)
    assert torch.equal(moved, trained(model))


def test_the_target_is_the_mean_probability_sharpened_and_the_student_is_not() -> None:
    """(.9, .1) and (.5, .5): .7 and .3 squared are .49 and .09, so 49/58."""
    method, votes = FedBE(), torch.tensor([[[0.9, 0.1]], [[0.5, 0.5]]]).log()
    target = torch.tensor([[49 / 58, 9 / 58]])
    torch.testing.assert_close(method.ensemble(votes).softmax(-1), target)
    loss = method.lesson(Study(nn.Linear(1, 2), torch.zeros(1, 1))).loss
    two = method.ensemble(votes).repeat(2, 1)
    value = loss(torch.zeros(2, 2), {"ensemble": two}).item()
    expected = (target * (2 * target).log()).sum().item()  # from (.5, .5); a mean over samples only
    assert value == pytest.approx(expected, rel=1e-5)


def line(**more) -> Study:
    """Return a study of one weight that starts at 0 and is pulled by 1 a step."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)

    def pull(logits, batch):
        return -logits.mean()

    return Study(model, torch.ones(8, 1), {}, pull, epochs=1, batch_size=2, lr=0.1, **more)


def test_the_last_steps_are_averaged() -> None:
    """With momentum .9 the weight goes .1, .29, .561, .9049; the mean of the last two is .733."""
    assert study(line())[0].item() == pytest.approx(0.9049, abs=1e-5)
    assert study(line(average_from=0.5))[0].item() == pytest.approx(0.73295, abs=1e-5)
    assert study(replace(line(average_from=0.5), epochs=0))[0].item() == 0


def test_batchnorm_has_statistics_of_the_averaged_model() -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1), nn.Linear(1, 1))
    x = torch.linspace(0, 1, 9).unsqueeze(1)  # batches of 4, 4 and 1, which is left out
    task = Study(model, x, {}, lambda z, batch: z.square().mean(), batch_size=4, average_from=0.0)
    study(task)
    model[1].momentum = None
    before = model[1].running_mean.clone()
    rows = torch.randperm(9, generator=torch.Generator().manual_seed(0)).split(4)
    means = [model[0](x[part]).mean() for part in rows[:2]]
    torch.testing.assert_close(before.squeeze(), torch.stack(means).mean().detach())


@pytest.mark.parametrize("posterior", ["gaussian", "dirichlet"])
def test_a_run_of_mixed_models_can_be_resumed(posterior, tmp_path) -> None:
    method = {"name": "fedbe", "posterior": posterior, "samples": 2, "epochs": 2}
    settings = TINY | {"fraction": 0.6, "model": MIXED}
    whole = fedkd.simulate(method, **settings | {"rounds": 3})
    fedkd.simulate(method, run_dir=str(tmp_path / "run"), **settings)
    resumed = fedkd.resume(tmp_path / "run", rounds=3)
    assert resumed.summary["digest"] == whole.summary["digest"]
    clients = fedkd.simulate({**method, "use_clients": True}, **settings | {"rounds": 3})
    assert clients.summary["digest"] != whole.summary["digest"]


def test_what_has_no_effect_or_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"strategy\.alpha=0\.3: is for posterior=dirichlet"):
        fedkd.simulate({"name": "fedbe", "alpha": 0.3}, **TINY)
    with pytest.raises(ConfigError, match="average_from=1"):
        fedkd.simulate({"name": "fedbe", "average_from": 1.0}, **TINY)
    with pytest.raises(ConfigError, match="sum"):
        fedkd.simulate("fedbe", **TINY | {"secure.aggregation": True})
