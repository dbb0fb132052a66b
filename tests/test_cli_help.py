import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fedkd.cli import listing
from fedkd.cli.app import app
from fedkd.config import RunConfig, flatten

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
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
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


def test_help_names_all_that_can_be_listed():
    _, output = invoke("list", "-h")
    words = re.findall(r"\w+", output.partition("WHAT:")[2].partition("Examples")[0])
    assert set(listing.KINDS) <= set(words)


@pytest.mark.parametrize("what", listing.KINDS)
def test_lists(what):
    code, output = invoke("list", what)
    assert code == 0
    assert len(output.splitlines()) > 2


def test_every_key_is_listed_with_meaning_and_default():
    rows = {row[0].split(",")[0]: row for row in listing.KINDS["keys"]()}
    assert set(rows) == set(flatten(RunConfig()))
    assert all(row[1] for row in rows.values())
    assert rows["data.alpha"][2] == "float | null = 0.1"
    assert rows["seed"][2] == "int = 0"
    assert rows["transfer.labelled"][2] == "bool = false"


def test_strategies_are_listed_with_parameters():
    rows = {row[0]: row for row in listing.KINDS["strategies"]()}
    assert "exchange=" in rows["fedmd"][2]
    assert "top_k=null" in rows["knfu"][2]


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
        option for command in commands for each in command.params for option in each.opts
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
