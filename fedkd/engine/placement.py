"""Which client lives on which actor."""

import heapq
from collections.abc import Sequence


def place(sizes: Sequence[int], actors: int) -> list[list[int]]:
    """Deal clients to actors so that every actor has about the same number of samples.

    Greedy longest-processing-time: the largest client goes to the least loaded actor.

    Parameters
    ----------
    sizes : sequence of int
        Training samples of each client.
    actors : int
        Number of actors, at least 1; no more are used than there are clients.

    Returns
    -------
    list of list of int
        For each actor its clients, largest first.

    Examples
    --------
    >>> place([5, 1, 1, 1, 2], 2)
    [[0], [4, 1, 2, 3]]
    """
    heap = [(0, actor) for actor in range(min(actors, len(sizes)))]
    placed: list[list[int]] = [[] for _ in heap]
    for client in sorted(range(len(sizes)), key=lambda k: (-sizes[k], k)):
        load, actor = heapq.heappop(heap)
        placed[actor].append(client)
        heapq.heappush(heap, (load + sizes[client], actor))
    return placed
