"""What a client's answer is to a strategy."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass

from flwr.app import Message, RecordDict

from ..errors import RunError
from ..faults import Fault

log = logging.getLogger("fedkd")


@dataclass(frozen=True)
class Reply:
    """One client's answer: its content, or why there is none."""

    client: int
    content: RecordDict | None
    error: str | None = None
    message: Message | None = None
    """as it came in, also where the content was not let through"""
    fault: str | None = None
    """kind of the simulated fault that took it, if one did"""

    @property
    def ok(self) -> RecordDict:
        """The content, where there is one."""
        if self.content is None:
            raise RunError(self.error or "no reply")
        return self.content


def read(client: int, answers: Sequence[Message], fault: Fault | None) -> Reply:
    """Return what comes of a client's answers to one message."""
    first = answers[0]
    if len(answers) > 1:  # which one came first is a matter of chance, so none is taken
        return Reply(client, None, f"duplicate: {len(answers)} replies to one message", first)
    if first.has_error():
        simulated = fault is not None and fault.kind == "crashed"
        error = cause(first.error.reason, logged=not simulated)
        return Reply(client, None, error, first, "crashed" if simulated else None)
    if fault is not None:
        return Reply(client, None, fault.reason, first, fault.kind)
    return Reply(client, first.content, None, first)


def cause(reason: str | None, logged: bool = True) -> str:
    """Return the one line of an error reply that is for people; the log gets all of it.

    Flower's backend wraps the ClientApp's message into Ray's traceback.
    """
    reason = reason or "no reason given"
    if logged:
        log.error("%s", reason)
    own = re.search(r"client \d+, round \d+, .*", reason)
    return own.group() if own else reason.splitlines()[0]
