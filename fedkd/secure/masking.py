"""Secure aggregation: masks that hide what each client uploads, and vanish from the sum.

Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning", CCS 2017.
Client u of a round has two key pairs, for masks and for messages, and a secret b_u. With x_u its
vector of integers and G a stream of pseudorandom integers, it uploads::

    y_u = x_u + G(b_u) + sum_{v > u} G(k_uv) - sum_{v < u} G(k_uv)     modulo 2^bits
    k_uv = agreement of u's and v's mask keys

In the sum over clients the pairwise masks cancel. Before it uploads, u shares b_u and its mask key
among all clients, so that any `threshold` of them can restore either. In the end the survivors give
away their shares of b_u for each client u whose upload is there, and of the mask key of each that
dropped out; never both for one client, so no single upload is laid open.

Key agreement and encryption are Flower's (`fedkd.flower`). Its stream is not used: it seeds a
Mersenne Twister with 32 bits of the key and never yields the largest integer. Here G is ChaCha20
under the whole key. A client also publishes a hash of b_u, so that a wrong share is noticed.

**Protected**: against a server that follows the protocol but looks at all it gets, together with
fewer than `threshold` clients, nothing but the sum of the others is to be seen. **Not protected**:
what the sum itself says; against a server that lies about who is who, as keys are not signed; and
the result against hostile clients, since nobody can look at a single upload.
"""

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from ..flower import PrivateKey, agree, opened, private_key, public_key, sealed
from .fixedpoint import Integers
from .shamir import PRIME, SHARE_BYTES, split

KEY_BYTES, POINT_BYTES = 32, 33
"""Bytes of a secret or a hash, and of a public key."""

ADVERT_BYTES = 2 * POINT_BYTES + KEY_BYTES
"""What a client publishes: two public keys and the hash of its secret."""

SEALED_BYTES = 292
"""An encrypted pair of shares."""

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256


def needed(threshold: float, clients: int) -> int:
    """Return how many of so many clients it takes to restore a secret, more than half of them.

    Examples
    --------
    >>> [needed(0.6, clients) for clients in (2, 3, 5, 10, 100)]
    [2, 2, 3, 6, 60]
    """
    return math.ceil(round(threshold * clients, 9))


def keystream(key: bytes, size: int, dtype: np.dtype[np.unsignedinteger]) -> Integers:
    """Return pseudorandom integers ``[size]``, uniform over the type: ChaCha20 under `key`.

    A key serves one stream only.
    """
    cipher = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None)
    data = cipher.encryptor().update(bytes(size * dtype.itemsize))
    return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype, copy=False)


@dataclass(frozen=True)
class Advert:
    """What a client publishes of its secrets."""

    data: bytes

    @property
    def mask(self) -> bytes:
        """Public key that masks are agreed with."""
        return self.data[:POINT_BYTES]

    @property
    def cipher(self) -> bytes:
        """Public key that messages are encrypted with."""
        return self.data[POINT_BYTES : 2 * POINT_BYTES]

    @property
    def commitment(self) -> bytes:
        """Hash of the secret b."""
        return self.data[2 * POINT_BYTES :]


@dataclass(frozen=True)
class Secrets:
    """What a client keeps to itself in one round: everything follows from 32 random bytes.

    Parameters
    ----------
    seed : bytes
        32 bytes, used in one round only.

    Examples
    --------
    >>> len(Secrets(bytes(32)).advert().data)
    98
    """

    seed: bytes

    def _derived(self, name: str) -> bytes:
        return hashlib.blake2b(name.encode(), key=self.seed, digest_size=KEY_BYTES).digest()

    @cached_property
    def own(self) -> bytes:
        """The secret b."""
        return self._derived("own")

    @cached_property
    def mask_secret(self) -> bytes:
        """What the private key of masks is made of."""
        return _scalar(self._derived("mask"))

    @cached_property
    def mask_key(self) -> PrivateKey:
        """The private key of masks."""
        return private_key(self.mask_secret)

    @cached_property
    def cipher_key(self) -> PrivateKey:
        """The private key of messages."""
        return private_key(_scalar(self._derived("cipher")))

    def advert(self) -> Advert:
        """Return what is published."""
        keys = public_key(self.mask_key) + public_key(self.cipher_key)
        return Advert(keys + committed(self.own))

    def shares(self, me: int, adverts: Mapping[int, Advert], least: int) -> list[bytes]:
        """Return, for each client in the order of adverts, its encrypted shares of b and the key.

        One's own are among them: nothing has to be remembered.
        """
        points = [client + 1 for client in adverts]
        parts = []
        for name, secret in {"own": self.own, "mask": self.mask_secret}.items():
            stream = keystream(self._derived(f"shares.{name}"), 9 * (least - 1), np.dtype("u8"))
            rows = stream.reshape(-1, 9)  # 576 bits: reduced, they are as good as uniform
            parts.append(split(secret, [int.from_bytes(r.tobytes()) % PRIME for r in rows], points))
        return [
            sealed(agree(self.cipher_key, advert.cipher), me, client, own + mask)
            for (client, advert), own, mask in zip(adverts.items(), *parts, strict=True)
        ]

    def opened(self, me: int, sender: int, advert: Advert, data: bytes) -> tuple[bytes, bytes]:
        """Return the shares of another client's b and mask key.

        Raises
        ------
        ValueError
            If they are not from this client for this one.
        """
        plain = opened(agree(self.cipher_key, advert.cipher), sender, me, data)
        return plain[:SHARE_BYTES], plain[SHARE_BYTES:]

    def masked(
        self, me: int, adverts: Mapping[int, Advert], others: Iterable[int], vector: Integers
    ) -> Integers:
        """Return the vector with its masks; `others` are the clients that it is agreed with."""
        total = vector + keystream(self.own, len(vector), vector.dtype)
        for other in others:
            _add_pair(total, self.mask_key, adverts[other].mask, me < other)
        return total


def unmasked(
    total: Integers,
    owns: Sequence[bytes],
    lost: Mapping[int, PrivateKey],
    adverts: Mapping[int, Advert],
    survivors: Sequence[int],
) -> Integers:
    """Return the sum of the survivors' vectors.

    Parameters
    ----------
    total : ndarray
        ``[size]``, the sum of their uploads.
    owns : sequence of bytes
        Their secrets b.
    lost : mapping
        The mask keys of those who shared theirs and then dropped out.
    adverts : mapping
        What everybody published.
    survivors : sequence of int
        Whose uploads were summed.
    """
    total = total.copy()
    for own in owns:
        total -= keystream(own, len(total), total.dtype)
    for other, key in lost.items():
        for client in survivors:
            _add_pair(total, key, adverts[client].mask, client > other)
    return total


def committed(secret: bytes) -> bytes:
    """Return the hash that commits a client to its secret."""
    return hashlib.sha256(secret).digest()


def _add_pair(total: Integers, private: PrivateKey, public: bytes, plus: bool) -> None:
    """Add or subtract the mask of a pair, in place."""
    key = base64.urlsafe_b64decode(agree(private, public))
    pair = keystream(key, len(total), total.dtype)
    (np.add if plus else np.subtract)(total, pair, out=total)


def _scalar(data: bytes) -> bytes:
    """Return 32 bytes as a number that can be a private key of P-256."""
    return (int.from_bytes(data) % (_ORDER - 1) + 1).to_bytes(KEY_BYTES)
