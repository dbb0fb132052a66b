"""Shamir's secret sharing, for many secrets of one set of clients.

Shamir, "How to share a secret", Communications of the ACM 1979: the secret is the value at 0 of a
random polynomial of degree ``threshold - 1``; any `threshold` of its values determine it, and fewer
say nothing about it.

Flower's own splits 16 bytes at a time in GF(2^128), in Python, bit by bit: a round of 100 clients
would spend a minute and a half in it. Arithmetic modulo a prime is what Python's integers are good
at; here the weights of the interpolation serve all secrets.
"""

from collections.abc import Mapping, Sequence

PRIME = 2**521 - 1
"""A Mersenne prime with room for secrets of 64 bytes."""

SHARE_BYTES = 66
"""Length of one share."""


def split(secret: bytes, coefficients: Sequence[int], points: Sequence[int]) -> list[bytes]:
    """Return a share for each point.

    Parameters
    ----------
    secret : bytes
        At most 64 bytes.
    coefficients : sequence of int
        Uniform in ``range(PRIME)``; one more than these shares are needed to reconstruct.
    points : sequence of int
        Distinct, in ``range(1, PRIME)``.

    Examples
    --------
    >>> shares = split(b"key", [3, 5], [1, 2, 3, 4])
    >>> combine({2: shares[1], 4: shares[3], 1: shares[0]}, 3)
    b'key'
    """
    polynomial = [*reversed(coefficients), int.from_bytes(secret)]
    shares = []
    for point in points:
        value = 0
        for coefficient in polynomial:  # Horner
            value = (value * point + coefficient) % PRIME
        shares.append(value.to_bytes(SHARE_BYTES))
    return shares


def lagrange(points: Sequence[int]) -> list[int]:
    """Return the weights with which values at these points make up the value at 0.

    Examples
    --------
    >>> [weight - PRIME if weight > PRIME // 2 else weight for weight in lagrange([1, 2, 3])]
    [3, -3, 1]
    """
    weights = []
    for own in points:
        above, below = 1, 1
        for other in points:
            if other != own:
                above, below = above * other % PRIME, below * (other - own) % PRIME
        weights.append(above * pow(below, -1, PRIME) % PRIME)
    return weights


def combine(
    shares: Mapping[int, bytes], length: int, weights: Sequence[int] | None = None
) -> bytes:
    """Return the secret.

    Parameters
    ----------
    shares : mapping
        ``{point: share}``, as many as are needed; with fewer, or wrong ones, what is returned is
        not the secret.
    length : int
        Bytes of the secret.
    weights : sequence of int, optional
        `lagrange` of the points, where they are known already.
    """
    weights = weights or lagrange(list(shares))
    terms = zip(weights, shares.values(), strict=True)
    value = sum(weight * int.from_bytes(share) for weight, share in terms) % PRIME
    return (value % 256**length).to_bytes(length)
