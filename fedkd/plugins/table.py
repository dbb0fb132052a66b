"""Everything that can be plugged in: one row a kind of plug-in.

Whatever finds, makes, lists, documents or checks plug-ins reads this table. Base classes are in
rooms above this one, so they are named here and imported when they are asked for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

from ..errors import ConfigError
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

    def _adapted(self, found: type) -> type | None:
        adapt: finding.Adapt | None = _imported(self.adapt) if self.adapt else None
        return adapt(found) if adapt else None


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def _key(key: str) -> str:
    return f"{key}=FILE.py:Class or {key}=package.module:Class"


SEAMS = {
    seam.name: seam
    for seam in (
        Seam(
            name="strategies",
            title="how the server fuses knowledge",
            key="strategy",
            room="strategies",
            base="fedkd.rounds.protocol:Strategy",
            own=_key("strategy"),
            check="strategies",
            adapt="fedkd.strategies.flower_adapter:adapt",
        ),
        Seam(
            name="exchanges",
            title="what clients upload for a strategy, and do with a teacher",
            key="exchange",
            room="clients.exchange",
            base="fedkd.clients.exchange.base:Exchange",
            own='exchange = "FILE.py:Class" in a strategy',
            check="exchanges",
            part="exchange",
        ),
        Seam(
            name="objectives",
            title="distillation losses",
            key="objective",
            room="distillation",
            base="fedkd.distillation.base:Objective",
            own=_key("objective"),
            check="objectives",
            part="objective",
        ),
        Seam(
            name="models",
            title="clients' models",
            key="model",
            room="models",
            base="torch.nn:Module",
            own="model=FILE.py:Class, or a list of models, dealt to the clients in turn",
            check="models",
            shipped_as="fedkd.models:ZOO",
            filled=("shape", "classes"),
        ),
        Seam(
            name="clients",
            title="clients' training loops",
            key="client",
            room="clients",
            base="fedkd.clients.base:ClientLoop",
            own=_key("client"),
            check="loops",
            part="loop",
        ),
        Seam(
            name="attacks",
            title="what hostile clients do to the fusion",
            key="attack",
            room="clients.attacks",
            base="fedkd.clients.attacks.base:Attack",
            own=_key("attack"),
            check="attacks",
            part="attack",
        ),
        Seam(
            name="privacy_attacks",
            title="what is inferred from recorded runs",
            key="attack",
            room="leakage",
            base="fedkd.leakage.base:PrivacyAttack",
            own="fedkd attack RUN_DIR --attack FILE.py:Class",
            check="inference",
        ),
        Seam(
            name="codecs",
            title="how messages are made smaller",
            key="compress",
            room="codecs",
            base="fedkd.codecs.base:Codec",
            own=_key("compress"),
            check="codecs",
            part="codec",
        ),
        Seam(
            name="privacy",
            title="what protects private data",
            key="privacy",
            room="clients.privacy",
            base="fedkd.clients.privacy.base:Mechanism",
            own=f"{_key('privacy')}, or a list of mechanisms",
            check="mechanisms",
            part="privacy",
            several=True,
        ),
        Seam(
            name="samplers",
            title="active learning: which samples to label",
            key="sampler",
            room="clients.samplers",
            base="fedkd.clients.samplers.base:Sampler",
            own=_key("sampler"),
            check="samplers",
            part="sampler",
        ),
        Seam(
            name="oracles",
            title="active learning: who labels them",
            key="oracle",
            room="clients.oracles",
            base="fedkd.clients.oracles.base:Oracle",
            own=_key("oracle"),
            check="oracles",
            part="oracle",
        ),
    )
}
"""Every kind of plug-in, by name."""

PARTS = tuple(seam for seam in SEAMS.values() if seam.part)
"""Those that every process that hosts clients needs."""


def seams_of(target: str) -> list[Seam]:
    """Return the kinds of plug-in that a short name or ``FILE:Class`` may be.

    A short name may be of several kinds; a class is of one, and a function that makes models is a
    model.

    Raises
    ------
    ConfigError
        If there is no such plug-in, or it is of no kind.

    Examples
    --------
    >>> [seam.name for seam in seams_of("none")], [seam.name for seam in seams_of("knfu")]
    (['attacks', 'codecs', 'privacy'], ['strategies'])
    """
    if ":" in target or target.endswith(".py"):
        return [_seam_of(target)]
    found = [seam for seam in SEAMS.values() if target in seam.shipped()]
    if not found:
        names: Iterable[str] = {name for seam in SEAMS.values() for name in seam.shipped()}
        raise ConfigError("plug-in", target, "no such plug-in", names)
    return found


def _seam_of(target: str) -> Seam:
    found = load_object(target, "plug-in")
    for seam in SEAMS.values():
        if seam.takes(found):
            return seam
    if not callable(found):
        raise ConfigError("plug-in", target, f"is a {type(found).__name__}, not a class")
    if isinstance(found, type):
        bases = ", ".join(seam.base.rpartition(":")[2] for seam in SEAMS.values())
        raise ConfigError("plug-in", target, f"{found.__name__} subclasses none of {bases}")
    return SEAMS["models"]
