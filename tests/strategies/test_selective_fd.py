"""Selective-FD: clients label what looks like their data, the server drops what stays ambiguous."""

from types import SimpleNamespace
from typing import Any

import pytest
import support
import torch
from fedkd.clients import Client
from fedkd.clients.exchange.selected_labels import SelectedLabels
from fedkd.clients.standard import Standard
from fedkd.strategies.fusing import fuse_in_blocks
from fedkd.strategies.selective_fd import SelectiveFD
from hypothesis import given, settings
from hypothesis import strategies as st
from support import MIXED, TINY
from torch import Tensor, nn

import fedkd
from fedkd import ConfigError, simulate
from fedkd.engine.base import InlineBlocks
from fedkd.knowledge import KnowledgeStack, Teacher
from fedkd.maths.density import density_ratio
from fedkd.maths.mixing import simplex_error


def stack_of(values: Tensor, mask: Tensor) -> KnowledgeStack:
    return support.stack_of(values, mask=mask)


def drawn(seed: int, n: int, samples: int = 8, classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    values = (2 * torch.randn(n, samples, classes, generator=generator)).softmax(dim=-1)
    return values, torch.rand(n, samples, generator=generator) < 0.6


def teach(strategy: SelectiveFD, values: Tensor, mask: Tensor) -> Teacher:
    return fuse_in_blocks(strategy, stack_of(values, mask), InlineBlocks())[0]


def test_the_mean_is_over_those_who_kept_the_sample_by_hand() -> None:
    values = torch.tensor([[[0.9, 0.1], [0.6, 0.4]], [[0.5, 0.5], [0.2, 0.8]], [[0.1, 0.9]] * 2])
    mask = torch.tensor([[True, False], [True, False], [False, False]])
    teacher = teach(SelectiveFD(), values, mask)
    torch.testing.assert_close(teacher.values, torch.tensor([[0.7, 0.3], [0.0, 0.0]]))
    assert teacher.mask is not None
    assert teacher.mask.tolist() == [True, False]
    assert (teacher.values[0] - values[:, 0].mean(dim=0)).abs().max() > 1e-3


def test_the_server_drops_what_is_ambiguous_by_hand() -> None:
    """Distances of (.7, .3) and (.55, .45) to their one-hots: 0.6 and 0.9."""
    values = torch.tensor([[[0.7, 0.3], [0.55, 0.45]]])
    everything = torch.ones(1, 2, dtype=torch.bool)
    for threshold, kept in {0.5: [0, 0], 0.61: [1, 0], 0.89: [1, 0], 0.91: [1, 1]}.items():
        mask = teach(SelectiveFD(threshold), values, everything).mask
        assert mask is not None
        assert mask.int().tolist() == kept


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.integers(1, 6), st.floats(0.01, 2))
def test_teachers_are_soft_labels_and_clients_may_change_places(
    seed: int, n: int, threshold: float
) -> None:
    values, mask = drawn(seed, n)
    teacher = teach(SelectiveFD(threshold), values, mask)
    assert teacher.mask is not None
    assert simplex_error(teacher.values[teacher.mask]) < 1e-5
    assert not teacher.values[~teacher.mask].any()
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(
        teach(SelectiveFD(threshold), values[order], mask[order]).values, teacher.values
    )


@given(st.integers(0, 999), st.integers(1, 5))
def test_if_everybody_keeps_everything_it_is_the_plain_mean(seed: int, n: int) -> None:
    values, _ = drawn(seed, n, samples=300)
    teacher = teach(SelectiveFD(threshold=2.0), values, torch.ones(n, 300, dtype=torch.bool))
    torch.testing.assert_close(teacher.values, values.mean(dim=0))


# -- traps ---------------------------------------------------------------------------------------


@given(st.integers(0, 999), st.integers(2, 100))
def test_trap_threshold_2_keeps_everything(seed: int, classes: int) -> None:
    values, mask = drawn(seed, 4, classes=classes)
    uniform = torch.full((1, 8, classes), 1 / classes)
    values, mask = torch.cat([values, uniform]), torch.cat([mask, torch.ones(1, 8).bool()])
    kept = teach(SelectiveFD(threshold=2.0), values, mask).mask
    assert kept is not None
    assert kept.all()


def test_the_server_selects_by_default() -> None:
    """What has no class of more than a half is dropped."""
    values = torch.tensor([[[0.51, 0.49, 0.0], [0.5, 0.4, 0.1]]])
    kept = teach(SelectiveFD(), values, torch.ones(1, 2).bool()).mask
    assert kept is not None
    assert kept.tolist() == [True, False]


def test_trap_the_temperature_is_not_the_threshold() -> None:
    """The official --tau softens what is uploaded; it must not filter."""
    strategy = SelectiveFD(threshold=2.0, temperature=0.3)
    assert (strategy.temperature, strategy.threshold) == (0.3, 2.0)
    values, mask = drawn(1, 3)
    found = teach(strategy, values, mask).mask
    assert found is not None
    assert torch.equal(found, mask.any(dim=0))


