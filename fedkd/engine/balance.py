"""Who should move to another actor, so that no core idles at the end of a phase.

Clients are dealt to actors by what they are expected to compute. Only some of them take part in a
round, though, and devices are not what they seem: what counts is how long these take, as measured
before.
"""

import math
from collections.abc import Mapping, Sequence

from flwr.app import Message

from .base import FIRST_NODE_ID, MEASURED

TOLERANCE = 0.05
"""Part of the largest load by which loads may differ."""

WORTH_SECONDS = 0.02
"""What a move must save: it costs some milliseconds."""

Move = tuple[int, int, int]
"""A client, the place that it leaves, and the place where it goes."""


def moves(loads: Sequence[Mapping[int, float]]) -> list[Move]:
    """Return who should move, each once, until loads are alike or a move would not save enough.

    Again and again, somebody goes from the most to the least loaded place, whoever evens out those
    two best: the largest of both loads falls by ``min(cost, gap - cost)``.

    Parameters
    ----------
    loads : sequence of mapping
        For each place the seconds that its clients take.

    Examples
    --------
    >>> moves([{0: 1.0, 1: 1.0}, {2: 4.0, 3: 3.0, 4: 2.0}])
    [(2, 1, 0)]
    """
    places = [dict(load) for load in loads]
    totals = [math.fsum(place.values()) for place in places]
    while True:
        high, low = totals.index(max(totals)), totals.index(min(totals))
        gap = totals[high] - totals[low]
        saved = {client: min(cost, gap - cost) for client, cost in places[high].items()}
        best = max(saved, key=lambda client: (saved[client], -client), default=None)
        if best is None or gap <= TOLERANCE * totals[high] or saved[best] <= WORTH_SECONDS:
            break
        places[low][best] = cost = places[high].pop(best)
        totals[high], totals[low] = totals[high] - cost, totals[low] + cost
    goal_of = {client: goal for goal, place in enumerate(places) for client in place}
    return [
        (client, origin, goal_of[client])
        for origin, load in enumerate(loads)
        for client in load
        if goal_of[client] != origin
    ]


class Costs:
    """How long clients took to train in the rounds before.

    Parameters
    ----------
    work : sequence of float
        What a round is expected to take each client, relative to the others: who has not taken part
        yet is taken to need as long for it as the others do.

    Examples
    --------
    >>> costs = Costs([100, 200])
    >>> costs.of(1)
    0.0
    >>> costs.add(0, 2.0)
    >>> costs.begin()
    >>> costs.of(0), costs.of(1)
    (2.0, 4.0)
    """

    def __init__(self, work: Sequence[float]) -> None:
        self.work = work
        self._known: dict[int, float] = {}
        self._now: dict[int, float] = {}  # in the round under way
        self._rate = 0.0

    def add(self, client: int, seconds: float) -> None:
        """Add what a client took for a message of the round."""
        self._now[client] = self._now.get(client, 0.0) + seconds

    def note(self, reply: Message) -> None:
        """Add what a training reply says that it took."""
        if reply.has_content() and reply.metadata.message_type.startswith("train"):
            metrics = reply.content.metric_records.get(MEASURED)
            seconds = metrics.get("seconds_phase") if metrics else None
            if isinstance(seconds, float) and 0 < seconds < math.inf:
                self.add(reply.metadata.src_node_id - FIRST_NODE_ID, seconds)

    def begin(self) -> None:
        """Begin a new round; of what a client took, the older the less counts."""
        for client, seconds in self._now.items():
            self._known[client] = (self._known.get(client, seconds) + seconds) / 2
        self._now = {}
        done = math.fsum(self.work[client] for client in self._known)
        self._rate = math.fsum(self._known.values()) / done if done else 0.0

    def of(self, client: int) -> float:
        """Return the seconds that a client may take, 0 if nobody has trained yet."""
        return self._known.get(client, self._rate * self.work[client])
