"""Randomness: one stream for everything, and no global generator read or moved."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fedkd
from fedkd.callbacks import Callback, RoundRecord, RunInfo
from fedkd.rng import SERVER, numpy_state, put_numpy_back, scoped, stream, torch_generator

numbers = st.integers(0, 2**31)
phases = st.sampled_from(["fit", "distil", "model", "global.fit", "cohort", "transfer"])
streams = st.tuples(numbers, st.one_of(numbers, st.just(SERVER)), st.integers(0, 10_000), phases)


def test_streams_are_pinned() -> None:
    """Results of older versions are reproducible only as long as these hold."""
    assert stream(0, 0, 1, "fit") == 8435152177302914861
    assert stream(0, SERVER, 1, "cohort") == 8405452614548466153
    assert stream(7, 3, 2, "distil") == 8480686104219575977


@given(streams, streams)
def test_streams_are_stable_and_apart(one: tuple, two: tuple) -> None:
    assert stream(*one) == stream(*one)
    assert 0 <= stream(*one) < 2**63
    assert (stream(*one) == stream(*two)) == (one == two)


def test_neighbouring_streams_are_not_correlated() -> None:
    """Draws of many clients' streams, as one sample: uniform, and no two alike."""
    draws = torch.stack(
        [torch.rand(50, generator=torch_generator(stream(0, k, 1, "fit"))) for k in range(200)]
    ).double()
    assert draws.mean().item() == pytest.approx(0.5, abs=0.02)
    between = np.corrcoef(draws.numpy())
    np.fill_diagonal(between, 0)
    assert np.abs(between).max() < 0.8
    assert np.abs(between.mean()) < 0.01


def test_a_seed_does_not_alias_a_client() -> None:
    found = {stream(s, c, r, "fit") for s in range(8) for c in range(8) for r in range(8)}
    assert len(found) == 512


State = tuple[Any, Any, Any]


def states() -> State:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def same(one: State, two: State) -> bool:
    np_one, np_two = one[1], two[1]
    return (
        one[0] == two[0]
        and all(np.array_equal(a, b) for a, b in zip(np_one, np_two, strict=True))
        and torch.equal(one[2], two[2])
    )


def draw() -> tuple[float, float, float, float]:
    gauss = np.random.normal()
    return random.random(), np.random.rand(), torch.rand(1).item(), gauss


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**63 - 1))
def test_scoped_is_reproducible_and_restores(seed: int) -> None:
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    draw()
    before = states()
    with scoped(seed):
        first = draw()
        with scoped(seed + 1):
            other = draw()
        following = draw()
    assert same(states(), before)
    with scoped(seed):
        assert draw() == first
        assert draw() == following
    assert other != first
    assert same(states(), before)


def test_scoped_restores_after_an_exception() -> None:
    before = states()

    def fails() -> None:
        with scoped(5):
            draw()
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert same(states(), before)


def test_generators_are_their_own() -> None:
    before = states()
    one, two = torch_generator(9), torch_generator(9)
    assert torch.equal(torch.rand(3, generator=one), torch.rand(3, generator=two))
    assert same(states(), before)


def scramble(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    draw()


class Scrambler(Callback):
    """Turns the global generators wherever a callback is heard."""

    def __init__(self) -> None:
        self.calls = 0

    def _scramble(self) -> None:
        self.calls += 1
        scramble(self.calls * 7919)

    def on_run_start(self, run: RunInfo) -> None:
        self._scramble()

    def on_phase(self, round_: int, phase: str, done: int, total: int) -> None:
        self._scramble()

    def on_round(self, record: RoundRecord) -> None:
        self._scramble()


SETTINGS: dict[str, Any] = {
    "clients": 5,
    "rounds": 2,
    "fraction": 0.8,
    "engine": "inline",
    "transfer": {"per_round": 40},
}


@pytest.mark.parametrize("strategy", ["knfu", "fedmd", "local", "fedavg"])
def test_a_run_neither_moves_nor_reads_the_global_generators(strategy: str) -> None:
    scramble(42)
    before = states()
    result = fedkd.simulate(strategy, **SETTINGS)
    assert same(states(), before)
    scramble(43)
    scrambler = Scrambler()
    again = fedkd.simulate(strategy, callbacks=[scrambler], **SETTINGS)
    assert scrambler.calls > 10
    assert again.summary["digest"] == result.summary["digest"]
    assert again.summary["alma_local"] == result.summary["alma_local"]
    assert again.clients.to_pydict() == result.clients.to_pydict()
    before = states()
    result.model(0)
    assert same(states(), before)


class Dropping(torch.nn.Sequential):
    """A model that draws from the global generator while it trains."""

    def __init__(self) -> None:
        super().__init__(
            torch.nn.Flatten(),
            torch.nn.Linear(64, 16),
            torch.nn.Dropout(0.5),
            torch.nn.Linear(16, 10),
        )


def test_a_model_with_dropout_is_reproducible_too() -> None:
    scramble(1)
    before = states()
    result = fedkd.simulate("knfu", model=Dropping, **SETTINGS)
    assert same(states(), before)
    again = fedkd.simulate("knfu", model=Dropping, callbacks=[Scrambler()], **SETTINGS)
    assert again.summary["digest"] == result.summary["digest"]


class Strict(torch.nn.Linear):
    """Refuses to compute where torch is not asked for deterministic algorithms."""

    def __init__(self) -> None:
        super().__init__(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert torch.are_deterministic_algorithms_enabled()
        return super().forward(x.flatten(start_dim=1))


def test_clients_compute_with_deterministic_algorithms_and_the_process_keeps_its_choice() -> None:
    assert not torch.are_deterministic_algorithms_enabled()
    fedkd.simulate("knfu", model=Strict, **SETTINGS)
    assert not torch.are_deterministic_algorithms_enabled()


def test_clients_draw_from_streams_of_their_own() -> None:
    """Client k's path does not depend on who else is there: Local with 3 or with 5 clients."""
    data = {"data.alpha": None, "data.samples_per_client": 12}
    models = [
        fedkd.simulate("local", clients=n, rounds=1, engine="inline", fit={"epochs": 0}, **data)
        for n in (3, 5)
    ]
    for client in range(3):
        one, two = (result.model(client).state_dict() for result in models)
        assert all(torch.equal(one[name], two[name]) for name in one)


def numpys() -> list[Any]:
    return [np.asarray(part).tolist() for part in np.random.get_state()]


@given(st.integers(0, 2**32 - 1), st.integers(0, 1300), st.integers(0, 3))
def test_numpys_state_is_saved_and_put_back_to_the_last_number(seed, uniform, normal) -> None:
    """Also inside its block of words, and where of a pair of normal numbers one is left over."""
    outside = np.random.get_state()
    try:
        np.random.seed(seed)
        np.random.random(uniform)
        np.random.normal(size=normal)
        before = numpys()
        saved = numpy_state()
        assert numpys() == before
        np.random.seed(1)
        np.random.normal(size=normal + 1)
        put_numpy_back(saved)
        assert numpys() == before
    finally:
        np.random.set_state(outside)


def test_another_generator_of_numpys_is_put_back_too() -> None:
    own = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(np.random.PCG64(3))
        with scoped(1):
            np.random.normal(size=3)
        assert np.random.random() == np.random.Generator(np.random.PCG64(3)).random()
    finally:
        np.random.set_bit_generator(own)
