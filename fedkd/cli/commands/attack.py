"""``fedkd attack``: what uploads tell of private data."""

from typing import Annotated

import typer

from ..terminal import terminal

EXAMPLES = (
    "fedkd run strategy=fedmd data.samples_per_client=20 record.knowledge=true run_dir=runs/a",
    "fedkd attack runs/a --attack membership shadows=16",
    "fedkd attack runs/*-sweep --attack label_distribution",
    "fedkd attack runs/a --attack ./mine.py:Mine strength=2",
)


def command(
    given: Annotated[list[str], typer.Argument(metavar="RUN_DIR... KEY=VALUE...")],
    name: Annotated[
        str, typer.Option("--attack", metavar="NAME", help="`fedkd list privacy_attacks` has them.")
    ],
) -> None:
    """Attack recorded runs: what do the uploads tell a curious server of the clients' data.

    RUN_DIR is a run made with record.knowledge=true, or a folder of them such as that of a sweep;
    KEY=VALUE are parameters of the attack; trust=true executes code that a run directory of
    somebody else names. Runs that differ only in their seed are averaged.
    Writes RUN_DIR/attacks/NAME.json and the run's report.
    """
    from ...leakage.command import attack_runs

    attack_runs(given, name, terminal())
