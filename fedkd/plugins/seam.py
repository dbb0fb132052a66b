"""A seam: what all plug-ins of one kind have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

from . import finding
from .loading import load_object


@dataclass(frozen=True)
class Seam:
    """A seam: where plug-ins of one kind go.

    Parameters
    ----------
    name : str
        What all of them are called, as in ``fedkd list NAME``.
    title : str
        What they are, in a line.
    key : str
        The key that chooses one, as errors have it.
    room : str
        The sub-package of fedkd that has those which are shipped, one a file.
    base : str
        ``module:Class`` of what they subclass.
    own : str
        How one's own is given.
    check : str
        The module of `fedkd.check` with its promises: ``SUITE``, and ``subject(seam, target,
        overrides, engines)``.
    part : str
        What it is of `fedkd.clients.Parts`, where every process that hosts clients needs it.
    several : bool
        Whether a run may have several of them; its room then makes them.
    shipped_as : str, optional
        ``module:NAME`` of a dict of those that are shipped, where it is not one a file.
    filled : tuple of str
        Parameters that are the run's, beside ``base.from_run``.
    adapt : str, optional
        ``module:function`` that makes a plug-in of classes of another family, or returns None.
    """

    name: str
    title: str
    key: str
    room: str
    base: str
    own: str
    check: str
    part: str = ""
    several: bool = False
    shipped_as: str | None = None
    filled: tuple[str, ...] = ()
    adapt: str | None = None

    @cached_property
    def cls(self) -> type:
        """The base class."""
        return _imported(self.base)

    @property
    def from_run(self) -> tuple[str, ...]:
        """Parameters that the run fills in, which are no keys of the user's."""
        return self.filled + finding.from_run(self.cls)

    def shipped(self) -> dict[str, Any]:
        """Return the classes that come with fedkd, by their short names."""
        if self.shipped_as is not None:
            return dict(_imported(self.shipped_as))
        return finding.available(self.room, self.cls)

    def ships(self, name: str) -> bool:
        """Say whether a class of that short name comes with fedkd; imports no other."""
        if self.shipped_as is not None:
            return name in self.shipped()
        return finding.is_available(name, self.room, lambda: self.cls)

    def takes(self, found: Any) -> bool:
        """Say whether an object from a user's file is a plug-in of this kind."""
        if not isinstance(found, type):
            return False
        return issubclass(found, self.cls) or self._adapted(found) is not None

    def resolve(self, spec: str) -> Any:
        """Return the class that a name or ``FILE:Class`` means; see `finding.resolve`."""
        if self.shipped_as is not None:
            return self.shipped().get(spec) or load_object(spec, self.key)
        return finding.resolve(spec, self.room, self.cls, self.key, self._adapted)

    def create(self, node: dict[str, Any], run: Mapping[str, Any] | None = None) -> Any:
        """Return the object that a configuration node means; see `finding.create`.

        Parameters
        ----------
        node : dict
            ``{"name": ..., parameter: value}``.
        run : mapping, optional
            The run's settings, of which the parameters that it fills in are taken.
        """
        known = {name: value for name, value in (run or {}).items() if name in self.from_run}
        return finding.create(node, self.room, self.cls, self.key, self._adapted, known)

    def build(self, cls: type, node: dict[str, Any]) -> Any:
        """Return the object that a node means if its name is that of a class given as such."""
        return finding.build(cls, node, self.cls, self.key)

    def vet(self, node: dict[str, Any]) -> None:
        """Refuse a configuration node whose class or parameters cannot be; see `finding.vet`."""
        finding.vet(node, self.room, self.cls, self.key, self._adapted)

    def _adapted(self, found: type) -> type | None:
        adapt: finding.Adapt | None = _imported(self.adapt) if self.adapt else None
        return adapt(found) if adapt else None


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)
