"""What commands share: how they end, how their examples look, and the argument KEY=VALUE."""

from contextlib import suppress
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from ..ending import begin
from ..errors import FedkdError

# The commands' docstrings explain the arguments: click 8.5 drops the help that typer gives them.
Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", show_default=False)]


class Group(TyperGroup):
    """Commands whose users' mistakes end in one line and an exit code, never in a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; end as `fedkd.errors` and `fedkd.ending` say."""
        try:
            begin()
            return super().invoke(ctx)
        except FedkdError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            with suppress(OSError):  # the terminal may be gone
                typer.echo("interrupted", err=True)
            raise typer.Exit(1) from error
        except Exception:
            raise
        except BaseException as error:  # sys.exit in a plug-in is not ours
            typer.echo(f"error: {type(error).__name__}: {error}", err=True)
            raise typer.Exit(1) from error


def examples(*lines: str) -> str:
    """Return the examples under a command's help; blank lines keep them from being joined."""
    shown = "\n\n".join(f"[cyan]{escape(line)}[/cyan]" for line in lines)
    return f"[bold]Examples[/bold]\n\n{shown}"
