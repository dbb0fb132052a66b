"""fedkd: simulate federated knowledge fusion.

Clients keep their data and their weights; they share soft labels on a common transfer set, and the
server decides, for every client, whose knowledge that client should learn from.

The names below are imported on first use, so ``import fedkd`` stays cheap.
"""

from importlib import import_module
from typing import Any

_EXPORTS = {
    "ConfigError": "fedkd.errors",
    "FedkdError": "fedkd.errors",
    "KnowledgeStack": "fedkd.knowledge",
    "RunResult": "fedkd.run.result",
    "RunError": "fedkd.errors",
    "Study": "fedkd.run.study.opened",
    "attack": "fedkd.leakage",
    "compare": "fedkd.report.comparison",
    "resume": "fedkd.run.python",
    "shutdown": "fedkd.engine",
    "simulate": "fedkd.run.python",
    "study": "fedkd.run.study.python",
}

__all__ = [
    "ConfigError",
    "FedkdError",
    "KnowledgeStack",
    "RunError",
    "RunResult",
    "Study",
    "attack",
    "compare",
    "resume",
    "shutdown",
    "simulate",
    "study",
]


def __getattr__(name: str) -> Any:
    """Import an exported name when it is first used (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        return version("fedkd")
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'fedkd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
