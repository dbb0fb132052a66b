"""What a method's class declares of it: for the table of methods, the chooser and the lists."""

from dataclasses import dataclass
from typing import Any, Literal

from ..clients.exchange import Exchange
from ..config.hints import choices, signature
from ..knowledge import kind_named
from ..knowledge.kinds import KINDS, NUMBERS
from ..plugins.table import SEAMS
from ..rounds.protocol import Strategy, able_kinds

Transfer = Literal["no", "yes", "labelled"]
Returns = Literal["before", "after", "-"]


@dataclass(frozen=True)
class Traits:
    """What there is to know of a method before it is chosen.

    Parameters
    ----------
    exchanges : dict
        What its clients may exchange, by name, and which kind of knowledge that is: by default, if
        its parameter ``exchange`` says otherwise, and with tasks that have no classes. Empty where
        nothing is exchanged.
    personalised : bool
        Whether clients may learn from different teachers.
    mixed_models : bool
        Whether clients may have different architectures in one run.
    transfer : {"no", "yes", "labelled"}
        Whether it needs transfer samples, or their labels too.
    tasks : tuple of str
        What it makes sense for.
    secure : bool
        Whether the server needs only sums over clients, so that secure aggregation carries it.
    returns : {"before", "after", "-"}
        Whether who was away hears of what it missed before its next fit, or at the end of that
        round; nobody hears of anything where nothing is exchanged.
    """

    exchanges: dict[str, str]
    personalised: bool
    mixed_models: bool
    transfer: Transfer
    tasks: tuple[str, ...]
    secure: bool
    returns: Returns

    @property
    def exchange(self) -> str | None:
        """What is exchanged by default."""
        return next(iter(self.exchanges), None)

    @property
    def kind(self) -> str | None:
        """Which kind of knowledge that is."""
        return next(iter(self.exchanges.values()), None)


def traits(cls: type[Strategy]) -> Traits:
    """Return what a class declares, with its default parameters.

    Raises
    ------
    ConfigError
        If it has a parameter without a default.

    Examples
    --------
    >>> found = traits(SEAMS["strategies"].resolve("comet"))
    >>> found.exchange, list(found.exchanges), found.transfer, found.secure
    ('soft_labels', ['soft_labels', 'logits'], 'yes', False)
    >>> traits(SEAMS["strategies"].resolve("local")).exchanges
    {}
    """
    strategy: Strategy = SEAMS["strategies"].build(cls, {"name": cls.__name__})
    exchanges = _exchanges(strategy)
    kind = next((kind_named(kind) for kind in exchanges.values()), None)
    on_samples = kind is not None and kind.on_samples
    transfer: Transfer = "yes" if cls.uses_transfer or on_samples else "no"
    lesson = kind_named(cls.lesson_kind) if cls.lesson_kind else kind
    returns: Returns = "-"
    if lesson is not None:  # `fedkd check` holds methods to it
        returns = "after" if lesson.on_samples else "before"
    return Traits(
        exchanges=exchanges,
        personalised=cls.personalised,
        mixed_models=not cls.homogeneous,
        transfer="labelled" if strategy.needs_labels else transfer,
        tasks=tasks_of(cls),
        secure=strategy.sums_only and kind is not None,
        returns=returns,
    )


def tasks_of(cls: type[Strategy]) -> tuple[str, ...]:
    """Return the tasks that a method makes sense for.

    Examples
    --------
    >>> tasks_of(SEAMS["strategies"].resolve("local"))
    ('classification', 'regression', 'tokens')
    """
    known = SEAMS["tasks"].shipped()
    return tuple(name for name, task in known.items() if able_kinds(cls, task()))


def _exchanges(strategy: Strategy) -> dict[str, str]:
    node = strategy.exchange_node()
    if node is None:
        return {}
    own, parameter = str(node["name"]), signature(type(strategy)).get("exchange")
    names = [own, *(choices(parameter.annotation) if parameter else ())]
    if own in KINDS and KINDS[own].on_samples:  # as `Strategy.suited` has it
        numbers = () if strategy.needs_classes else NUMBERS
        names += [kind for kind in numbers if strategy.kinds is None or kind in strategy.kinds]
    nodes: dict[str, dict[str, Any]] = {name: {"name": name} for name in names}
    nodes[own] = dict(node)
    made: dict[str, Exchange] = {n: SEAMS["exchanges"].create(one) for n, one in nodes.items()}
    return {name: exchange.kind for name, exchange in made.items()}
