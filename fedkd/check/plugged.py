"""A plug-in that is checked in tiny runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..config.overrides import compose, merge
from ..errors import ConfigError
from ..plugins.table import Seam
from ..rounds.protocol import Strategy
from ..run.declared import no_kinds
from ..run.objects import Objects
from ..run.result import RunResult
from ..run.runner import run
from .promises import Broken

TINY: dict[str, Any] = {
    "clients": 5,
    "engine": "inline",
    "data.samples_per_client": 20,
    "transfer.size": 60,
    "fit.epochs": 1,
    "evaluate.every": 100,  # so only in the last round
}
"""Settings of the runs that a check makes, where overrides do not say otherwise."""

ACTIVE: dict[str, Any] = {
    "strategy": {"name": "kafal", "rounds_per_cycle": 1, "budget": 0.1, "initial": 0.2},
    "data.samples_per_client": 30,
}
"""Settings of runs of active learning, with questions in every round but the first."""

CLASSES = 10

FILLED: dict[str, Any] = {"classes": CLASSES, "device": "cpu"}
"""What else a run fills in."""

STRATEGIES: dict[str, dict[str, Any]] = {
    "soft_labels": {"name": "fedmd", "exchange": "soft_labels"},
    "logits": {"name": "fedmd", "exchange": "logits"},
    "class_knowledge": {"name": "fd"},
    "parameters": {"name": "feddf"},
    "masks": {"name": "fedpm"},
    "related_logits": {"name": "fccl_plus"},
    "predictions": {"name": "fedmd"},
    "gaussian_predictions": {"name": "fedmd"},
}
"""A strategy that exchanges this kind of knowledge, for what is made for it."""

TASKS: dict[str, dict[str, Any]] = {
    "predictions": {"task": {"name": "regression"}},
    "gaussian_predictions": {"task": {"name": "regression", "variance": True}},
}
"""The task of runs in which there is this kind, where it is not classification."""


@dataclass
class Plugged:
    """A plug-in to check.

    Parameters
    ----------
    seam : Seam
        What it is.
    name : str
        As it was given.
    node : dict
        ``{"name": ..., parameter: value}``.
    config : RunConfig
        That of the tiny runs, in which it has something to do.
    engines : bool
        Whether to run on Ray too.
    signs : tuple of str
        What is measured of clients, one at least, where it has something to do; none = no matter.
    strategy : callable, optional
        Returns a strategy object for a run.
    data : optional
        What runs have in place of ``data.name``.
    """

    seam: Seam
    name: str
    node: dict[str, Any]
    config: RunConfig
    engines: bool = False
    signs: tuple[str, ...] = ()
    strategy: Callable[[], Strategy] | None = field(default=None, repr=False)
    data: Any = field(default=None, repr=False)

    def make(self, **more: Any) -> Any:
        """Return a new object, with more parameters than the user gave."""
        return self.seam.create(self.node | more, self.config.to_dict() | FILLED)

    def objects(self) -> Objects:
        """Return what runs have in place of names."""
        return Objects(strategy=self.strategy() if self.strategy else None, data=self.data)

    def run(self, **settings: Any) -> RunResult:
        """Make a tiny run.

        Raises
        ------
        Broken
            If there was nothing for the plug-in to do.
        """
        result = run(merge(self.config, **settings), objects=self.objects(), report=False)
        taught = set(self.signs) & set(result.clients["metric"].to_pylist())
        if self.signs and not (taught and self.config.distil.epochs):
            raise Broken("it has nothing to do in these runs: clients learn from no teacher there")
        return result

    def resume(self, run_dir: Path, **settings: Any) -> RunResult:
        """Go on with one."""
        config = merge(compose([f"resume={run_dir}"]), **settings)
        return run(config, objects=self.objects(), report=False)


def plugged(
    seam: Seam,
    target: str,
    overrides: Sequence[str] = (),
    settings: dict[str, Any] | None = None,
    **options: Any,
) -> Plugged:
    """Return a plug-in of which a configuration has one.

    Parameters
    ----------
    seam, target, overrides
        What it is, its name, and ``KEY=VALUE`` as for ``fedkd run``.
    settings : dict, optional
        Those of the runs, beside `TINY`; without a strategy, one that has what it is made for.
    **options
        See `Plugged`.

    Raises
    ------
    ConfigError
        If there is no such class, or an override cannot be used.
    """
    cls = seam.resolve(target)
    config = compose([f"{seam.key}={target}", *overrides])
    given = dict(getattr(config, seam.key))
    own: dict[str, Any] = {seam.key: brief(cls) | given}
    if not (settings or any(text.startswith("strategy") for text in overrides)):
        own |= exchanging(seam, target, getattr(cls, "kinds", None))
    whole = merge(config, **tiny(overrides, own | (settings or {})))
    return Plugged(seam, target, own[seam.key], whole, **options)


def exchanging(seam: Seam, target: str, kinds: Any) -> dict[str, Any]:
    """Return settings of runs in which there is one of these kinds of knowledge.

    Raises
    ------
    ConfigError
        If there are no such kinds, or no shipped strategy exchanges one.
    """
    if (problem := no_kinds(kinds)) is not None:
        raise ConfigError(seam.key, target, f"declares kinds={kinds!r}: {problem}")
    for kind in kinds or ("soft_labels",):
        if kind in STRATEGIES:
            return {"strategy": STRATEGIES[kind]} | TASKS.get(kind, {})
    problem = f"is for {' or '.join(kinds)}, which no shipped strategy exchanges"
    raise ConfigError(seam.key, target, f"{problem}; name one that does: strategy=...")


def tiny(overrides: Sequence[str], more: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return `TINY` and more settings of a check, but for keys that overrides set.

    Examples
    --------
    >>> sorted(set(TINY) - set(tiny(["clients=3", "engine.name=ray"])))
    ['clients', 'engine']
    """
    given = {text.partition("=")[0].lstrip("+").removesuffix(".name") for text in overrides}
    settings = TINY | (more or {})
    return {k: v for k, v in settings.items() if k not in given or isinstance(v, dict)}


def brief(cls: Any) -> dict[str, Any]:
    """Return the parameters with which a class says that it can be checked in tiny runs."""
    return dict(getattr(cls, "brief", {}))
