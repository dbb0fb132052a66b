"""``fedkd data``: who holds which samples."""

from pathlib import Path
from typing import Annotated

import typer

from ..group import Overrides
from ..terminal import terminal

EXAMPLES = (
    "fedkd data data.alpha=0.1 clients=20",
    "fedkd data data=mnist data.partitioner=shard --out shards.png",
)


def command(
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="The picture: .png, .svg or .pdf.")] = Path(
        "partition.png"
    ),
) -> None:
    """Show how a data set is dealt to the clients, as a table and as a picture.

    Of numbers it shows each client's histogram, of texts their lengths and typical words.
    KEY=VALUE as for `fedkd run`; clients, seed, task, data.* and transfer.* matter here.
    """
    from ..showing import show_data

    show_data(overrides or [], out, terminal())
