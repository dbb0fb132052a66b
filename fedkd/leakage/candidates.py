"""Members and non-members: who is tested, and what is left to train shadow models on.

A model tells its own classes from those that its owner lacks, so non-members of other classes would
be "detected" by label skew alone. Non-members are therefore matched to the client's own label
counts. They are training samples that no client holds and that are not in the transfer set; only
where a class has too few of those are samples of the test split added, and then it is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .subject import Subject

Rows = NDArray[np.int64]
"""Samples by number: the train split's, then the test split's."""


@dataclass(frozen=True)
class Candidates:
    """The samples that a client is attacked with.

    Attributes
    ----------
    members, others : ndarray
        Sample numbers; the others have the members' label shares.
    """

    members: Rows
    others: Rows

    @property
    def rows(self) -> Rows:
        """Members, then non-members."""
        return np.r_[self.members, self.others]


class Pools:
    """The samples that no client holds, half of them for candidates and half for shadows.

    Parameters
    ----------
    subject : Subject
        The run.
    ratio : int
        Non-members per member, at most: many make low false positive rates measurable.
    test : bool
        Whether samples of the test split may be among them.

    Attributes
    ----------
    from_test : int
        How many of these samples are from the test split.
    """

    def __init__(self, subject: Subject, ratio: int, test: bool = True) -> None:
        self.subject, self.ratio = subject, ratio
        corpus = subject.federation.corpus
        self.train = len(corpus.y_train)
        self.labels = np.r_[corpus.y_train, corpus.y_test]
        unused = _unused(subject)
        reserve = np.arange(self.train, len(self.labels))
        largest = subject.federation.histograms.max(axis=0)
        self.candidates: list[Rows] = []
        self.shadow: list[Rows] = []
        self.from_test = 0
        for y in range(corpus.classes):
            pool = subject.numpy("pool", y).permutation(unused[self.labels[unused] == y])
            if test and len(pool) < 2 * (ratio + 1) * largest[y]:
                more = subject.numpy("pool.test", y).permutation(reserve[self.labels[reserve] == y])
                pool = np.r_[pool, more]
                self.from_test += len(more)
            self.candidates.append(pool[: (len(pool) + 1) // 2])
            self.shadow.append(pool[(len(pool) + 1) // 2 :])

    def of(self, *clients: int) -> Candidates:
        """Return candidates whose members are the training samples of these clients.

        Non-members are distinct, and of each class as many as members, or a multiple of that.
        Members of a class that has too few non-members are left out at random. Both are empty if
        nothing can be matched.
        """
        members = np.concatenate([self.subject.federation.indices(k) for k in clients])
        rng, pools = self.subject.numpy("candidates", clients[0]), self.candidates
        counts = np.bincount(self.labels[members], minlength=len(pools))
        held = counts > 0
        available = np.array([len(pool) for pool in pools])
        times = int(min((available[held] // counts[held]).min(), self.ratio)) if held.any() else 0
        mine, others = [], []
        for y in np.flatnonzero(held):
            own = members[self.labels[members] == y]
            kept = min(len(own), len(pools[y]))
            mine.append(rng.choice(own, kept, replace=False))
            others.append(
                rng.choice(pools[y], max(times, 1) * kept if times else kept, replace=False)
            )
        nothing = np.zeros(0, np.int64)
        return Candidates(np.concatenate([nothing, *mine]), np.concatenate([nothing, *others]))

    def pairs(self, clients: Sequence[int]) -> dict[int, Candidates]:
        """Return members and non-members of clients, paired within classes, each in one pair only.

        Where a class has more members than non-members, those that have a pair are drawn at random
        among all clients. Clients without a pair are left out.
        """
        rows = [self.subject.federation.indices(k) for k in clients]
        owners = np.repeat(np.array(clients, np.int64), [len(own) for own in rows])
        members = np.concatenate([np.zeros(0, np.int64), *rows])
        order = self.subject.numpy("pairs").permutation(len(members))
        mine = [
            order[self.labels[members[order]] == y][: len(pool)]
            for y, pool in enumerate(self.candidates)
        ]
        chosen = np.concatenate(mine)
        others = [pool[: len(own)] for own, pool in zip(mine, self.candidates, strict=True)]
        both = np.stack([members[chosen], np.concatenate(others)])
        found = {k: both[:, owners[chosen] == k] for k in clients}
        return {k: Candidates(*pair) for k, pair in found.items() if pair.size}

    def shadows(self, client: int, number: int) -> Rows:
        """Return a shadow model's training samples: as many of each class as the client has."""
        rng = self.subject.numpy(f"shadow.{number}", client)
        counts = self.subject.federation.histograms[client].astype(int)
        drawn = [
            rng.choice(pool, count, replace=2 * count > len(pool))
            for pool, count in zip(self.shadow, counts, strict=True)
            if count and len(pool)
        ]
        return np.concatenate([np.zeros(0, np.int64), *drawn])

    def population(self, client: int, size: int) -> Rows:
        """Return samples like the client's, of those that shadow models may have trained on."""
        held = np.flatnonzero(self.subject.federation.histograms[client])
        pool = np.concatenate([np.zeros(0, np.int64), *(self.shadow[y] for y in held)])
        rng = self.subject.numpy("population", client)
        return rng.choice(pool, min(size, len(pool)), replace=False)

    def gather(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return samples ``[n, *shape]`` and labels ``[n]``."""
        corpus, later = self.subject.federation.corpus, rows >= self.train
        x, y = corpus.tensor("train", np.where(later, 0, rows))
        if later.any():
            where = torch.from_numpy(later)
            x[where], y[where] = corpus.tensor("test", rows[later] - self.train)
        return x, y


def _unused(subject: Subject) -> Rows:
    """Return the training samples that no client holds and that are not in the transfer set."""
    federation = subject.federation
    with np.load(federation.path) as split:
        taken = [split["train"], split["validation"]]
        if federation.transfer_corpus.path == federation.corpus.path:
            taken.append(split["transfer"])
    every = np.arange(len(federation.corpus.y_train))
    return np.setdiff1d(every, np.concatenate(taken))
