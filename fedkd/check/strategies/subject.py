"""What is checked, and the means to check it: input of the declared kind, a server, tiny runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor

from ...config import RunConfig
from ...engine import Fleet
from ...engine.base import InlineBlocks
from ...knowledge import KnowledgeStack, stack, to_tensor
from ...knowledge.admission import Expected
from ...maths import mixing
from ...rounds.protocol import Outcome, RoundPlan, Strategy
from ...rounds.server import Server
from ...run.result import RunResult
from ...strategies.base import FusionStrategy
from ...strategies.parametric import ParameterFusion
from ..promises import Skipped
from .stacks import drawn

KNOWN = (FusionStrategy, ParameterFusion)
"""The classes whose `round` and `teach` fuse by `fuse` alone."""

SAMPLES = 40
"""Transfer samples of a small input."""


@dataclass(frozen=True)
class Setting:
    """The server's side of a run that has not begun."""

    server: Server
    expect: Callable[[int, int, Tensor], Expected]
    """``(client, round, sample ids) -> Expected``, as the exchange says"""
    config: RunConfig
    """the run's, complete"""


@dataclass
class Subject:
    """A strategy to check.

    Parameters
    ----------
    name : str
        As it was given.
    usual : callable
        Returns a new object with the parameters given.
    make : callable
        Returns one for tiny runs: with the class's `brief`, where nothing else was given.
    prepare : callable
        Returns the `Setting`; raises `ConfigError` if no run could start.
    run, resume : callable
        ``run(**settings)`` makes a tiny run with a strategy object of its own, ``run(strategy,
        **settings)`` with that; ``resume(run_dir, **settings)`` goes on with one.
    engines : bool
        Whether to run on Ray too.
    sizes : sequence of int
        How many clients to fuse for the costs.
    seconds : float
        What one fusion may take.
    """

    name: str
    usual: Callable[[], Strategy]
    make: Callable[[], Strategy]
    prepare: Callable[[], Setting]
    run: Callable[..., RunResult]
    resume: Callable[..., RunResult]
    engines: bool = False
    sizes: Sequence[int] = (100, 1000)
    seconds: float = 30.0

    @cached_property
    def setting(self) -> Setting:
        """The server's side of a small run, prepared once."""
        return self.prepare()

    def fusion(self) -> FusionStrategy:
        """Return a new object, if the method fuses by the pure functions.

        Raises
        ------
        Skipped
            If it has a round of its own.
        """
        strategy = self.make()
        if not isinstance(strategy, FusionStrategy):
            raise Skipped("it is no FusionStrategy")
        for name in ("round", "teach"):
            if getattr(type(strategy), name) not in [getattr(known, name) for known in KNOWN]:
                raise Skipped(f"it has a {name}() of its own")
        strategy.settle(self.setting.config, self.setting.server.instances)
        return strategy

    def plan(self, clients: Sequence[int], samples: int = SAMPLES, number: int = 1) -> RoundPlan:
        """Return the plan of a round, with no fleet behind it."""
        server = _of_size(self.setting.server, max(clients) + 1)
        labels = torch.arange(samples) * 7 % server.classes
        return RoundPlan(
            number=number,
            cohort=list(clients),
            fleet=cast(Fleet, None),
            blocks=InlineBlocks(),
            classes=server.classes,
            temperature=1.0,
            sample_ids=torch.arange(samples),
            all_samples=samples == server.federation.transfer_size,
            evaluate=None,
            seed=number,
            expect=lambda client, ids: self.setting.expect(0, number, ids),
            server=server,
            labels=labels if self.make().needs_labels else None,
        )

    def stack(
        self, strategy: FusionStrategy, clients: Sequence[int], samples: int = SAMPLES
    ) -> KnowledgeStack:
        """Begin a first round; return what so many clients might upload in it."""
        plan = self.plan(clients, samples)
        ids = strategy.asked(plan)
        strategy.before_fit(plan)
        expected = plan.expect(0, ids)
        parts = [drawn(expected, client, seed=row) for row, client in enumerate(clients)]
        return stack(parts, None if plan.labels is None else plan.labels[ids])

    def taught(
        self, strategy: FusionStrategy, uploads: dict[int, int], number: int
    ) -> dict[int, Tensor]:
        """Run the server's side of a round, which the strategy remembers.

        Parameters
        ----------
        strategy : FusionStrategy
            The strategy.
        uploads : dict
            ``{client: seed of what it uploads}``, ascending.
        number : int
            The round.

        Returns
        -------
        dict
            ``{client: what it is sent}``, each ``[size]``.
        """
        plan = replace(self.plan([*uploads, 6], number=number), cohort=list(uploads))
        ids = strategy.asked(plan)
        strategy.before_fit(plan)
        expected = plan.expect(0, ids)
        admitted = [drawn(expected, client, seed) for client, seed in uploads.items()]
        _, lessons = strategy.teach(plan, admitted, Outcome())
        return {
            client: torch.cat(
                [to_tensor(a).flatten().float() for r in records.values() for a in r.values()]
            )
            for client, records in lessons.items()
        }


def fused(strategy: FusionStrategy, knowledge: KnowledgeStack) -> Tensor:
    """Return the teacher as the method's own function makes it: unchecked and in one piece."""
    if type(strategy).fuse is FusionStrategy.fuse:
        return mixing.mix(strategy.weights(knowledge), knowledge.values)
    return strategy.fuse(knowledge)


def _of_size(server: Server, clients: int) -> Server:
    """Return a server of at least so many clients, all with one architecture."""
    more = max(0, clients - server.clients)
    models: list[Any] = [*server.models, *list(server.models[:1]) * more]
    instances = [*server.instances, *list(server.instances[:1]) * more]
    return replace(server, models=models, instances=instances)
