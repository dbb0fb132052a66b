"""``fedkd run``: a run, or a study of several."""

from typing import Annotated

import typer

from ...errors import ConfigError
from ..terminal import terminal

EXAMPLES = (
    "fedkd run strategy=knfu strategy.beta=5 data=mnist clients=100 data.alpha=0.1",
    "fedkd run strategy=./median.py:Median rounds=3 engine=inline",
    "fedkd run model=[mlp,lenet5] fit.lr=0.1 run_dir=runs/mixed",
    "fedkd run model=mlp model.hidden=64 strategy=fedmd",
    "fedkd run -m strategy=local,knfu seed='range(0,3)' study.parallel=auto run_dir=runs/study",
    "fedkd run resume=runs/study --retry-failed",
    "fedkd run study.yaml --freeze",
    "fedkd run experiment=demo --dry-run",
)


def command(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[STUDY.yaml] KEY=VALUE...", show_default=False)
    ] = None,
    multirun: Annotated[
        bool, typer.Option("-m", "--multirun", help="Sweep over comma lists and range().")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, and show bytes, memory and a rough time.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run a study's failed runs again.")
    ] = False,
    freeze: Annotated[
        bool, typer.Option("--freeze", help="Write down what a study will be before its first run.")
    ] = False,
) -> None:
    """Run a simulation, or a study: every combination of several settings, compared.

    KEY=VALUE is in Hydra's override grammar; `fedkd list keys` names them all. A study is given
    with -m, as a STUDY.yaml, or as resume=FOLDER. Given again it does what is left to do: runs that
    were interrupted go on. study.parallel=auto runs small runs side by side, one per core.
    """
    from ...run.study.naming import named

    console, given = terminal(), overrides or []
    study = named(given, multirun)
    if study is None and (retry_failed or freeze):
        flag = "--retry-failed" if retry_failed else "--freeze"
        raise ConfigError(flag, "true", "is for a study: add -m, its file, or resume=FOLDER")
    if dry_run:
        from ..running import dry_run as show_cost

        show_cost(given, study and study[0], console)
    elif study is not None:
        from ..sweeping import study as run_study

        run_study(*study, console, retry_failed, freeze)
    else:
        from ..running import run_one

        run_one(given, console)
