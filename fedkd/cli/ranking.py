"""What ``fedkd list models --compatibility`` shows: pairs of models, ranked before any training."""

import math

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..config.overrides import compose
from ..errors import ConfigError
from ..run.compatibility import SAMPLES, compatibility


def show_compatibility(
    what: str | None, name: str | None, wanted: bool, data: str | None, console: Console
) -> None:
    """Print how alike untrained models see transfer samples, the most alike first.

    Raises
    ------
    ConfigError
        If it is not models that are to be listed, or they cannot be compared.
    """
    if what is None:
        option, value = ("--compatibility", True) if wanted else ("--data", data)
        raise ConfigError(option, value, "is for models; say: list models --compatibility")
    if what != "models":
        raise ConfigError("list", what, "--compatibility and --data are for models", ["models"])
    if not wanted:
        raise ConfigError("--data", data, "goes with --compatibility; add it")
    config = compose([] if data is None else [f"data={data}"])
    pairs, left = compatibility(config, [], name)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("model", "beside", "relation", "semantic", "both"):
        table.add_column(title, justify="left" if title in ("model", "beside") else "right")
    for pair in pairs:
        numbers = (pair.relation, pair.semantic, pair.score)
        table.add_row(escape(pair.one), escape(pair.other), *map(_shown, numbers))
    console.print(table)
    told = f"untrained models on at most {SAMPLES} transfer samples of {config.data.name}, seed "
    console.print(f"\n{told}{config.seed}; nearer to 0 is more alike", style="dim")
    if any(math.isnan(pair.semantic) for pair in pairs):
        why = "-: the semantic term needs labels, and heads of one width; ranked by relation"
        console.print(why, style="dim")
    for reason in dict.fromkeys(left.values()):
        names = ", ".join(model for model, why in left.items() if why == reason)
        console.print(f"left out: {escape(names)}: {escape(reason)}", style="dim")


def _shown(number: float) -> str:
    return "-" if math.isnan(number) else f"{number:.6f}"
