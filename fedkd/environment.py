"""What fedkd asks of Flower and Ray before they are imported: phone nobody, let no stranger in.

Both read the environment when they are imported, so this module imports neither.
"""

import os
import secrets
import sys

OURS = "fedkd"
"""What tokens made here begin with."""


def set_defaults() -> None:
    """Switch telemetry off, Ray's token authentication and repeatable cuBLAS sums on.

    What is set already stays.

    Ray's own processes listen on every network interface. With a token, known only to this process
    and its children, they refuse whoever does not have it. Ray decides this when it is imported: if
    that has happened, its authentication stays as it is.
    """
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads do not survive a fork
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns about it
    if "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", OURS + secrets.token_hex(32))


def join_as_told() -> None:
    """Leave Ray's authentication to the user, whose cluster is joined: take back our own token."""
    if "ray" not in sys.modules and os.environ.get("RAY_AUTH_TOKEN", "").startswith(OURS):
        del os.environ["RAY_AUTH_TOKEN"], os.environ["RAY_AUTH_MODE"]
