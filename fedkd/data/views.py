"""Augmented views of the transfer samples, of which rounds use the hardest: ``transfer.hard``.

Of U transfer samples there are V = ``transfer.views`` views each, all drawn from the run's seed
before anybody labels one. Samples 0..U-1 are the originals, v U + u is the v-th view of sample u.
With s = ``transfer.strength``, numbers in units of what the models receive::

    pictures   turned by U(-s, s) pi, moved by U(-s, s) of either side, enlarged by 1 + U(0, s),
               with `transfer.flip` mirrored by chance, plus s N(0, 1); edges are continued
    tables     x + s sigma N(0, 1), sigma the column's deviation; columns of two values stay
    texts      each token is dropped with probability s, unless none would be left

A view has its sample's label; that it still looks like it is what a small s is for, and why
pictures are not mirrored unless that is asked for. Which view a round uses is voted upon in
`fedkd.rounds.hardest`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..config import RunConfig
from ..errors import ConfigError
from ..rng import SERVER, stream
from ..tasks.samples import PAD
from .corpus import Corpus

Draws = list[np.random.Generator]


@dataclass(frozen=True)
class Views:
    """How the views of a transfer set are made.

    Attributes
    ----------
    count : int
        Views of each sample beside the original, at least 1.
    seed : int
        Of their stream; each view has a part of its own, whichever others are made with it.
    strength : float
        s, in (0, 1].
    flip : bool
        Whether pictures are mirrored by chance.
    scale : ndarray
        Deviation of the noise at s = 1, ``[*shape]`` or a scalar; empty of texts.
    kind : str
        ``"pictures"``, ``"tables"`` or ``"texts"``.

    Examples
    --------
    >>> views = Views(2, 0, 0.1, False, np.ones(3, np.float32), "tables")
    >>> x = views.of(torch.zeros(2, 3), torch.tensor([4, 5]))
    >>> x.shape, bool((views.of(torch.zeros(1, 3), torch.tensor([5])) == x[1]).all())
    (torch.Size([2, 3]), True)
    """

    count: int
    seed: int
    strength: float
    flip: bool
    scale: NDArray[np.float32]
    kind: str

    def packed(self) -> dict[str, NDArray[Any]]:
        """Return them as arrays, for `unpacked`."""
        return {f"views_{name}": np.array(value) for name, value in vars(self).items()}

    @classmethod
    def unpacked(cls, arrays: Mapping[str, NDArray[Any]]) -> Self | None:
        """Return what `packed` returned, among other arrays; None if it is not there."""
        if "views_count" not in arrays:
            return None
        found = {name: arrays[f"views_{name}"] for name in cls.__dataclass_fields__}
        plain = {name: value.item() for name, value in found.items() if name != "scale"}
        return cls(**plain, scale=found["scale"])

    def of(self, x: Tensor, numbers: Tensor) -> Tensor:
        """Return views ``[n, *shape]`` of originals ``[n, *shape]``; which, their numbers say."""
        words = [[0, int(number), 0, 0] for number in numbers]
        draws = [np.random.Generator(np.random.Philox(self.seed, counter=w)) for w in words]
        return _MAKERS[self.kind](self, x, draws) if draws else x


def _pictures(views: Views, x: Tensor, draws: Draws) -> Tensor:
    (height, width), strength = x.shape[-2:], views.strength
    drawn = torch.tensor(np.stack([one.uniform(-1, 1, 5) for one in draws]))
    angle, right, down, larger, mirrored = drawn.unbind(dim=1)
    turn, zoom = strength * torch.pi * angle, 1 / (1 + strength * larger.abs())
    cos, sin, sign = zoom * turn.cos(), zoom * turn.sin(), 1.0 - 2.0 * (views.flip & (mirrored < 0))
    # In the grid's coordinates either side is 2 long, whatever its pixels.
    rows = [sign * cos, -sin * height / width, 2 * strength * right]
    rows += [sign * sin * width / height, cos, 2 * strength * down]
    theta = torch.stack(rows, dim=1).view(-1, 2, 3).float()
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    moved = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    return _noisy(views, moved, draws)


def _noisy(views: Views, x: Tensor, draws: Draws) -> Tensor:
    noise = np.stack([one.standard_normal(x.shape[1:], np.float32) for one in draws])
    return x + torch.from_numpy(views.strength * views.scale * noise)


def _texts(views: Views, x: Tensor, draws: Draws) -> Tensor:
    chances = torch.tensor(np.stack([one.random(x.shape[1]) for one in draws]))
    words = x != PAD
    left = words & (chances >= views.strength)
    left = torch.where(left.any(dim=1, keepdim=True), left, words)
    order = (~left).to(torch.uint8).sort(dim=1, stable=True).indices
    return torch.where(left, x, PAD).gather(1, order)


_MAKERS: dict[str, Callable[[Views, Tensor, Draws], Tensor]] = {
    "pictures": _pictures,
    "tables": _noisy,
    "texts": _texts,
}


def views_of(config: RunConfig, source: Corpus) -> Views | None:
    """Return the views that a run has; None without ``transfer.hard``.

    Raises
    ------
    ConfigError
        If samples of `source` have none that would mean the same.
    """
    transfer = config.transfer
    if not transfer.hard:
        return None
    kind = "pictures" if len(source.shape) == 3 else "tables"
    kind = "texts" if source.vocabulary is not None else kind
    if transfer.flip and kind != "pictures":
        why = f"mirrors pictures, and the samples of {source.name} are {kind}; leave it out"
        raise ConfigError("transfer.flip", True, why)
    scale, problem = _scale(source, kind), None
    if source.targets.tokens:
        problem = "of a text without some of its words the next tokens are others"
    elif kind != "texts" and not scale.any():
        problem = f"no column of {source.name} has more than two values, so noise is no view of it"
    if problem is not None:
        raise ConfigError("transfer.hard", True, f"{problem}; set it to false")
    seed = stream(config.seed, SERVER, 0, "views")
    return Views(transfer.views, seed, float(transfer.strength), transfer.flip, scale, kind)


def _scale(source: Corpus, kind: str) -> NDArray[np.float32]:
    """Return the deviations of what models receive: of pixels as one, of a table's by column."""
    if kind == "texts":
        return np.zeros(0, np.float32)
    if source.mean is not None:
        return np.ones((), np.float32)  # they are standardised
    x = source.x_train
    if kind == "pictures":
        return np.asarray(np.std(x, dtype=np.float64), np.float32)
    varied = ((x != x.min(axis=0)) & (x != x.max(axis=0))).any(axis=0)
    return (np.std(x, axis=0, dtype=np.float64) * varied).astype(np.float32)
