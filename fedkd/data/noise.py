"""A transfer set of noise, to see whether knowledge needs real samples to travel.

Every number is drawn within the range ``[low, high]`` that the clients' training samples have: that
of the pixels, or of each column::

    clusters   x = mu_c + s (high - low) N(0, 1),   mu_c ~ U(low, high), as many samples a class, or
               bin of a regression's target
    gaussian   x = (low + high) / 2 + s (high - low) N(0, 1)
    uniform    x ~ U(low, high)

and cut to it; s is ``transfer.spread``. Yao et al., "Noise May Contain Transferable Knowledge:
Understanding Semi-supervised Heterogeneous Domain Adaptation from an Empirical Perspective", 2025,
arXiv 2502.13573, find that sources of class-wise noise transfer as real ones do if they can be told
apart and aligned. Confidence: the finding is certain, of features and with a few labels in the
target; the generators here are our own. No cluster knows what its class looks like, so noise has no
labels.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import RunConfig
from ..errors import ConfigError
from ..rng import SERVER, stream
from .cache import cache_root, intact, publish, scratch_folder, seal
from .corpus import Corpus
from .fingerprint import of_json

_LAYOUT = 2  # raise when the files below change


def noise(corpus: Corpus, config: RunConfig) -> Corpus:
    """Return ``transfer.size`` samples of noise as a data set, made unless that was done before.

    Parameters
    ----------
    corpus : Corpus
        The clients' data, of which it has shape, range, columns and scaling.
    config : RunConfig
        ``transfer.size``, ``transfer.noise``, ``transfer.spread`` and ``seed`` are read.

    Raises
    ------
    ConfigError
        If samples are texts.
    """
    if corpus.vocabulary is not None:
        problem = f"the samples of {corpus.name} are texts, and noise has no words"
        raise ConfigError("transfer.data", "noise", f"{problem}; give a data set")
    size = config.transfer.size or corpus.defaults["transfer_size"]
    kind, spread = config.transfer.noise, float(config.transfer.spread)
    seed = stream(config.seed, SERVER, 0, "noise")
    root = cache_root()
    one = "bin of the target" if corpus.edges else "class"
    about = of_json([corpus.content, size, kind, spread, seed])
    target = root / f"noise-{about[:16]}-{_LAYOUT}"
    if not intact(target):
        groups = corpus.classes if kind == "clusters" else 1
        x = drawn(kind, spread, groups, size, _range(corpus.x_train), seed)
        if corpus.x_train.dtype == np.uint8:
            x = x.round()
        with scratch_folder(root) as scratch:
            staged = scratch / "corpus"
            staged.mkdir()
            _write(staged, x.astype(corpus.x_train.dtype), corpus, _told(kind, spread, groups, one))
            publish(staged, target)
    return Corpus.open(target)


def drawn(
    kind: str,
    spread: float,
    groups: int,
    size: int,
    limits: tuple[NDArray[Any], NDArray[Any]],
    seed: int,
) -> NDArray[np.float64]:
    """Return noise ``[size, *shape]`` within its limits, lowest and highest, each ``[*shape]``.

    Sample i belongs to cluster ``i % groups``.

    Examples
    --------
    >>> limits = np.zeros(2), np.array([1.0, 10.0])
    >>> x = drawn("clusters", 0.0, groups=3, size=6, limits=limits, seed=0)
    >>> bool((x[:3] == x[3:]).all()), len(np.unique(x, axis=0))
    (True, 3)
    """
    (low, high), rng = limits, np.random.default_rng(seed)
    if kind == "uniform":
        return rng.uniform(low, high, (size, *low.shape))
    middle = rng.uniform(low, high, (groups, *low.shape)) if groups > 1 else (low + high)[None] / 2
    x = rng.normal(size=(size, *low.shape)) * spread * (high - low)
    x += middle[np.arange(size) % groups]
    return x.clip(low, high)


def _range(x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the lowest and highest numbers: of each place, of pictures the same everywhere."""
    if x.dtype == np.uint8:
        return np.zeros(x.shape[1:]), np.full(x.shape[1:], float(x.max()))
    return x.min(axis=0).astype(np.float64), x.max(axis=0).astype(np.float64)


def _told(kind: str, spread: float, groups: int, one: str) -> str:
    if kind == "uniform":
        return "uniform in the range of the training samples"
    about = f"{groups} clusters, one a {one}," if kind == "clusters" else "one cluster"
    return f"{about} in the range of the training samples, spread {spread:g} of it"


def _write(path: Path, x: NDArray[Any], corpus: Corpus, note: str) -> None:
    for split, part in (("train", x), ("test", x[:0])):
        np.save(path / f"x_{split}.npy", part)
        np.save(path / f"y_{split}.npy", np.full(len(part), -1))
    meta = {
        "name": "noise",
        "class_names": [],
        "shape": corpus.shape,
        "defaults": {"transfer_size": len(x)},
        "mean": corpus.mean,
        "std": corpus.std,
        "features": corpus.features,
        "encoding": corpus.encoding,
        "note": note,
        "labelled": False,
    }
    seal(path, meta)
