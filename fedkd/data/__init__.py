"""Data sets, how clients share them, the transfer set, and what evaluation needs of them.

The names below are imported on first use: a worker process that only opens a `Federation` does not
wait for `datasets` and `flwr_datasets`.
"""

from importlib import import_module
from typing import Any

from ..environment import set_defaults

set_defaults()  # flwr_datasets reads the environment when it is imported

_EXPORTS = {
    "Texts": "typical",
    "numbered": "holders",
    "located": "rownumbers",
    "HELD": "rownumbers",
    "CATALOGUE": "catalogue",
    "Corpus": "corpus",
    "Federation": "federation",
    "build_federation": "split",
    "cache_root": "cache",
    "check_samples": "split",
    "corpora": "preparation",
    "is_data": "objects",
    "is_per_client": "objects",
    "partition_notes": "description",
    "partition_table": "description",
    "prepare": "preparation",
    "refuse_foreseen": "foreseeing",
}

__all__ = [
    "CATALOGUE",
    "HELD",
    "Corpus",
    "Federation",
    "Texts",
    "build_federation",
    "cache_root",
    "check_samples",
    "corpora",
    "is_data",
    "is_per_client",
    "located",
    "numbered",
    "partition_notes",
    "partition_table",
    "prepare",
    "refuse_foreseen",
]


def __getattr__(name: str) -> Any:
    """Import an exported name when it is first used (PEP 562)."""
    if name in _EXPORTS:
        return getattr(import_module(f".{_EXPORTS[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
