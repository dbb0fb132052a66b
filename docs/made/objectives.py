"""The page of all objectives and guards, made from the classes and from what was measured."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from fedkd.experiments.reproduce.cells import saved
from fedkd.experiments.reproduce.objectives import label
from fedkd.strategies.catalogue import cited

from fedkd.plugins.seam import Seam
from fedkd.plugins.table import SEAMS
from fedkd.report.markdown import table

SECONDS = Path(__file__).parents[1] / "rows/objectives_seconds.csv"

KEYS = ("objective", "guard")

COLUMNS = (
    "",
    "labels",
    "features",
    "memory",
    "learns from",
    "loss",
    "source",
    "confidence",
    "seconds",
)

TEXT = """# Objectives

How a client learns from its teacher: `objective=NAME`. Their formulas, and what differs from the
source, are in [the API](../api/distillation.md), their parameters in
[what can be plugged in](plugins.md), what they come to in
[a study of all of them](../objectives_mnist.md). All with their default parameters:

- **labels**: it learns from the transfer set's labels too (`transfer.labelled=true`).
- **features**: layers of the student that it looks at.
- **memory**: it keeps tensors with the client, from round to round.
- **learns from**: the kinds of knowledge that it can learn from.
- **loss**: *per sample*, so that clients are trained side by side on a GPU; or *per batch*, where
  samples are compared, or something moves while it learns.
- **confidence**: how well the formula is known; see [fusion methods](../strategies.md).
- **seconds** of CPU for learning on 1,000 samples (`mlp` and MNIST, batches of 32, one thread, with
  the optimiser's step), measured beside other work: they may be wrong by a half; a dash where there
  is no number.

"""


def page() -> str:
    """Return the page."""
    return TEXT + table([COLUMNS, *rows()])


def rows() -> Iterator[tuple[str, ...]]:
    """Yield the cells of every objective, and of every guard around `kl`."""
    seconds = {label(row): row["seconds"] for row in saved(SECONDS)}
    for seam in SEAMS.values():
        if seam.key in KEYS:
            for name in sorted(set(seam.shipped()) - {"none"}):
                called = name if seam.key == "objective" else f"kl, {name}"
                shown = name if seam.key == "objective" else f"guard={name}"
                time = f"{seconds[called]:.3f}" if called in seconds else "-"
                yield f"`{shown}`", *_cells(seam, name), time


def _cells(seam: Seam, name: str) -> tuple[str, ...]:
    one = seam.create({"name": name})
    doc = sys.modules[type(one).__module__].__doc__ or ""
    kinds = getattr(one, "kinds", None)
    return (
        "yes" if getattr(one, "needs_labels", False) else "no",
        ", ".join(f"`{layer}`" for layer in getattr(one, "layers", ())) or "-",
        "yes" if getattr(one, "remembers", False) else "no",
        "all" if kinds is None else ", ".join(kind.replace("_", " ") for kind in kinds),
        "per sample" if getattr(one, "per_sample", True) else "per batch",
        source(doc),
        cited(doc)[1],
    )


def source(doc: str) -> str:
    """Return what the first paragraph of a module's docstring cites in brackets, or "textbook".

    Examples
    --------
    >>> source("DIST: relations (Huang et al., 2022, arXiv 2205.10536).")
    'Huang et al., 2022, arXiv 2205.10536'
    >>> source("Jeffreys divergence: both ways (see `kl`).")
    '-'
    """
    found = re.search(r"\(([^()]*\b(?:19|20)\d\d\b[^()]*)\)", doc.split("\n\n", maxsplit=1)[0])
    if found is None:
        return "textbook" if "(textbook" in doc else "-"
    return " ".join(found[1].split())
