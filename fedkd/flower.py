"""The one module that touches what Flower does not document (checked on flwr 1.41.0).

- A ``Message`` can only be built in a process whose ``TaskIdentity`` is set, and a ``Grid`` has to
  write the id of each pushed message into its metadata: `identity`, `stamp`.
- Flower's simulation backend shuts down Ray when it ends, also a Ray that it did not start:
  `run_in_flower` keeps it up.
- Its key agreement and encryption are part of its own secure aggregation: `agree`, `sealed`.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from cryptography.fernet import InvalidToken
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.common.secure_aggregation.crypto.symmetric_encryption import (
    decrypt,
    encrypt,
    generate_shared_key,
)
from flwr.common.secure_aggregation.secaggplus_utils import (
    share_keys_plaintext_concat,
    share_keys_plaintext_separate,
)
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

__all__ = [
    "RUN_ID",
    "PrivateKey",
    "Run",
    "agree",
    "error_reply",
    "identity",
    "lost",
    "new_run",
    "opened",
    "private_key",
    "public_key",
    "quiet",
    "run_in_flower",
    "sealed",
    "stamp",
]

RUN_ID = 1

PrivateKey = ec.EllipticCurvePrivateKey


def new_run() -> Run:
    """Return the description of a run, as Flower's grids carry it."""
    return Run.create_empty(run_id=RUN_ID)


@contextmanager
def identity() -> Iterator[None]:
    """Let this process build messages, and restore its previous identity afterwards."""
    names = ("_task_id", "_run_id", "_node_id")
    before = {name: getattr(TaskIdentity, name) for name in names}
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, RUN_ID, SUPERLINK_NODE_ID
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(TaskIdentity, name, value)


def stamp(message: Message) -> str:
    """Give a message a fresh id, as a grid must when it is pushed."""
    message_id = str(uuid4())
    message.metadata.__dict__["_message_id"] = message_id
    return message_id


def error_reply(message: Message, reason: str) -> Message:
    """Return the reply of a ClientApp that raised."""
    return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)


def lost(message: Message) -> bool:
    """Tell whether a message stands for a reply that Flower's backend could not get.

    A ClientApp that raised has replied; one whose process died has not.
    """
    return bool(message.has_error() and message.error.code == ErrorCode.UNKNOWN)


def run_in_flower(
    main: Callable[[Grid], None], app: ClientApp, nodes: int, backend: dict[str, Any]
) -> None:
    """Call ``main(grid)`` as a ``ServerApp`` in Flower's own simulation backend.

    Ray must be up, and stays up.

    Parameters
    ----------
    main : callable
        The server's side; runs in a thread that Flower starts.
    app : ClientApp
        What every node executes.
    nodes : int
        Number of simulated nodes.
    backend : dict
        Flower's backend configuration (``client_resources``, ``init_args``).
    """
    from flwr.simulation import run_simulation

    server = ServerApp()

    @server.main()
    def serve(grid: Grid, context: Context) -> None:
        del context
        main(grid)

    with quiet(), _ray_stays_up():
        run_simulation(server, app, nodes, backend_config=backend)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Flower's announcements; what goes wrong reaches us as error replies."""
    logger = logging.getLogger("flwr")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    except KeyboardInterrupt:
        raise  # still silent: Flower's threads outlive us, and would print how they end
    except BaseException:
        logger.setLevel(level)
        raise
    logger.setLevel(level)


@contextmanager
def _ray_stays_up() -> Iterator[None]:
    """Let Flower's backend end its actors but not Ray, which is not its own."""
    from flwr.server.superlink.fleet.vce.backend.raybackend import RayBackend

    def terminate(backend: RayBackend) -> None:
        if backend.pool is not None:
            backend.pool.terminate_all_actors()

    original = RayBackend.terminate
    RayBackend.terminate = terminate  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        RayBackend.terminate = original  # type: ignore[method-assign]


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
