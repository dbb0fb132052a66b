"""`fedkd check`: what is shipped keeps every promise, and what is broken is named."""

from pathlib import Path

import pytest
import torch
from support import mostly_slow, slow
from typer.testing import CliRunner

from fedkd.check.checking import line, subject_of
from fedkd.check.promises import Promise, Skipped, checked
from fedkd.check.strategies import SUITE
from fedkd.check.strategies.stacks import drawn, permuted
from fedkd.cli.app import app
from fedkd.knowledge import stack, to_record
from fedkd.knowledge.admission import Expected, admit
from fedkd.plugins import available
from fedkd.rounds.protocol import Strategy

ROOT = Path(__file__).parents[1]
BROKEN = Path(__file__).parent / "plugins" / "broken.py"
EXAMPLES = ROOT / "experiments" / "plugins"
PROMISES = {promise.name: promise for promise in SUITE}


def verdicts(target, *overrides, **options):
    subject = subject_of(str(target), overrides, sizes=(20,), **options)
    return {verdict.promise.name: verdict for verdict in checked(subject, SUITE)}


@pytest.mark.parametrize("name", mostly_slow(available("strategies", Strategy), "fedproto"))
def test_what_is_shipped_keeps_every_promise(name):
    found = verdicts(name)
    assert not [str(line(verdict)) for verdict in found.values() if verdict.held is False]
    assert found["constructs"].held
    assert found["resumes"].held


@pytest.mark.parametrize(
    "target",
    ["knfu", slow(f"{EXAMPLES}/median.py:Median"), slow(f"{EXAMPLES}/nearest.py:Nearest")],
)
def test_nothing_is_skipped_that_applies(target):
    found = verdicts(target)
    assert [name for name, verdict in found.items() if not verdict.held] == ["engines"]


@pytest.mark.slow
def test_a_method_with_a_round_of_its_own_is_judged_by_its_runs():
    held = {name for name, verdict in verdicts("fedavg").items() if verdict.held}
    assert held == {"constructs", "exchange", "newcomers", "hostile", "resumes"}
    held = {name for name, verdict in verdicts("local").items() if verdict.held}
    assert held == {"constructs", "exchange", "resumes"}
    held = {name for name, verdict in verdicts("fedprox").items() if verdict.held}
    assert held == {"constructs", "exchange", "newcomers", "hostile", "resumes", "parameters"}


@pytest.mark.parametrize(
    ("promise", "name", "words"),
    [
        ("constructs", "NoDefault", "strategy.beta=null: "),
        ("exchange", "Telepathy", "no such exchange"),
        ("shapes", "OneClassLess", "got [5, 9], expected [5, 10] or [1, 5, 10]"),
        ("shapes", "Prose", "returned a str, not a Tensor"),
        ("shapes", "Raises", "raised ZeroDivisionError: oops (broken.py, line "),
        ("values", "BelowZero", "fuse() simplex: smallest entry is -0.2"),
        ("values", "TooHeavy", "weights() simplex: a row sums to 1 ± 1"),
        ("permutation", "Favourite", "the shared teacher changes when clients change places, by "),
        ("permutation", "Swapped", "teachers do not move along when clients change places, by "),
        ("single", "Lonely", "fuse() finite: contains NaN or infinity"),
        ("absent", "ByRow", "client 1 is taught otherwise under another number, by "),
        ("absent", "Greedy", "raised AssertionError: who is missing?"),
        ("newcomers", "Forgotten", "client 3, new in round 3, does as it would alone; send what"),
        (
            "newcomers",
            "Stale",
            "client 1, back in round 3, hears nothing of round 2, as client 0 does",
        ),
        ("newcomers", "Intrusive", "client 1 was absent from a round, and its arrays."),
        ("hostile", "Trusting", "client 0 in round 2; rejected: nobody"),
        ("hostile", "Greedy", None),
        ("deterministic", "Noisy", "draws from (or seeds) a global random generator"),
        ("deterministic", "Seeding", "draws from (or seeds) a global random generator"),
        ("deterministic", "Clock", "the same input gave two teachers, "),
        ("pure", "Vandal", "changes its input: values"),
        ("pure", "Diary", "changes self.state['last']; do that in refine()"),
        ("pure", "Counting", "remembers something"),
        ("per_sample", "NotPerSample", "when fused in blocks of 256"),
        ("resumes", "Forgetful", "keep in self.state what the next round needs"),
        ("parameters", "Decorated", "strategy.spare changes nothing (tried "),
        ("parameters", "Honest", None),
    ],
)
def test_what_is_broken_is_named(promise, name, words):
    verdict = PROMISES[promise].judge(subject_of(f"{BROKEN}:{name}"))
    if words is None:  # it breaks another promise, and not this one
        assert verdict.held
    else:
        assert verdict.held is False
        assert words in verdict.remark
        assert "\n" not in verdict.remark


def test_a_slow_fusion_is_named():
    subject = subject_of(f"{BROKEN}:Slow", sizes=(4, 8), seconds=0.1)
    verdict = PROMISES["costs"].judge(subject)
    assert verdict.held is False
    assert verdict.remark.endswith("more than 0.1 s")
    subject = subject_of(f"{BROKEN}:Slow", sizes=(4, 8), seconds=0.3)
    verdict = PROMISES["costs"].judge(subject)
    assert verdict.held
    assert "8 clients not tried: at least 0." in verdict.remark


