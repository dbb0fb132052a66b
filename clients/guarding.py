"""Guards at work: between a teacher and whichever loop learns from it."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from ..distillation.base import Objective, Target
from ..distillation.guards import Guard
from ..distillation.guards.base import composed
from ..errors import ConfigError
from ..knowledge import kind_named
from ..models.alone import suffices
from ..plugins.several import made_of, names_of, nodes_of
from ..plugins.table import SEAMS
from ..rounds.guarding import CHANGED, KEPT
from ..tasks.rows import rows_at, rows_of
from .base import Client, ClientLoop

WHAT = "guards"


class Guards:
    """A run's guards, in order.

    Parameters
    ----------
    guards : mapping
        Guards by name.
    """

    def __init__(self, guards: Mapping[str, Guard] | None = None) -> None:
        self.guards = dict(guards or {})

    @classmethod
    def from_node(cls, node: Mapping[str, Any]) -> "Guards":
        """Make the guards that a configuration names.

        ``guard.name`` is a name or a list of names.

        Raises
        ------
        ConfigError
            For an unknown name or parameter.

        Examples
        --------
        >>> made = Guards.from_node({"name": ["kd3", "kl_dp"], "tau": 0.6}).guards
        >>> list(made), made["kd3"].tau
        (['kd3', 'kl_dp'], 0.6)
        """
        return cls(made_of(SEAMS["guards"], node, cls.nodes(node)))

    @classmethod
    def with_classes(cls, classes: Mapping[str, type], node: Mapping[str, Any]) -> "Guards":
        """Make those of a configuration, some of which are given as classes, by their names.

        Examples
        --------
        >>> from fedkd.distillation.guards.kd3 import KD3
        >>> Guards.with_classes({"KD3": KD3}, {"name": "KD3", "tau": 0.2}).guards["KD3"].tau
        0.2
        """
        seam = SEAMS["guards"]

        def make(own: dict[str, Any]) -> Any:
            found = classes.get(own["name"])
            return seam.create(own) if found is None else seam.build(found, own)

        return cls(made_of(seam, node, nodes_of(seam, node, WHAT, classes=classes), make))

    @staticmethod
    def nodes(node: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return each guard's own node, by name; raises as `from_node`."""
        return nodes_of(SEAMS["guards"], node, WHAT)

    @classmethod
    def of(cls, given: Sequence[Any]) -> "Guards":
        """Take guards, classes of such, or their names.

        Raises
        ------
        ConfigError
            If one is none of these, or stands twice.

        Examples
        --------
        >>> list(Guards.of([Guard(), "kl_dp"]).guards)
        ['Guard', 'kl_dp']
        """
        names = names_of({"name": [name_of(one) for one in given]}, "guard", WHAT)
        made = (cls._made(one) for one in given)
        return cls({k: v for k, v in zip(names, made, strict=True) if k != "none"})

    @staticmethod
    def _made(one: Any) -> Guard:
        if isinstance(one, str):
            one = SEAMS["guards"].create({"name": one})
        elif isinstance(one, type) and issubclass(one, Guard):
            one = one()
        if not isinstance(one, Guard):
            problem = "must be a name, a Guard object or class, or a list of them"
            raise ConfigError("guard", name_of(one), problem)
        return one

    @property
    def needing_labels(self) -> list[str]:
        """Those that look at the transfer set's labels."""
        return [name for name, guard in self.guards.items() if guard.needs_labels]

    def around(self, loop: ClientLoop) -> ClientLoop:
        """Return a loop whose teachers are looked at first; without guards, the loop."""
        return Guarded(loop, list(self.guards.values())) if self.guards else loop


class Guarded(ClientLoop):
    """Distils what guards leave of the teachers; fits and predicts as another loop does.

    Each client learns from rows of its own, so clients are handed on one by one.

    Parameters
    ----------
    inner : ClientLoop
        The run's loop, of whatever class.
    guards : sequence of Guard
        In order.
    """

    def __init__(self, inner: ClientLoop, guards: Sequence[Guard]) -> None:
        super().__init__(fit=inner.fit_config, distil=inner.distil_config, device=inner.device)
        self.inner, self.guards = inner, guards

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)  # what an exchange knows of a loop of its own

    def fit(self, clients: Sequence[Client]) -> list[dict[str, float]]:
        """Train on private data."""
        return self.inner.fit(clients)

    def predict(self, clients: Sequence[Client], x: Tensor) -> list[Tensor]:
        """Return logits in evaluation mode."""
        return self.inner.predict(clients, x)

    def distil(
        self,
        clients: Sequence[Client],
        x: Tensor,
        teachers: Sequence[Target],
        objective: Objective,
    ) -> list[dict[str, float]]:
        """Train on what is left of the teachers, and say how much that is."""
        pairs = zip(clients, teachers, strict=True)
        return [self._distil(client, x, teacher, objective) for client, teacher in pairs]

    def _distil(
        self, client: Client, x: Tensor, teacher: Target, objective: Objective
    ) -> dict[str, float]:
        own = predicted(rows_of(self.inner.predict([client], x)[0]), teacher)
        values, learnt = composed(copy.deepcopy(self.guards), teacher, own, teacher.labels)
        if teacher.mask is not None:
            learnt = learnt & teacher.mask
        changed = learnt & (values != teacher.values).any(dim=-1)
        x, target = left(x, replace(teacher, values=values), learnt)
        if not suffices(client.model, x):
            return {KEPT: 0.0, CHANGED: 0.0}
        numbers = self.inner.distil([client], x, [target], objective)[0]
        shares = {KEPT: learnt, CHANGED: changed}
        return numbers | {name: share.double().mean().item() for name, share in shares.items()}


def left(x: Tensor, target: Target, learnt: Tensor) -> tuple[Tensor, Target]:
    """Return the samples with a row that is learnt from, and what is to be learnt of them.

    Where samples have several rows, the target's mask says which of those are.

    Parameters
    ----------
    x : Tensor
        ``[samples, *shape]``.
    target : Target
        ``[rows, C]``.
    learnt : Tensor
        bool ``[rows]``.
    """
    each = len(learnt) // len(x)
    samples = learnt.reshape(len(x), each).any(dim=1).nonzero().flatten()
    rows = rows_at(samples, each)
    labels = None if target.labels is None else target.labels[rows]
    mask = None if each == 1 else learnt[rows]
    return x[samples], replace(target, values=target.values[rows], labels=labels, mask=mask)


def name_of(one: Any) -> str:
    """Return the name by which a configuration knows a guard; objects and classes, their class's.

    Examples
    --------
    >>> name_of("kl_dp"), name_of(Guard), name_of(Guard())
    ('kl_dp', 'Guard', 'Guard')
    """
    if isinstance(one, str):
        return one
    return (one if isinstance(one, type) else type(one)).__name__


def predicted(logits: Tensor, teacher: Target) -> Target:
    """Return logits in the form of a teacher: its kind, and its temperature.

    Examples
    --------
    >>> import torch
    >>> predicted(torch.tensor([[0.0, 2.0]]), Target(torch.tensor([[0.5, 0.5]]), temperature=2.0))
    Target(values=tensor([[0.2689, 0.7311]]), kind='soft_labels', temperature=2.0, mask=None, \
labels=None, extras={})
    """
    if kind_named(teacher.kind).simplex:
        logits = (logits / teacher.temperature).softmax(dim=-1)
    return teacher.part(logits)
