"""What `fedkd check` holds a clients' training loop to."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from ..clients.base import Client, ClientLoop
from ..distillation import Target
from ..distillation.kl import KL
from ..models import check_model
from ..rng import torch_generator
from .common import IN_RUNS, MADE
from .plugged import CLASSES, Plugged
from .plugged import plugged as subject
from .promises import Promise, aside, expect, same, untouched

__all__ = ["SUITE", "subject"]

DIM = 16


def client(index: int, samples: int = 20) -> Client:
    """Return a client with data and a model of its own."""
    generator = torch_generator(index)
    x = torch.randn(samples, DIM, generator=generator)
    y = torch.randint(CLASSES, (samples,), generator=generator)
    model = copy.deepcopy(check_model("mlp", (DIM,), CLASSES))
    return Client(index, model, x, y, torch_generator(100 + index))


def transfer() -> Tensor:
    """Return transfer samples."""
    return torch.randn(30, DIM, generator=torch_generator(50))


def teacher() -> Target:
    """Return what to learn from."""
    return Target(torch.randn(30, CLASSES, generator=torch_generator(51)).softmax(dim=-1))


def weights(one: Client) -> Tensor:
    """Return all that a client's model has, as one vector."""
    return torch.cat([value.flatten().float() for value in one.model.state_dict().values()])


def phase(loop: ClientLoop, name: str, clients: Sequence[Client]) -> list[dict[str, float]]:
    """Let a loop fit or distil."""
    if name == "fit":
        return loop.fit(clients)
    return loop.distil(clients, transfer(), [teacher() for _ in clients], KL())


def trains(subject: Plugged) -> str:
    """Fit and distil two clients; look at their models, their data and what is returned."""
    told = []
    for name in ("fit", "distil"):
        clients = [client(0), client(1, samples=7)]
        before = [weights(one) for one in clients]
        given = {f"x of client {one.index}": one.x for one in clients}
        given |= {f"y of client {one.index}": one.y for one in clients}
        with aside(f"{name}()"), untouched(f"{name}()", **given):
            numbers = phase(subject.make(), name, clients)
        expect(len(numbers) == 2, f"{name}() returns {len(numbers)} rows of numbers for 2 clients")
        for one, old, row in zip(clients, before, numbers, strict=True):
            now = weights(one)
            expect(now.isfinite().all(), f"{name}() leaves a model that is not finite")
            expect(not torch.equal(now, old), f"{name}() does not change the model")
            wrong = [key for key, value in row.items() if not isinstance(value, int | float)]
            expect(not wrong, f"{name}() returns {wrong[:1]}, which is no number")
        told += list(numbers[0])
    return ", ".join(told)


def alone(subject: Plugged) -> str:
    """Train clients together, then each by itself, and in other company."""
    for name in ("fit", "distil"):
        together, loop = [client(0), client(1)], subject.make()
        phase(loop, name, together)
        for one in reversed(together):
            single = client(one.index)
            phase(loop, name, [single])
            off = (weights(single) - weights(one)).abs().max().item()
            expect(off < 1e-5, f"{name}() of client {one.index} differs by {off:.3g} when alone")
    return "a client learns the same in any company"


def predicts(subject: Plugged) -> str:
    """Predict, twice and in parts."""
    loop, one, x = subject.make(), client(0), transfer()
    before = weights(one)
    with aside("predict()"), untouched("predict()", x=x):
        logits = loop.predict([one], x)[0]
    expect(logits.shape == (30, CLASSES), f"predict() returns {list(logits.shape)}")
    expect(not logits.requires_grad, "predict() returns what has a gradient")
    expect(torch.equal(before, weights(one)), "predict() changes the model")
    expect(same(logits, loop.predict([one], x)[0]), "predict() has two answers")
    off = (logits[:5] - loop.predict([one], x[:5])[0]).abs().max().item()
    expect(off < 1e-4, f"a sample's answer differs by {off:.3g} in other company")
    return "the model stays as it is"


SUITE: tuple[Promise, ...] = (
    *MADE,
    Promise("trains", "trains models, by the client's random stream", trains),
    Promise("alone", "treats each client as if it were alone", alone),
    Promise("predicts", "predicts without side effects", predicts),
    *IN_RUNS,
)
"""The promises of a training loop."""
