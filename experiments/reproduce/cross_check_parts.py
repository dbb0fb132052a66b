"""The network of the cross-check, and the arrays that other code needs to begin as fedkd does.

``python -m fedkd.experiments.reproduce.cross_check_parts --to FOLDER --seed 0`` writes what a run
of that seed has: each client's samples, the test split class by class, and the first weights.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from ...config import RunConfig
from ...data import Federation, build_federation, corpora
from ...models.flat import flatten
from ...models.mlp import MLP
from ...models.shapes import Shape
from ...rng import scoped
from .kept import plainly

MENTEE = 1000
"""Where the model that all clients share starts, of methods that have one beside the clients' own:
it is named without parameters, and so the same for all seeds."""

HIDDEN = 200


class Net(MLP):
    """An MLP whose first weights are drawn from a seed of its own: all clients start alike.

    Parameters
    ----------
    shape, classes
        See `MLP`.
    start : int
        The seed, at least 0.

    Examples
    --------
    >>> import torch
    >>> one, same, other = (Net((4,), 3, start=start)[1].weight for start in (0, 0, 1))
    >>> torch.equal(one, same), torch.equal(one, other)
    (True, False)
    """

    def __init__(self, shape: Shape, classes: int, *, start: int = MENTEE) -> None:
        with scoped(start):
            super().__init__(shape, classes, hidden=HIDDEN)


def dealt(config: RunConfig) -> Federation:
    """Return who holds what in a run, as it deals it."""
    with TemporaryDirectory() as folder:
        found = build_federation(config, *corpora(config), folder)
        _ = found.arrays  # read while there is a file
    return found


def exported(config: RunConfig) -> dict[str, NDArray[np.generic]]:
    """Return a run's arrays by name: ``x_0``, ``y_0``, ..., ``x_test``, ``y_test``, weights."""
    federation, found = dealt(config), {}
    for client in range(federation.clients):
        x, y = federation.client(client)
        found |= {f"x_{client}": x.numpy(), f"y_{client}": y.numpy()}
    x, y = federation.corpus.tensor("test")
    shape, classes = federation.shape, federation.classes
    starts = {"start": config.seed, "start_mentee": MENTEE}
    first = {name: flatten(Net(shape, classes, start=one)) for name, one in starts.items()}
    weights = {name: vector.numpy() for name, vector in first.items()}
    return found | {"x_test": x.numpy(), "y_test": y.numpy()} | weights


@plainly
def command(
    *,
    to: Annotated[Path, typer.Option(help="The .npz file to write.")],
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Write a run's arrays."""
    from .cross_check import FULL, config

    cell = {"rounds": FULL, "method": "local", "seed": seed}
    np.savez(to, **exported(config(cell)))


if __name__ == "__main__":
    typer.run(command)