def test_trap_kulsif_solves_a_system() -> None:
    """The official code multiplies by the matrix where its inverse is due."""
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)).double()
    ratio = density_ratio(x, x[:3], x[3:], 1.0, 0.1)
    kernel = (-0.5 * torch.cdist(x, x).square()).exp()
    matrix = kernel[3:, 3:] / 3 + 0.1 * torch.eye(3)
    right = -kernel[3:, :3].sum(dim=1) / (3 * 3 * 0.1)
    near = kernel[:, :3].mean(dim=1) / 0.1
    torch.testing.assert_close(ratio, kernel[:, 3:] @ (matrix.inverse() @ right) + near)
    assert (ratio - (kernel[:, 3:] @ (matrix @ right) + near)).abs().max() > 0.1


# -- the client's half ---------------------------------------------------------------------------


def phase_of(private: Tensor, public: Tensor, ids: Tensor | None = None, seed: int = 0) -> Any:
    rows = torch.arange(len(public)) if ids is None else ids
    generator = torch.Generator().manual_seed(seed)
    model = nn.Linear(private.shape[1], 3)
    client = Client(0, model, private, torch.zeros(len(private)).long(), generator)
    loop = Standard(fit={}, distil={}, device="cpu")
    return SimpleNamespace(
        client=client,
        loop=loop,
        index=0,
        classes=3,
        options={"temperature": 1.0},
        bench=SimpleNamespace(transfer=public),
        transfer=lambda: (public[rows], rows),
    )


def blobs(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Private samples around 0; public ones, half of them around 4."""
    generator = torch.Generator().manual_seed(seed)
    public = torch.randn(40, 5, generator=generator)
    public[20:] += 4
    return torch.randn(60, 5, generator=generator), public


def test_a_client_labels_what_looks_like_its_data() -> None:
    private, public = blobs()
    phase = phase_of(private, public)
    sent = SelectedLabels(width=1.0).upload(phase)
    assert sent.mask is not None
    assert sent.mask[:20].float().mean() > 0.7
    assert not sent.mask[20:].any()
    model = phase.client.model
    expected = model(public).softmax(dim=-1).detach()
    torch.testing.assert_close(sent.values[sent.mask], expected[sent.mask])
    assert not sent.values[~sent.mask].any()


def test_a_higher_quantile_keeps_less() -> None:
    private, public = blobs()
    kept = [
        SelectedLabels(quantile=q, width=1.0).kept(public, private, torch.Generator())
        for q in (0.0, 0.125, 0.6, 1.0)
    ]
    sizes = [int(mask.sum()) for mask in kept]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > sizes[-1]


def test_the_choice_is_made_once_for_the_whole_transfer_set() -> None:
    private, public = blobs()
    exchange, phase = SelectedLabels(width=1.0), phase_of(private, public)
    first = exchange.upload(phase).mask
    later = phase_of(private + 4, public, ids=torch.tensor([3, 25, 7]), seed=9)
    later.client.tensors = phase.client.tensors
    second = exchange.upload(later).mask
    assert first is not None
    assert second is not None
    assert torch.equal(second, first[[3, 25, 7]])
    fresh = phase_of(private + 4, public, ids=torch.tensor([3, 25, 7]), seed=9)
    found = exchange.upload(fresh).mask
    assert found is not None
    assert not torch.equal(found, second)  # so it was not made anew


def test_a_client_that_knows_nothing_sends_nothing() -> None:
    private, public = blobs()
    sent = SelectedLabels(quantile=1.0, width=1.0).upload(phase_of(private, public + 50))
    assert sent.mask is not None
    assert not sent.mask.any()
    assert sent.values.shape == (40, 3)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_client_may_be_tiny(size: int) -> None:
    private, public = blobs()
    assert SelectedLabels().kept(public, private[:size], torch.Generator()).shape == (40,)


@pytest.mark.parametrize(
    ("name", "value"), [("threshold", 0.0), ("threshold", 2.1), ("width", 0.0), ("quantile", 1.5)]
)
def test_bad_parameters_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name}={value}"):
        simulate({"name": "selective_fd", name: value}, **TINY)


# -- whole runs ----------------------------------------------------------------------------------


def test_mixed_models_send_less_than_all() -> None:
    run = simulate("selective_fd", model=MIXED, **TINY)
    assert run.summary["rejected"] == 0
    everything = 5 * 2 * 60 * 10 * 4  # clients, rounds, samples, classes, bytes
    assert run.summary["bytes_up"] < everything


def test_rounds_may_ask_for_parts_of_the_transfer_set_and_resume(tmp_path) -> None:
    settings = TINY | {"fraction": 0.6, "transfer.per_round": 30, "rounds": 4}
    strategy = {"name": "selective_fd", "threshold": 1.0}
    whole = simulate(strategy, **settings).summary["digest"]
    simulate(strategy, run_dir=str(tmp_path / "run"), **settings | {"rounds": 2})
    assert fedkd.resume(tmp_path / "run", rounds=4).summary["digest"] == whole
