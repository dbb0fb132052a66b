"""Drives Flower's own strategies round by round.

Flower's ``Strategy.start()`` is never called (it cannot resume). Instead each round calls
``configure_train`` with a grid that shows exactly the round's cohort, sends the messages through
the ordering proxy, and hands ``aggregate_train`` the admitted replies in client order.
"""

import inspect
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp.strategy import Strategy as FlowerBase
from torch import Tensor

from ..engine import Fleet, Reply
from ..engine.state import cast, tensors_of
from ..errors import RunError
from ..flower import quiet
from ..knowledge import KnowledgeStack
from ..knowledge.admission import Rejected
from ..knowledge.arrays import to_arrays, to_tensor
from ..rng import scoped
from ..rounds.protocol import Outcome, RoundPlan, Strategy
from ..rounds.server import Server
from .collecting import summed_arrays
from .flower_parameters import SIZES, UNUSED, keys_of, problem_of
from .flower_replies import admitted as admitted_replies
from .flower_replies import check_parameters
from .flower_state import load_attributes, save_attributes


class FlowerStrategy(Strategy):
    """Base of the strategies that are Flower's.

    Parameters
    ----------
    inner : flwr.serverapp.strategy.Strategy
        The strategy that configures and aggregates.
    """

    exchange = "parameters"
    homogeneous: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...] | None] = None

    def __init__(self, inner: FlowerBase) -> None:
        super().__init__()
        self.inner = inner
        self.problem = problem_of(inner)  # now: a run sets what it decides
        self.current: ArrayRecord | None = None
        self.first: dict[str, Tensor] = {}  # the model as it was, for names, shapes and types

    def reads(self) -> dict[str, str]:
        """Return the metrics that Flower's strategy is told to weigh clients by."""
        return keys_of(self.inner)

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of what the run decides: who takes part, and who is measured."""
        del kind
        return UNUSED

    def refusal(self, server: Server) -> str | None:
        """Say so of parameters without effect, and of what needs a mod at the clients."""
        del server
        return self.problem

    def start(self, fleet: Fleet) -> None:
        """Take client 0's initial model as the first global model."""
        reply = fleet.call("query.snapshot", {0: RecordDict()}, 0)[0]
        self.current = reply.ok.array_records["arrays"]
        self.first = self.arrays()

    def save(self) -> dict[str, Tensor]:
        """Return the global model, the first one, and what Flower's strategy keeps."""
        parts = {"model": self.arrays(), "first": self.first, "inner": save_attributes(self.inner)}
        return {f"{part}:{k}": v for part, values in parts.items() for k, v in values.items()}

    def resume(self, fleet: Fleet, saved: dict[str, Tensor]) -> None:
        """Go on from what `save` returned."""
        del fleet
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "first": {}, "inner": {}}
        for path, value in saved.items():
            part, name = path.split(":", 1)
            parts[part][name] = value
        if not parts["model"]:
            raise ValueError("there is no global model in it")
        self.current, self.first = to_arrays(parts["model"]), parts["first"]
        load_attributes(self.inner, parts["inner"])

    def broadcast(self) -> ArrayRecord:
        """Return the global model."""
        if self.current is None:
            raise RunError("the strategy was not started")
        return self.current

    def arrays(self) -> dict[str, Tensor]:
        """Return the global model."""
        return tensors_of(self.broadcast())

    def round(self, plan: RoundPlan) -> Outcome:
        """Let the cohort train the global model, and aggregate."""
        started, outcome = time.perf_counter(), Outcome()
        messages, admitted = self._messages(plan), list[Message | None]()
        accepted: list[Reply] = []
        if plan.secure is None:
            replies = outcome.take(plan.fleet.send(messages))
            accepted = admitted_replies(replies, self.first, plan.server.sizes, self.inner, outcome)
            admitted += [reply.message for reply in accepted]
        else:
            admitted += summed_arrays(plan, messages, self.first, outcome)
        outcome.seconds["fit"] = time.perf_counter() - started
        if plan.record:
            self._note(plan, accepted, outcome)
        if outcome.goes_on(admitted, "train", plan.min_clients):
            self._aggregate(plan, admitted[:1] if plan.secure else admitted, outcome)
        return outcome

    def _aggregate(self, plan: RoundPlan, admitted: list[Message | None], outcome: Outcome) -> None:
        """Have Flower's strategy make the next global model."""
        started = time.perf_counter()
        with quiet():
            try:
                arrays, _ = self.inner.aggregate_train(plan.number, admitted)  # type: ignore[arg-type]
            except ZeroDivisionError:  # all weights (weighted_by_key) are 0
                arrays = None
        name = type(self.inner).__name__
        if arrays is None and len(admitted) < len(plan.cohort):  # it needs more than are left
            outcome.skipped = True
            return
        if arrays is None:
            whole = f"{name} aggregated nothing in round {plan.number}, of {len(admitted)} clients"
            raise RunError(f"{whole}; it may need more of them, or weights above 0")
        current = like_first(arrays, self.first)
        try:
            check_parameters(current, self.first)
        except Rejected as reason:
            raise RunError(f"{name} diverged in round {plan.number}: {reason}") from None
        self.current = current
        outcome.seconds["fuse"] = time.perf_counter() - started

    def _note(self, plan: RoundPlan, accepted: list[Reply], outcome: Outcome) -> None:
        """Note the model that was sent, and the replies, for whoever records them."""
        sent = to_arrays({"values": as_vector(self.broadcast())})
        outcome.exchanged.starts = dict.fromkeys(plan.cohort, sent)
        if accepted:
            values = [as_vector(reply.ok.array_records["arrays"]) for reply in accepted]
            clients = [reply.client for reply in accepted]
            nothing = torch.zeros(0, dtype=torch.int64)
            outcome.knowledge = KnowledgeStack("parameters", torch.stack(values), clients, nothing)

    def _messages(self, plan: RoundPlan) -> list[Message]:
        """Have Flower's strategy build its messages for exactly this cohort."""
        self.inner.fraction_train = 1.0  # type: ignore[attr-defined]
        for name in SIZES:  # below these Flower would wait for ever for more nodes
            setattr(self.inner, name, len(plan.cohort))
        grid = plan.fleet.view(plan.cohort)
        with quiet(), scoped(plan.seed):  # it samples with the global generator
            messages = self.inner.configure_train(
                plan.number, self.broadcast(), ConfigRecord(), grid
            )
            rank = {node: place for place, node in enumerate(grid.get_node_ids())}
            return sorted(messages, key=lambda message: rank[message.metadata.dst_node_id])


def as_vector(arrays: ArrayRecord) -> Tensor:
    """Return a state dict's floating-point numbers as `fedkd.models.flat.flatten` orders them."""
    values = [to_tensor(array) for array in arrays.values()]
    return torch.cat([value.flatten().float() for value in values if value.is_floating_point()])


def like_first(arrays: ArrayRecord, first: Mapping[str, Tensor]) -> ArrayRecord:
    """Return aggregated arrays in the model's own types.

    Flower's means turn integer buffers (BatchNorm's step count) into floats, and its adaptive
    strategies turn everything into float64.
    """
    values = tensors_of(arrays)
    return to_arrays({name: cast(value, first[name].dtype) for name, value in values.items()})


def adapt(kind: type) -> type[Strategy] | None:
    """Return a class that runs any of Flower's strategies, for ``strategy=module:Class``."""
    if not issubclass(kind, FlowerBase):
        return None

    class Adapted(FlowerStrategy):
        __doc__ = kind.__doc__

        def __init__(self, **parameters: Any) -> None:
            super().__init__(kind(**parameters))

    Adapted.__signature__ = inspect.signature(kind)  # type: ignore[attr-defined]
    Adapted.__name__ = Adapted.__qualname__ = kind.__name__
    return Adapted
