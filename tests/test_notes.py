"""What changes nothing with a method, or spoils it, is refused or named in a note: never silent."""

import re
from typing import Any

import pytest
from support import TINY

from fedkd import simulate
from fedkd.callbacks import Callback
from fedkd.errors import ConfigError

ONE_ROUND: dict[str, Any] = TINY | {"clients": 3, "rounds": 1, "model": "mlp"}

SETTINGS: dict[str, Any] = {
    "objective": "js",
    "objective.temperature": 3.0,
    "distil.temperature": 2.0,
    "distil.epochs": 2,
    "distil.batch_size": 8,
    "distil.lr": 0.01,
    "transfer.per_round": 30,
    "compress": "float16",
    "attack": "lma",
    "guard": "kd3",
    "sampler": "badge",
    "oracle": "noisy",
}
LABELS = ["sampler", "oracle"]
TAUGHT = [key for key in SETTINGS if key.startswith(("objective", "distil"))]

OWN = "a temperature of its own, or none"
DEAF = "takes no notice of it with a teacher of logits"


class Noting(Callback):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def on_run_start(self, run: Any) -> None:
        self.notes = [note for note in run.notes if "nothing:" in note or "compress" in note]


def outcome(strategy: str, **more: Any) -> tuple[str, list[str]]:
    noting = Noting()
    result = simulate(strategy, callbacks=[noting], **ONE_ROUND | more)
    return result.summary["digest"], noting.notes


@pytest.mark.parametrize(
    ("strategy", "idle"),
    [
        ("fedavg", [*TAUGHT, *LABELS, "transfer.per_round"]),
        ("feddf", TAUGHT),
        ("local", list(SETTINGS)),
        ("fedmd", ["objective.temperature"]),
        ("dafkd", ["distil.temperature"]),
    ],
)
def test_what_changes_nothing_is_named(strategy: str, idle: list[str]) -> None:
    plain, none = outcome(strategy)
    digest, notes = outcome(strategy, **{key: SETTINGS[key] for key in idle})
    assert none == []
    assert digest == plain
    for key in idle:
        assert [note for note in notes if f"{key}={SETTINGS[key]}" in note], (key, notes)


WARM = {"name": "linear", "start": 4, "end": 1}
NOTHING = {"name": "linear", "start": 0, "end": 0}


@pytest.mark.parametrize(
    ("key", "value"), [("distil.epochs", 0), ("distil.weight", 0), ("distil.weight", NOTHING)]
)
def test_what_is_not_taught_is_named(key: str, value: Any) -> None:
    idle = {"guard": "kl_dp", "objective": "taid", "distil.lr": 0.01}
    plain, none = outcome("knfu", **{key: value})
    digest, notes = outcome("knfu", **{key: value}, **idle)
    assert digest == plain
    assert none == []
    (note,) = notes
    named = "objective=taid, distil.lr=0.01 and guard=kl_dp change nothing"
    why = r"with distil\.\w+=.*0}? clients learn from no teacher on transfer samples"
    assert re.fullmatch(f"{named}: {why}", note)


@pytest.mark.parametrize(
    ("key", "value"),
    [("distil.weight", 0.3), ("distil.weight", WARM), ("distil.temperature", WARM)],
)
def test_what_no_epoch_uses_is_refused(key: str, value: Any) -> None:
    problem = "has no effect: with distil.epochs=0 clients learn from no teacher"
    with pytest.raises(ConfigError, match=rf"^{key}=.*: {problem}"):
        outcome("fedmd", **{"distil.epochs": 0, key: value})


def test_parameters_of_no_guard_are_named() -> None:
    _, notes = outcome("knfu", **{"guard.tau": 0.5, "privacy.clip": 2.0})
    assert "guard.tau=0.5 changes nothing: there is no guard" in notes
    assert "privacy.clip=2.0 changes nothing: there is no privacy" in notes


def test_the_reason_stands_in_one_line() -> None:
    _, notes = outcome("fedmd", **{"distil.temperature": 3, "objective.temperature": 2})
    assert notes == [
        f"distil.temperature=3.0 changes nothing: objective l1 has {OWN}",
        f"objective.temperature=2 changes nothing: objective l1 {DEAF}",
    ]
    _, notes = outcome("fedavg", **{"distil.epochs": 3, "distil.lr": 0.1, "objective": "js"})
    settings = "objective=js, distil.epochs=3 and distil.lr=0.1"
    assert notes == [f"{settings} change nothing: fedavg teaches its clients parameters"]


@pytest.mark.parametrize("key", [*TAUGHT, "transfer.per_round", "compress", "attack"])
def test_what_changes_something_is_not(key: str) -> None:
    digest, notes = outcome("knfu", **{key: SETTINGS[key]})
    assert notes == []
    assert digest != outcome("knfu")[0]


@pytest.mark.parametrize("strategy", ["fedavg", "local", "fd", "fedproto"])
def test_nobody_mixes_samples_that_nobody_looks_at(strategy: str) -> None:
    with pytest.raises(ConfigError, match=rf"^transfer\.mixup=0\.5: mixes .* {strategy} uses none"):
        outcome(strategy, **{"transfer.mixup": 0.5})


def test_a_server_that_looks_at_mixed_samples_may_have_them() -> None:
    assert outcome("feddf", **{"transfer.mixup": 0.5})[0] != outcome("feddf")[0]


@pytest.mark.parametrize(
    ("strategy", "objective", "codec", "said"),
    [
        ("fedmd", "l1", {"name": "topk", "k": 3}, "keeps 3 of 10 numbers a row .*objective=l1 "),
        ("fedmd", "mse", {"name": "topk", "k": 8}, "objective=topkld does not"),
        ("knfu", "kl", {"name": "topk", "k": 3}, "clients learn that they are equal"),
        ("knfu", {"name": "topkld", "k": 5}, {"name": "topk", "k": 3}, "with more, or"),
        ("knfu", {"name": "topkld", "k": 3}, {"name": "topk", "k": 3}, None),
        ("fedmd", "l1", {"name": "topk", "k": 9}, None),
        ("fedmd", "l1", {"name": "topk", "k": 3, "up": False, "down": False}, None),
        ("fedmd", "l1", "float16", None),
        ("fedmd", "l1", "quantised", None),
    ],
)
def test_what_a_codec_makes_equal_is_not_learnt_in_silence(
    strategy: str, objective: Any, codec: Any, said: str | None
) -> None:
    _, notes = outcome(strategy, objective=objective, compress=codec)
    found = [note for note in notes if note.startswith("compress=")]
    assert len(found) == (said is not None)
    assert all(re.search(str(said), note) and "\n" not in note for note in found)
