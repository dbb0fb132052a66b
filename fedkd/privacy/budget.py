"""What a run may spend: checked, and turned into noise, before anything starts."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from ..errors import ConfigError
from .accounting import AccountantName, Fixed, History, calibrate, guarantee
from .ledger import Ledger

Schedule = Sequence[Sequence[int]]
"""Who takes part in which round."""

Noise = Callable[[int, float], History]
"""(Client, noise multiplier) -> what it releases in a round."""


@dataclass(frozen=True)
class Budget:
    """The run-wide keys of ``privacy.*``.

    Parameters
    ----------
    epsilon : float or None
        The most that any client may spend in the whole run, > 0. Mechanisms without a noise
        multiplier get the one that spends it in the planned rounds.
    delta : float
        The chance that the guarantee fails, in (0, 1 / n), n the samples of the largest client.
    accountant : {"rdp", "pld"}
        See `fedkd.privacy.accounting.guarantee`.
    on_exhausted : {"refuse", "stop"}
        Whether a run that would overspend is refused, or ends after the last round that it can
        afford.
    """

    epsilon: float | None = None
    delta: float = 1e-5
    accountant: AccountantName = "rdp"
    on_exhausted: Literal["refuse", "stop"] = "refuse"

    def check(self, largest: int) -> None:
        """Raise `ConfigError` for what is no budget where clients have up to so many samples."""
        if self.epsilon is not None and not (self.epsilon > 0 and math.isfinite(self.epsilon)):
            raise ConfigError("privacy.epsilon", self.epsilon, "must be greater than 0 and finite")
        if not 0 < self.delta < 1 / largest:
            problem = (
                f"must be in (0, 1/n), and the largest client has n={largest} samples: with "
                "more, publishing a record at random would pass for private"
            )
            raise ConfigError("privacy.delta", self.delta, problem)

    def noise(self, costs: Noise, schedule: Schedule) -> float:
        """Return the smallest noise multiplier with which no client spends more than epsilon.

        Parameters
        ----------
        costs : callable
            (client, noise multiplier) -> what the client releases in a round.
        schedule : sequence of sequences of int
            Who takes part in which round.

        Raises
        ------
        ConfigError
            If there is no epsilon, or no noise is enough for it.
        """
        if self.epsilon is None:
            problem = "must be given, or else privacy.epsilon, which it is then calibrated to"
            raise ConfigError("privacy.noise_multiplier", None, problem)
        rounds = Counter(client for clients in schedule for client in clients)

        def history(client: int, multiplier: float) -> History:
            return repeated(costs(client, multiplier), rounds[client])

        alike = {tuple(sorted(history(k, 1.0).items(), key=repr)): k for k in sorted(rounds)}
        spent = {k: self._epsilon(dict(key)) for key, k in alike.items()}
        found = 0.0
        for client in sorted(spent, key=lambda k: -spent[k]):  # the first decides, as a rule
            if found and self._epsilon(history(client, found)) <= self.epsilon:
                continue
            try:
                own = partial(history, client)
                found = calibrate(own, self.epsilon, self.delta, self.accountant)
            except ValueError as error:
                raise ConfigError("privacy.epsilon", self.epsilon, str(error)) from error
        return found or 1.0

    def rounds(self, ledger: Ledger, schedule: Schedule) -> int:
        """Return how many of the coming rounds the run can afford: all, or it must stop.

        Raises
        ------
        ConfigError
            If not all, and the run is not to stop; or not even one.
        """
        if self.epsilon is None:
            return len(schedule)
        rounds, cost = ledger.affordable(schedule, self.epsilon)
        if rounds == len(schedule):
            return rounds
        spent = ledger.worst()[0]
        before = f", {spent:.3g} are spent already" if spent else ""
        problem = (
            f"{len(schedule)} rounds cost {cost:.4g}{before}, and {rounds} of them keep to it; "
            "more noise, fewer rounds, or privacy.on_exhausted=stop"
        )
        if self.on_exhausted == "refuse" or (rounds == 0 and not spent):
            raise ConfigError("privacy.epsilon", self.epsilon, problem)
        return rounds

    def _epsilon(self, history: History) -> float:
        return guarantee(history, self.delta, self.accountant)[0]


def repeated(history: History, times: int) -> History:
    """Return the history of so many rounds like this one; what is `Fixed` is spent once.

    Examples
    --------
    >>> from .accounting import Release
    >>> repeated({Release("laplace", 2.0): 1, Fixed(0.5, 0.1): 1}, 3).values()
    dict_values([3, 1])
    """
    return {cost: n if isinstance(cost, Fixed) else n * times for cost, n in history.items()}
