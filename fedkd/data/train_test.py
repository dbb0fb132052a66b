"""A data set's two splits: drawn where there is one, and alike."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from .decode import Raw
from .sampling import proportional
from .targets import binned, described
from .windows import owned

_TEST_SHARE, _TEST_SEED = 0.2, 0  # of a data set without a test split


def match_classes(train: Raw, test: Raw) -> None:
    """Give a class one number in both splits, where names say which is which."""
    if not train.class_names or not test.class_names or train.class_names == test.class_names:
        return
    whole = list(dict.fromkeys([*train.class_names, *test.class_names]))
    for raw in (train, test):
        assert raw.class_names is not None  # just looked at
        raw.y = np.array([whole.index(name) for name in raw.class_names])[raw.y]
        raw.class_names = whole


def check_alike(train: Raw, test: Raw, name: str, key: str) -> None:
    """Refuse splits whose samples or labels are not of one kind."""
    if train.x.shape[1:] != test.x.shape[1:] or train.x.dtype != test.x.dtype:
        seen = [f"{raw.x.dtype} {raw.x.shape[1:]}" for raw in (train, test)]
        problem = f"train {seen[0]} and test {seen[1]} samples differ in shape or type"
        raise ConfigError(key, name, problem)
    if train.class_names != test.class_names:
        problem = "of the train and test splits one has names of classes or one-hot labels, and "
        raise ConfigError(key, name, f"{problem}the other has not; give one kind")
    if train.y.shape[1:] != test.y.shape[1:]:
        seen = [f"{list(raw.y.shape[1:]) or 1}" for raw in (train, test)]
        raise ConfigError(key, name, f"train has {seen[0]} and test {seen[1]} targets a sample")
    if _is_text(train.y) != _is_text(test.y):
        raise ConfigError(key, name, "labels are numbers in one split and text in the other")


def _is_text(y: NDArray[Any]) -> bool:
    return y.dtype.kind not in "iuf"


def divided(
    whole: Raw, client: str | None, owners: list[str]
) -> tuple[dict[str, Raw], NDArray[np.int64]]:
    """Draw a test split: of each class, and of each client where they are known, its share.

    Return the splits, and the rows that the training split has of the whole.
    """
    if not whole.labelled:  # nothing could be measured on it
        every = np.arange(len(whole))
        return {"train": whole, "test": whole.take(every[:0])}, every
    if whole.numeric:
        codes = binned(whole.y, described(whole.y, [])["edges"])
    else:
        _, codes = np.unique(whole.y, return_inverse=True)
        if set(owners) & set(whole.table.column_names):
            codes, client = owned(whole.table, owners, len(whole)), None
    if client is not None:
        codes = codes + (codes.max() + 1) * whole.table.column(client).to_numpy()
    test = proportional(codes, round(len(codes) * _TEST_SHARE), _TEST_SEED)
    rest = np.setdiff1d(np.arange(len(codes)), test)
    return {"train": whole.take(rest), "test": whole.take(test)}, rest
