"""What a strategy is to the rest of fedkd: it is given a round's plan and reports an outcome."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from flwr.app import ArrayRecord
from torch import Tensor, nn

from ..config import RunConfig
from ..engine import Fleet
from ..errors import ConfigError
from ..knowledge import CLASS_SCORES, kind_named
from ..knowledge.admission import Expected
from ..knowledge.kinds import KINDS
from ..plugins.given import Given
from ..plugins.table import SEAMS
from ..tasks import Task
from .plan import Outcome, RoundPlan
from .server import Server
from .timing import Workload

__all__ = ["Outcome", "RoundPlan", "Strategy"]


def able_kinds(cls: "type[Strategy]", task: Task) -> list[str]:
    """Return the kinds of a task's predictions that a method makes sense for."""
    if unfit(cls, task):
        return []
    return [kind for kind in task.kinds if cls.kinds is None or kind in cls.kinds]


def unfit(cls: "type[Strategy]", task: Task) -> str | None:
    """Say what of a task a method cannot work with, whatever its predictions are; None if it can.

    That is its labels, or its samples.
    """
    if cls.needs_numbers and task.targets == "tokens":
        return "computes with samples as numbers, and the task has next tokens of texts"
    if cls.needs_classes and not task.needs_classes:
        own = "next tokens" if task.targets == "tokens" else task.kinds[0]
        return f"is for classes, and the task has {own}"
    return None


