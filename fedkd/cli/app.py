"""The ``fedkd`` command. Each command imports what it needs when it runs: ``--help`` is quick."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..ending import end_at_once, heed, outlasting
from ..environment import set_defaults
from ..errors import ConfigError
from .group import Group, examples

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

# The commands' docstrings explain the arguments: click 8.5 drops the help that typer gives them.
Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...", show_default=False)]
RunOverrides = Annotated[
    list[str] | None, typer.Argument(metavar="[STUDY.yaml] KEY=VALUE...", show_default=False)
]
RunDirs = Annotated[list[Path], typer.Argument(metavar="RUN_DIR...", show_default=False)]


def _console() -> Console:
    console: Console = outlasting(Console(highlight=False))
    return console


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"fedkd {version('fedkd')}")
        raise typer.Exit()


def _exchanges(begun: str) -> list[str]:
    from .choosing import exchanges

    return sorted(name for name in exchanges() if name.startswith(begun))


def _tasks(begun: str) -> list[str]:
    from .choosing import tasks

    return sorted(name for name in tasks() if name.startswith(begun))


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


@app.command(
    epilog=examples(
        "fedkd run strategy=knfu strategy.beta=5 data=mnist clients=100 data.alpha=0.1",
        "fedkd run strategy=./median.py:Median rounds=3 engine=inline",
        "fedkd run model=[mlp,lenet5] fit.lr=0.1 run_dir=runs/mixed",
        "fedkd run model=mlp model.hidden=64 strategy=fedmd",
        "fedkd run -m strategy=local,knfu seed='range(0,3)' study.parallel=auto run_dir=runs/study",
        "fedkd run resume=runs/study --retry-failed",
        "fedkd run study.yaml --freeze",
        "fedkd run experiment=demo --dry-run",
    )
)
def run(
    overrides: RunOverrides = None,
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
    from ..run.study.naming import named
    from . import commands

    console, given = _console(), overrides or []
    study = named(given, multirun)
    if study is None and (retry_failed or freeze):
        flag = "--retry-failed" if retry_failed else "--freeze"
        raise ConfigError(flag, "true", "is for a study: add -m, its file, or resume=FOLDER")
    if dry_run:
        commands.dry_run(given, study and study[0], console)
    elif study is not None:
        from .sweeping import study as run_study

        run_study(*study, console, retry_failed, freeze)
    else:
        commands.run_one(given, console)


@app.command(
    epilog=examples(
        "fedkd compare runs/sweep",
        "fedkd compare runs/a runs/b --out compared.html",
        "fedkd compare runs/sweep --by strategy --metric alma_local --baseline fedmd",
        "fedkd compare runs/sweep --by strategy --over data.alpha --baseline fedmd --out table.tex",
    )
)
def compare(
    run_dirs: RunDirs,
    by: Annotated[
        str | None, typer.Option(metavar="KEY,...", help="What is compared; else all that differs.")
    ] = None,
    over: Annotated[
        str | None, typer.Option(metavar="KEY,...", help="What makes a setting, to rank over.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which number; score_local by default.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="VALUE", help="What the others are compared to.")
    ] = None,
    test: Annotated[
        str | None, typer.Option(metavar="NAME", help="t, the default, or permutation; paired.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A report .html; a table .md, .tex, .csv, .json; ranks .svg, .pdf, .png."
        ),
    ] = None,
) -> None:
    """Compare runs in one table and one report; runs that differ only in their seed are averaged.

    RUN_DIR is a run directory, or a folder of them such as that of a sweep. With --by, --metric or
    --baseline: means and 95 % intervals over seeds; differences to the baseline, paired by seed,
    with a test, Holm's correction and effect sizes; ranks over the settings of --over. The metric
    is any number of summary.json (alma_global, seconds.total) or column of rounds.parquet.
    """
    from .comparing import show

    asked = {"by": by, "over": over, "metric": metric, "baseline": baseline, "test": test}
    show(run_dirs, out, asked, _console())


@app.command(epilog=examples("fedkd status runs/study"))
def status(
    study: Annotated[Path, typer.Argument(metavar="STUDY")],
) -> None:
    """Say how far a study is: what runs, what has failed, the time left.

    STUDY is its folder; the study may be under way in another terminal.
    """
    from .status import show_status

    show_status(study, _console())


@app.command(epilog=examples("fedkd report runs/a", "fedkd report runs/a --out figure.html"))
def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR")],
    out: Annotated[
        Path | None, typer.Option(help="Where it goes; by default RUN_DIR/report.html.")
    ] = None,
) -> None:
    """Write a run's report anew: one HTML file that needs no other."""
    from ..report import render

    _console().print(render([run_dir], out), soft_wrap=True)


@app.command(
    epilog=examples(
        "fedkd data data.alpha=0.1 clients=20",
        "fedkd data data=mnist data.partitioner=shard --out shards.png",
    )
)
def data(
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="The picture: .png, .svg or .pdf.")] = Path(
        "partition.png"
    ),
) -> None:
    """Show how a data set is dealt to the clients, as a table and as a picture.

    Of numbers it shows each client's histogram, of texts their lengths and typical words.
    KEY=VALUE as for `fedkd run`; clients, seed, task, data.* and transfer.* matter here.
    """
    from .showing import show_data

    show_data(overrides or [], out, _console())


@app.command(
    epilog=examples(
        "fedkd check ./median.py:Median",
        "fedkd check my_package.fusion:Nearest strategy.beta=5 model=lenet5",
        "fedkd check knfu --engines",
        "fedkd check topk compress.k=2",
    )
)
def check(
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
    from ..check.checking import check as check_plug_in

    check_plug_in(plug_in, overrides or [], engines, _console())


@app.command(
    epilog=examples(
        "fedkd run strategy=fedmd data.samples_per_client=20 record.knowledge=true run_dir=runs/a",
        "fedkd attack runs/a --attack membership shadows=16",
        "fedkd attack runs/*-sweep --attack label_distribution",
        "fedkd attack runs/a --attack ./mine.py:Mine strength=2",
    )
)
def attack(
    given: Annotated[list[str], typer.Argument(metavar="RUN_DIR... KEY=VALUE...")],
    name: Annotated[
        str, typer.Option("--attack", metavar="NAME", help="`fedkd list privacy_attacks` has them.")
    ],
) -> None:
    """Attack recorded runs: what do the uploads tell a curious server of the clients' data.

    RUN_DIR is a run made with record.knowledge=true, or a folder of them such as that of a sweep;
    KEY=VALUE are parameters of the attack; trust=true executes code that a run directory of
    somebody else names. Runs that differ only in their seed are averaged.
    Writes RUN_DIR/attacks/NAME.json and the run's report.
    """
    from ..leakage.command import attack_runs

    attack_runs(given, name, _console())


@app.command(
    "list",
    epilog=examples(
        "fedkd list strategies",
        "fedkd list knfu",
        "fedkd list privacy gaussian",
        "fedkd list ./median.py:Median",
        "fedkd list keys fit",
        "fedkd list strategies --exchange soft_labels --mixed-models",
        "fedkd list strategies --no-transfer --secure --task regression",
    ),
)
def list_(
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
    console = _console()
    if compatibility or data is not None:
        from .ranking import show_compatibility

        show_compatibility(what, name, compatibility, data, console)
    elif any(value is not None for value in wanted.values()):
        from .choosing import show_chosen

        show_chosen(what, name, wanted, console)
    else:
        from .listing import show

        show(what, name, console)


def main() -> None:
    """Run the command line."""
    heed(end_at_once)
    set_defaults()
    app()