@pytest.mark.parametrize("name", PROMISES)
def test_the_mean_keeps_every_promise(name):
    """So what the tests above find is what was broken, and not more."""
    verdict = PROMISES[name].judge(subject_of(f"{BROKEN}:Mean", sizes=(10,)))
    assert verdict.held is (None if name == "engines" else True), verdict.remark


def test_without_a_vital_promise_the_rest_is_not_tested():
    found = verdicts(f"{BROKEN}:Telepathy")
    assert [name for name, verdict in found.items() if verdict.held is False] == ["exchange"]
    rest = list(found.values())[2:]
    assert {verdict.remark for verdict in rest} == {"not tested, see exchange"}


def test_parameters_may_be_given():
    subject = subject_of(f"{BROKEN}:NoDefault", ["strategy.beta=2"])
    assert PROMISES["constructs"].judge(subject).held


@pytest.mark.slow
def test_with_them_every_promise_is_kept():
    found = verdicts("fedmd", "strategy.exchange=soft_labels", "model=lenet5")
    assert "soft_labels" in found["exchange"].remark
    assert not [name for name, verdict in found.items() if verdict.held is False]


@pytest.mark.slow
def test_engines_are_compared_on_request():
    verdict = PROMISES["engines"].judge(subject_of("knfu", engines=True))
    assert verdict.held, verdict.remark


# -- the command ---------------------------------------------------------------------------------


def fedkd(*args):
    done = CliRunner().invoke(app, ["check", *args])
    return done.exit_code, done.output


def test_a_sound_plug_in_ends_with_0():
    code, output = fedkd("fedavg")
    assert code == 0
    lines = output.splitlines()
    assert len(lines) == len(SUITE) + 2
    assert lines[0] == "fedavg (strategies)"
    assert lines[-1].startswith("5 hold, 0 broken, 11 skipped, ")


def test_a_broken_one_ends_with_1():
    code, output = fedkd(f"{BROKEN}:NoDefault")
    assert code == 1
    assert "✗ constructs" in output
    assert "0 hold, 1 broken, 15 skipped" in output


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["knf"], "did you mean 'knfu'?"),
        ([f"{BROKEN}:Nothing"], "has no 'Nothing'"),
        ([f"{BROKEN.parent}/probe.py:NotAClass"], "is a int, not a class"),
        (["nowhere.py:Thing"], "there is no file"),
        (["knfu", "roundz=3"], "roundz=3: unknown key"),
    ],
)
def test_bad_input_is_one_line_and_ends_with_2(args, words):
    code, output = fedkd(*args)
    assert code == 2
    assert words in output
    assert len(output.strip().splitlines()) == 1


def test_help_has_examples():
    code, output = fedkd("--help")
    assert code == 0
    assert "fedkd check ./median.py:Median" in output


def test_a_terminal_without_ticks_gets_words():
    verdict = PROMISES["constructs"].judge(subject_of("local"))
    assert str(line(verdict, "ascii")).startswith("ok constructs")
    assert str(line(verdict)).startswith("✓ constructs")


# -- its means -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["soft_labels", "logits", "class_knowledge", "parameters"])
@pytest.mark.parametrize("more", [False, True])
def test_what_is_drawn_would_be_admitted(kind, more):
    rows = 12 if kind in ("soft_labels", "logits") else 5
    ids = torch.arange(rows if kind in ("soft_labels", "logits") else 0)
    shape = (7,) if kind == "parameters" else (rows, 4)
    extras = {"counts": shape[:1], "size": (1,)} if more else {}
    masked = more and kind != "parameters"
    expected = Expected(3, 1, kind, ids, shape, masked, more and len(ids) > 0, extras)
    for seed in range(5):
        made = drawn(expected, 3, seed)
        got = admit(to_record(made, 1, {}), expected)
        assert torch.equal(got.values, made.values)
        assert made.mask is None or made.mask.sum() > 0


def test_permuted_moves_everything_along():
    expected = Expected(0, 1, "soft_labels", torch.arange(6), (6, 3), True, True, {"n": (1,)})
    whole = stack([drawn(expected, client, client) for client in range(3)])
    moved = permuted(whole, torch.tensor([2, 0, 1]))
    again = stack([drawn(expected, new, old) for new, old in enumerate([2, 0, 1])])
    assert moved.clients == [0, 1, 2]
    for name in ("values", "mask", "scores"):
        assert torch.equal(getattr(moved, name), getattr(again, name))
    assert torch.equal(moved.extras["n"], again.extras["n"])


def test_a_skipped_promise_says_why():
    def test(subject):
        raise Skipped("not today")

    verdict = Promise("p", "claim", test).judge(subject_of("local"))
    assert (verdict.held, verdict.remark) == (None, "not today")


def test_nan_is_one_fault_and_not_three(tmp_path):
    path = tmp_path / "nan.py"
    path.write_text(
        "from fedkd.strategies import FusionStrategy\n"
        "class Lost(FusionStrategy):\n"
        "    def fuse(self, knowledge): return knowledge.values.mean(dim=0) * float('nan')\n"
    )
    subject = subject_of(f"{path}:Lost")
    names = ("values", "deterministic", "pure")
    assert [PROMISES[name].judge(subject).held for name in names] == [False, True, True]


@pytest.mark.parametrize("given", ["strategy.bta=3", "strategy.beta=text"])
def test_what_was_given_is_no_fault_of_the_plug_in(given):
    done = CliRunner().invoke(app, ["check", "knfu", given])
    assert done.exit_code == 2
    assert f"error: {given}: " in done.output
