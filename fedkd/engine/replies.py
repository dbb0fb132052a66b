"""What a client's answer is to a strategy."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flwr.app import Message, RecordDict

from ..errors import RunError
from .base import MEASURED
from .faults import Fault

log = logging.getLogger("fedkd")

LARGEST = 2**1023
"""Whole numbers beyond this are no floats."""


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
    measured: Mapping[str, Any] = field(default_factory=dict)
    """what the simulation measured of the client, which no method may look at"""

    @property
    def ok(self) -> RecordDict:
        """The content, where there is one."""
        if self.content is None:
            raise RunError(self.error or "no reply")
        return self.content

    @property
    def said(self) -> dict[str, Any]:
        """All that the client said of itself, also where its content was not let through."""
        content = self.content
        if content is None and self.message is not None and self.message.has_content():
            content = self.message.content
        told: Any = (content.metric_records.get("metrics") if content else None) or {}
        return {**told, **self.measured}

    @property
    def numbers(self) -> dict[str, float]:
        """The plain numbers of that, for the tables."""
        return plain(self.said)


def plain(numbers: Mapping[str, Any]) -> dict[str, float]:
    """Return those that are single numbers, and no larger than a float can be.

    Examples
    --------
    >>> plain({"loss_fit": 0.5, "steps": 3, "losses": [0.6, 0.4], "huge": 10**400})
    {'loss_fit': 0.5, 'steps': 3.0}
    """
    return {
        name: float(value)
        for name, value in numbers.items()
        if isinstance(value, float) or (isinstance(value, int) and abs(value) < LARGEST)
    }


def without_measured(message: Message) -> dict[str, Any]:
    """Take out of a reply what the simulation measured, and return it."""
    if not message.has_content() or MEASURED not in message.content:
        return {}
    found = dict(message.content.metric_records.get(MEASURED) or {})
    del message.content[MEASURED]
    return found


def read(client: int, answers: Sequence[Message], fault: Fault | None) -> Reply:
    """Return what comes of a client's answers to one message."""
    first = answers[0]
    measured = [without_measured(answer) for answer in answers]
    if len(answers) > 1:  # which one came first is a matter of chance, so none is taken
        return Reply(client, None, f"duplicate: {len(answers)} replies to one message", first)
    if first.has_error():
        simulated = fault is not None and fault.kind == "crashed"
        error = cause(first.error.reason, logged=not simulated)
        return Reply(client, None, error, first, "crashed" if simulated else None)
    if fault is not None:
        return Reply(client, None, fault.reason, first, fault.kind, measured[0])
    return Reply(client, first.content, None, first, measured=measured[0])


def cause(reason: str | None, logged: bool = True) -> str:
    """Return the one line of an error reply that is for people; the log gets all of it.

    Flower's backend wraps the ClientApp's message into Ray's traceback.
    """
    reason = reason or "no reason given"
    if logged:
        log.error("%s", reason)
    own = re.search(r"client \d+, round \d+, .*", reason)
    return own.group() if own else reason.splitlines()[0]