class Strategy(Given, ABC):
    """The server's side of a method.

    Attributes
    ----------
    exchange : str or None
        What clients exchange with the server: a module of `fedkd.clients.exchange`, or
        ``FILE.py:Class``; None = nothing.
    objective : str
        The distillation loss that ``objective=auto`` stands for.
    temperature : float or None
        Softmax temperature of the soft labels that clients upload; None = ``distil.temperature``.
    state : dict of str to Tensor
        What the method remembers from round to round, by client index where it is per client.
    least_epochs : int
        How many epochs a fit must have: ``fit.epochs`` below are refused.
    lesson_kind : str or None
        Kind of what clients are sent, where that is not the kind of what they upload.
    """

    exchange: str | None = None
    lesson_kind: ClassVar[str | None] = None
    objective: str = "kl"
    temperature: float | None = None
    least_epochs: int = 0
    offered: int = 1
    """How many teachers a client is sent, one after the other in one array: above 1, it keeps what
    it learns best from, on its held-out samples"""
    needs_labels: bool = False
    homogeneous: ClassVar[bool] = False
    """True where all clients must have one architecture"""
    usual_model: ClassVar[str] = "mlp"
    """What ``model=auto`` stands for with pictures and numbers: the quickest that is fit for it"""
    personalised: bool = False
    """True where clients may learn from different teachers"""
    sums_only: bool = False
    """True where sums over clients, of what each can compute by itself, are all the server needs:
    `fuse` makes of one row, the mean, what it makes of all rows"""
    keeps_labels: bool = False
    """True where soft labels made in one round are learnt from in others"""
    mixed: ClassVar[bool] = False
    """True where what the method does shows only among models of several architectures"""
    brief: ClassVar[Mapping[str, Any]] = {}
    """Parameters with which tiny runs of four rounds are quick, and show what each of the others
    does: those of `fedkd check`, where the user gives no others"""
    kinds: ClassVar[tuple[str, ...] | None] = CLASS_SCORES
    """Kinds of predictions that the method makes sense for; None = it looks at none of them, so any
    task will do"""
    needs_classes: ClassVar[bool] = False
    """True where private labels must be classes: something is kept, or counted, for each of them"""
    needs_numbers: ClassVar[bool] = False
    """True where clients compute with samples, beside giving them to models"""
    uses_transfer: ClassVar[bool] = False
    """True where the server itself works on transfer samples, whatever clients exchange"""
    finishes: ClassVar[bool] = False
    """True where something is done once, after the last round: see `finish`"""

    passed_on: Mapping[str, Any] = MappingProxyType({})
    """Parameters of the method that are its exchange's; see `pass_on`"""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {}

    def suited(self, task: Task) -> "Strategy":
        """Return the method as it is for a task: it exchanges what the task's models predict.

        Raises
        ------
        ConfigError
            If it makes no sense for the task, as it is.
        """
        able = able_kinds(type(self), task)
        if not able:
            kinds = self.kinds or ()
            what = "classes" if {*kinds} == {*CLASS_SCORES} else " or ".join(kinds)
            problem = unfit(type(self), task) or f"is for {what}, and the task has {task.kinds[0]}"
            known = SEAMS["strategies"].shipped().items()
            others = [name for name, cls in known if able_kinds(cls, task)]
            raise ConfigError("strategy", type(self).__name__, problem, others)
        own = self.exchange
        if own is None or own not in KINDS or not KINDS[own].on_samples or own in task.kinds:
            return self
        suited = copy.copy(self)
        suited.exchange, suited.objective = able[0], task.objectives[able[0]]
        return suited

    def exchange_node(self) -> dict[str, Any] | None:
        """Return the exchange and its parameters: ``{"name": ..., parameter: value}``."""
        return None if self.exchange is None else {"name": self.exchange, **self.passed_on}

    def pass_on(self, **parameters: Any) -> None:
        """Take parameters that are the exchange's, beside those that it has already.

        Raises
        ------
        ValueError
            If the exchange refuses one: it is what checks them.
        """
        self.passed_on = {**self.passed_on, **parameters}
        SEAMS["exchanges"].resolve(str(self.exchange))(**self.passed_on)

    def objective_node(self) -> dict[str, Any]:
        """Return the distillation loss and its parameters, for where the run names none."""
        return {"name": self.objective}

    def softness(self, kind: str, default: float) -> float:
        """Return the softmax temperature of what clients upload.

        Parameters
        ----------
        kind : str
            The kind of knowledge that they exchange; only soft labels have a temperature, others 1.
        default : float
            ``distil.temperature``.
        """
        return (self.temperature or default) if kind_named(kind).simplex else 1.0

    def teacher_softness(self, kind: str, default: float) -> float:
        """Return the softmax temperature that teachers have; parameters as for `softness`.

        By default that of what they are made of. A model of the server's own has 1.
        """
        return self.softness(kind, default)

    def unused(self, kind: str) -> dict[str, str]:
        """Return the parameters that change nothing as the others are, and why: ``{name: why}``.

        A run that sets one is refused; `why` is its reason and remedy. `kind` is the kind of
        knowledge that clients exchange.
        """
        del kind
        return {}

    def beside_size(self, cohort: int, upload: Expected) -> int:
        """Return about how many numbers a client is sent beside what `exchange` says.

        Parameters
        ----------
        cohort : int
            Clients of a round.
        upload : Expected
            What one of them uploads.
        """
        del cohort, upload
        return 0

    def compress_node(self) -> dict[str, Any] | None:
        """Return the codec that belongs to the method, for where the run names none."""
        return None

    def reads(self) -> dict[str, str]:
        """Return which of the clients' numbers the method reads, by the parameter that says so."""
        return {}

    def refusal(self, server: Server) -> str | None:
        """Say why the method cannot work in this run; None if it can."""
        del server
        return None

    def settle(self, config: RunConfig, models: Sequence[nn.Module]) -> list[str]:
        """Settle what depends on the run, once before it starts; return what its user should know.

        Parameters
        ----------
        config : RunConfig
            The run's, with all defaults resolved.
        models : sequence of nn.Module
            A model like each client's.
        """
        del config, models
        return []

    def cohort(self, number: int, drawn: list[int], clients: int) -> list[int]:
        """Return who takes part in a round, ascending; by default those that were drawn."""
        del number, clients
        return drawn

    def workloads(self, number: int, sizes: Sequence[int]) -> list[Workload]:
        """Return what clients with so many private samples would fit in a round; by default all."""
        del number
        return [Workload(size) for size in sizes]

    @abstractmethod
    def round(self, plan: RoundPlan) -> Outcome:
        """Run one round."""

    def finish(self, plan: RoundPlan) -> Outcome:
        """Do what is done once, after the last round, with everybody.

        Models and state are the run's last then. A checkpoint has them as they were before, so that
        more rounds may follow as if it had not been. It is done again where a run that is finished
        is resumed, and has to come out the same.

        Parameters
        ----------
        plan : RoundPlan
            As of a round more; ``plan.expect`` is what `Exchange.finishing` says, for the replies
            to ``train.finish``.
        """
        del plan
        return Outcome()

    def start(self, fleet: Fleet) -> None:
        """Prepare before the first round."""
        del fleet

    def save(self) -> dict[str, Tensor]:
        """Return what the strategy needs to go on after the rounds so far."""
        return dict(self.state)

    def resume(self, fleet: Fleet, saved: dict[str, Tensor]) -> None:
        """Go on from what `save` returned, in place of `start`."""
        del fleet
        self.state = dict(saved)

    def arrays(self) -> dict[str, Tensor]:
        """Return the server's own arrays (part of the run's digest)."""
        return dict(self.state)

    def broadcast(self) -> ArrayRecord | None:
        """Return what every client is measured by, if that is the same for all: a model's state.

        `Exchange.stand` takes it, so that it may be something else.
        """
        return None

    def standing(self, server: Server) -> Mapping[int, dict[str, ArrayRecord]]:
        """Return by what clients are measured in place of the model that they have.

        Parameters
        ----------
        server : Server
            The server's own means.

        Returns
        -------
        mapping
            ``{client: {"arrays": state}}``, for `Exchange.stand`, by default what `broadcast` says;
            or ``{client: {"teacher": record}}``, parameters for `Exchange.receive`. Clients that
            are not in it are measured by their own. What it leaves them with must not change how
            they train: of a teacher, that they would be sent it before their next fit.
        """
        model = self.broadcast()
        return {} if model is None else {k: {"arrays": model} for k in range(server.clients)}
