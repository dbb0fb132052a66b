"""Two nodes of Ray on one machine: the answer is that of one node, also if one of them dies."""

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.exceptions import GetTimeoutError
from support import LIMIT

from fedkd import RunError, simulate
from fedkd.callbacks import Callback
from fedkd.engine import recovery
from fedkd.engine.raygrid import RayGrid

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SHORT = {"clients": 8, "rounds": 3, "data.samples_per_client": 20, "transfer.size": 300}
STRATEGIES = ("knfu", "fedavg")


@pytest.fixture(scope="module")
def first_machine():
    head = {"num_cpus": 1, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", made.address)  # address=auto is then this one
        yield made
    made.shutdown()


@pytest.fixture
def cluster(first_machine):
    """Return two machines, the second as new if the test before has ended it."""
    if len(first_machine.list_all_nodes()) < 2:
        first_machine.add_node(num_cpus=1)
    first_machine.wait_for_nodes()
    yield first_machine
    ray.shutdown()


@pytest.fixture(scope="module")
def inline():
    return {
        strategy: simulate(strategy, engine="inline", **SHORT).summary["digest"]
        for strategy in STRATEGIES
    }


def on_ray(strategy, callbacks=(), **settings):
    engine = {"name": "ray", "address": "auto"}
    return simulate(strategy, engine=engine, callbacks=callbacks, **SHORT | settings).summary


@pytest.fixture
def machines(monkeypatch):
    """Return the machines that the actors started on."""
    seen = []
    begin = RayGrid.__init__

    def machine(actor):
        return ray.get_runtime_context().get_node_id()

    def note(grid, pool, *more):
        begin(grid, pool, *more)
        asked = [home.actor.__ray_call__.remote(machine) for home in pool.homes]
        seen.extend(ray.get(asked, timeout=LIMIT))

    monkeypatch.setattr(RayGrid, "__init__", note)
    return seen


class Cut(Callback):
    """Ends the second machine when a phase of the second round has had its first reply."""

    def __init__(self, cluster, phase):
        self.cluster, self.phase = cluster, phase

    def on_phase(self, round_, phase, done, total):
        if (round_, phase) == (2, self.phase) and done:
            self.phase = None
            second = self.cluster.list_all_nodes()[-1]
            self.cluster.remove_node(second, allow_graceful=False)


def test_two_machines_give_the_answer_of_one(cluster, inline, machines):
    for strategy in STRATEGIES:
        summary = on_ray(strategy)
        assert (summary["digest"], summary["restarts"]) == (inline[strategy], 0)
    assert len(set(machines[:2])) == len(set(machines[2:])) == 2
    assert ray.is_initialized() is False


@pytest.mark.parametrize(("strategy", "phase"), [("knfu", "distil"), ("fedavg", "train")])
def test_a_machine_dies_and_the_run_does_not(cluster, inline, strategy, phase, monkeypatch):
    monkeypatch.setattr(recovery, "SHARE", 1e9)  # a snapshot every round: one is on that machine
    summary = on_ray(strategy, [Cut(cluster, phase)])
    assert (summary["digest"], summary["restarts"]) == (inline[strategy], 1)


def test_a_snapshot_that_dies_with_its_machine_counts_for_nothing(cluster, inline, monkeypatch):
    monkeypatch.setattr(recovery, "SHARE", 1e9)
    fetch = recovery.fetch

    def late(reference, timeout=None):
        if timeout == 0:  # only the move to another actor waits: the machine is gone by then
            raise GetTimeoutError
        return fetch(reference, timeout)

    monkeypatch.setattr(recovery, "fetch", late)
    summary = on_ray("fedavg", [Cut(cluster, "train")])
    assert (summary["digest"], summary["restarts"]) == (inline["fedavg"], 1)


def test_a_machine_without_the_data_says_so(cluster, tmp_path):
    class Unshared(Callback):
        def on_run_start(self, run):
            (run.run_dir / "split.npz").unlink()

    with pytest.raises(RunError, match=r"split\.npz cannot be opened on .*every machine needs"):
        on_ray("local", [Unshared()], run_dir=str(tmp_path / "run"))
