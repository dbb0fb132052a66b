"""The page of two claims of gain, from the rows that were kept.

``python -m fedkd.experiments.reproduce.collaboration_gains_page`` writes
``docs/collaboration_gains.md`` from ``--rows`` and the rows of `knfu_phase`; it runs nothing.
"""

from pathlib import Path
from typing import Annotated

import typer

from ...strategies.catalogue import table
from . import knfu_phase
from .cells import Row, missing, saved
from .claims import head
from .collaboration_gains import ALPHAS, CLAIM, METHODS, ROWS, cells
from .knfu_phase_compared import PLACES, Rows, apart, spread
from .knfu_phase_plan import ALONE, SIZES
from .knfu_phase_plan import ALPHAS as SKEWS
from .knfu_phase_verdict import told
from .manifest import said

PAGE = Path("docs/collaboration_gains.md")

ASKED = {"global": "on all classes", "local": "on their own mixes (which was not claimed)"}

TAIL = """
## How this was made

From [a row a run](rows/collaboration_gains.csv) for FedDF and FedAvg; FedMD and staying alone are
in the rows of [KnFu's phase diagram](knfu_phase.md). Differences are paired by seed, with half of
Student's 95 % interval; ± of an accuracy is the deviation over seeds. CPU seconds are those of
whole runs on one core of a two-core x86-64 machine, with other work beside it. This goes on with
what is missing and writes this page anew:

<!-- not run: takes minutes, and MNIST -->
```sh
python -m fedkd.experiments.reproduce.collaboration_gains
python -m fedkd.experiments.reproduce.collaboration_gains_page
```
"""


def page(rows: list[Row], others: list[Row]) -> str:
    """Return the page; `others` are the rows of `knfu_phase`."""
    fedmd, left = Rows(others, "mnist"), len(missing(cells(), rows))
    todo = f"**Not done yet:** {left} of {len(cells())} runs are missing.\n" if left else ""
    frozen = f"{said(CLAIM.name, rows)}\n"
    parts = [head(CLAIM), "## Verdict\n", todo, frozen, *_verdicts(rows, fedmd), ""]
    return "\n".join([*parts, _server(rows), _clients(fedmd), TAIL])


def values(rows: list[Row], method: str, alpha: float, column: str) -> dict[int, float]:
    """Return a number by seed, in per cent."""
    own = [row for row in rows if (row["method"], row["alpha"]) == (method, alpha)]
    return {row["seed"]: 100 * row[column] for row in sorted(own, key=lambda row: row["seed"])}


def gains(rows: list[Row], alpha: float) -> list[float]:
    """Return by how many points FedDF is above FedAvg on the whole test split, seed by seed."""
    base, own = (values(rows, method, alpha, "overall") for method in METHODS)
    return [own[seed] - base[seed] for seed in own if seed in base]


def _verdicts(rows: list[Row], fedmd: Rows) -> list[str]:
    server = [(f"alpha {alpha:g}", gains(rows, alpha)) for alpha in ALPHAS]
    parts = {"FedDF's model is better than FedAvg's": told(server)}
    for place, column in PLACES.items():
        pairs = [
            (f"{n} samples, alpha {a:g}", fedmd.paired("fedmd", ALONE, column, n, a))
            for n in SIZES
            for a in SKEWS
        ]
        parts[f"FedMD's clients are better than alone, {ASKED[place]}"] = told(pairs)
    return [f"- {what}: **{word}** ({why})." for what, (word, why) in parts.items()]


def _server(rows: list[Row]) -> str:
    lines: list[tuple[str, ...]] = [("alpha", *METHODS, "difference", "seeds", "CPU s a run")]
    for alpha in ALPHAS:
        both = [list(values(rows, method, alpha, "overall").values()) for method in METHODS]
        took = [row["cpu_seconds"] for row in rows if row["alpha"] == alpha]
        mean = f"{sum(took) / len(took):.0f}" if took else "-"
        found = gains(rows, alpha)
        lines.append((f"{alpha:g}", *map(spread, both), apart(found), str(len(found)), mean))
    return "## FedDF and FedAvg\n\nAccuracy on the whole test split, %.\n\n" + table(lines)


def _clients(rows: Rows) -> str:
    lines: list[tuple[str, ...]] = [("samples", *(f"alpha {alpha:g}" for alpha in SKEWS))]
    for n in SIZES:
        here = [(n, alpha) for alpha in SKEWS]
        local, overall = (
            [apart(rows.paired("fedmd", ALONE, column, *cell)) for cell in here]
            for column in PLACES.values()
        )
        lines.append((str(n), *map(" / ".join, zip(local, overall, strict=True))))
    return "## FedMD and staying alone\n\nPoints gained, local / global.\n\n" + table(lines)


def command(
    *,
    rows: Annotated[Path, typer.Option(exists=True, help="What was run.")] = ROWS,
    others: Annotated[Path, typer.Option(help="Rows of knfu_phase.")] = knfu_phase.ROWS,
    out: Annotated[Path, typer.Option(help="The page.")] = PAGE,
) -> None:
    """Write the page."""
    out.write_text(page(saved(rows), saved(others)))


if __name__ == "__main__":
    typer.run(command)
