"""FENS: all clients' models travel once, and clients learn together how to combine them.

Allouah, Dhasade, Guerraoui, Gupta, Kermarrec, Pinot, Pires, Sharma, "Revisiting Ensembling in
One-Shot Federated Learning", NeurIPS 2024, arXiv 2411.07182. Confidence: certain (official code)::

    once        client n sends f_n, trained without a tenth of its samples; all models travel down
    aggregator  A = Linear(K C, K d), ReLU, Linear(K d, C) of the K models' logits, in their order
    steps       each client takes a step of SGD with A on the logits of that tenth, and the server
                  D = sum_n samples_n * A_n / sum_n samples_n - A
                  m <- .9 m + .1 D,  v <- .99 v + .01 D^2,  A <- A + server_lr * m / (sqrt v + .001)
    measured    A(f_1(x), ..., f_K(x)), the same at every client

Each round is a one-shot run: clients go on training their own models, upload them, are sent those
of all, and go on with the aggregator. ``rounds=1`` is the paper's, with ``fit.epochs`` as many as
it takes; what later rounds are measured by is what one such run would come to after as much local
training. Each of them costs all models down once more.

Whom the server has not heard of yet has logits of 0: its place in A is kept, for the order of
clients is part of A. Who is away keeps its place with its last model; it is measured by the newest
ensemble all the same, and is sent that when it is back. Without the held-out tenth of a client
(which has a single sample) A learns from the others.

Deviations. 40 steps a round and a server rate of 0.01, for two cores; officially 500 and 0.001. A
client's weight is what it holds out, which is inferred. Models travel as they are (``compress=``
is for all that does), officially in 8 bits.

`RunResult.model` returns a client's own model; the server's arrays are A and all models.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from flwr.app import ArrayRecord, RecordDict
from torch import Tensor

from ..clients.exchange.ensemble import AGGREGATOR, aggregator
from ..knowledge import Knowledge, Teacher
from ..knowledge.arrays import to_arrays
from ..models.flat import flatten
from ..rng import scoped
from ..rounds.protocol import Outcome, RoundPlan
from .base import FusionStrategy
from .collecting import collect

MOMENTS, FLOOR = (0.9, 0.99), 1e-3


class FENS(FusionStrategy):
    """An ensemble of all clients' models, combined by a small network that clients train together.

    Parameters
    ----------
    steps : int
        Steps of the aggregator in a round, at least 0.
    width : int
        d, hidden numbers for each client, at least 1.
    held : float
        Share of a client's samples that only the aggregator learns from, in (0, 1); at least one
        sample.
    lr, server_lr : float
        Rates of clients and server, > 0.
    batch_size : int
        Samples of a client's step, at least 1.

    Attributes
    ----------
    state : dict
        ``model.N`` ``[size]`` of client N, ``aggregator``, its moments ``m`` and ``v``, and
        how many ``clients`` it is for.

    Examples
    --------
    >>> FENS(width=4).exchange_node()["width"]
    4
    """

    exchange = "ensemble"
    needs_classes = True
    brief: ClassVar = {"steps": 3}

    def __init__(
        self,
        steps: int = 40,
        width: int = 2,
        held: float = 0.1,
        lr: float = 1.0,
        server_lr: float = 0.01,
        batch_size: int = 128,
        **base: float | None,
    ) -> None:
        super().__init__(**base)
        if steps < 0 or width < 1 or batch_size < 1:
            raise ValueError(f"steps={steps} must be at least 0, width={width} and {batch_size=} 1")
        if not 0 < held < 1:
            raise ValueError(f"held={held} must be in (0, 1)")
        if not lr > 0 or not server_lr > 0:
            raise ValueError(f"lr={lr} and server_lr={server_lr} must be greater than 0")
        self.steps, self.server_lr = steps, server_lr
        self.client = {"width": width, "held": held, "lr": lr, "batch_size": batch_size}

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with its parameters."""
        return {"name": self.exchange, **self.client}

    def round(self, plan: RoundPlan) -> Outcome:
        """Collect models; send all to those who are there, and train the aggregator with them."""
        outcome = Outcome()
        admitted = self._collect(plan, plan.sample_ids, outcome)
        if not outcome.goes_on(admitted, self.fit_action, plan.min_clients):
            return outcome
        started = time.perf_counter()
        self.state |= {f"model.{one.client}": one.values for one in admitted}
        if AGGREGATOR not in self.state:
            self._begin(plan)
        present = [one.client for one in admitted]
        for step in range(self.steps):
            found = self._step(plan, step, present, outcome)
            if not outcome.goes_on(found, self.fit_action):
                break
            present = [one.client for one in found]
            self._move(found)
        outcome.seconds["fuse"] = time.perf_counter() - started
        return outcome

    def _begin(self, plan: RoundPlan) -> None:
        """Draw the first aggregator."""
        with scoped(plan.seed):
            model = aggregator(plan.server.clients, plan.classes, int(self.client["width"]))
        first = flatten(model)
        zeros = {name: torch.zeros_like(first) for name in ("m", "v")}
        self.state |= {AGGREGATOR: first, **zeros, "clients": torch.tensor(plan.server.clients)}

    def _step(
        self, plan: RoundPlan, step: int, present: Sequence[int], outcome: Outcome
    ) -> list[Knowledge]:
        """Have clients take a step with the aggregator, which comes with all models at first."""
        values = self._whole() if step == 0 else self.state[AGGREGATOR]
        about = {"stage": AGGREGATOR, "step": step, "members": self.members}
        own = {"kind": "parameters", "clients": plan.server.clients, **about, "skip-fit": True}
        config = plan.options(upload=True, **own)
        teachers = Teacher("parameters", values, list(present)).records()
        contents = {k: RecordDict({"config": config, "teacher": teachers[k]}) for k in present}
        size = tuple(self.state[AGGREGATOR].shape)
        asking = replace(plan, expect=lambda k, ids: replace(plan.expect(k, ids), shape=size))
        return collect(asking, self.fit_action, contents, plan.sample_ids, outcome)

    def _move(self, found: Sequence[Knowledge]) -> None:
        """Take a step of Adam, without its correction of the bias."""
        state, samples = self.state, torch.stack([one.extras["samples"] for one in found])
        if not samples.sum():
            return
        mean = (samples / samples.sum() * torch.stack([one.values for one in found])).sum(dim=0)
        state["m"], state["v"], step = adam(mean - state[AGGREGATOR], state["m"], state["v"])
        state[AGGREGATOR] = state[AGGREGATOR] + self.server_lr * step

    @property
    def members(self) -> list[int]:
        """Whose models there are, ascending."""
        return sorted(int(name[6:]) for name in self.state if name.startswith("model."))

    def _whole(self) -> Tensor:
        """Return the aggregator and all models, one after the other."""
        models = [self.state[f"model.{client}"] for client in self.members]
        return torch.cat([self.state[AGGREGATOR], *models])

    def broadcast(self) -> ArrayRecord | None:
        """Return all that clients are measured by, once there is something."""
        if AGGREGATOR not in self.state:
            return None
        about = {"members": torch.tensor(self.members), "clients": self.state["clients"]}
        return to_arrays({"values": self._whole(), **about})


def adam(delta: Tensor, m: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return both moments with a change in them, and the step ``m / (sqrt v + 0.001)``.

    Examples
    --------
    >>> one = torch.ones(1)
    >>> adam(one, 0 * one, 0 * one)  # 0.1 / 0.101
    (tensor([0.1000]), tensor([0.0100]), tensor([0.9901]))
    """
    m = MOMENTS[0] * m + (1 - MOMENTS[0]) * delta
    v = MOMENTS[1] * v + (1 - MOMENTS[1]) * delta.square()
    return m, v, m / (v.sqrt() + FLOOR)
