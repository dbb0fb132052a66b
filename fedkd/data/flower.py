"""flwr-datasets, whose figures wait until somebody draws one: they import seaborn and SciPy."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType


class _Later(MetaPathFinder):
    """Finds one module, and has it executed when something of it is asked for."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how the module is loaded, None for any other."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname == self.name else None
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec


@contextmanager
def _later(name: str) -> Iterator[None]:
    finder = _Later(name)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


with _later("flwr_datasets.visualization"):
    from flwr_datasets import FederatedDataset, partitioner

__all__ = ["FederatedDataset", "partitioner"]
