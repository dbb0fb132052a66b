"""A client loop that leaves something behind in its process; used by tests."""

import importlib
import os
import random
import sys
import threading

import numpy as np
import torch
from fedkd.clients.standard import Standard


class Leaving(Standard):
    """Leaves things that an object of the run is not, their names joined by a plus."""

    def __init__(self, what: str = "nothing", folder: str = "", **settings):
        super().__init__(**settings)
        self.what, self.folder = what, folder

    def fit(self, clients):
        """Fit as usual, and report the process."""
        for what in self.what.split("+"):
            getattr(self, f"leave_{what}")()
        return [numbers | {"pid": float(os.getpid())} for numbers in super().fit(clients)]

    def leave_nothing(self):
        """Leave nothing."""

    def leave_numbers(self):
        """Draw from global generators."""
        random.random(), np.random.rand(), torch.rand(1)

    def leave_patch(self):
        """Replace a function that models call."""
        relu = torch.relu
        torch.relu = lambda x: relu(x) + 1

    def leave_method(self):
        """Replace a method of everybody's loop."""
        predict = Standard.predict
        Standard.predict = lambda self, *given: predict(self, *given)[:]

    def leave_hook(self):
        """Have every model call something."""
        torch.nn.modules.module.register_module_forward_hook(lambda *given: None)

    def leave_precision(self):
        """Change how torch computes."""
        torch.set_float32_matmul_precision("medium")

    def leave_environment(self):
        """Set a variable."""
        os.environ["LEFT_BY"] = "a plug-in"

    def leave_path(self):
        """Change where modules are searched."""
        sys.path.append(self.folder)

    def leave_module(self):
        """Import a user's module, which keeps what it knows."""
        sys.path.append(self.folder)
        importlib.import_module("a_users_own")
        sys.path.remove(self.folder)

    def leave_thread(self):
        """Have something still run."""
        threading.Thread(target=threading.Event().wait, daemon=True, name="left").start()

    def leave_class(self):
        """Have a library hold the class, and with it all that it refers to."""
        torch.left = type(self)
