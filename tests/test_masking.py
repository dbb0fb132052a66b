"""Masks hide what is uploaded, and vanish from the sum; what restores them is shared safely."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedkd.flower import agree, opened, private_key, public_key, sealed
from fedkd.secure.fixedpoint import Layout, Piece
from fedkd.secure.masking import Advert, Secrets, keystream, needed, unmasked
from fedkd.secure.shamir import PRIME, combine, lagrange, split

SIZES = st.integers(2, 6)


@given(st.binary(min_size=32, max_size=32), SIZES, st.data())
@settings(max_examples=40, deadline=None)
def test_any_threshold_of_shares_restore_a_secret_and_fewer_do_not(secret, least, data):
    coefficients = data.draw(
        st.lists(st.integers(1, PRIME - 1), min_size=least - 1, max_size=least - 1)
    )
    points = data.draw(st.lists(st.integers(1, 1000), min_size=least, max_size=9, unique=True))
    shares = dict(zip(points, split(secret, coefficients, points), strict=True))
    some = data.draw(st.permutations(points))[:least]
    assert combine({k: shares[k] for k in some}, 32) == secret
    assert combine({k: shares[k] for k in some}, 32, lagrange(some)) == secret
    assert combine({k: shares[k] for k in some[:-1]}, 32) != secret


def test_fewer_shares_are_compatible_with_every_secret():
    """With one share too few there is, for each secret, a polynomial through what is known."""
    known = {1: split(b"a", [5, 7], [1, 2, 3])[0], 2: split(b"a", [5, 7], [1, 2, 3])[1]}
    for secret in (b"a", b"b", b"z"):
        points, values = [0, 1, 2], [int.from_bytes(secret), *map(int.from_bytes, known.values())]
        third = 0
        for i, own in enumerate(points):
            term = values[i]
            for other in points:
                if other != own:
                    term = term * (3 - other) * pow(own - other, -1, PRIME) % PRIME
            third = (third + term) % PRIME
        assert combine({**known, 3: third.to_bytes(66)}, 1) == secret


@given(
    st.lists(st.lists(st.floats(-4, 4, width=32), min_size=3, max_size=3), min_size=1, max_size=20),
    st.sampled_from([32, 64]),
)
@settings(deadline=None)
def test_a_sum_in_fixed_point_is_within_its_bound(rows, bits):
    """``|sum - exact| <= n * 2^-(f + 1)``, and the mean is within ``2^-(f + 1)``."""
    layout = Layout([Piece("x", (3,), 4.0)], bits, parties=len(rows))
    vectors = [layout.encode({"x": np.array(row)}) for row in rows]
    assert not any(clipped for _, clipped in vectors)
    total = np.sum([vector for vector, _ in vectors], axis=0, dtype=layout.dtype)
    off = np.abs(layout.decode(total)["x"] - np.sum(rows, axis=0))
    rounding = len(rows) * 1e-15 * 4 * len(rows)  # of the exact sum, in float64
    assert (off <= len(rows) * 2.0 ** -(layout.fraction + 1) + rounding).all()


@pytest.mark.parametrize("parties", [1, 2, 3, 4, 7, 8, 100, 128, 1000])
@pytest.mark.parametrize("limit", [1.0, 128.0, 3.7])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_sum_does_not_wrap_around(parties, limit, sign):
    layout = Layout([Piece("x", (1,), limit)], 32, parties)
    vector, clipped = layout.encode({"x": np.array([sign * 1e9])})
    total = np.sum([vector] * parties, axis=0, dtype=np.uint32)
    expected = sign * limit * parties
    assert clipped == 1
    assert abs(layout.decode(total)["x"][0] - expected) <= parties * 2.0 ** -(layout.fraction + 1)


def test_what_is_not_a_number_becomes_zero_and_counts_as_clipped():
    layout = Layout([Piece("x", (4,), 1.0)], 32, 2)
    vector, clipped = layout.encode({"x": np.array([np.nan, np.inf, -np.inf, 0.5])})
    assert layout.decode(vector)["x"].tolist() == [0.0, 1.0, -1.0, 0.5]
    assert clipped == 3


def group(clients, bits=32, size=2000, seed=0):
    """Secrets, adverts, plain and masked vectors of some clients."""
    secrets = {k: Secrets(bytes([k, seed]) * 16) for k in clients}
    adverts = {k: one.advert() for k, one in secrets.items()}
    dtype = np.dtype(f"u{bits // 8}")
    plain = {k: np.full(size, k + 1, dtype) for k in clients}
    masked = {
        k: one.masked(k, adverts, [o for o in clients if o != k], plain[k])
        for k, one in secrets.items()
    }
    return secrets, adverts, plain, masked


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("lost", [(), (0,), (2, 7), (0, 2, 9)])
def test_the_sum_of_survivors_is_exact_whoever_drops_out(bits, lost):
    clients = [0, 2, 3, 7, 9]
    secrets, adverts, plain, masked = group(clients, bits)
    survivors = [k for k in clients if k not in lost]
    total = np.sum([masked[k] for k in survivors], axis=0, dtype=masked[0].dtype)
    owns = [secrets[k].own for k in survivors]
    keys = {k: secrets[k].mask_key for k in lost}
    found = unmasked(total, owns, keys, adverts, survivors)
    assert (found == sum(plain[k] for k in survivors)).all()
    if lost:  # without the lost one's key, nothing is to be seen
        assert not np.isin(unmasked(total, owns, {}, adverts, survivors), found).any()


def test_a_single_upload_looks_uniform_and_shows_nothing_of_what_is_in_it():
    """Chi-square over 256 cells for each byte of a constant vector behind its masks."""
    _, _, plain, masked = group([0, 1, 2], size=20_000)
    for client in (0, 1, 2):
        assert not np.isin(masked[client], plain[client]).any()
        for counts in masked[client].view(np.uint8).reshape(-1, 4).T:
            observed = np.bincount(counts, minlength=256)
            statistic = ((observed - 20_000 / 256) ** 2 / (20_000 / 256)).sum()
            assert 155 < statistic < 375  # both tails of chi-square with 255 freedoms: 1e-6


def test_a_mask_of_its_own_hides_even_what_has_lost_all_pairwise_masks():
    """Who is late must not be laid open by those who gave away its mask key."""
    secrets, adverts, plain, masked = group([0, 1, 2])
    bare = masked[0].copy()
    for other in (1, 2):
        pair = secrets[0].masked(0, adverts, [other], plain[0]) - secrets[0].masked(
            0, adverts, [], plain[0]
        )
        bare -= pair
    assert not np.isin(bare, plain[0]).any()
    assert (bare - keystream(secrets[0].own, len(bare), bare.dtype) == plain[0]).all()


def test_streams_differ_by_key_and_cover_the_whole_type():
    one, two = (keystream(bytes([k]) * 32, 50_000, np.dtype("u4")) for k in (1, 2))
    assert not (one == two).sum() > 3
    assert one.max() > 2**32 - 2**19
    assert one.min() < 2**19
    assert (keystream(bytes([1]) * 32, 10, np.dtype("u4")) == one[:10]).all()


def test_shares_are_for_one_client_and_from_one_client():
    secrets, adverts, *_ = group([0, 1, 2])
    shares = secrets[0].shares(0, adverts, 2)
    own, mask = zip(
        *(secrets[k].opened(k, 0, adverts[0], shares[k]) for k in (0, 1, 2)), strict=True
    )
    assert combine({2: own[1], 3: own[2]}, 32) == secrets[0].own
    assert combine({1: mask[0], 3: mask[2]}, 32) == secrets[0].mask_secret
    with pytest.raises(ValueError, match="tampered"):
        secrets[2].opened(2, 0, adverts[0], shares[1])
    with pytest.raises(ValueError, match="tampered"):
        secrets[1].opened(1, 0, adverts[0], shares[1][:-1] + b"A")


def test_a_message_of_one_client_does_not_pass_as_one_of_another():
    keys = [private_key(bytes(31) + bytes([k])) for k in (5, 6)]
    both = agree(keys[0], public_key(keys[1]))
    assert both == agree(keys[1], public_key(keys[0]))
    assert opened(both, 0, 1, sealed(both, 0, 1, b"secret")) == b"secret"
    with pytest.raises(ValueError, match="client 0 to 1 came as one of 4"):
        opened(both, 4, 1, sealed(both, 0, 1, b"secret"))


def test_more_than_half_is_always_needed():
    for n in range(2, 200):
        assert needed(0.500001, n) > n / 2
        assert needed(1.0, n) == n
    assert Advert(bytes(98)).commitment == bytes(32)
