import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from support import LIMIT
from typer.testing import CliRunner

from fedkd.cli import listing
from fedkd.cli.app import app
from fedkd.config import RunConfig, flatten
from fedkd.config.schema import STUDY, keys
from fedkd.plugins.documented import entries
from fedkd.plugins.table import SEAMS

COMMANDS = ("run", "compare", "report", "data", "list")


def invoke(*args):
    result = CliRunner().invoke(app, list(args), env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from fedkd.cli.app import app\n"
        "try: app(['run', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'flwr', 'ray', 'hydra', 'datasets'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT)
    assert done.stdout.strip().endswith("[]")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_examples(command):
    code, output = invoke(command, "--help")
    assert code == 0
    assert "Examples" in output
    assert re.search(rf"^ *fedkd {command} \S+", output, re.MULTILINE)


def test_examples_keep_their_brackets():
    assert "model=[mlp,lenet5]" in invoke("run", "--help")[1]


def test_no_command_shows_help():
    output = invoke()[1]
    assert all(command in output for command in COMMANDS)


def test_version():
    assert re.fullmatch(r"fedkd \d+\.\d+\S*\n", invoke("--version")[1])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("run", "clents=3"), "error: clents=3: unknown key; did you mean 'clients'?"),
        (("run", "seed=1,2"), "error: seed=1,2: is a sweep: add -m"),
        (("run", "rounds=0", "--dry-run"), "error: rounds=0: must be at least 1"),
        (("run", "strategy=knf", "--dry-run"), "error: strategy=knf: no such strategy"),
        (("run", "-m", "seed=1,2", "rounds=x"), "error: rounds=x: must be an integer"),
        (("data", "data=nowhere"), "error: data=nowhere: "),
        (("data", "data.partitioner=sharp"), "did you mean 'shard'?"),
        (("list", "strategy"), "did you mean 'strategies'?"),
        (("list", "knf"), "error: list=knf: cannot be listed; did you mean 'knfu'?"),
        (("list", "privacy", "knfu"), "error: list privacy=knfu: no such name; did you mean "),
        (("list", "keys", "fits"), "error: list keys=fits: no such name"),
        (("list", "knfu", "beta"), "error: list=knfu: cannot be listed"),
        (("list", "nowhere.py:Thing"), "error: plug-in=nowhere.py:Thing: there is no file"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(args, message):
    code, output = invoke(*args)
    assert code == 2
    assert message in output
    assert len(output.strip().splitlines()) == 1


def test_an_interrupt_is_one_line_and_exit_code_1(monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(listing, "show", interrupted)
    assert invoke("list", "keys") == (1, "interrupted\n")


def test_list_alone_names_all_that_can_be_listed():
    code, output = invoke("list")
    assert code == 0
    assert [line.split()[0] for line in output.splitlines()] == list(listing.LISTS)


@pytest.mark.parametrize("what", listing.LISTS)
def test_lists(what):
    code, output = invoke("list", what)
    assert code == 0
    assert len(output.splitlines()) > 2


@pytest.mark.parametrize("what", listing.LISTS)
def test_lists_can_be_read_at_80_columns(what):
    """No line is longer, and every name is in one piece."""
    done = CliRunner().invoke(app, ["list", what], env={"COLUMNS": "80"})
    lines = done.output.splitlines()
    assert max(map(len, lines)) <= 80
    names = [item.name for item in listing.LISTS[what].items()]
    begun = [line for line in lines if not line.startswith(" ")]
    assert [n for n in names if not any(line.startswith(n) for line in begun)] == []
    assert max(map(len, names)) <= listing.NAMES


def test_every_key_is_listed_with_meaning_and_default():
    rows = {entry.key: entry for entry in keys()}
    assert set(rows) == {*flatten(RunConfig()), *STUDY}
    assert all(entry.words for entry in rows.values())
    assert (rows["data.alpha"].type, rows["data.alpha"].default) == ("float | null", "0.1")
    assert rows["data.alpha"].allowed == "greater than 0 and finite"
    assert (rows["seed"].type, rows["seed"].default) == ("int", "0")
    assert rows["transfer.labelled"].default == "false"
    assert rows["fit.optimizer"].allowed == "sgd, adam"
    assert (rows["strategy"].type, rows["strategy"].default) == ("name, parameters", "knfu")


def test_strategies_are_listed_with_parameters():
    rows = {item.name: item for item in listing.LISTS["strategies"].items()}
    assert "exchange=" in rows["fedmd"].parameters
    assert "top_k=null" in rows["knfu"].parameters


@pytest.mark.parametrize("seam", SEAMS.values(), ids=SEAMS)
def test_every_parameter_of_what_is_shipped_says_what_it_is(seam):
    for name, cls in seam.shipped().items():
        for entry in entries(cls, seam.from_run):
            assert entry.type, (name, entry.key)
            assert entry.words, (name, entry.key)


def test_one_of_them_is_listed_with_all_that_its_parameters_are(tmp_path):
    shown = invoke("list", "privacy", "gaussian")[1]
    assert "repair            str (project, renormalise) = project" in shown
    assert "How noisy soft labels return to the simplex." in shown
    assert invoke("list", "gaussian")[1] == shown
    both = [line for line in invoke("list", "none")[1].splitlines() if line.startswith("none (")]
    assert both == [f"none ({kind})" for kind in ("guards", "attacks", "codecs", "privacy")]
    assert "(partitioners)" in invoke("list", "shard")[1]
    plug_in = tmp_path / "mine.py"
    plug_in.write_text(
        "from fedkd.strategies import FusionStrategy\n"
        "class Mine(FusionStrategy):\n"
        '    """Mine."""\n'
        "    def __init__(self, beta=2, **base): super().__init__(**base)\n"
    )
    shown = invoke("list", f"{plug_in}:Mine")[1]
    assert "int = 2" in shown
    assert "Softmax temperature of the uploaded soft labels" in shown


def test_a_function_that_makes_models_is_listed_with_its_parameters(tmp_path):
    plug_in = tmp_path / "mine.py"
    plug_in.write_text('def small(shape, classes, width=8):\n    """A small net."""\n')
    code, shown = invoke("list", f"{plug_in}:small")
    assert code == 0
    assert "(models)\nA small net.\n" in shown
    assert [line.split() for line in shown.splitlines()[3:]] == [["width", "int", "=", "8"]]
    assert invoke("list", "builtins:max")[0] == 0  # has no signature to read


def test_keys_are_listed_by_how_they_begin():
    names = [line.split()[0] for line in invoke("list", "keys", "faults")[1].splitlines()]
    assert names[::2] == ["faults.dropout", "faults.straggler", "faults.crash"]
    assert invoke("list", "keys", "faults.") == invoke("list", "keys", "faults")


def test_data_shows_a_table_and_draws_a_picture(tmp_path):
    out = tmp_path / "new" / "p.png"
    code, output = invoke("data", "clients=25", "data.alpha=0.5", "--out", str(out))
    assert code == 0
    assert out.stat().st_size > 5000
    assert "12 / 12 / 12" in output
    assert "and 5 more clients" in output
    assert invoke("data", "--out", str(tmp_path / "p.foo"))[0] == 2


def test_a_dry_run_writes_nothing_and_counts_bytes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # 100 clients x 200 transfer samples x 10 classes x 4 bytes
    code, output = invoke("run", "experiment=demo", "--dry-run")
    assert code == 0
    assert "800.0 kB up, 800.0 kB down" in output
    assert "16.0 MB up and down" in output
    assert "mlp: " in output
    assert "0 bytes up" in invoke("run", "strategy=local", "--dry-run")[1]
    assert "strategy-knfu" in invoke("run", "-m", "strategy=knfu,fedavg", "--dry-run")[1]
    assert not list(tmp_path.iterdir())


def options_of(line):
    """Return the options of the command that the README calls, of all where it calls none."""
    cli = typer.main.get_command(app)
    if module := re.search(r"python -m (fedkd\.\S+)", line):
        called = typer.Typer()
        called.command()(importlib.import_module(module[1]).command)
        commands = [typer.main.get_command(called)]
    else:
        name = re.search(r"\bfedkd (\w+)", line)
        commands = [cli.commands[name[1]]] if name else list(cli.commands.values())
    return {"--help"} | {
        option
        for command in commands
        for each in command.params
        for option in [*each.opts, *each.secondary_opts]
    }


def test_every_option_that_readme_and_guides_name_exists():
    root = Path(__file__).parents[1]
    pages = [root / "README.md", *(root / "docs").rglob("*.md")]
    text = "\n".join(path.read_text() for path in pages)
    lines = re.findall(r"^ *(?:fedkd|python -m fedkd).*", text, re.M)
    lines += re.findall(r"`(--[^`]*|fedkd [^`]*)`", text)
    named = [(line, option) for line in lines for option in re.findall(r"(?<!\S)--[a-z-]+", line)]
    assert len(named) > 15
    assert [(line, option) for line, option in named if option not in options_of(line)] == []
