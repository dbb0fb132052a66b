"""``fedkd list``: what can be chosen."""

from typing import Annotated

import typer

from ..terminal import terminal

EXAMPLES = (
    "fedkd list strategies",
    "fedkd list knfu",
    "fedkd list privacy gaussian",
    "fedkd list ./median.py:Median",
    "fedkd list keys fit",
    "fedkd list strategies --exchange soft_labels --mixed-models",
    "fedkd list strategies --no-transfer --secure --task regression",
)


def _exchanges(begun: str) -> list[str]:
    from ..choosing import exchanges

    return sorted(name for name in exchanges() if name.startswith(begun))


def _tasks(begun: str) -> list[str]:
    from ..choosing import tasks

    return sorted(name for name in tasks() if name.startswith(begun))


def command(
    what: Annotated[str | None, typer.Argument(metavar="WHAT", show_default=False)] = None,
    name: Annotated[str | None, typer.Argument(metavar="NAME", show_default=False)] = None,
    compatibility: Annotated[
        bool, typer.Option("--compatibility", help="Rank models by how alike they see samples.")
    ] = False,
    data: Annotated[
        str | None, typer.Option(help="Data set whose samples those are; digits.")
    ] = None,
    exchange: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="What clients may send, or its kind.", autocompletion=_exchanges
        ),
    ] = None,
    mixed_models: Annotated[
        bool | None, typer.Option(help="Clients may have different architectures.")
    ] = None,
    transfer: Annotated[bool | None, typer.Option(help="It needs transfer samples.")] = None,
    personalised: Annotated[
        bool | None, typer.Option(help="Clients may learn from different teachers.")
    ] = None,
    secure: Annotated[
        bool | None, typer.Option(help="Sums over clients suffice the server.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="It makes sense for it.", autocompletion=_tasks),
    ] = None,
) -> None:
    """List what can be chosen; of one NAME, what its parameters are and mean.

    WHAT: what to list, such as strategies, models or keys; `fedkd list` alone says what there is.
    NAME: one of these. It will do alone, and so will FILE.py:Class, which is executed.
    With --compatibility (DisWOT) untrained models are compared with each other, or all with NAME.
    The options from --exchange on choose among strategies: those that are all of what is asked for.
    """
    wanted = {
        "--exchange": exchange,
        "--mixed-models": mixed_models,
        "--transfer": transfer,
        "--personalised": personalised,
        "--secure": secure,
        "--task": task,
    }
    console = terminal()
    asked = any(value is not None for value in wanted.values())
    if (compatibility or data is not None) and not (asked and what == "models"):
        from ..ranking import show_compatibility

        show_compatibility(what, name, compatibility, data, console)
    elif asked:
        from ..choosing import show_chosen

        show_chosen(what, name, wanted, console)
    else:
        from ..listing import show

        show(what, name, console)
