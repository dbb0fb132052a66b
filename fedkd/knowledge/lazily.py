"""Collections whose items are made when somebody asks for them, and not kept."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

K = TypeVar("K")
S = TypeVar("S")
V = TypeVar("V")


class LazyMapping(Mapping[K, V], Generic[K, V]):
    """A mapping that makes a value each time it is looked up.

    Parameters
    ----------
    keys : iterable
        Its keys, in order.
    make : callable
        ``key -> value``.

    Examples
    --------
    >>> squares = LazyMapping([3, 1], lambda key: key**2)
    >>> squares[3], list(squares), dict(squares)
    (9, [3, 1], {3: 9, 1: 1})
    """

    def __init__(self, keys: Iterable[K], make: Callable[[K], V]) -> None:
        self._keys, self._make = dict.fromkeys(keys), make

    def __getitem__(self, key: K) -> V:
        if key not in self._keys:
            raise KeyError(key)
        return self._make(key)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __iter__(self) -> Iterator[K]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


class LazySequence(Sequence[V], Generic[S, V]):
    """A sequence that makes an item of a smaller one each time it is looked up.

    Parameters
    ----------
    items : sequence
        What items are made of.
    make : callable
        Makes one.

    Examples
    --------
    >>> squares = LazySequence([3, 1], lambda item: item**2)
    >>> squares[0], list(squares)
    (9, [9, 1])
    """

    def __init__(self, items: Sequence[S], make: Callable[[S], V]) -> None:
        self._items, self._make = items, make

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return LazySequence(self._items[index], self._make)
        return self._make(self._items[index])

    def __len__(self) -> int:
        return len(self._items)
