"""``fedkd attack``: its tables, its report, every mistake in one line."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from fedkd import simulate
from fedkd.cli.app import app

SMALL = ["clients=3", "rounds=1", "engine=inline", "transfer.size=30", "fit.epochs=1"]


def cli(*arguments):
    return CliRunner().invoke(
        app, [str(argument) for argument in arguments], env={"COLUMNS": "200"}
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        done = cli(
            "run",
            *SMALL,
            "strategy=fedmd",
            "record.knowledge=true",
            f"seed={seed}",
            f"run_dir={root}/sweep/seed-{seed}",
        )
        assert done.exit_code == 0, done.output
    assert cli("run", *SMALL, f"run_dir={root}/unrecorded").exit_code == 0
    assert (
        cli(
            "run", *SMALL, "strategy=local", "record.knowledge=true", f"run_dir={root}/local"
        ).exit_code
        == 0
    )
    return root


def test_several_runs_give_one_table_averaged_over_seeds(runs):
    done = cli("attack", runs / "sweep", "--attack", "label_distribution", "strength=2")
    assert done.exit_code == 0, done.output
    lines = [line for line in done.output.splitlines() if line.startswith("debiased")]
    assert len(lines) == 1
    assert "±" in lines[0]
    found = [json.loads(p.read_text()) for p in runs.glob("sweep/*/attacks/*.json")]
    assert [one["parameters"] for one in found] == [{"strength": 2}] * 2
    assert {one["run"]["seed"] for one in found} == {0, 1}


def test_the_report_has_a_section_and_escapes_what_it_shows(runs, monkeypatch):
    monkeypatch.setattr("fedkd.leakage.command.QUIET_SECONDS", 0.0)
    run = runs / "sweep" / "seed-0"
    done = cli("attack", run, "--attack", "membership", "shadows=0", "clients=2")
    assert done.exit_code == 0
    assert "seed-0: 2 of about 3 models trained, left " in done.stderr
    page = (run / "report.html").read_text()
    assert "Privacy attacks" in page
    assert "model / loss" in page
    assert "false positive rate" in page
    path = run / "attacks" / "membership.json"
    content = json.loads(path.read_text())
    content["notes"], content["access"] = ["<script>alert(1)</script>"], "<b>x"
    content["results"] = {"<i>v": {"auc": 0.5}}
    path.write_text(json.dumps(content))
    assert cli("report", run).exit_code == 0
    page = (run / "report.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;i&gt;v" in page
    path.write_text("not json")
    assert cli("report", run).exit_code == 0
    path.unlink()


def test_an_attack_of_ones_own(runs, tmp_path):
    plug_in = tmp_path / "mine.py"
    plug_in.write_text(
        "from fedkd.leakage import Finding, PrivacyAttack\n"
        "class Mine(PrivacyAttack):\n"
        "    access = 'everything'\n"
        "    def __init__(self, factor=1.0):\n"
        "        self.factor = factor\n"
        "    def run(self, subject):\n"
        "        return Finding({'all': {'score': self.factor * subject.clients}})\n"
    )
    run = runs / "sweep" / "seed-0"
    done = cli("attack", run, "--attack", f"{plug_in}:Mine", "factor=2")
    assert done.exit_code == 0, done.output
    written = json.loads((run / "attacks" / "Mine.json").read_text())
    assert written["results"] == {"all": {"score": 6.0}}


MISTAKES = {
    ("sweep/seed-0", "membrship"): "attack=membrship: no such attack; did you mean 'membership'?",
    ("sweep/seed-0", "membership", "shadow=3"): "did you mean 'attack.shadows'?",
    ("sweep/seed-0", "membership", "shadows=few"): "attack.shadows=few: must be an integer",
    ("sweep/seed-0", "membership", "shadows=-1"): "attack.shadows=-1: must be at least 0",
    ("sweep/seed-0", "audit", "guesses=2"): "attack.guesses=2.0: must be in (0, 1]",
    ("sweep/seed-0", "gradient_inversion"): "its clients share logits",
    ("sweep/seed-0", "paired_logits"): "transfer.data=ANOTHER",
    ("unrecorded", "membership"): "make the run again with record.knowledge=true",
    ("local", "membership"): "local exchanges nothing that could be recorded",
    ("nowhere", "membership"): "not a run directory",
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=" ".join)
def test_a_mistake_is_one_line_and_exit_code_2(mistake, runs):
    folder, name, *parameters = mistake
    done = cli("attack", runs / folder, "--attack", name, *parameters)
    assert done.exit_code == 2, done.output
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert MISTAKES[mistake] in line


def test_a_run_that_cannot_be_attacked_does_not_stop_the_others(runs):
    done = cli("attack", runs / "sweep", runs / "unrecorded", "--attack", "label_distribution")
    assert done.exit_code == 2
    assert "1 of 3 runs could not be attacked" in done.stderr
    assert "debiased" in done.output


def test_unlabelled_transfer_sets_cannot_be_asked_for_classes(tmp_path):
    public = np.random.default_rng(0).integers(0, 17, (40, 8, 8), dtype=np.uint8)
    small = {"clients": 3, "rounds": 1, "engine": "inline", "record.knowledge": True}
    more = {"transfer.data": public, "transfer.size": 30, "run_dir": str(tmp_path / "run")}
    simulate("fedmd", **small, **more)
    done = cli("attack", tmp_path / "run", "--attack", "paired_logits")
    assert done.exit_code == 2
    assert "its transfer samples (arrays) are unlabelled" in done.stderr
    assert cli("attack", tmp_path / "run", "--attack", "membership").exit_code == 0


def test_attacks_are_listed():
    done = cli("list", "privacy_attacks")
    names = ("audit", "gradient_inversion", "label_distribution", "membership", "paired_logits")
    assert done.exit_code == 0
    for name in names:
        assert name in done.output
