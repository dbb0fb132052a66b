"""The ``fedkd`` command. Each command imports what it needs when it runs: ``--help`` is quick."""

from typing import Annotated

import typer

from ..ending import end_at_once, heed
from ..environment import set_defaults
from .commands import attack, check, compare, data, report, run, status
from .commands import list as list_
from .group import Group, examples

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS = {
    "run": run,
    "compare": compare,
    "status": status,
    "report": report,
    "data": data,
    "check": check,
    "attack": attack,
    "list": list_,
}
"""In the order of the help."""

for _name, _file in COMMANDS.items():
    app.command(_name, epilog=examples(*_file.EXAMPLES))(_file.command)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"fedkd {version('fedkd')}")
        raise typer.Exit()


@app.callback(
    epilog=examples(
        "fedkd run strategy=knfu data=digits clients=100",
        "fedkd run -m experiment=demo strategy=local,fedmd,knfu",
        "fedkd list strategies",
    )
)
def _fedkd(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Simulate federated knowledge fusion: clients share soft labels, not data or weights."""
    del version


def main() -> None:
    """Run the command line."""
    heed(end_at_once)
    set_defaults()
    app()
