"""A client loop in which one client hangs, or fails, in one phase of one round; used by tests."""

import time

import torch
from fedkd.clients.standard import Standard


class Hanging(Standard):
    """Hangs once it has begun to change its model; with ``how=fail`` it raises instead."""

    def __init__(self, phase, how: str = "hang", client: int = 3, round: int = 2, **settings):
        super().__init__(**settings)
        self.phase, self.how, self.due = phase, how, (client, round)

    def fit(self, clients):
        """Fit, or begin to."""
        self._reaches("fit", clients)
        return super().fit(clients)

    def distil(self, clients, x, teachers, objective):
        """Distil, or begin to."""
        self._reaches("distil", clients)
        return super().distil(clients, x, teachers, objective)

    def predict(self, clients, x):
        """Predict; also while it is measured."""
        if clients[0].options.get("evaluate") is not None:
            self._reaches("evaluate", clients)
        return super().predict(clients, x)

    def _reaches(self, phase, clients):
        options = clients[0].options
        round_ = options.get("round", options.get("server-round"))
        if (self.phase, self.due) != (phase, (clients[0].index, round_)):
            return
        with torch.no_grad():
            next(clients[0].model.parameters()).zero_()
        clients[0].tensors["begun"] = torch.ones(1)
        while self.how == "hang":
            time.sleep(1)
        raise OSError("the disk is full")
