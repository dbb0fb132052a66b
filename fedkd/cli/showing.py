"""What ``fedkd data`` shows: who holds which samples, as tables and as a picture."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..config.overrides import compose
from ..data import (
    Federation,
    Texts,
    build_federation,
    corpora,
    partition_notes,
    partition_table,
)
from ..errors import ConfigError
from ..report.drawing.figures import partition_figure
from ..run.resolving import wanted
from .terminal import print_facts

SHOWN_CLIENTS, SHOWN_CLASSES = 20, 20
"""Rows and columns of the class table."""

TYPICAL = 5
"""Words shown of each client's texts."""

BARS = ".▁▂▃▄▅▆▇█"
"""Of a histogram in a line; a dot is none."""


def show_data(overrides: list[str], out: Path, console: Console) -> None:
    """Print who holds which samples, and draw it to `out`."""
    config = compose(overrides)
    with TemporaryDirectory() as scratch:
        sources = corpora(config, targets=wanted(config))
        federation = build_federation(config, *sources, Path(scratch))
        _print_partition(federation, console)
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            names, counts = federation.class_names, federation.histograms
            about = federation.client_names, _values(federation)
            partition_figure(counts, names, 8, *about).savefig(out, dpi=150)
        except (OSError, ValueError) as error:
            raise ConfigError("--out", out, str(error).splitlines()[0]) from error
    print_facts({"picture": out}, console)


def _print_partition(federation: Federation, console: Console) -> None:
    sizes = federation.sizes
    counts = federation.histograms
    held = (counts > 0).sum(axis=1)

    def spread(values: np.ndarray) -> str:
        return f"{values.min():.0f} / {np.median(values):g} / {values.max():.0f}"

    facts: dict[str, object] = {
        "data": f"{federation.corpus.name}, {_labels(federation)}, shape {federation.shape}",
        "clients": federation.clients,
        "samples per client": f"{spread(sizes)} (min / median / max)",
        **(
            {} if federation.targets.tokens else {f"{_groups(federation)} per client": spread(held)}
        ),
        "transfer samples": federation.transfer_size,
        "test samples": len(federation.corpus.y_test),
    }
    if federation.tests is not None:
        facts["own test samples"] = spread(federation.tests)
    print_facts(facts | _columns(federation), console)
    console.print(_class_table(federation, counts))
    if federation.corpus.vocabulary:
        console.print(_text_table(federation))
    if federation.clients > SHOWN_CLIENTS:
        console.print(f"... and {federation.clients - SHOWN_CLIENTS} more clients", style="dim")


def _labels(federation: Federation) -> str:
    """Return how many classes there are, or which targets."""
    targets = federation.targets
    if targets.tokens:
        return f"next token of {targets.tokens[1]}"
    return f"target {', '.join(targets.names)}" if targets.numeric else f"{targets.size} classes"


def _groups(federation: Federation) -> str:
    return "bins" if federation.targets.numeric else "classes"


def _columns(federation: Federation) -> dict[str, object]:
    """Return what was read, in words."""
    notes = partition_notes(federation)
    facts: dict[str, object] = {"columns": "; ".join(notes)} if notes else {}
    if federation.targets.numeric:
        facts["bins"] = ", ".join(federation.class_names)
    return facts


def _values(federation: Federation) -> dict[str, list[np.ndarray]]:
    """Return numbers that all samples of the clients have: targets, or lengths of texts."""
    rows = [federation.held(client) for client in range(federation.clients)]
    if federation.corpus.vocabulary:
        lengths = Texts(federation.corpus).lengths
        return {"tokens of a text": [lengths[own] for own in rows]}
    if not federation.targets.numeric:
        return {}
    targets = federation.corpus.y_train.reshape(-1, federation.targets.size)
    names = enumerate(federation.targets.names)
    return {name: [targets[own, column] for own in rows] for column, name in names}


def _class_table(federation: Federation, counts: np.ndarray) -> Table:
    """Return samples by client and class, or bin; the main class only, where classes are many."""
    numeric = federation.targets.numeric
    many = federation.classes > SHOWN_CLASSES
    windows = federation.targets.tokens is not None
    names = ["main class", "share"] if many else federation.class_names
    names = ["least", "median", "most", "histogram"] if numeric else [] if windows else names
    rows = partition_table(federation)[:SHOWN_CLIENTS]
    about = [key for key in ("client", "name", "samples", "tested", "classes") if key in rows[0]]
    about = [key for key in about if not (windows and key == "classes")]
    titles = [_groups(federation) if key == "classes" else key for key in about]
    table = _table([*titles, *names])
    for row in rows:
        own = counts[row["client"]]
        cells = [row["main_class"], f"{row['main_share']:.0%}"]
        if windows:
            cells = []
        elif numeric:
            cells = _spread(federation.corpus.y_train[federation.held(row["client"])], own)
        elif not many:
            cells = [f"{count:.0f}" if count else "." for count in own]
        table.add_row(*(escape(str(cell)) for cell in (*(row[key] for key in about), *cells)))
    return table


def _spread(targets: np.ndarray, counts: np.ndarray) -> list[str]:
    """Return least, median and greatest of a client's (first) targets, and a bar for each bin."""
    first = targets.reshape(len(targets), -1)[:, 0]
    heights = np.ceil(counts / counts.max() * (len(BARS) - 1)).astype(int)
    bars = "".join(BARS[height] for height in heights)
    return [f"{number:.4g}" for number in np.quantile(first, [0, 0.5, 1])] + [bars]


def _text_table(federation: Federation) -> Table:
    """Return how long each client's texts are, and which words it has more often than all."""
    texts = Texts(federation.corpus)
    held = [federation.held(client) for client in range(federation.clients)]
    every = sum((texts.counts(rows) for rows in held), np.zeros(federation.corpus.vocabulary))
    table = _table(["client", "tokens (min / median / max)"], "typical words")
    for client, rows in enumerate(held[:SHOWN_CLIENTS]):
        words = ", ".join(texts.typical(texts.counts(rows), every, TYPICAL))
        low, middle, high = np.quantile(texts.lengths[rows], [0, 0.5, 1])
        table.add_row(str(client), f"{low:.0f} / {middle:g} / {high:.0f}", escape(words))
    return table


def _table(numbers: list[str], *words: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in numbers:
        table.add_column(escape(title), justify="right", overflow="ellipsis")
    for title in words:
        table.add_column(escape(title))
    return table
