"""`fedkd check` on samplers: what is shipped keeps every promise, and what is broken is named."""

from pathlib import Path

import pytest
from fedkd.clients.samplers import Sampler
from support import mostly_slow
from typer.testing import CliRunner

from fedkd.check.checking import subject_for
from fedkd.check.promises import checked
from fedkd.cli.app import app
from fedkd.plugins import available
from fedkd.plugins.table import SEAMS

BROKEN = """
import torch
from fedkd.clients.samplers import Sampler, ScoreSampler


class Twice(Sampler):
    def choose(self, pool, budget):
        return torch.zeros(budget, dtype=torch.int64)


class Global(Sampler):
    def choose(self, pool, budget):
        return torch.randperm(len(pool.x))[:budget]


class Greedy(Sampler):
    def choose(self, pool, budget):
        pool.counts[:] += 1
        return torch.arange(budget)


class Forgetless(ScoreSampler):
    def __init__(self):
        self.seen = 0
    def score(self, pool):
        self.seen += 1
        return (torch.arange(len(pool.x)) * self.seen % 7).float()


class NeedsLabels(ScoreSampler):
    def score(self, pool):
        return (pool.x - pool.labelled_x[0]).norm(dim=1)


class Late(Sampler):
    def __init__(self, margin):
        self.margin = margin
"""


@pytest.mark.parametrize("name", mostly_slow(available("clients.samplers", Sampler), "badge"))
def test_what_is_shipped_keeps_every_promise(name):
    verdicts = list(checked(*subject_for(SEAMS["samplers"], name)))
    assert not [(v.promise.name, v.remark) for v in verdicts if v.held is False]
    assert [v.promise.name for v in verdicts if v.held is None] == ["engines"]


@pytest.mark.parametrize(
    ("name", "promise", "words"),
    [
        ("Twice", "picks", "did not pick 7 distinct"),
        ("Global", "deterministic", "draws from (or seeds) a global random generator"),
        ("Greedy", "pure", "pick() changes counts"),
        ("Forgetless", "pure", "remembers something of one client"),
        ("NeedsLabels", "edges", "raised IndexError"),
        ("Late", "constructs", "needs this parameter"),
    ],
)
def test_a_broken_one_is_named_in_plain_words(name, promise, words, tmp_path):
    plug_in = tmp_path / "broken.py"
    plug_in.write_text(BROKEN)
    done = CliRunner().invoke(app, ["check", f"{plug_in}:{name}"])
    assert done.exit_code == 1
    lines = [line for line in done.output.splitlines() if line.startswith(f"✗ {promise}")]
    assert len(lines) == 1
    assert words in lines[0]


def test_parameters_can_be_given(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["check", "margin", "sampler.selector=both"])
    assert done.exit_code == 0, done.output
    wrong = CliRunner().invoke(app, ["check", "margin", "sampler.selectr=both"])
    assert wrong.exit_code == 2
    assert "did you mean 'sampler.selector'?" in wrong.output
    missing = tmp_path / "no.py"
    assert CliRunner().invoke(app, ["check", f"{missing}:No"]).exit_code == 2
