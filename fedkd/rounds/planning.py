"""Planning a round: on which transfer samples, measured on how many others."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from ..config import RunConfig
from ..engine import BlockPool, Fleet
from ..knowledge.admission import Expected
from ..rng import SERVER, stream
from ..tasks.rows import rows_at
from .drawing import draw
from .hardest import Hardest
from .plan import RoundPlan
from .server import Server


@dataclass(frozen=True)
class Planner:
    """Makes the plans of a run's rounds.

    Attributes
    ----------
    config : RunConfig
        The run's configuration.
    server : Server
        The server's own means.
    expect, finishing : callable
        As `fedkd.rounds.loop.Loop` takes them.
    hardest : Hardest or None
        Chooses among views of the transfer samples, if there are any.
    """

    config: RunConfig
    server: Server
    expect: Callable[[int, int, Tensor], Expected]
    finishing: Callable[[int, int], Expected | None]
    hardest: Hardest | None

    def plan(
        self, number: int, cohort: list[int], fleet: Fleet, blocks: BlockPool, whole: bool = False
    ) -> RoundPlan:
        """Plan a round, which draws its transfer samples; `whole`: test samples are all used."""
        config, federation = self.config, self.server.federation
        size = federation.transfer_size
        tested = 0 if whole else config.evaluate.subset(len(federation.corpus.y_test))
        some = config.transfer.per_round
        drawn = draw(size, some or size, stream(config.seed, SERVER, number, "transfer"))
        used = self.hardest.samples(number, drawn) if self.hardest else drawn
        ids = rows_at(used, self.server.each)
        labels = self.server.transfer_labels(ids) if config.transfer.labelled else None
        return RoundPlan(
            number=number,
            cohort=cohort,
            fleet=fleet,
            blocks=blocks,
            classes=federation.classes,
            temperature=config.distil.temperature_at(number),
            sample_ids=ids,
            all_samples=len(drawn) == size and self.hardest is None,
            evaluate=tested if config.evaluate.due(number) else None,
            seed=stream(config.seed, SERVER, number, "strategy"),
            expect=lambda client, ids: self.expect(client, number, ids),
            server=self.server,
            labels=labels,
            record=config.record.knowledge,
            min_clients=config.min_clients,
            secure=config.secure if config.secure.aggregation else None,
        )

    def last(self, number: int, fleet: Fleet, blocks: BlockPool) -> RoundPlan:
        """Plan what is done once, with everybody, after the last round: a step `number` of its own.

        Nobody is measured in it.
        """
        plan = self.plan(number, list(range(self.config.population)), fleet, blocks)

        def expect(client: int, ids: Tensor) -> Expected:
            expected = self.finishing(client, number)
            return self.expect(client, number, ids) if expected is None else expected

        return replace(plan, evaluate=None, expect=expect)
