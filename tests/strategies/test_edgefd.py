"""EdgeFD: what is near a client's centres, and that nobody is at distance 0 from all."""

import pytest
import torch
from fedkd.clients.exchange.clustered_labels import ClusteredLabels
from fedkd.strategies.edgefd import EdgeFD
from support import MIXED, TINY, stack_of
from torch import Tensor

import fedkd
from fedkd import ConfigError


def kept(public: Tensor, private: Tensor, **given: float) -> list[bool]:
    exchange = ClusteredLabels(**given)  # type: ignore[arg-type]
    return exchange.kept(public, private, torch.Generator().manual_seed(0)).tolist()


def test_the_radius_by_hand() -> None:
    """Centre 0; private distances 1, 1, 2, 2, whose median is 1.5."""
    private = torch.tensor([[1.0], [-1.0], [2.0], [-2.0]])
    public = torch.tensor([[0.0], [1.4], [-1.6], [2.0], [2.1]])
    assert kept(public, private, quantile=0.5) == [True, True, False, False, False]
    assert kept(public, private, quantile=1.0) == [True, True, True, True, False]


@pytest.mark.parametrize("size", [1, 3, 40, 200])
def test_with_quantile_1_a_private_sample_is_kept(size: int) -> None:
    private = torch.randn(size, 1, 5, 5, generator=torch.Generator().manual_seed(size))
    assert all(kept(private, private, quantile=1.0))


def test_trap_a_centre_for_each_sample_would_keep_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    private, public = torch.randn(12, 3, generator=generator), torch.zeros(1, 3)
    assert kept(public, private, quantile=1.0, centroids=12) == [True]


def test_the_mean_is_over_those_who_kept_the_sample_and_the_server_drops_nothing() -> None:
    values = torch.tensor([[[0.5, 0.5], [0.9, 0.1]], [[0.7, 0.3], [0.2, 0.8]]])
    mask = torch.tensor([[True, True], [True, False]])
    stack = stack_of(values, mask=mask)
    teacher = EdgeFD().fuse(stack)
    torch.testing.assert_close(teacher, torch.tensor([[0.6, 0.4], [0.9, 0.1]]))
    covered = EdgeFD().covered(stack, teacher)
    assert covered is not None
    assert covered.all()


@pytest.mark.parametrize(("name", "value"), [("quantile", 1.5), ("centroids", 0)])
def test_bad_parameters_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name}={value}"):
        fedkd.simulate({"name": "edgefd", name: value}, **TINY)


def test_first_timers_and_returners_choose_once_and_runs_resume(tmp_path) -> None:
    settings = TINY | {"fraction": 0.6, "transfer.per_round": 30, "model": MIXED}
    whole = fedkd.simulate("edgefd", **settings | {"rounds": 4}).summary
    assert whole["rejected"] == 0
    fedkd.simulate("edgefd", run_dir=str(tmp_path / "run"), **settings)
    assert fedkd.resume(tmp_path / "run", rounds=4).summary["digest"] == whole["digest"]
