"""Work that may be done for several clients at once: as many as memory takes, or alone."""

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..ending import contained
from ..engine.gathering import meet

log = logging.getLogger("fedkd")


@dataclass(frozen=True)
class Job:
    """One client's part of a call of the training loop.

    Parameters
    ----------
    kind : tuple
        Its name and the model's architecture.
    key : hashable or None
        Jobs of equal kind and key can be done at once; None = this one is done alone.
    item : Training or tuple
        What is worked on.
    alone : callable
        Does it alone.
    together : callable
        Does several at once: items to answers, in that order.
    samples : int
        What memory depends on, among jobs of equal kind and key.
    nbytes : callable
        Memory that it takes beside others.
    """

    kind: tuple[str, Hashable]
    key: Hashable | None
    item: Any
    alone: Callable[[], Any]
    together: Callable[[list[Any]], list[Any]]
    samples: int
    nbytes: Callable[[], int]


class Jobs:
    """Does jobs.

    Parameters
    ----------
    memory : callable
        Bytes that may be taken just now; None = any number, until memory runs out.

    Attributes
    ----------
    most : dict
        How many of a kind go together, once memory has run out over more.
    refused : set
        Kinds that cannot be done together after all.
    """

    def __init__(self, memory: Callable[[], int] | None) -> None:
        self.memory = memory
        self.most: dict[Hashable, int] = {}
        self.refused: set[Hashable] = set()

    def answers(self, jobs: Sequence[Job]) -> list[Any]:
        """Do jobs, also with those that other clients have at the moment; return their answers."""
        if len(jobs) == 1:
            job = jobs[0]
            alone = job.key is None or job.kind in self.refused
            found = [None if alone else meet((job.kind, job.key), job, self.together)]
        else:
            found = self._grouped(jobs)
        return [job.alone() if one is None else one for job, one in zip(jobs, found, strict=True)]

    def _grouped(self, jobs: Sequence[Job]) -> list[Any]:
        groups: dict[Hashable, list[int]] = {}
        for place, job in enumerate(jobs):
            if job.key is not None:
                groups.setdefault((job.kind, job.key), []).append(place)
        found: list[Any] = [None] * len(jobs)
        for places in groups.values():
            answers = self.together([jobs[place] for place in places])
            for place, answer in zip(places, answers, strict=True):
                found[place] = answer
        return found

    def together(self, jobs: Sequence[Job]) -> list[Any]:
        """Do jobs of equal kind and key; None stands for each that must be done alone."""
        kind = jobs[0].kind
        answers: list[Any] = []
        while len(answers) < len(jobs):
            rest = jobs[len(answers) :]
            size = min(len(rest), self._fitting(rest))
            answers += [None] if size == 1 or kind in self.refused else self._try(rest[:size])
        return answers

    def _fitting(self, jobs: Sequence[Job]) -> int:
        """Return how many of these jobs fit into memory."""
        most = self.most.get(jobs[0].kind, len(jobs))
        if self.memory is None or most == 1:
            return most
        each = max(jobs, key=lambda job: job.samples).nbytes()
        return max(1, min(most, self.memory() // each))

    def _try(self, jobs: Sequence[Job]) -> list[Any]:
        """Return answers; none if memory ran out, so that fewer are tried."""
        kind, size = jobs[0].kind, len(jobs)
        try:
            with contained():
                return jobs[0].together([job.item for job in jobs])
        except torch.cuda.OutOfMemoryError:
            self.most[kind] = size // 2
            problem = "out of memory with %d clients side by side (%s); going on with %d"
            log.warning(problem, size, kind[0], self.most[kind])
        except Exception as error:  # what is wrong shows when they are alone
            self.refused.add(kind)
            cause = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            log.warning("clients go one by one (%s), as together: %s", kind[0], cause)
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        return []
