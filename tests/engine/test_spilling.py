"""Client state over its budget waits on disk, and nobody can tell from the outcome."""

from shutil import rmtree

import pytest
import torch
from flwr.app import Context, RecordDict
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import fedkd
from fedkd import ConfigError, RunError, simulate
from fedkd.callbacks import Callback
from fedkd.config import EngineConfig
from fedkd.engine import spilling
from fedkd.engine.spilling import SpillingState
from fedkd.engine.state import LiveState, Memory

SMALL = {"clients": 6, "rounds": 2, "data.samples_per_client": 20, "transfer.size": 60}
MIXED = {"model": ["mlp", "resnet8"], "fraction": 0.7}


def context(node):
    return Context(1, node, {}, RecordDict(), {})


def build():
    return nn.BatchNorm1d(2)  # floats and an integer


def work(state, node, amount, fails=False):
    """Answer a message as a phase does: load, change, then commit or fail."""
    memory = state.load(context(node), build)
    with torch.no_grad():
        memory.model.weight += amount
        memory.model.num_batches_tracked += 1
    memory.tensors["half"] = torch.full((2, 3), amount, dtype=torch.bfloat16).T
    memory.tensors["tied"] = memory.tensors["half"][0]
    state.rollback(context(node)) if fails else state.commit(context(node), memory)


def all_of(memory):
    return {**memory.model.state_dict(), **memory.tensors}


@given(
    st.lists(st.tuples(st.integers(0, 4), st.floats(-2, 2, width=16), st.booleans()), max_size=20),
    st.integers(1, 300),
)
def test_whatever_happens_it_is_the_live_state(tmp_path_factory, steps, budget):
    live, bounded = LiveState(), SpillingState(budget, tmp_path_factory.mktemp("state"))
    for step in steps:
        work(live, *step)
        work(bounded, *step)
        held = [t.nbytes for memory in bounded.memories.values() for t in all_of(memory).values()]
        assert sum(held) <= budget
    for node in live.memories:
        one, two = (all_of(state.load(context(node), build)) for state in (live, bounded))
        assert list(one) == list(two) or set(one) == set(two)
        for name, value in one.items():
            assert value.dtype == two[name].dtype
            assert torch.equal(value, two[name]), name


def test_one_sweep_after_the_other_finds_who_stayed(tmp_path):
    one = sum(t.nbytes for t in build().state_dict().values())
    state = SpillingState(2 * one, tmp_path)
    for _ in range(3):
        for node in (1, 2, 3):
            state.commit(context(node), state.load(context(node), build))
        assert set(state.memories) == {1, 2}, "only the third client moves"
    (folder,) = tmp_path.iterdir()
    assert [file.name for file in folder.iterdir()] == ["3.safetensors"]
    state.load(context(3), build)
    assert not list(folder.iterdir())
    del state
    assert not folder.exists()


def test_who_is_in_the_middle_of_a_message_stays(tmp_path):
    state = SpillingState(1, tmp_path)
    held = {node: state.load(context(node), build) for node in (1, 2)}
    state.commit(context(1), held[1])
    assert list(state.memories) == [2]
    state.commit(context(2), Memory(held[2].model))
    assert not state.memories


@pytest.mark.parametrize("memory", ["1kB", 100_000])
@pytest.mark.parametrize("settings", [MIXED, {"strategy": "fedavg"}], ids=["mixed", "fedavg"])
def test_the_outcome_is_the_same(settings, memory, monkeypatch):
    expected = simulate(engine="inline", **SMALL | settings).summary["digest"]
    written, save = [], spilling.save_file
    monkeypatch.setattr(spilling, "save_file", lambda *a: (written.append(a[1]), save(*a)))
    engine = {"name": "inline", "state_memory": memory}
    result = simulate(engine=engine, **SMALL | settings)
    assert result.summary["digest"] == expected
    assert written
    assert not (result.run_dir / "state").exists()


def test_a_resumed_run_ends_the_same(tmp_path):
    whole = simulate(engine="inline", **SMALL | MIXED | {"rounds": 3}).summary["digest"]
    engine = {"name": "inline", "state_memory": "1kB"}
    simulate(engine=engine, run_dir=str(tmp_path / "run"), **SMALL | MIXED)
    stale = tmp_path / "run" / "state" / "old" / "1000.safetensors"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of a run that was killed")
    assert fedkd.resume(tmp_path / "run", rounds=3).summary["digest"] == whole
    assert not stale.exists()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("stack", ["off", "4"])
def test_on_ray_with_an_actor_that_dies(stack, reaper):
    inline = {"name": "inline", "stack": stack}
    expected = simulate(engine=inline, **SMALL | {"rounds": 3}).summary["digest"]
    engine = {"name": "ray", "actors": 2, "stack": stack, "state_memory": "1kB"}
    callbacks = [reaper(2, "distil", 0)]
    summary = simulate(engine=engine, callbacks=callbacks, **SMALL | {"rounds": 3}).summary
    assert (summary["digest"], summary["restarts"]) == (expected, 1)


class Vandal(Callback):
    """Takes the disk away from under the second round."""

    def on_run_start(self, run):
        self.folder = run.run_dir / "state"

    def on_round(self, record):
        rmtree(self.folder)


@pytest.mark.parametrize(
    "name", ["inline", pytest.param("ray", marks=[pytest.mark.slow, pytest.mark.timeout(240)])]
)
def test_a_disk_that_fails_ends_the_run(name, tmp_path):
    """As if clients had failed, the run would go on with fewer and fewer of them."""
    engine = {"name": name, "state_memory": "1kB"}
    with pytest.raises(RunError, match=r"client state in .*/state/.* resume the run, or raise en"):
        simulate(engine=engine, callbacks=[Vandal()], run_dir=str(tmp_path / "run"), **SMALL)
    assert fedkd.resume(tmp_path / "run").summary["rounds"] == 2


@pytest.mark.parametrize("value", ["much", 0, -1, "4 parsecs"])
def test_what_is_no_size_is_refused(value):
    with pytest.raises(ConfigError, match=r"engine\.state_memory=.*such as 4GB"):
        EngineConfig(state_memory=value).check()


def test_the_flower_engine_says_that_it_does_not_use_it():
    with pytest.raises(ConfigError, match="is not used by engine=flower"):
        EngineConfig(name="flower", state_memory="4GB").check()
