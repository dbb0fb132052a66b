"""The data of one run: which samples each client trains on, the transfer set, the test split."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import ConfigError
from ..tasks.targets import Targets
from .corpus import Corpus
from .sampling import balanced
from .views import Views

_TEST_SEED = 0  # the evaluation subset is the same in every run


@dataclass(frozen=True)
class Federation:
    """A data set dealt to clients; small enough to open in every worker process.

    Tensors are gathered afresh on every call: callers keep what they reuse.

    Attributes
    ----------
    corpus, transfer_corpus : Corpus
        Where the clients' and the transfer samples come from (often the same).
    path : Path
        The ``split.npz`` that says who holds what.
    """

    corpus: Corpus
    transfer_corpus: Corpus
    path: Path

    @classmethod
    def open(cls, locator: dict[str, Any]) -> "Federation":
        """Open what `locator` of a federation names, in this or another process.

        Parameters
        ----------
        locator : dict
            ``{"corpus": path, "transfer": path or None, "split": path}``, JSON-ready.
        """
        corpus = Corpus.open(locator["corpus"])
        other = locator.get("transfer")
        return cls(corpus, Corpus.open(other) if other else corpus, Path(locator["split"]))

    @property
    def locator(self) -> dict[str, str | None]:
        """What `open` takes, JSON-ready."""
        other = None if self.transfer_corpus is self.corpus else str(self.transfer_corpus.path)
        return {"corpus": str(self.corpus.path), "transfer": other, "split": str(self.path)}

    @cached_property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What ``split.npz`` has, by name."""
        with np.load(self.path, allow_pickle=False) as file:
            return dict(file)

    def _rows(self, part: str, client: int) -> NDArray[np.int64]:
        if not 0 <= client < self.clients:
            raise IndexError(f"client {client} of {self.clients}")
        start, stop = self.arrays[f"{part}_offsets"][client : client + 2]
        return self.arrays[part][start:stop]

    @property
    def clients(self) -> int:
        """Number of clients."""
        return len(self.arrays["train_offsets"]) - 1

    @property
    def classes(self) -> int:
        """Number of classes, or of bins that numbers are sorted into."""
        return self.corpus.classes

    @property
    def targets(self) -> Targets:
        """What the labels are."""
        return self.corpus.targets

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, or of the bins of numbers."""
        return self.corpus.class_names

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, channels first."""
        return self.corpus.shape

    @property
    def client_names(self) -> list[str] | None:
        """What the clients are called, if they come with names."""
        names = self.arrays.get("client_names")
        return None if names is None else names.tolist()

    @property
    def dealt(self) -> bool:
        """Whether samples were dealt: no client came with the data."""
        return "held" not in self.arrays

    @property
    def tests(self) -> NDArray[np.int64] | None:
        """Samples of its own that each client is tested on, shape [N]; None: on nobody's own."""
        ends = self.arrays.get("test_offsets")
        return None if ends is None else np.diff(ends)

    @property
    def samples_per_client(self) -> int | None:
        """The equal partition size in force, or None."""
        return int(self.arrays["samples_per_client"]) or None

    @property
    def transfer_size(self) -> int:
        """Number of transfer samples, U: views of one are not counted."""
        return len(self.arrays["transfer"])

    @cached_property
    def views(self) -> Views | None:
        """How views of transfer samples are made, where there are any."""
        return Views.unpacked(self.arrays)

    @property
    def versions(self) -> int:
        """Versions of each transfer sample, V: the original and its views."""
        return 1 if self.views is None else 1 + self.views.count

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Samples that each client learns from, training and validation together, shape [N]."""
        return np.diff(self.arrays["train_offsets"]) + np.diff(self.arrays["validation_offsets"])

    def indices(self, client: int) -> NDArray[np.int64]:
        """Return the client's training samples as ascending indices into the train split."""
        return self._rows("train", client)

    def held(self, client: int) -> NDArray[np.int64]:
        """Return all that the client learns from: `indices`, and those of its validation."""
        return np.sort(np.concatenate([self.indices(client), self._rows("validation", client)]))

    def client(self, client: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the client's training data: x float32 [n, *shape], y int64 [n]."""
        return self.corpus.tensor("train", self._rows("train", client))

    def validation(self, client: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the client's held-out data, possibly none: x float32 [n, *shape], y int64 [n]."""
        return self.corpus.tensor("train", self._rows("validation", client))

    def own_test(self, client: int) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return what the client is tested on, possibly nothing: x [n, *shape], y int64 [n].

        None unless clients are tested on samples of their own (``data.test=local``).
        """
        if self.tests is None:
            return None
        return self.corpus.tensor(str(self.arrays["test_split"]), self._rows("test", client))

    def histogram(self, client: int) -> NDArray[np.float64]:
        """Return the client's class counts, training and validation together, shape [classes]."""
        return self.arrays["histogram"][client].astype(np.float64)

    @property
    def histograms(self) -> NDArray[np.float64]:
        """Class counts of all clients, shape [N, classes]."""
        return self.arrays["histogram"].astype(np.float64)

    def transfer(self, ids: torch.Tensor | None = None) -> torch.Tensor:
        """Return all versions of the transfer samples, x float32 [V U, *shape], or some of them.

        Those at positions 0..U-1 are the originals, in this order, then come their first views.
        """
        size = self.transfer_size
        ids = torch.arange(self.versions * size) if ids is None else ids
        x = self._originals((ids % size).numpy())
        if self.views is not None:
            viewed = torch.nonzero(ids >= size).flatten()
            x[viewed] = self.views.of(x[viewed], ids[viewed])
        return x

    def _originals(self, places: NDArray[np.int64]) -> torch.Tensor:
        rows, partner = self.arrays["transfer"], self.arrays.get("partner")
        x = self.transfer_corpus.tensor("train", rows[places])[0]
        if partner is not None:
            mixed = np.flatnonzero(partner[places] != places)
            part = torch.tensor(self.arrays["part"][places[mixed]]).view(-1, *[1] * (x.ndim - 1))
            other = self.transfer_corpus.tensor("train", rows[partner[places[mixed]]])[0]
            x[mixed] = part * x[mixed] + (1 - part) * other
        return x

    @property
    def transfer_labelled(self) -> bool:
        """Whether each transfer sample has a label: none is mixed of two."""
        return self.transfer_corpus.labelled and "partner" not in self.arrays

    def transfer_labels(self) -> torch.Tensor:
        """Return their labels, int64 [V U]; only methods with ``transfer.labelled`` may look.

        Numbers are standardised as those of the clients are; next tokens are [U, length]. A view
        has its sample's label.

        Raises
        ------
        ConfigError
            If they have none.
        """
        if not self.transfer_labelled:
            mixed = "or its samples are mixed of two, which have none"
            raise ConfigError("transfer.data", self.transfer_corpus.name, f"has no labels, {mixed}")
        labels = self.transfer_corpus.y_train[self.arrays["transfer"]]
        tokens = np.int64 if self.targets.tokens else None
        found = self.corpus.standardised(torch.tensor(np.asarray(labels, dtype=tokens)))
        return torch.cat([found] * self.versions)

    def test(self, samples: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the official test split, or a class-balanced subset that is always the same.

        Parameters
        ----------
        samples : int, optional
            Size of the subset; None or more than there are = the whole split.

        Returns
        -------
        x : float32 tensor, shape [n, *shape]
        y : int64 tensor, shape [n]
        """
        return self.corpus.tensor("test", self._tested(samples))

    def test_groups(self, samples: int | None = None) -> NDArray[np.int64]:
        """Return the classes of what `test` returns, or the bins of their targets, shape [n]."""
        rows, groups = self._tested(samples), self.corpus.groups_test
        return np.array(groups if rows is None else groups[rows])

    def _tested(self, samples: int | None) -> NDArray[np.int64] | None:
        return None if samples is None else balanced(self.corpus.groups_test, samples, _TEST_SEED)

    def test_counts(self) -> NDArray[np.float64]:
        """Return the class (or bin) counts of the whole test split, shape [classes]."""
        return np.bincount(self.corpus.groups_test, minlength=self.classes).astype(np.float64)
