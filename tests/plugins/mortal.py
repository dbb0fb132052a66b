"""Plug-ins that kill the process they run in, a given number of times; used by tests."""

import os
import signal
from functools import partial
from pathlib import Path

import torch
from fedkd.clients.standard import Standard
from fedkd.strategies import FusionStrategy


def die(folder: str, times: int) -> None:
    """Kill this process with SIGKILL, unless that has happened `times` times in this folder."""
    for turn in range(times):
        try:
            Path(folder, f"death-{turn}").touch(exist_ok=False)
        except FileExistsError:
            continue
        os.kill(os.getpid(), signal.SIGKILL)


class Mortal(Standard):
    """Dies in one phase (fit, distil, snapshot) of one client and round, after the work is done.

    It also keeps a tensor per client that its training depends on.
    """

    def __init__(self, folder, phase, client: int = 3, round: int = 2, times: int = 1, **settings):
        super().__init__(**settings)
        self.phase, self.due = phase, (client, round)
        self.die = partial(die, folder, times)

    def fit(self, clients):
        """Fit as usual, then perhaps die, or prepare to die when asked for a snapshot."""
        metrics = super().fit(clients)
        for client in clients:
            fits = client.tensors.setdefault("fits", torch.zeros(1))
            fits += 1
            with torch.no_grad():
                next(client.model.parameters()).mul_(1 - fits.item() / 100)
        self._reaches("fit", clients)
        if self.phase == "snapshot" and clients[0].index == self.due[0]:
            clients[0].model.register_state_dict_pre_hook(lambda *_: self.die())
        return metrics

    def distil(self, clients, x, teachers, objective):
        """Distil as usual, then perhaps die."""
        metrics = super().distil(clients, x, teachers, objective)
        self._reaches("distil", clients)
        return metrics

    def _reaches(self, phase, clients):
        options = clients[0].options
        round_ = options.get("round", options.get("server-round"))
        if (self.phase, self.due) == (phase, (clients[0].index, round_)):
            self.die()


class MortalMean(FusionStrategy):
    """Dies while it computes a block."""

    per_sample = True

    def __init__(self, folder: str, times: int = 1, **base):
        super().__init__(**base)
        self.folder, self.times = folder, times

    def fuse(self, knowledge):
        """Return the mean, or die."""
        die(self.folder, self.times)
        return knowledge.soft_labels.mean(dim=0)
