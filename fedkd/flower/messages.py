"""Messages: building and stamping them outside of Flower's own processes."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from flwr.app import Error, Message
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

RUN_ID = 1


def new_run() -> Run:
    """Return the description of a run, as Flower's grids carry it."""
    return Run.create_empty(run_id=RUN_ID)


@contextmanager
def identity() -> Iterator[None]:
    """Let this process build messages, and restore its previous identity afterwards."""
    names = ("_task_id", "_run_id", "_node_id")
    before = {name: getattr(TaskIdentity, name) for name in names}
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, RUN_ID, SUPERLINK_NODE_ID
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(TaskIdentity, name, value)


def stamp(message: Message) -> str:
    """Give a message a fresh id, as a grid must when it is pushed."""
    message_id = str(uuid4())
    message.metadata.__dict__["_message_id"] = message_id
    return message_id


def error_reply(message: Message, reason: str) -> Message:
    """Return the reply of a ClientApp that raised."""
    return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)


def no_reply(message: Message, reason: str) -> Message:
    """Return what stands for the reply of a node that has not answered in time."""
    return Message(Error(ErrorCode.REPLY_MESSAGE_UNAVAILABLE, reason), reply_to=message)


def unanswered(message: Message) -> bool:
    """Tell whether a message stands for a reply that did not come in time."""
    return bool(message.has_error() and message.error.code == ErrorCode.REPLY_MESSAGE_UNAVAILABLE)


def lost(message: Message) -> bool:
    """Tell whether a message stands for a reply that Flower's backend could not get.

    A ClientApp that raised has replied; one whose process died has not.
    """
    return bool(message.has_error() and message.error.code == ErrorCode.UNKNOWN)
