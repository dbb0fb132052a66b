"""Low rank: how much is cut, what travels, and what no honest client would send."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedkd.models.lowrank import low_rank, pack, ramped, rank_for, shapes_of, unpack
from fedkd.models.mlp import MLP

SHAPES = [(6, 9), (6,), (4, 3, 3, 3), (5, 1), (2, 2)]
SIZE = 54 + 6 + 108 + 5 + 4


def vector(seed: int) -> torch.Tensor:
    """Parameters whose matrices have falling singular values."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for shape in SHAPES:
        one = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            u, s, v = torch.linalg.svd(one.flatten(1), full_matrices=False)
            one = (u * s * 0.3 ** torch.arange(len(s))) @ v
        parts.append(one.flatten())
    return torch.cat(parts)


def matrices(values: torch.Tensor) -> list[torch.Tensor]:
    sizes = [torch.Size(shape).numel() for shape in SHAPES]
    return list(values.split(sizes))


def test_shapes_are_those_of_the_flat_vector() -> None:
    assert shapes_of(MLP((64,), 10)) == [(200, 64), (200,), (10, 200), (10,)]
    assert shapes_of(nn.BatchNorm1d(3)) == [(3,)] * 4  # its counter is no float


def test_rank_by_hand() -> None:
    """Squares 16, 9, 4, 1: sums 16, 25, 29, 30 of 30."""
    values = torch.tensor([4.0, 3.0, 2.0, 1.0])
    shares = {0.01: 1, 16 / 30 - 1e-3: 1, 16 / 30 + 1e-3: 2, 25 / 30: 2, 0.9: 3, 0.98: 4, 1.0: 4}
    assert {share: rank_for(share, values) for share in shares} == shares
    assert rank_for(0.95, torch.zeros(3)) == 0


def test_a_full_rank_update_is_not_lost() -> None:
    """The authors' search for the rank ends without one where all values are needed: rank 0."""
    update = torch.eye(8).flatten()
    values, mask = pack(update, [(8, 8)], 0.98)
    torch.testing.assert_close(unpack(values, mask, [(8, 8)]), update)
    assert rank_for(1.0, torch.ones(8)) == 8


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 1.0))
def test_what_is_lost_is_at_most_what_was_allowed(seed: int, energy: float) -> None:
    original = vector(seed)
    values, mask = pack(original, SHAPES, energy)
    back = unpack(values, mask, SHAPES)
    assert values.shape == mask.shape == back.shape == (SIZE,)
    assert not values[~mask].any()
    for shape, one, two in zip(SHAPES, matrices(original), matrices(back), strict=True):
        if len(shape) < 2:
            assert torch.equal(one, two)
        allowed = (1 - energy) * one.square().sum()
        assert (one - two).square().sum() <= allowed + 1e-5 * one.square().sum()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_less_energy_never_takes_more_numbers(seed: int) -> None:
    sent = [int(pack(vector(seed), SHAPES, e)[1].sum()) for e in (0.1, 0.5, 0.9, 0.99, 1.0)]
    assert sent == sorted(sent)
    assert sent[0] < sent[-1] <= SIZE


def test_nothing_new_takes_no_numbers_but_for_vectors() -> None:
    values, mask = pack(torch.zeros(SIZE), SHAPES, 0.95)
    assert [int(one.sum()) for one in matrices(mask)] == [0, 6, 0, 0, 0]
    assert torch.equal(unpack(values, mask, SHAPES), torch.zeros(SIZE))


@pytest.mark.parametrize(
    "places",
    [
        lambda mask: mask.index_fill(0, torch.arange(14, 54), False),  # no multiple of 6 + 9
        lambda mask: mask.index_fill(0, torch.arange(1, 40), False),  # 15 of them, not in front
        lambda mask: mask.index_fill(0, torch.tensor([55]), False),  # a vector with a hole
    ],
)
def test_a_mask_that_pack_would_not_make_is_refused(places) -> None:
    mask = places(torch.ones(SIZE, dtype=torch.bool))
    with pytest.raises(ValueError, match="are no factors of a"):
        unpack(torch.ones(SIZE), mask, SHAPES)


def test_low_rank_keeps_the_largest_and_leaves_vectors() -> None:
    original = vector(3)
    kept = matrices(low_rank(original, SHAPES, 0.34))
    ranks = [
        int(torch.linalg.matrix_rank(one.reshape(shape[0], -1), rtol=1e-4))
        for shape, one in zip(SHAPES, kept, strict=True)
        if len(shape) > 1
    ]
    assert ranks == [2, 1, 1, 1]  # a third of 6, 4, 1, 2, and at least one
    assert torch.equal(kept[1], matrices(original)[1])
    torch.testing.assert_close(low_rank(original, SHAPES, 1.0), original, atol=1e-5, rtol=0)


def test_the_ramp_rises_to_its_end_and_stays() -> None:
    assert ramped(5, 0.95, 0.98, 10) == pytest.approx(0.965)
    assert ramped(10, 0.95, 0.98, 10) == ramped(99, 0.95, 0.98, 10) == pytest.approx(0.98)
