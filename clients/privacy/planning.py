"""Before a run starts: noise for its budget, and rounds that it can afford."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...config import RunConfig
from ...engine.faults import Faults
from ...errors import ConfigError
from ...privacy.accounting import History
from ...privacy.ledger import Ledger
from ...rounds.drawing import drawn_cohort
from ...rounds.protocol import Strategy
from ...rundir.checkpoint import Checkpoint
from .base import Facts
from .protection import Protection, budget


@dataclass(frozen=True)
class Affordable:
    """A run's privacy, settled.

    Attributes
    ----------
    config : RunConfig
        With the noise multiplier, and as many rounds as the budget allows.
    ledger : Ledger or None
        None where no mechanism has a formal guarantee.
    summary : dict
        What the run's summary says beside what was spent.
    """

    config: RunConfig
    ledger: Ledger | None = None
    summary: dict[str, Any] = field(default_factory=dict)


def affordable(
    config: RunConfig,
    protection: Protection,
    strategy: Strategy,
    sizes: Sequence[int],
    resumed: Checkpoint | None = None,
    each: int = 1,
) -> Affordable:
    """Settle a run's noise and rounds.

    Parameters
    ----------
    config : RunConfig
        With the transfer set's size filled in.
    protection : Protection
        The mechanisms of ``config.privacy``.
    strategy : Strategy
        Who takes part, and whether anything is uploaded.
    sizes : sequence of int
        Private training samples of each client.
    resumed : Checkpoint, optional
        Where the run goes on.
    each : int
        Rows of knowledge that a transfer sample has.

    Raises
    ------
    ConfigError
        If the budget is none, or the run cannot keep to it.
    """
    if not protection.protects:
        if protection.mechanisms and config.privacy.get("epsilon") is not None:
            problem = (
                f"{' and '.join(protection.mechanisms)} has no formal guarantee, so no epsilon"
            )
            raise ConfigError("privacy.epsilon", config.privacy["epsilon"], problem)
        return Affordable(config)
    allowed = budget(config.privacy)
    allowed.check(max(sizes))
    costs = _Costs(config, protection, strategy, sizes, each)
    schedule = participants(config, strategy)
    node = dict(config.privacy)
    if protection.uncalibrated:
        node["noise_multiplier"] = allowed.noise(costs, schedule)
    noise = node.get("noise_multiplier")
    ledger = Ledger(lambda client: costs(client, noise), allowed.delta, allowed.accountant)
    done = 0
    if resumed is not None:
        ledger.load(resumed.spent)
        done = resumed.round
    rounds = done + allowed.rounds(ledger, schedule[done:])
    summary: dict[str, Any] = {"protects": "; ".join(protection.protects)}
    if rounds < config.rounds:
        summary["exhausted"] = f"{rounds} of {config.rounds} rounds keep to the budget"
    return Affordable(replace(config, privacy=node, rounds=rounds), ledger, summary)


def participants(config: RunConfig, strategy: Strategy) -> list[list[int]]:
    """Return who trains in each round of a run: drawn, and not lost to a fault before that."""
    faults, schedule = Faults(config.faults, config.seed), []
    for number in range(1, config.rounds + 1):
        cohort = strategy.cohort(number, drawn_cohort(config, number), config.population)
        struck = faults.of_round(cohort, number)
        schedule.append([k for k in cohort if not (k in struck and struck[k].idle)])
    return schedule


class _Costs:
    """(Client, noise multiplier) -> what it releases in a round."""

    def __init__(
        self,
        config: RunConfig,
        protection: Protection,
        strategy: Strategy,
        sizes: Sequence[int],
        each: int,
    ) -> None:
        self.protection, fit = protection, config.to_dict()["fit"]
        transfer = each * (config.transfer.per_round or config.transfer.size or 0)
        uploads = strategy.exchange is not None
        self.facts = [Facts(samples, transfer, fit, uploads) for samples in sizes]

    def __call__(self, client: int, multiplier: float | None) -> History:
        try:
            return self.protection.cost(self.facts[client], multiplier)
        except ValueError as error:
            names = "+".join(self.protection.mechanisms)
            raise ConfigError("privacy", names, f"client {client}: {error}") from error
