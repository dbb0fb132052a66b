"""The page of two claims of gain, from the rows that were kept.

``python -m fedkd.experiments.reproduce.collaboration_gains_page`` writes
``docs/collaboration_gains.md`` from ``--rows`` and the rows of `knfu_phase`; it runs nothing.
"""

from pathlib import Path

import typer

from ...report.markdown import table
from . import knfu_phase
from .cells import Row
from .collaboration_gains import ALPHAS, CHANGES, CLAIM, METHODS, ROWS, USUAL, cells
from .knfu_phase_compared import Rows
from .knfu_phase_plan import ALONE, SIZES
from .knfu_phase_plan import ALPHAS as SKEWS
from .pages import writing
from .paired import PLACES, above, apart, by_seed, listing, minus, spread, told
from .tables import opening, undone

PAGE = Path("docs/collaboration_gains.md")

ASKED = {"global": "on all classes", "local": "on their own mixes (which was not claimed)"}

SCAN = """Are its steps at fault, its temperature, or the transfer set? Points above FedAvg, which
starts from the same model and sees samples in the same order: FedDF without epochs *is* FedAvg.
With 5,000 transfer samples, clients have other private ones than FedAvg's. {answer}"""

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
    fedmd = Rows(others, "mnist")
    parts = [*opening(CLAIM, rows, undone(cells(), rows)), *_verdicts(rows, fedmd), ""]
    return "\n".join([*parts, _server(rows), _clients(fedmd), TAIL])


def gains(rows: list[Row], alpha: float, change: str = USUAL) -> list[float]:
    """Return by how many points FedDF is above FedAvg on the whole test split, seed by seed."""
    base = by_seed(rows, "overall", method="fedavg", alpha=alpha)
    return minus(by_seed(rows, "overall", method="feddf", change=change, alpha=alpha), base)


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
    return listing(parts)


def _server(rows: list[Row]) -> str:
    lines: list[tuple[str, ...]] = [("alpha", *METHODS, "difference", "seeds", "CPU s a run")]
    for alpha in ALPHAS:
        both = [
            list(by_seed(rows, "overall", method=name, change=USUAL, alpha=alpha).values())
            for name in METHODS
        ]
        took = [row["cpu_seconds"] for row in rows if row["alpha"] == alpha]
        mean = f"{sum(took) / len(took):.0f}" if took else "-"
        found = gains(rows, alpha)
        lines.append((f"{alpha:g}", *map(spread, both), apart(found), str(len(found)), mean))
    scan: list[tuple[str, ...]] = [("FedDF, but", *(f"alpha {alpha:g}" for alpha in ALPHAS))]
    better = False
    for change in (USUAL, *CHANGES):
        every = [gains(rows, alpha, change) for alpha in ALPHAS]
        better |= any(map(above, every))
        scan.append(("as it comes" if change == USUAL else f"`{change}`", *map(apart, every)))
    answer = "Some of them make it better." if better else "None makes it better."
    head = "## FedDF and FedAvg\n\nAccuracy on the whole test split, %.\n\n"
    return f"{head}{table(lines)}\n{SCAN.format(answer=answer)}\n\n{table(scan)}"


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


command = writing(page, PAGE, ROWS, knfu_phase.ROWS)

if __name__ == "__main__":
    typer.run(command)
