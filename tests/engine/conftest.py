"""Fixtures of the engines' tests."""

import os
import signal

import pytest
import ray
from support import LIMIT

from fedkd.callbacks import Callback
from fedkd.engine import warm
from fedkd.engine.recovery import Home


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Give actors time to say that they can be kept: tests count on it, also on a busy machine."""
    monkeypatch.setattr(warm, "ANSWER_SECONDS", 100.0)


class Reaper(Callback):
    """Kills one of the actors when a phase has had its first reply."""

    def __init__(self, round_, phase, victim):
        self.due, self.victim, self.actors, self.pids = (round_, phase), victim, [], []

    def on_phase(self, round_, phase, done, total):
        if not self.pids:  # before there is work that this could wait for
            self.pids = ray.get([actor.pid.remote() for actor in self.actors], timeout=LIMIT)
        if (round_, phase) == self.due and done:
            self.due = None
            os.kill(self.pids[self.victim], signal.SIGKILL)


@pytest.fixture
def reaper(monkeypatch):
    """Return what makes a reaper that knows the actors that a run starts with."""
    made = []
    begin = Home.__init__

    def noting(home, clients, actor, *more):
        begin(home, clients, actor, *more)
        made[-1].actors.append(actor)

    monkeypatch.setattr(Home, "__init__", noting)
    return lambda *given: (made.append(Reaper(*given)), made[-1])[1]
