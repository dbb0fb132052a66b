"""Our SGD is torch's, number for number."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fedkd.models.sgd import SGD


@given(
    lr=st.floats(1e-3, 1.0),
    momentum=st.sampled_from([0.0, 0.5, 0.9]),
    decay=st.sampled_from([0.0, 1e-3]),
    seed=st.integers(0, 100),
)
def test_steps_are_those_of_torch(lr: float, momentum: float, decay: float, seed: int) -> None:
    found = []
    for kind in (SGD, torch.optim.SGD):
        generator = torch.Generator().manual_seed(seed)
        weights = [nn.Parameter(torch.randn(n, 3, generator=generator)) for n in (2, 4)]
        unused = nn.Parameter(torch.ones(2))
        optimizer = kind([*weights, unused], lr, momentum=momentum, weight_decay=decay)
        for step in range(4):
            optimizer.zero_grad()
            optimizer.param_groups[0]["lr"] = lr / (step + 1)
            x = torch.randn(5, 3, generator=generator)
            sum((x @ weight.T).tanh().sum() for weight in weights).backward()
            optimizer.step()
        found.append(torch.cat([*(w.detach().flatten() for w in weights), unused.detach()]))
    assert torch.equal(*found)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_step_without_gradients_changes_nothing(momentum: float) -> None:
    weight = nn.Parameter(torch.ones(2))
    SGD([weight], 0.1, momentum, 1.0).step()
    assert weight.tolist() == [1.0, 1.0]
