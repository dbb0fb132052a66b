"""Two nodes of Ray on one machine: the answer is that of one node, also if one of them dies."""

import time
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from fedkd import ConfigError, RunError, simulate
from fedkd.callbacks import Callback
from fedkd.engine.cluster import nodes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SHORT = {"clients": 8, "rounds": 3, "data.samples_per_client": 20, "transfer.size": 300}
STRATEGIES = ("knfu", "fedavg")


@pytest.fixture
def cluster():
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    made.add_node(num_cpus=1)
    made.wait_for_nodes()
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


@pytest.fixture(scope="module")
def inline():
    return {
        strategy: simulate(strategy, engine="inline", **SHORT).summary["digest"]
        for strategy in STRATEGIES
    }


def on(cluster, strategy="knfu", callbacks=(), **engine):
    settings = {"name": "ray", "address": cluster.address, **engine}
    return simulate(strategy, engine=settings, callbacks=callbacks, **SHORT).summary


class Placed(Callback):
    """Notes on which machines the actors are, and may end one of them."""

    def __init__(self, cluster, phase=None):
        self.cluster, self.phase, self.machines = cluster, phase, set()

    def on_phase(self, round_, phase, done, total):
        if not self.machines and done == total:
            self.machines = {actor.node_id for actor in living()}
        if (round_, phase) == (2, self.phase) and done:
            self.phase = None
            self.cluster.remove_node(self.cluster.list_all_nodes()[-1], allow_graceful=False)


def living():
    from ray.util.state import list_actors

    return [actor for actor in list_actors() if actor.state == "ALIVE"]
