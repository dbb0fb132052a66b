"""``fedkd list strategies`` shows only what is asked for, by what the classes declare."""

import pytest
from fedkd.strategies.catalogue import COLUMNS, row
from typer.testing import CliRunner

from fedkd.cli.app import app
from fedkd.plugins.table import SEAMS

SHIPPED = SEAMS["strategies"].shipped()
ROWS = {n: dict(zip(COLUMNS, row(n, cls), strict=True)) for n, cls in SHIPPED.items()}


def listed(*options):
    result = CliRunner().invoke(app, ["list", *options], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return {line.split()[0] for line in result.output.splitlines() if not line.startswith(" ")}


@pytest.mark.parametrize(
    ("options", "column", "cells"),
    [
        (["--mixed-models"], "mixed models", ["yes"]),
        (["--no-mixed-models"], "mixed models", ["no"]),
        (["--transfer"], "transfer set", ["yes", "labelled"]),
        (["--no-transfer"], "transfer set", ["no"]),
        (["--personalised"], "personalised", ["yes"]),
        (["--secure"], "sums suffice", ["yes"]),
    ],
)
def test_what_is_listed_is_what_the_table_of_methods_says(options, column, cells):
    wanted = {name for name, found in ROWS.items() if found[column] in cells}
    assert listed("strategies", *options) == wanted
    assert 0 < len(wanted) < len(ROWS)


def test_options_are_all_asked_for_at_once():
    assert listed("strategies", "--exchange", "soft_labels", "--secure") >= {"dsfl"}
    both = listed("strategies", "--no-transfer", "--mixed-models", "--task", "regression")
    assert {"ditto", "fedper"} <= both
    assert not {"fedavg", "fedmd", "fedproto"} & both


def test_an_exchange_is_found_by_its_name_and_kind_and_where_it_is_a_parameter_or_a_tasks():
    exchange = {
        name: listed("strategies", "--exchange", name) for name in ("logits", "predictions")
    }
    assert {"fedmd", "knfu", "dafkd"} <= exchange["logits"]
    assert "dsfl" not in exchange["logits"]
    assert {"fedmd", "dsfl"} <= exchange["predictions"]
    assert not {"cronus", "local", "fedavg"} & exchange["predictions"]
    assert listed("strategies", "--exchange", "discriminated_logits") == {"dafkd"}
    assert listed("strategies", "--exchange", "nothing") == {"local"}


def test_no_match_says_so():
    options = ["--exchange", "soft_labels", "--mixed-models", "--no-transfer"]
    result = CliRunner().invoke(app, ["list", "strategies", *options], env={"COLUMNS": "40"})
    said = "No strategy is: --exchange soft_labels, --mixed-models, --no-transfer\n"
    assert (result.exit_code, result.output) == (0, said)


def test_one_strategy_is_shown_or_what_it_is_not(tmp_path):
    plug_in = tmp_path / "mine.py"
    plug_in.write_text(
        "from fedkd.strategies import FusionStrategy\n"
        "class Mine(FusionStrategy):\n"
        '    """Mine."""\n'
        "    personalised = True\n"
        "class Needy(Mine):\n"
        "    def __init__(self, beta): super().__init__()\n"
    )
    mine = f"{plug_in}:Mine"
    run = lambda *args: CliRunner().invoke(app, ["list", *args], env={"COLUMNS": "200"})  # noqa: E731
    assert "Mine." in run(mine, "--personalised", "--transfer").output
    assert run(mine, "--transfer", "--secure").output == f"{mine} is not: --secure\n"
    assert run("knfu", "--no-transfer").output == "knfu is not: --no-transfer\n"
    assert run("strategies", "knfu", "--transfer").output.startswith("knfu")
    needy = run(f"{plug_in}:Needy", "--secure")
    assert needy.exit_code == 2
    assert "strategy.beta=null: Needy needs this parameter" in needy.output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("strategies", "--exchange", "soft_label"), "did you mean 'soft_labels'?"),
        (("strategies", "--task", "regresion"), "error: --task=regresion: no such task; did you"),
        (("models", "--secure"), "error: list=models: --secure is for strategies"),
        (("models", "--compatibility", "--secure"), "error: list=models: --secure is for"),
        (("models", "--data", "digits", "--task", "qqq"), "list=models: --task qqq is for"),
        (("--secure",), "error: --secure=true: is for strategies; say: list strategies --secure"),
        (("--compatibility",), "--compatibility=true: is for models; say: list models --compat"),
        (("strategies", "knf", "--secure"), "error: strategy=knf: no such strategy; did you mean"),
        (("dp_sgd", "--no-transfer"), "error: list=dp_sgd: --no-transfer is for strategies"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(args, message):
    result = CliRunner().invoke(app, ["list", *args])
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("begun", "whole"), [("--exchange so", "soft_labels"), ("--task reg", "regression")]
)
def test_a_shell_is_told_what_the_names_are(begun, whole):
    env = {"_FEDKD_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": f"fedkd list {begun}"}
    assert f'"{whole}"' in CliRunner().invoke(app, [], env=env, prog_name="fedkd").output
