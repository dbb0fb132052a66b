"""Which client lives on which actor, and what each actor has of the GPUs."""

import heapq
from collections.abc import Sequence

from ..config import EngineConfig
from ..errors import ConfigError

GATHERED = 256
"""Most clients that ``engine.stack=auto`` hands to an actor's training loop at once."""


ACTORS_PER_GPU = 4
"""Actors that share a GPU by default, if they train clients side by side: more were no faster."""


def place(work: Sequence[float], actors: int) -> list[list[int]]:
    """Deal clients to actors so that every actor has about the same to do.

    Greedy longest-processing-time: the largest client goes to the least loaded actor.

    Parameters
    ----------
    work : sequence of float
        What a round is expected to take each client, relative to the others.
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
    heap = [(0.0, actor) for actor in range(min(actors, len(work)))]
    placed: list[list[int]] = [[] for _ in heap]
    for client in sorted(range(len(work)), key=lambda k: (-work[k], k)):
        load, actor = heapq.heappop(heap)
        placed[actor].append(client)
        heapq.heappush(heap, (load + work[client], actor))
    return placed


def stack_size(stack: str, clients: int, actors: int) -> int:
    """Return how many clients of consecutive index are handed out together, at least 1.

    Parameters
    ----------
    stack : str
        ``engine.stack``: ``"off"``, ``"auto"`` or a number.
    clients, actors : int
        Of the run.

    Examples
    --------
    >>> [stack_size(stack, 100, 3) for stack in ("off", "auto", "8")]
    [1, 34, 8]
    """
    if stack == "off":
        return 1
    return min(GATHERED, -(-clients // actors)) if stack == "auto" else int(stack)


def place_stacks(work: Sequence[float], actors: int, size: int) -> list[list[int]]:
    """Deal clients to actors like `place`, but stack by stack.

    Who is together is a function of the clients' order, not of the actors: clients 0 to `size` - 1,
    the next `size`, and so on.

    Examples
    --------
    >>> place_stacks([5, 1, 1, 1, 2], 2, 2)
    [[0, 1], [2, 3, 4]]
    """
    stacks = [range(first, len(work))[:size] for first in range(0, len(work), size)]
    placed = place([sum(work[k] for k in stack) for stack in stacks], actors)
    return [[client for rank in ranks for client in stacks[rank]] for ranks in placed]


def actors_by_default(engine: EngineConfig, device: str, gpus: int, cores: int) -> int | None:
    """Return how many actors compute, None = one per core of all machines.

    Parameters
    ----------
    engine : EngineConfig
        The run's, ``engine.stack`` resolved.
    device : str
        ``"cpu"`` or ``"cuda"``.
    gpus, cores : int
        What there is of them.

    Examples
    --------
    >>> actors_by_default(EngineConfig(), "cuda", 1, 16)
    4
    """
    shared = device == "cuda" and engine.name == "ray" and not engine.address
    if engine.actors or not shared or engine.stack == "off":
        return engine.actors
    return min(cores, ACTORS_PER_GPU * gpus)


def gpu_share(engine: EngineConfig, device: str, gpus: int, cores: int) -> float:
    """Return the fraction of a GPU that each actor asks for.

    Parameters
    ----------
    engine : EngineConfig
        The run's.
    device : str
        ``"cpu"`` or ``"cuda"``.
    gpus, cores : int
        What there is of them.

    Raises
    ------
    ConfigError
        If actors shall compute on a GPU and ask for none: Ray would hide it from them.

    Examples
    --------
    >>> gpu_share(EngineConfig(actors=3), "cuda", 1, 16), gpu_share(EngineConfig(), "cpu", 1, 16)
    (0.3333, 0.0)
    """
    if engine.name == "inline" or device == "cpu":
        return engine.gpus_per_actor or 0.0
    if engine.gpus_per_actor is None:
        return int(gpus / (engine.actors or cores) * 10_000) / 10_000  # as Ray counts
    if engine.gpus_per_actor == 0:
        problem = "Ray hides GPUs from actors that ask for none; set a share, or device=cpu"
        raise ConfigError("engine.gpus_per_actor", 0, problem)
    return engine.gpus_per_actor
