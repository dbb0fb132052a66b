"""What other code needs to begin as a run of the cross-check does.

``python -m fedkd.experiments.reproduce.cross_check_export --to FILE.npz --seed 0`` writes each
client's samples, the test split, transfer samples and the first weights of a run of that seed.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from ...config import RunConfig
from ...data import Federation, build_federation, corpora
from ...models.flat import flatten
from .cross_check import FULL, METHODS, config
from .cross_check_parts import MENTEE, Net
from .kept import plainly


def dealt(config: RunConfig) -> Federation:
    """Return who holds what in a run, as it deals it."""
    with TemporaryDirectory() as folder:
        found: Federation = build_federation(config, *corpora(config), folder)
        _ = found.arrays  # read while there is a file
    return found


def exported(config: RunConfig) -> dict[str, NDArray[Any]]:
    """Return a run's arrays by name: ``x_0``, ``y_0``, ..., ``x_test``, ``y_test``, weights.

    Weights are all of a model's in a row, in the order of its layers: ``start`` of every client,
    and ``start_mentee`` of the model that FML's and FedKD's clients share.
    """
    federation = dealt(config)
    pairs = {str(client): federation.client(client) for client in range(federation.clients)}
    pairs["test"] = federation.corpus.tensor("test")
    found = {"x_transfer": federation.transfer()}
    for name, (x, y) in pairs.items():
        found |= {f"x_{name}": x, f"y_{name}": y}
    shape, classes = federation.shape, federation.classes
    for name, start in (("start", config.seed), ("start_mentee", MENTEE)):
        found[name] = flatten(Net(shape, classes, start=start))
    return {name: tensor.numpy() for name, tensor in found.items()}


@plainly
def command(
    *,
    to: Annotated[Path, typer.Option(help="The .npz file to write.")],
    seed: Annotated[int, typer.Option(min=0)] = 0,
    method: Annotated[str, typer.Option(help="Transfer samples are no client's.")] = METHODS[0],
) -> None:
    """Write a run's arrays."""
    arrays: dict[str, Any] = {**exported(config({"rounds": FULL, "method": method, "seed": seed}))}
    np.savez(to, **arrays)


if __name__ == "__main__":
    typer.run(command)
