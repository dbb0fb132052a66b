"""Key agreement and encryption, of Flower's own secure aggregation."""

from cryptography.fernet import InvalidToken
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.common.secure_aggregation.crypto.symmetric_encryption import (
    decrypt,
    encrypt,
    generate_shared_key,
)
from flwr.common.secure_aggregation.secaggplus_utils import (
    share_keys_plaintext_concat,
    share_keys_plaintext_separate,
)

PrivateKey = ec.EllipticCurvePrivateKey


def private_key(secret: bytes) -> PrivateKey:
    """Return the private key of P-256 that 32 bytes are (not 0, and below the curve's order)."""
    return ec.derive_private_key(int.from_bytes(secret), ec.SECP256R1())


def public_key(private: PrivateKey) -> bytes:
    """Return the public key, 33 bytes."""
    return private.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def agree(private: PrivateKey, public: bytes) -> bytes:
    """Return the key (32 bytes in base64) that two clients have in common.

    Raises
    ------
    ValueError
        If `public` is no point of the curve.
    """
    point = ec.EllipticCurvePublicKey.from_encoded_point(private.curve, public)
    return generate_shared_key(private, point)


def sealed(key: bytes, sender: int, receiver: int, secret: bytes) -> bytes:
    """Encrypt a secret, with who sends it to whom."""
    return encrypt(key, share_keys_plaintext_concat(sender, receiver, secret, b""))


def opened(key: bytes, sender: int, receiver: int, data: bytes) -> bytes:
    """Decrypt what `sealed` encrypted.

    Raises
    ------
    ValueError
        If it was tampered with, or is not from this sender for this receiver.
    """
    try:
        *who, secret, _ = share_keys_plaintext_separate(decrypt(key, data))
    except InvalidToken:
        raise ValueError(f"a message of client {sender} was tampered with") from None
    if who != [sender, receiver]:
        raise ValueError(f"a message of client {who[0]} to {who[1]} came as one of {sender}")
    return secret
