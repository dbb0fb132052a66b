"""Fine-tuning for a measurement: what a model becomes on its client's data, and forgets."""

import copy
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from ..models.parts import still
from .asked import fitted
from .exchange.phase import Phase


@contextmanager
def tuned(phase: Phase, epochs: int, fixed: Collection[str]) -> Iterator[None]:
    """Hold while a fine-tuned copy of the client's model stands in its place.

    Parameters
    ----------
    phase : Phase
        The message being answered.
    epochs : int
        Epochs on the client's private data, as ``fit.*`` says; 0 = the model as it is.
    fixed : collection of str
        Names of what is not tuned.
    """
    client, own = phase.client, phase.client.model
    if not epochs:
        yield
        return
    model, draws = copy.deepcopy(own), torch.Generator()
    draws.set_state(client.generator.get_state())  # the client's own go on as if nothing had been
    with still(model, fixed):
        one = replace(client, model=model, generator=draws, tensors={}, epochs=epochs)
        fitted(phase.loop, one)
    with client.standing(model):
        yield
