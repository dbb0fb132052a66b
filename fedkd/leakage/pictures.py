"""Samples as pictures, and sheets of them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..data.corpus import Corpus
from ..privacy.similarity import Picture
from .subject import Subject

GAP = 2
"""Pixels between pictures."""
TALL = 56
"""Pixels of a picture's height, at least."""


def needs_pictures(subject: Subject, attack: str) -> None:
    """Raise `ConfigError` unless the run's samples are pictures."""
    shape = subject.federation.shape
    if len(shape) != 3 or shape[0] not in (1, 3) or subject.federation.corpus.mean is None:
        raise subject.refuse(attack, f"its samples, of shape {tuple(shape)}, are no pictures")


def limits(corpus: Corpus) -> tuple[Tensor, Tensor]:
    """Return the values of black and white as a model sees them, ``[channels, 1, 1]`` each.

    White is the brightest pixel of the data set: that of scikit-learn's digits is 16 of 255.
    """
    mean, std = torch.tensor(corpus.mean), torch.tensor(corpus.std)
    black, white = -mean / std, (int(corpus.x_train.max()) / 255 - mean) / std
    return black.view(-1, 1, 1), white.view(-1, 1, 1)


def to_pixels(corpus: Corpus, x: Tensor) -> Tensor:
    """Return samples ``[n, channels, height, width]`` in [0, 1]."""
    black, white = limits(corpus)
    return ((x - black) / (white - black)).clamp(0, 1)


def to_picture(pixels: Tensor) -> Picture:
    """Return ``[channels, height, width]`` as ``[height, width, channels]``."""
    return np.asarray(pixels.detach().double().permute(1, 2, 0).numpy(), np.float64)


def class_means(subject: Subject) -> tuple[list[Picture], list[Picture]]:
    """Return the mean pictures of every class: the clients' and the transfer set's."""
    federation = subject.federation
    rows = np.concatenate([federation.indices(k) for k in range(subject.clients)])
    sets = [
        (federation.corpus, *federation.corpus.tensor("train", rows)),
        (federation.transfer_corpus, subject.transfer, federation.transfer_labels()),
    ]
    private, public = (
        means_of(to_pixels(corpus, x), y, federation.classes, torch.zeros(federation.shape))
        for corpus, x, y in sets
    )
    return [to_picture(one) for one in private], [to_picture(one) for one in public]


def means_of(x: Tensor, y: Tensor, classes: int, otherwise: Tensor) -> list[Tensor]:
    """Return the mean sample of each class, and of one without samples what is given."""
    known = [y == j for j in range(classes)]
    return [x[rows].mean(dim=0) if rows.any() else otherwise for rows in known]


def sheet(rows: Sequence[Sequence[Picture]]) -> np.ndarray:
    """Return pictures in rows as one, uint8, enlarged; all have one shape, rows one length."""
    high, wide, channels = rows[0][0].shape
    sheet = np.ones((len(rows) * (high + GAP) - GAP, len(rows[0]) * (wide + GAP) - GAP, channels))
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            top, left = i * (high + GAP), j * (wide + GAP)
            sheet[top : top + high, left : left + wide] = picture
    times = max(1, TALL // high)
    large = sheet.repeat(times, axis=0).repeat(times, axis=1)
    large = (255 * large.clip(0, 1)).round().astype(np.uint8)
    return large[..., 0] if channels == 1 else large
