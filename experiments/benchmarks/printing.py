"""The table and what belongs to it, for a terminal or as Markdown.

``python -m fedkd.experiments.benchmarks.printing FILE --markdown`` shows an earlier run's JSON.
"""

import json
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from ...report.markdown import table as markdown_table
from .results import caption, columns, lines, noise
from .systems import SYSTEMS
from .works import Size


def show(told: dict[str, Any], console: Console, markdown: bool) -> None:
    """Print the table of a document, warnings and the machine."""
    rows, facts = told["rows"], told["machine"]
    titles = [SYSTEMS[name].title for name in columns(rows)]
    sizes = {work: Size(**size) for work, size in told["sizes"].items()}
    about = "\n".join(caption(rows, sizes))
    if markdown:
        shown = markdown_table([["", *titles], *lines(rows)])
        console.print(f"{shown}\n{about}", markup=False, soft_wrap=True)
    else:
        table = Table(caption=about, caption_justify="left")
        for number, title in enumerate(["", *titles]):
            table.add_column(title, justify="right" if number else "left")
        for cells in lines(rows):
            table.add_row(*cells)
        console.print(table)
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    machine = f"{facts['cores']} cores, {facts['cpu']}, load {facts['load_before']}; {versions}"
    for line in [*noise(rows), machine]:
        console.print(line, markup=False, soft_wrap=True)


def command(file: Path, markdown: bool = False) -> None:
    """Show the JSON that a benchmark wrote, also of one that did not come to its end."""
    show(json.loads(file.read_text()), Console(highlight=False), markdown)


if __name__ == "__main__":
    typer.run(command)
