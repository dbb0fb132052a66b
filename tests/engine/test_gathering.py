"""Calls that take turns: who meets whom, in which order, with which random numbers and clock."""

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from fedkd.engine.gathering import gathered, meet, seconds
from fedkd.engine.placement import place, place_stacks, stack_size
from fedkd.rng import Globals, scoped


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())  # those that other tests left may end meanwhile
    yield
    assert set(threading.enumerate()) <= before


def test_those_with_one_key_meet_and_go_on_in_order() -> None:
    seen: list[Any] = []

    def work(items: list[int]) -> list[int]:
        seen.append(items)
        return [10 * item for item in items]

    def call(k: int) -> int:
        first = meet("even" if k % 2 == 0 else "odd", k, work)
        seen.append(k)
        return first + (meet("again", k, work) if k > 2 else 0)

    assert gathered([lambda k=k: call(k) for k in range(5)]) == [0, 10, 20, 60, 80]
    assert seen == [[0, 2, 4], [1, 3], 0, 1, 2, 3, 4, [3, 4]]


def test_only_one_call_runs_at_a_time() -> None:
    running, most = [], []

    def call(k: int) -> None:
        for _ in range(3):
            running.append(k)
            most.append(len(running))
            time.sleep(0.001)
            running.remove(k)
            meet("all", k, lambda items: items)

    gathered([lambda k=k: call(k) for k in range(4)])
    assert set(most) == {1}


def test_alone_there_is_nobody_to_meet() -> None:
    assert meet("all", 3, lambda items: [len(items)]) == 1
    assert gathered([]) == []


def draws() -> list[float]:
    return [random.random(), float(np.random.rand()), torch.rand(()).item()]


def test_each_call_keeps_its_own_global_generators() -> None:
    def call(k: int) -> list[float]:
        with scoped(k):
            first = draws()
            meet("all", k, lambda items: items)
            return first + draws()

    alone = [call(k) for k in range(3)]
    before = Globals.now()
    assert gathered([lambda k=k: call(k) for k in range(3)]) == alone
    assert Globals.now().same(before)
    assert torch.get_deterministic_debug_mode() == before.strictness


def test_one_that_raises_leaves_the_others_to_finish() -> None:
    done = []

    def call(k: int) -> None:
        if k == 1:
            raise KeyError("early")
        meet("all", k, lambda items: items)
        done.append(k)

    with pytest.raises(KeyError, match="early"):
        gathered([lambda k=k: call(k) for k in range(3)])
    assert done == [0, 2]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_work_that_raises_ends_all_calls(error: type[BaseException]) -> None:
    past, before = [], Globals.now()

    def work(items: list[int]) -> list[int]:
        raise error

    def call(k: int) -> None:
        with scoped(k):
            with contextlib.suppress(Exception):  # as a client's app does
                meet("all", k, work)
            past.append(k)

    with pytest.raises(error):
        gathered([lambda k=k: call(k) for k in range(3)])
    assert not past
    assert Globals.now().same(before)


def test_the_clock_counts_a_share_of_common_work_and_no_waiting() -> None:
    def work(items: list[int]) -> list[int]:
        time.sleep(0.4)
        return items

    def call(k: int) -> float:
        began = seconds()
        time.sleep(0.1 * k)
        meet("all", k, work)
        return seconds() - began

    began = time.perf_counter()
    spent = gathered([lambda k=k: call(k) for k in range(4)])
    wall = time.perf_counter() - began
    assert sum(spent) <= wall
    assert all(own >= 0.1 + 0.1 * k for k, own in enumerate(spent))


def test_stacks_are_made_of_neighbours_wherever_they_live() -> None:
    sizes = [5, 1, 1, 9, 2, 2, 2]
    for actors in (1, 2, 3, 9):
        placed = place_stacks(sizes, actors, 3)
        assert sorted(k for clients in placed for k in clients) == list(range(7))
        for clients in placed:
            assert all(
                set(range(k // 3 * 3, k // 3 * 3 + 3)) & {*range(7)} <= {*clients} for k in clients
            )
        assert place_stacks(sizes, actors, 1) == place(sizes, actors)
    assert [stack_size(c, 10, 4) for c in ("off", "1", "7", "auto")] == [1, 1, 7, 3]
    assert stack_size("auto", 100_000, 4) == 256
