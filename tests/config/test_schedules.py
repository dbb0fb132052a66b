"""Numbers over rounds: their maths, how they are given, and what is refused."""

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedkd.config import RunConfig
from fedkd.config.overrides import compose, merge, sweep
from fedkd.config.schedule import SCHEDULES, Schedule, Step
from fedkd.errors import ConfigError

TEMPERATURE = "distil.temperature"
WARM = "{name: linear, start: 4, end: 1}"
numbers = st.floats(1e-3, 1e3)


def made(name: str, **parameters: Any) -> Schedule:
    return SCHEDULES[name](**parameters)


@pytest.mark.parametrize(
    ("name", "more", "expected"),
    [
        ("linear", {}, [8.0, 6.5, 5.0, 3.5, 2.0]),
        ("cosine", {}, [8.0, 5 + 3 / math.sqrt(2), 5.0, 5 - 3 / math.sqrt(2), 2.0]),
        ("exponential", {}, [8.0, 4 * math.sqrt(2), 4.0, 2 * math.sqrt(2), 2.0]),
        ("step", {"every": 2}, [8.0, 8.0, 5.0, 5.0, 2.0]),
        ("step", {"every": 3}, [8.0, 8.0, 8.0, 2.0, 2.0]),
    ],
)
def test_five_rounds_by_hand(name: str, more: Any, expected: list[float]) -> None:
    schedule = made(name, start=8.0, end=2.0, rounds=5, **more)
    assert [schedule.at(number) for number in range(1, 6)] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
@given(numbers, numbers, st.integers(2, 60), st.integers(1, 59))
def test_it_leads_from_start_to_end_and_stays_there(
    name: str, start: float, end: float, rounds: int, every: int
) -> None:
    more = {"every": min(every, rounds - 1)} if SCHEDULES[name] is Step else {}
    schedule = made(name, start=start, end=end, rounds=rounds, **more)
    found = [schedule.at(number) for number in range(1, rounds + 3)]
    assert found[0] == start
    assert found[rounds - 1 :] == [end] * 3
    assert all(min(start, end) <= one <= max(start, end) for one in found)
    steps = pairwise(found)
    assert all((b - a) * (end - start) >= -1e-9 * max(start, end) ** 2 for a, b in steps)


def read(*overrides: str) -> Any:
    return compose(overrides).distil.temperature


def test_a_schedule_is_given_whole_or_in_parts() -> None:
    whole = {"name": "linear", "start": 4, "end": 1}
    parts = (f"{TEMPERATURE}.start=4", f"{TEMPERATURE}.end=1", f"{TEMPERATURE}.name=linear")
    assert read(f"{TEMPERATURE}={WARM}") == read(*parts) == whole
    assert merge(RunConfig(), distil={"temperature": whole}).distil.temperature == whole
    warm = merge(RunConfig(), **{TEMPERATURE: whole})
    assert merge(warm, **{f"{TEMPERATURE}.end": 2}).distil.temperature == whole | {"end": 2}
    other = {"name": "step", "start": 2, "end": 1}
    assert merge(warm, **{TEMPERATURE: other}).distil.temperature == other
    assert merge(warm, **{TEMPERATURE: 3}).distil.temperature == 3.0
    assert (
        read(f"{TEMPERATURE}={WARM}", f"{TEMPERATURE}.rounds=5", f"~{TEMPERATURE}.rounds") == whole
    )
    runs = sweep([f"{TEMPERATURE}={WARM},2", "seed=0"])
    assert [read(*run) for run in runs] == [whole, 2.0]


def test_a_number_is_as_it_was() -> None:
    assert isinstance(read(f"{TEMPERATURE}=3"), float)
    assert read("distil.temperature=${fit.lr}") == RunConfig().fit.lr
    assert (RunConfig().distil.temperature, RunConfig().distil.weight) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("key", "given", "words"),
    [
        (TEMPERATURE, "0", r"temperature=0\.0: must be greater than 0 and finite"),
        (TEMPERATURE, "inf", r"temperature=inf: must be greater than 0 and finite"),
        (TEMPERATURE, "nan", r"temperature=nan: must be greater than 0 and finite"),
        (TEMPERATURE, "hot", r"temperature=hot: must be a number, or a schedule such as \{name"),
        (TEMPERATURE, "true", r"temperature=true: must be a number, or a schedule"),
        (TEMPERATURE, "null", r"temperature=null: must be a number, or a schedule"),
        (TEMPERATURE, "[4,1]", r"temperature=\[4, 1\]: must be a number, or a schedule"),
        (TEMPERATURE, "{}", r"temperature.name=null: must be given \(allowed: cosine, exp"),
        (TEMPERATURE, "{name: linar, start: 4, end: 1}", r"such schedule; did you mean 'linear'\?"),
        (TEMPERATURE, "{name: 3, start: 4, end: 1}", r"temperature.name=3: no such schedule"),
        (TEMPERATURE, "{name: linear, start: 4}", r"temperature.end=null: linear needs this"),
        (TEMPERATURE, "{name: linear, start: 4, end: 0}", r"temperature.end=0: must be greater"),
        (TEMPERATURE, "{name: linear, start: 4, end: x}", r"temperature.end=x: must be a number"),
        (TEMPERATURE, "{name: linear, start: 4, edn: 1}", r"did you mean 'distil.temperature.end'"),
        (
            TEMPERATURE,
            "{name: linear, start: 4, end: 1, rounds: 0}",
            r"rounds=0: must be at least 1",
        ),
        (TEMPERATURE, "{name: linear, start: 4, end: 1, rounds: 1.5}", r"must be an integer"),
        (TEMPERATURE, "{name: step, start: 4, end: 1, every: 0}", r"every=0: must be at least 1"),
        (TEMPERATURE, "{start: 4, end: 1}", r"start=4: is a schedule's, and there is none; give"),
        ("distil.weight", "-1", r"weight=-1\.0: must be at least 0 and finite"),
        (
            "distil.weight",
            "{name: exponential, start: 0, end: 1}",
            r"weight.start=0: must be greater than 0: exponential multiplies",
        ),
    ],
)
def test_what_is_no_schedule_is_refused(key: str, given: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        compose([f"{key}={given}"])


def test_steps_that_never_come_are_refused() -> None:
    config = compose([f"{TEMPERATURE}={{name: step, start: 4, end: 1, every: 10}}"])
    with pytest.raises(ConfigError, match=r"every=10: lasts for all 10 rounds, so nothing changes"):
        config.distil.over(10)
    assert config.distil.over(11).temperature_at(11) == 1.0
