"""A decoded data set: memory-mapped arrays on disk that every worker process opens at no cost."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import ArrayLike, NDArray

from ..tasks.samples import PAD, Shape, Tokens
from ..tasks.targets import Targets
from .targets import binned
from .text import FILE

PLACES = "places.parquet"
"""The file that says which rows are in the training split, where the test split was drawn."""


class Corpus:
    """A decoded data set.

    Attributes
    ----------
    path : Path
        Its directory; `Corpus.open` on another process maps the same pages.
    name : str
    x_train, x_test : ndarray, memory-mapped
        uint8 images ``[n, h, w]`` or ``[n, h, w, c]``, float32 features as given ``[n, ...]``, or
        token ids ``[n, length]``, uint16 or int32.
    y_train, y_test : ndarray of int64, memory-mapped
        Classes 0..C-1, ``[n]``; of numbers float32 ``[n]`` or ``[n, targets]``, as given; of
        windows of text the next tokens, ``[n, length]``, uint16 or int32.
    targets : Targets
        What they are.
    edges : list of float
        What parts the bins of numbers, by the first column; empty for classes.
    classes : int
        Groups of samples that clients may hold more or less of: classes, or bins of numbers.
    class_names : list of str
        Theirs.
    shape : tuple of int
        What a model receives, channels first: ``(1, 28, 28)``, ``(3, 32, 32)``, ``(features,)``;
        `fedkd.tasks.samples.Tokens` where it is a text.
    vocabulary : int or None
        Token ids that texts may have, padding among them; None for anything else.
    defaults : dict
        ``transfer_size``, and ``samples_per_client`` where the data set has one.
    features : list of str or None
        The columns that the features of a table are, in order.
    encoding : dict or None
        What each of them becomes, with the constants fitted on the training rows
        (`fedkd.data.codings.from_json`).
    note : str or None
        What was read in one line: rows, classes, which columns are used and how, which are not, and
        why. None where it need not be said.
    labelled : bool
        Whether there are labels; else they are -1, and there are no classes.
    as_asked : bool
        Whether label and text are the columns that were named for them, if any were, and there are
        labels; a transfer set may do without.
    client : str or None
        The column of `columns` that says whose a sample is (0..N-1), where data were given so.
    content : str
        A hash of the samples, labels and names of classes.
    mean, std : list of float or None
        Per channel over the training split, of pixels scaled to [0, 1]; None for features.
    """

    def __init__(self, path: Path) -> None:
        meta = json.loads((path / "meta.json").read_text())
        self.path = path
        self.name: str = meta["name"]
        self.class_names: list[str] = meta["class_names"]
        numeric = meta.get("targets")  # older ones have none
        about = ("names", "mean", "std")
        self.targets = (
            Targets(**{name: numeric[name] for name in about})
            if numeric
            else Targets(self.class_names, [], [])
        )
        self.edges: list[float] = numeric["edges"] if numeric else []
        self.vocabulary: int | None = meta.get("vocabulary")
        shape = tuple(meta["shape"])
        self.shape: Shape = Tokens(shape[0], self.vocabulary) if self.vocabulary else shape
        if meta.get("windows") and self.vocabulary:
            self.targets = Targets(["next token"], [], [], tokens=(shape[0], self.vocabulary))
        self.defaults: dict[str, int] = meta["defaults"]
        self.features: list[str] | None = meta["features"]
        self.encoding: dict[str, Any] | None = meta["encoding"]
        self.note: str | None = meta["note"]
        self.labelled: bool = meta.get("labelled", True)
        self.as_asked: bool = meta.get("as_asked", self.labelled)
        self.client: str | None = meta.get("client")
        self.content: str = meta["content"]
        self.mean: list[float] | None = meta["mean"]
        self.std: list[float] | None = meta["std"]
        self.x_train, self.y_train = _mapped(path, "x_train"), _mapped(path, "y_train")
        self.x_test, self.y_test = _mapped(path, "x_test"), _mapped(path, "y_test")

    @classmethod
    def open(cls, path: Path | str) -> "Corpus":
        """Open a directory that `prepare` made."""
        return cls(Path(path))

    @property
    def classes(self) -> int:
        """Number of classes, or of bins."""
        return len(self.class_names)

    @property
    def tokenizer(self) -> str | None:
        """The tokenizer of texts, as JSON."""
        return (self.path / FILE).read_text() if self.vocabulary else None

    @cached_property
    def groups_train(self) -> NDArray[np.int64]:
        """The class of each training sample, or the bin of its target, ``[n]``."""
        return self._groups(self.y_train)

    @cached_property
    def groups_test(self) -> NDArray[np.int64]:
        """Those of test samples."""
        return self._groups(self.y_test)

    def _groups(self, y: NDArray[Any]) -> NDArray[np.int64]:
        if self.targets.tokens:
            return np.zeros(len(y), np.int64)  # one group of all
        return binned(y, self.edges) if self.targets.numeric else np.asarray(y)

    @cached_property
    def public(self) -> NDArray[np.int64]:
        """Training samples that may be transfer samples, ``[n]``: of windows, those not padded."""
        every = np.arange(len(self.y_train))
        return every[self.y_train[:, -1] != PAD] if self.targets.tokens else every

    def labels(self, split: str) -> NDArray[Any]:
        """Return the labels of ``"train"`` or ``"test"``, ``[n, ...]``, memory-mapped."""
        return {"train": self.y_train, "test": self.y_test}[split]

    def tensor(
        self, split: str, indices: ArrayLike | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Gather samples as a model takes them.

        Parameters
        ----------
        split : {"train", "test"}
        indices : array of int, shape [n], optional
            Which samples, in this order; default all.

        Returns
        -------
        x : float32 tensor, shape [n, *shape]
            Images are scaled to [0, 1] and standardised per channel with `mean` and `std`; the
            token ids of texts are int64.
        y : int64 tensor, shape [n]
            Numbers are float32 ``[n]`` or ``[n, targets]``, standardised; next tokens int64
            ``[n, length]``.
        """
        stored = {"train": self.x_train, "test": self.x_test}[split]
        rows = slice(None) if indices is None else np.asarray(indices, dtype=np.int64)
        token = None if self.vocabulary is None else np.int64
        x = torch.from_numpy(np.array(stored[rows], dtype=token))
        tokens = np.int64 if self.targets.tokens else None
        y = torch.from_numpy(np.array(self.labels(split)[rows], dtype=tokens))
        if self.mean is not None:
            x = x.movedim(-1, 1) if x.ndim == 4 else x.unsqueeze(1)
        # torch's own memory is 64-byte aligned and numpy's is not: what BLAS adds up in which
        # order may depend on it.
        kind = torch.float32 if self.vocabulary is None else torch.int64
        out = torch.empty(x.shape, dtype=kind).copy_(x)
        if self.mean is not None:
            channel = (1, -1, 1, 1)
            mean, std = torch.tensor(self.mean), torch.tensor(self.std)
            out.div_(255).sub_(mean.view(channel)).div_(std.view(channel))
        return out, self.standardised(torch.empty_like(y).copy_(y))

    def standardised(self, y: torch.Tensor) -> torch.Tensor:
        """Return labels as models learn them: classes as they are, numbers standardised."""
        if not self.targets.numeric:
            return y
        mean, std = (torch.tensor(one) for one in (self.targets.mean, self.targets.std))
        return ((y.reshape(-1, len(mean)) - mean) / std).reshape(y.shape)

    @cached_property
    def places(self) -> NDArray[np.int64] | None:
        """Which of the rows as given the training split has; None = it was given as such."""
        file = self.path / PLACES
        return pq.read_table(file).column("row").to_numpy() if file.is_file() else None

    def columns(self, split: str) -> pa.Table:
        """Return the other scalar columns as given, one row a sample, for natural partitions."""
        return pq.read_table(self.path / f"columns_{split}.parquet")


def _mapped(path: Path, name: str) -> NDArray[Any]:
    mapped: NDArray[Any] = np.load(path / f"{name}.npy", mmap_mode="r")
    return mapped
