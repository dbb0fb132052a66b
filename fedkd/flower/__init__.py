"""The one room that touches what Flower does not document.

``tests/test_flower.py`` says on which versions that was checked.

- A ``Message`` can only be built in a process whose ``TaskIdentity`` is set, and a ``Grid`` has to
  write the id of each pushed message into its metadata: `identity`, `stamp`.
- Flower's simulation backend shuts down Ray when it ends, also a Ray that it did not start:
  `run_in_flower` keeps it up.
- Its key agreement and encryption are part of its own secure aggregation: `agree`, `sealed`.
"""

from .crypto import PrivateKey, agree, opened, private_key, public_key, sealed
from .messages import RUN_ID, Run, error_reply, identity, lost, new_run, no_reply, stamp, unanswered
from .simulation import quiet, run_in_flower

__all__ = [
    "RUN_ID",
    "PrivateKey",
    "Run",
    "agree",
    "error_reply",
    "identity",
    "lost",
    "new_run",
    "no_reply",
    "opened",
    "private_key",
    "public_key",
    "quiet",
    "run_in_flower",
    "sealed",
    "stamp",
    "unanswered",
]
