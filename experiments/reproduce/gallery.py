"""The gallery of claims: what was claimed, what a rerun says of it, and what that took.

``python -m fedkd.experiments.reproduce.gallery`` writes ``docs/claims.md`` from the pages in
``docs`` that begin as `claims.head` has it, and from the rows that they name: a claim's page is all
there is to adding it.
"""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ...report.markdown import table
from .cells import saved
from .claims import NOT, OPEN, ORDERING, REPRODUCED, UNTRIED
from .kept import plainly

DOCS, PAGE = Path("docs"), "claims.md"
WORDS = (REPRODUCED, ORDERING, NOT, OPEN, UNTRIED)
MACHINE = "one core of a two-core x86-64 machine, with other work beside it"

HEAD = f"""# Claims, and what reruns say of them

Each claim has a page with its source, the protocol and where ours differs, our numbers with their
spread, and a verdict on each part: **{REPRODUCED}** (inside the published spread), **{ORDERING}**
(who is better than whom: by the paired interval over seeds in more than half of the cells, and
worse in none), **{NOT}** (the contrary was found, with what we found out about why),
**{OPEN}** (the seeds do not tell; their intervals say how large an effect may be), **{UNTRIED}**.
That something is not reproduced is a result. CPU time is that of {MACHINE}.
"""

TAIL = """
All of them, in pieces that resume, and a tenth of each:

<!-- not run: takes hours, and the data sets -->
```sh
make reproduce
make reproduce-quick
```

What is run for a claim is frozen before its first run, as a manifest beside the rows: hashes of
each run's configuration and of the data, and the versions. A row has the hashes of what it was made
with; pages say how many are as frozen, which differ, and how many were made before there was one.

A number that README or a page cites from a study is checked against its rows: it is followed by a
comment that says which they are, such as `cited: knfu_phase.csv method=local samples=200 local`.
"""


@dataclass(frozen=True)
class Shown:
    """A claim, as its page tells it."""

    page: str
    title: str
    claimed: str
    source: str
    confidence: str
    verdicts: tuple[tuple[str, str], ...]
    """each part, and the word for it"""
    rows: tuple[str, ...]
    """the CSV files that its numbers are from"""


def read(path: Path) -> Shown | None:
    """Return what a page says of a claim; None if it is about none."""
    text = path.read_text(encoding="utf-8")
    begun = re.match(
        r"# (.+)\n\n\*\*Claim\.\*\* (.+)\n\n\*\*Source\.\*\* (.+?)\. \*\*Confidence\.\*\* (.+)\.\n",
        text,
    )
    if begun is None:
        return None
    words = "|".join(WORDS)
    parts = re.findall(rf"^- ([^\n]+?): \*\*({words})\*\*", text, re.M)
    files = dict.fromkeys(re.findall(r"\]\(rows/([\w.]+\.csv)\)", text))
    title, claimed, source, confidence = begun.groups()
    return Shown(path.name, title, claimed, source, confidence, tuple(parts), tuple(files))


def shown(docs: Path) -> list[Shown]:
    """Return the claims of a folder of pages, by name."""
    return [one for path in sorted(docs.glob("*.md")) if (one := read(path)) is not None]


def page(docs: Path) -> str:
    """Return the gallery: how many parts of each claim hold, and then which."""
    claims = shown(docs)
    heads = ("claim", *WORDS, "runs", "CPU min")
    counts = table([heads, *(_counts(docs, one) for one in claims)])
    return "\n".join([HEAD, counts, *map(_section, claims)]) + TAIL


def _counts(docs: Path, one: Shown) -> tuple[str, ...]:
    """Return a claim's line of the table."""
    rows = [row for name in one.rows for row in saved(docs / "rows" / name)]
    minutes = sum(row.get("cpu_seconds", 0.0) for row in rows) / 60
    found = Counter(word for _, word in one.verdicts)
    counts = (str(found[word] or "") for word in WORDS)
    return f"[{one.title}]({one.page})", *counts, str(len(rows)), f"{minutes:.0f}"


def _section(one: Shown) -> str:
    """Return what was claimed, by whom, and which parts of it have which verdict."""
    lines = [f"## {one.title}", "", f"{one.claimed} *{one.source}; {one.confidence}.*", ""]
    for word in WORDS:
        parts = [part for part, own in one.verdicts if own == word]
        lines += [f"- **{word}**", *(f"    - {part}" for part in parts)] if parts else []
    return "\n".join([*lines, "", f"[Numbers, and how they were made]({one.page})", ""])


@plainly
def command(*, docs: Annotated[Path, typer.Option(help="Folder of the pages.")] = DOCS) -> None:
    """Write the gallery."""
    (docs / PAGE).write_text(page(docs), encoding="utf-8")


if __name__ == "__main__":
    typer.run(command)
