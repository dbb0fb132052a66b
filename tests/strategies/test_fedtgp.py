"""FedTGP: prototypes that the server trains to keep the classes apart."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fedkd.strategies.fedtgp import FedTGP, contrastive, widest_gap
from fedkd.strategies.fusing import fuse_in_blocks
from hypothesis import given, settings
from hypothesis import strategies as st
from support import MIXED, TINY

import fedkd
from fedkd import ConfigError, simulate
from fedkd.engine.base import InlineBlocks
from fedkd.knowledge import KnowledgeStack, Teacher

CLASSES, DIM = 4, 6


def stack_of(seed: int, n: int, present: list[int] | None = None) -> KnowledgeStack:
    generator = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(CLASSES, DIM, generator=torch.Generator().manual_seed(99))
    values = centres + torch.randn(n, CLASSES, DIM, generator=generator)
    has = torch.rand(n, CLASSES, generator=generator) < 0.6
    has[0, 0] = True
    if present is not None:
        has[:] = False
        has[:, present] = True
    values = values * has.unsqueeze(-1)
    nobody = torch.zeros(0, dtype=torch.int64)
    return KnowledgeStack("class_knowledge", values, list(range(n)), nobody, has)


def round_of(strategy: FedTGP, stack: KnowledgeStack, seed: int = 5) -> Teacher:
    plan: Any = SimpleNamespace(classes=CLASSES, seed=seed)
    teacher, _ = fuse_in_blocks(strategy, stack, InlineBlocks())
    return strategy.refine(plan, stack, teacher)


# -- formulas ------------------------------------------------------------------------------------


def test_the_widest_gap_by_hand() -> None:
    """Nearest neighbours of 0, 1 and 5 on a line are 1, 1 and 4 away."""
    assert widest_gap(torch.tensor([[0.0], [1.0], [5.0]])) == 4.0
    assert widest_gap(torch.tensor([[3.0]])) == 0.0


def test_the_loss_by_hand() -> None:
    """Distances 1 (own) and 3, margin 1.5: the own one counts as 2.5."""
    uploaded, prototypes = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 0.0], [0.0, 4.0]])
    loss = contrastive(uploaded, torch.tensor([0]), prototypes, 1.5)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(2.5 - 3)))


def test_trap_the_margin_makes_it_harder() -> None:
    """Added to the logit instead of the distance, it would make the loss smaller."""
    uploaded, prototypes = torch.randn(5, 3), torch.randn(4, 3)
    labels = torch.tensor([0, 1, 2, 3, 0])
    losses = [contrastive(uploaded, labels, prototypes, m).item() for m in (0.0, 1.0, 5.0)]
    assert losses == sorted(losses)
    assert losses[0] < losses[1] < losses[2]


def test_trap_the_root_of_0_has_a_gradient() -> None:
    prototypes = torch.randn(3, 2).requires_grad_()
    contrastive(prototypes[:1].detach(), torch.tensor([0]), prototypes, 1.0).backward()
    assert prototypes.grad is not None
    assert prototypes.grad.isfinite().all()


# -- training at the server ----------------------------------------------------------------------


def test_training_lowers_the_loss_and_does_not_end_at_the_mean() -> None:
    stack = stack_of(0, 5)
    assert stack.mask is not None
    untrained = round_of(FedTGP(dim=DIM, epochs=0), stack).values
    trained = round_of(FedTGP(dim=DIM, epochs=200, lr=0.05), stack).values
    uploaded, labels = stack.values[stack.mask], stack.mask.nonzero()[:, 1]
    before, after = (contrastive(uploaded, labels, p, 1.0) for p in (untrained, trained))
    assert after < 0.5 * before
    assert (trained - FedTGP(dim=DIM).fuse(stack)).abs().max() > 1e-3


def test_trained_prototypes_keep_further_apart_than_the_means() -> None:
    stack = stack_of(3, 8)
    trained = round_of(FedTGP(dim=DIM, epochs=300, lr=0.05), stack).values
    means = FedTGP(dim=DIM).fuse(stack)
    assert torch.pdist(trained).min() > torch.pdist(means).min()


def test_the_margin_has_a_limit() -> None:
    """The gap of the means is far above 0.1, so a limit there must matter."""
    stack = stack_of(0, 4)
    wide, narrow = (round_of(FedTGP(dim=DIM, margin=m, epochs=5), stack) for m in (100.0, 0.1))
    assert not torch.allclose(wide.values, narrow.values)
    gap = widest_gap(FedTGP(dim=DIM).fuse(stack))
    assert torch.equal(
        round_of(FedTGP(dim=DIM, margin=gap + 1, epochs=5), stack).values, wide.values
    )


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 999), st.integers(1, 5))
def test_clients_may_change_places(seed: int, n: int) -> None:
    stack = stack_of(seed, n)
    assert stack.mask is not None
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    moved = KnowledgeStack(
        stack.kind, stack.values[order], stack.clients, stack.sample_ids, stack.mask[order]
    )
    few = {"dim": DIM, "epochs": 5}
    one, other = (round_of(FedTGP(**few), each).values for each in (stack, moved))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_a_round_depends_on_its_seed_alone() -> None:
    torch.manual_seed(1)
    first = round_of(FedTGP(dim=DIM, epochs=3), stack_of(0, 3)).values
    torch.manual_seed(2)
    assert torch.equal(round_of(FedTGP(dim=DIM, epochs=3), stack_of(0, 3)).values, first)
    other = round_of(FedTGP(dim=DIM, epochs=3), stack_of(0, 3), seed=6).values
    assert not torch.equal(other, first)


def test_a_class_has_a_prototype_from_when_it_was_first_seen() -> None:
    strategy = FedTGP(dim=DIM, epochs=2)
    first = round_of(strategy, stack_of(0, 2, present=[0, 1]))
    second = round_of(strategy, stack_of(1, 2, present=[1, 3]))
    assert first.mask is not None
    assert second.mask is not None
    assert first.mask.tolist() == [True, True, False, False]
    assert second.mask.tolist() == [True, True, False, True]
    assert not second.values[2].any()
    assert second.values[0].any()


def test_fuse_leaves_the_state_alone_and_refine_goes_on_from_it() -> None:
    strategy = FedTGP(dim=DIM, epochs=2)
    stack = stack_of(0, 3)
    strategy.fuse(stack)
    assert not strategy.state
    first = round_of(strategy, stack)
    copied = FedTGP(dim=DIM, epochs=2)
    copied.state = {name: value.clone() for name, value in strategy.state.items()}
    assert torch.equal(round_of(copied, stack).values, round_of(strategy, stack).values)
    assert not torch.equal(round_of(copied, stack).values, first.values)


@pytest.mark.parametrize(
    ("name", "value"), [("margin", -1.0), ("epochs", -1), ("batch_size", 0), ("lr", 0.0)]
)
def test_bad_parameters_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name}={value}"):
        simulate({"name": "fedtgp", name: value}, **TINY)


# -- whole runs ----------------------------------------------------------------------------------


def test_mixed_models_and_resume(tmp_path) -> None:
    strategy = {"name": "fedtgp", "epochs": 10}
    settings = TINY | {"model": MIXED, "fraction": 0.6}
    whole = simulate(strategy, **settings)
    assert whole.summary["rejected"] == 0
    simulate(strategy, run_dir=str(tmp_path / "run"), **settings | {"rounds": 1})
    extended = fedkd.resume(tmp_path / "run", rounds=2)
    assert extended.summary["digest"] == whole.summary["digest"]
