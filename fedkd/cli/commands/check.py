"""``fedkd check``: whether a plug-in keeps its promises."""

from typing import Annotated

import typer

from ..group import Overrides
from ..terminal import terminal

EXAMPLES = (
    "fedkd check ./median.py:Median",
    "fedkd check my_package.fusion:Nearest strategy.beta=5 model=lenet5",
    "fedkd check knfu --engines",
    "fedkd check topk compress.k=2",
)


def command(
    plug_in: Annotated[str, typer.Argument(metavar="FILE:CLASS")],
    overrides: Overrides = None,
    engines: Annotated[
        bool, typer.Option("--engines", help="Also run on Ray, and compare (some seconds).")
    ] = False,
) -> None:
    """Hold a plug-in of any kind to what fedkd relies on; say in a line what is broken.

    FILE:CLASS is FILE.py:Class, package.module:Class or a short name; it is executed. KEY=VALUE
    as for `fedkd run`: its parameters, another model. The exit code is 1 if anything is broken.
    """
    from ...check.checking import check as check_plug_in

    check_plug_in(plug_in, overrides or [], engines, terminal())
