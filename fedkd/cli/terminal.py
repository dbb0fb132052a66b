"""The terminal that commands print to."""

from rich.console import Console
from rich.markup import escape

from ..ending import outlasting


def terminal() -> Console:
    """Return a console that colours no words of its own, and that no reader's end breaks."""
    console: Console = outlasting(Console(highlight=False))
    return console


def print_facts(facts: dict[str, object], console: Console) -> None:
    """Print names and values, one a line; long paths are not broken, so they can be copied."""
    width = max(map(len, facts))
    for name, value in facts.items():
        console.print(f"[bold]{name:<{width}}[/]  {escape(str(value))}", soft_wrap=True)
