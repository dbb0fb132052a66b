"""The page of the seed papers' claims, from the rows that were kept.

``python -m fedkd.experiments.reproduce.seed_claims_page`` writes ``docs/seed_claims.md`` from
``--rows`` and the rows of `knfu_phase`; it runs nothing.
"""

from pathlib import Path
from statistics import fmean

import typer

from ...report.markdown import table
from . import knfu_phase
from .cells import Row
from .knfu_phase_compared import Rows
from .knfu_phase_plan import HERE
from .pages import writing
from .paired import PLACES, apart, by_seed, listing, minus, spread, told
from .seed_claims import ALONE, ALPHAS, BASE, CLAIM, PARTS, ROWS, WAYS, Part, cells
from .tables import opening, undone

PAGE = Path("docs/seed_claims.md")

ALONE_IS = """
Noise is judged on all classes alone. Who learns nothing from the others ends as clients do that
stay alone (`local`), and under Dirichlet(0.1) that may be better for one's own mix than any mean:
higher local with lower global accuracy is a sign of learning less.
"""

TAIL = """
## How this was made

From [a row a run](rows/seed_claims.csv); `fedmd` and `local`, which stays alone, are in the rows of
[KnFu's phase diagram](knfu_phase.md). Differences are paired by seed, with half of Student's 95 %
interval; ± of an accuracy is the deviation over seeds. *Local* is on the client's own label
distribution, *global* on all classes. CPU seconds are those of whole runs on one core of a two-core
x86-64 machine, with other work beside it. The directions of KL, among all other objectives, in
other settings: [objectives](objectives_mnist.md). This goes on with what is missing and writes this
page anew:

<!-- not run: takes minutes, and MNIST -->
```sh
python -m fedkd.experiments.reproduce.seed_claims
python -m fedkd.experiments.reproduce.seed_claims_page
```
"""


class Ways:
    """Accuracies by what was changed.

    Parameters
    ----------
    rows, others : list of dict
        What was kept here, and of `knfu_phase`.
    """

    def __init__(self, rows: list[Row], others: list[Row]) -> None:
        self.rows, self.others = rows, Rows(others, "mnist")

    def values(self, way: str, place: str, alpha: float) -> dict[int, float]:
        """Return accuracies by seed, in per cent."""
        if way in (BASE, ALONE):
            return self.others.values(way, PLACES[place], HERE[0], alpha)
        return by_seed(self.rows, PLACES[place], way=way, alpha=alpha)

    def apart(self, one: str, other: str, place: str, alpha: float) -> list[float]:
        """Return by how many points one is above the other, seed by seed."""
        return minus(*(self.values(way, place, alpha) for way in (one, other)))

    def seconds(self, way: str, alpha: float) -> str:
        """Return the mean CPU seconds of a run, "-" for none."""
        if way in (BASE, ALONE):
            own = list(self.others.of(way, HERE[0], alpha).values())
        else:
            own = [row for row in self.rows if (row["way"], row["alpha"]) == (way, alpha)]
        return f"{fmean(row['cpu_seconds'] for row in own):.0f}" if own else "-"


def page(rows: list[Row], others: list[Row]) -> str:
    """Return the page; `others` are the rows of `knfu_phase`."""
    begun, ways = opening(CLAIM, rows, undone(cells(), rows)), Ways(rows, others)
    said = listing({part.what: verdict(ways, part) for part in PARTS})
    parts = [*begun, *said, ALONE_IS]
    return "\n".join([*parts, *(_table(ways, alpha) for alpha in ALPHAS), TAIL])


def verdict(ways: Ways, part: Part) -> tuple[str, str]:
    """Return the verdict on a part, and why."""
    pairs = [
        (f"alpha {alpha:g}, {place}", ways.apart(part.one, part.other, place, alpha))
        for alpha in ALPHAS
        for place in part.places
    ]
    return told(pairs, part.margin)


def _table(ways: Ways, alpha: float) -> str:
    minus_base = (f"{place} minus `{BASE}`'s" for place in PLACES)
    lines: list[tuple[str, ...]] = [("changed", *PLACES, *minus_base, "seeds", "CPU s a run")]
    for way in (ALONE, BASE, *WAYS):
        every = [ways.values(way, place, alpha) for place in PLACES]
        differences = [
            "-" if way == BASE else apart(ways.apart(way, BASE, place, alpha)) for place in PLACES
        ]
        numbers = [spread(list(one.values())) for one in every]
        name = f"`{way}`" if way in (ALONE, BASE) else way
        lines.append((name, *numbers, *differences, str(len(every[0])), ways.seconds(way, alpha)))
    return f"## alpha {alpha:g}\n\nAccuracy in %, and points of difference.\n\n" + table(lines)


command = writing(page, PAGE, ROWS, knfu_phase.ROWS)

if __name__ == "__main__":
    typer.run(command)
