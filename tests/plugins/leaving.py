"""Plug-ins of every kind that end the process, or raise what nobody catches; used by tests."""

import os
import sys

from fedkd.clients.attacks.base import Attack
from fedkd.clients.exchange.soft_labels import SoftLabels
from fedkd.clients.oracles.base import Oracle
from fedkd.clients.samplers.base import Sampler
from fedkd.clients.standard import Standard
from fedkd.strategies import FusionStrategy

from fedkd.callbacks import Callback
from fedkd.distillation.kl import KL
from fedkd.models.mlp import MLP


class Enough(BaseException):
    """Is no Exception."""


KINDS = {"exit": SystemExit(0), "generator": GeneratorExit("done"), "own": Enough("enough")}


def leave(how="exit"):
    """Raise what passes every ``except Exception``."""
    raise KINDS[how]


class Loop(Standard):
    """Ends the process in one client's phase."""

    def __init__(self, how: str = "exit", client: int = 1, phase: str = "fit", **settings):
        super().__init__(**settings)
        self.how, self.client, self.phase = how, client, phase

    def _perhaps(self, clients, phase):
        if self.phase == phase and any(one.index == self.client for one in clients):
            leave(self.how)

    def fit(self, clients):
        """Fit, or leave."""
        self._perhaps(clients, "fit")
        return super().fit(clients)

    def distil(self, clients, x, teachers, objective):
        """Distil, or leave."""
        self._perhaps(clients, "distil")
        return super().distil(clients, x, teachers, objective)

    def predict(self, clients, x):
        """Predict, or leave."""
        self._perhaps(clients, "predict")
        return super().predict(clients, x)


class Objective(KL):
    """Leaves in every step."""

    def __call__(self, student_logits, teacher, batch):
        """Leave."""
        leave()


class Hostile(Attack):
    """Ends the process of a client from outside of all that answers messages."""

    kinds = None

    def __call__(self, message, context, call_next):
        """Answer, but for a hostile client."""
        if int(context.node_config["partition-id"]) in self.hostile:
            leave()
        return super().__call__(message, context, call_next)


class Exchange(SoftLabels):
    """Leaves when it is to upload, at one client."""

    def upload(self, phase):
        """Leave, or upload."""
        if phase.index == 1:
            leave()
        return super().upload(phase)


class Uploads(FusionStrategy):
    """Has clients leave."""

    exchange = f"{os.path.abspath(__file__)}:Exchange"

    def fuse(self, knowledge):
        """Return the mean."""
        return knowledge.soft_labels.mean(dim=0)


class Strategy(FusionStrategy):
    """Leaves where it is told to."""

    def __init__(self, where: str = "fuse", how: str = "exit", **base):
        super().__init__(**base)
        self.where, self.how = where, how
        self._perhaps("init")

    def _perhaps(self, where):
        if self.where == where:
            leave(self.how)

    def fuse(self, knowledge):
        """Return the mean, or leave."""
        self._perhaps("fuse")
        return knowledge.soft_labels.mean(dim=0)

    def refine(self, plan, knowledge, teacher):
        """Return the teacher, or leave."""
        self._perhaps("refine")
        return teacher

    def refusal(self, server):
        """Refuse nothing, or leave."""
        self._perhaps("refusal")

    def save(self):
        """Return the state, or leave."""
        self._perhaps("save")
        return super().save()


class Blocks(Strategy):
    """Leaves where blocks are computed."""

    per_sample = True


class Picks(Sampler):
    """Leaves when it is to pick."""

    def scores(self, pool):
        """Leave."""
        leave()

    def pick(self, pool, budget):
        """Leave."""
        leave()


class Labels(Oracle):
    """Leaves when it is to label."""

    def label(self, rows, truth, generator):
        """Leave."""
        leave()


class Watcher(Callback):
    """Leaves at one of its hooks."""

    def __init__(self, hook):
        self.hook = hook

    def on_run_start(self, run):
        """Leave, perhaps."""
        self._perhaps("start")

    def on_phase(self, round_, phase, done, total):
        """Leave, perhaps."""
        self._perhaps("phase")

    def on_round(self, record):
        """Leave, perhaps."""
        self._perhaps("round")

    def on_run_end(self, summary, error):
        """Leave, perhaps."""
        self._perhaps("end")

    def _perhaps(self, hook):
        if self.hook == hook:
            sys.exit(0)


class Model(MLP):
    """Leaves when it computes."""

    def forward(self, x):
        """Leave."""
        leave()


def unbuilt(shape, classes):
    """Leave instead of building a model."""
    leave()
