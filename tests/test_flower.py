"""What fedkd relies on and Flower does not document; checked on the versions below.

A newer Flower fails here first: see what has changed, then add its version to `CHECKED`,
``constraints.txt`` and the range in ``setup.cfg``.
"""

import inspect
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path

import pytest
from flwr.app import Message, RecordDict
from flwr.server.superlink.fleet.vce.backend.raybackend import RayBackend
from flwr.simulation.ray_transport.ray_actor import BasicActorPool
from flwr.supercore.task_identity import TaskIdentity

from fedkd import flower

CHECKED = ("1.41", "1.42")
ROOT = Path(__file__).parents[1]


def test_the_installed_flower_was_checked() -> None:
    assert version("flwr").rpartition(".")[0] in CHECKED


def test_the_range_that_installs_is_what_was_checked() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    (wanted,) = [
        line
        for line in setup["options"]["install_requires"].split()
        if line.startswith("flwr[simulation]")
    ]
    major, minor = CHECKED[-1].split(".")
    assert wanted == f"flwr[simulation]>={CHECKED[0]},<{major}.{int(minor) + 1}"


def test_a_message_needs_an_identity_and_a_process_gets_its_own_back() -> None:
    with pytest.raises((RuntimeError, ValueError)):
        Message(RecordDict(), 7, "train")
    with flower.identity():
        message = Message(RecordDict(), 7, "train.distil")
    assert (message.metadata.run_id, message.metadata.dst_node_id) == (flower.RUN_ID, 7)
    with pytest.raises((RuntimeError, ValueError)):
        assert TaskIdentity.run_id


def test_a_grid_writes_the_id_where_replies_find_it() -> None:
    with flower.identity():
        message = Message(RecordDict(), 7, "query.hello")
        assert message.metadata.message_id == ""
        given = flower.stamp(message)
        reply = flower.error_reply(message, "no")
    assert message.metadata.message_id == given == reply.metadata.reply_to_message_id


def test_the_backend_hands_out_what_ends_its_actors() -> None:
    assert [*inspect.signature(RayBackend.build).parameters] == ["self", "app_fn"]
    assert [*inspect.signature(RayBackend.terminate).parameters] == ["self"]
    made = inspect.getsource(BasicActorPool.__init__) + inspect.getsource(RayBackend)
    for attribute in ("self.pool", "self._future_to_actor"):
        assert attribute in made
