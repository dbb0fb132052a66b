"""Who has spent what: every client's history, from round to round."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .accounting import AccountantName, Cost, Fixed, History, guarantee, loaded, saved

Costs = Callable[[int], History]
"""Client -> what it releases in a round that it takes part in."""


class Ledger:
    """Every client's history of releases.

    A client that takes no part in a round spends nothing in it. What is `Fixed` is spent once.

    Parameters
    ----------
    costs : callable
        See `Costs`.
    delta : float
        See `guarantee`.
    accountant : {"rdp", "pld"}
        See `guarantee`.

    Examples
    --------
    >>> from .accounting import Release
    >>> ledger = Ledger(lambda client: {Release("gaussian", 4.0): 1}, 1e-5, "pld")
    >>> ledger.charge([0, 2])
    >>> sorted(ledger.histories), ledger.guarantee(1), round(ledger.guarantee(2)[0], 3)
    ([0, 2], (0.0, 0.0), 0.926)
    """

    def __init__(self, costs: Costs, delta: float, accountant: AccountantName = "rdp") -> None:
        self.costs, self.delta, self.accountant = costs, delta, accountant
        self.histories: dict[int, dict[Cost, int]] = {}

    def charge(self, clients: Iterable[int]) -> None:
        """Note that these clients took part in a round."""
        for client in clients:
            history = self.histories.setdefault(client, {})
            for cost, times in self.costs(client).items():
                before = history.get(cost, 0)
                history[cost] = 1 if isinstance(cost, Fixed) else before + times

    def guarantee(self, client: int) -> tuple[float, float]:
        """Return what a client has spent so far, (epsilon, delta)."""
        return guarantee(self.histories.get(client, {}), self.delta, self.accountant)

    def worst(self) -> tuple[float, float]:
        """Return the largest epsilon and the largest delta of all clients so far."""
        spent = [self.guarantee(client) for client in sorted(self.histories)] or [(0.0, 0.0)]
        return max(epsilon for epsilon, _ in spent), max(delta for _, delta in spent)

    def affordable(self, schedule: Sequence[Sequence[int]], epsilon: float) -> tuple[int, float]:
        """Return how many rounds of a schedule nobody's epsilon forbids, and what all would cost.

        Parameters
        ----------
        schedule : sequence of sequences of int
            Who takes part in which of the coming rounds.
        epsilon : float
            The most that a client may have spent.
        """
        planned = self.copy()
        for clients in schedule:
            planned.charge(clients)
        cost = planned.worst()[0]
        if cost <= epsilon:
            return len(schedule), cost
        planned, rounds = self.copy(), 0
        for clients in schedule:
            planned.charge(clients)
            if any(planned.guarantee(client)[0] > epsilon for client in clients):
                break
            rounds += 1
        return rounds, cost

    def copy(self) -> "Ledger":
        """Return a ledger that may be charged without changing this one."""
        made = Ledger(self.costs, self.delta, self.accountant)
        made.load(self.save())
        return made

    def save(self) -> dict[str, Any]:
        """Return what `load` takes, JSON-ready."""
        return {str(client): saved(history) for client, history in self.histories.items()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `save` returned."""
        self.histories = {int(client): loaded(rows) for client, rows in state.items()}
