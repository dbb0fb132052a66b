"""Presets whose samples are no pictures: texts, tables, numbers and next tokens, several methods.

``python -m fedkd.experiments.reproduce.presets`` runs each preset with clients that stay alone,
FedMD, KnFu and FedAvg, all clients with one architecture and then with several, for several seeds.
Every finished run is a row of ``--rows FILE``. Called again, it runs only what is missing there.

FedAvg averages weights, so it has one architecture. Where knowledge is logits by default (FedMD)
and a preset sends the largest numbers of each row only, soft labels are exchanged: of 512 logits
cut to 32, nearly all would be one number, which clients then learn.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ...errors import ConfigError
from .cells import Row, fill, missing, tried
from .kept import plainly

ROWS = Path("docs/rows/presets.csv")

ALIKE, MIXED = "alike", "mixed"
METHODS = ("local", "fedmd", "knfu", "fedavg")
ONE_ARCHITECTURE = ("fedavg",)


@dataclass(frozen=True)
class Study:
    """What is run of a preset.

    Parameters
    ----------
    preset : str
        Name of the preset.
    models : mapping
        The clients' models, all alike and mixed.
    differs : tuple of str
        Overrides of the preset, for all methods.
    given : mapping
        Overrides for a method that is not run as the preset has it.
    """

    preset: str
    models: Mapping[str, str]
    differs: tuple[str, ...] = ()
    given: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


TEXTS = {
    ALIKE: "embedding_bag",
    MIXED: "[embedding_bag,{name:textcnn,filters:32},{name:gru,hidden:32}]",
}
TABLES = {ALIKE: "{name:mlp,hidden:128}", MIXED: "[{name:mlp,hidden:128},{name:mlp,hidden:32}]"}
BOOKS = {
    ALIKE: "{name:gru,hidden:64}",
    MIXED: "[{name:gru,hidden:64},{name:transformer,dim:64,layers:1}]",
}
PROBABILITIES = {
    "fedmd": ("strategy={name:fedmd,exchange:soft_labels}",),
    "fedavg": ("strategy=fedavg", "compress=none"),
}
STUDIES = {
    "topics, alpha 0.1": Study("topics", TEXTS, ("data.alpha=0.1",)),
    "topics, alpha 1": Study("topics", TEXTS, ("data.alpha=1",)),
    "letter": Study("letter", TABLES),
    "diamonds": Study("diamonds", TABLES),
    "novels": Study("novels", BOOKS, given=PROBABILITIES),
}


def chosen(only: str) -> list[str]:
    """Return the studies that a list with semicolons names; all for nothing.

    Raises
    ------
    ConfigError
        If a name is none.
    """
    wanted = [name.strip() for name in only.split(";")] if only else list(STUDIES)
    for name in wanted:
        if name not in STUDIES:
            raise ConfigError("--only", name, "no such study", STUDIES)
    return wanted


def cells(seeds: int, studies: list[str]) -> list[Row]:
    """Return what identifies each run, seeds outermost so that rows are balanced always.

    Examples
    --------
    >>> len(cells(3, ["letter"]))
    21
    """
    return [
        {"study": study, "models": models, "method": method, "seed": seed}
        for seed in range(seeds)
        for study in studies
        for models in (ALIKE, MIXED)
        for method in METHODS
        if not (models == MIXED and method in ONE_ARCHITECTURE)
    ]


def overrides(cell: Row) -> list[str]:
    """Return what a cell is run with.

    Examples
    --------
    >>> overrides({"study": "letter", "models": "alike", "method": "knfu", "seed": 2})
    ['experiment=letter', 'strategy=knfu', 'model={name:mlp,hidden:128}', 'seed=2']
    """
    study, method = STUDIES[cell["study"]], cell["method"]
    return [
        f"experiment={study.preset}",
        *study.differs,
        *study.given.get(method, (f"strategy={method}",)),
        f"model={study.models[cell['models']]}",
        f"seed={cell['seed']}",
    ]


def measured(cell: Row) -> Row | None:
    """Run one; say so if it is refused or fails, and leave it."""
    if (found := tried([*overrides(cell), "device=cpu"])) is None:
        return None
    summary, seconds = found
    return {
        "metric": summary["metric"],
        "local": round(summary["score_local"]["last"], 6),
        "overall": round(summary["score_global"]["last"], 6),
        "bytes_up": summary["bytes_up"],
        "cpu_seconds": round(seconds, 2),
        "digest": summary["digest"][:16],
    }


@plainly
def command(
    *,
    rows: Annotated[Path, typer.Option(help="CSV file, a row a run.")] = ROWS,
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    only: Annotated[str, typer.Option(help="Studies, with semicolons.")] = "",
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 1,
) -> None:
    """Run what is missing; keep every finished run."""
    console = Console(highlight=False)
    wanted = cells(seeds, chosen(only))
    for kept in fill(rows, wanted, measured, jobs):
        last, left = kept[-1], len(missing(wanted, kept))
        name = f"{last['study']}, {last['method']}, {last['models']}"
        numbers = f"{last['local']:.4g}  {last['overall']:.4g}  {last['cpu_seconds']:.1f} s"
        console.print(f"{left:4} left  seed {last['seed']}  {name:36} {numbers}", soft_wrap=True)


if __name__ == "__main__":
    typer.run(command)
