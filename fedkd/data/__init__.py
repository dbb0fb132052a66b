"""Data sets, how clients share them, the transfer set, and what evaluation needs of them.

The names below are imported on first use: a worker process that only opens a `Federation` does not
wait for `datasets` and `flwr_datasets`.
"""

import os
from importlib import import_module
from typing import Any

# flwr_datasets reads this when it is imported: a simulator phones nobody unless asked to.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")

_EXPORTS = {
    "CATALOGUE": "sources",
    "Corpus": "corpus",
    "Federation": "federation",
    "SHORT_NAMES": "partitioners",
    "build_federation": "split",
    "cache_root": "preparation",
    "local_accuracy": "evaluation",
    "partition_table": "table",
    "prepare": "preparation",
    "recall": "evaluation",
}

__all__ = [
    "CATALOGUE",
    "SHORT_NAMES",
    "Corpus",
    "Federation",
    "build_federation",
    "cache_root",
    "local_accuracy",
    "partition_table",
    "prepare",
    "recall",
]


def __getattr__(name: str) -> Any:
    """Import an exported name when it is first used (PEP 562)."""
    if name in _EXPORTS:
        return getattr(import_module(f".{_EXPORTS[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
