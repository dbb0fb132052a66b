"""What a privacy mechanism is. Subclass `Mechanism` to write one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from ...knowledge import CLASS_SCORES
from ...privacy.accounting import History
from ...privacy.noise import Source
from ..base import Client, ClientLoop
from ..exchange import Exchange

CLIENT = "any change of all that one client holds"
RECORD = "one record of a client, added or removed"

PUBLIC = ("num-examples",)
"""The numbers of a client that a method may see under a guarantee: how many samples it has trained
on counts as public, as its weight in a mean of parameters. What else a client says of itself, a
loss for one, goes to the simulation's tables alone (`fedkd.engine.base.MEASURED`)."""


@dataclass(frozen=True)
class Facts:
    """What a mechanism's costs depend on.

    Attributes
    ----------
    samples : int
        Private training samples of the client.
    transfer : int
        Transfer samples of a round.
    fit : mapping
        The run's ``fit.*``.
    uploads : bool
        Whether clients upload anything.
    trained : int
        Those of the samples that the client trains on.
    """

    samples: int
    transfer: int
    fit: Mapping[str, Any]
    uploads: bool = True
    trained: int = 0


class Mechanism:
    """Protects what a client uploads, what it trains on, or how it trains.

    Parameters
    ----------
    secure_rng : bool
        Draw noise from the operating system instead of the run's streams. The run cannot be
        repeated then, nor resumed.

    Attributes
    ----------
    kinds : tuple of str or None
        The kinds of knowledge that it changes; None = it does not depend on what is exchanged.
    protects : str
        The neighbouring relation: between which private data it makes it hard to tell. Empty for a
        mechanism without a formal guarantee.
    fusion : str or None
        The server's half, ``module:Class`` of a strategy that takes the place of the run's.
    brief : mapping
        Parameters of the tiny runs in which it is checked, where it has no defaults that do.
    """

    kinds: ClassVar[tuple[str, ...] | None] = CLASS_SCORES
    protects: ClassVar[str] = ""
    fusion: ClassVar[str | None] = None
    brief: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, *, secure_rng: bool = False) -> None:
        self.secure_rng = secure_rng

    def refusal(self, exchange: Exchange, models: Mapping[str, nn.Module]) -> str | None:
        """Say why it cannot protect this exchange, or these models; None if it can."""
        del models
        if self.kinds is not None and exchange.kind not in self.kinds:
            return f"is for {' or '.join(self.kinds)}, and there is {exchange.kind}"
        return None

    def kept(self, samples: int) -> int:
        """Return on how many of so many private samples the client trains."""
        return samples

    def select(self, client: Client, seed: int) -> None:
        """Choose what the client trains on; `seed` is that of its own stream for this."""

    def loop(self, loop: ClientLoop) -> ClientLoop:
        """Return the loop that clients train with in place of `loop`."""
        return loop

    def release(self, values: Tensor, kind: str, source: Source) -> Tensor:
        """Return what is uploaded in place of knowledge ``[samples, classes]``."""
        del kind, source
        return values

    def cost(self, facts: Facts, multiplier: float | None) -> History:
        """Return what a client spends in a round; `multiplier` where it has no noise of its own."""
        del facts, multiplier
        return {}


class Noisy(Mechanism):
    """Base of mechanisms with noise, which a run may calibrate to ``privacy.epsilon``.

    Parameters
    ----------
    noise_multiplier : float or None
        Noise in units of the sensitivity, > 0; None = as much as ``privacy.epsilon`` needs. It is
        set before the run starts: ask `noise` when there is noise to make, not before.
    **base
        See `Mechanism`.
    """

    brief: ClassVar[Mapping[str, Any]] = {"noise_multiplier": 1.0}

    def __init__(self, *, noise_multiplier: float | None = None, **base: bool) -> None:
        super().__init__(**base)
        if noise_multiplier is not None:
            positive("noise_multiplier", noise_multiplier)
        self.noise_multiplier = noise_multiplier

    def noise(self, multiplier: float | None = None) -> float:
        """Return the noise multiplier: its own, or else the given one."""
        found = self.noise_multiplier if self.noise_multiplier is not None else multiplier
        if found is None:
            raise ValueError("noise_multiplier must be given, or privacy.epsilon")
        return found


def positive(name: str, value: float) -> None:
    """Raise ValueError unless a parameter is finite and greater than 0."""
    if not 0 < value < float("inf"):
        raise ValueError(f"{name}={value} must be greater than 0 and finite")


def only_values(exchange: Exchange) -> str | None:
    """Say what else an exchange uploads beside its values, which noise on those leaves bare."""
    more = {
        "which samples it chose": exchange.masked,
        "a score for each sample": exchange.scored,
        "numbers of its own": type(exchange).extras is not Exchange.extras,
    }
    found = [what for what, sent in more.items() if sent]
    return (
        f"covers class probabilities or logits only, and there is also {found[0]}"
        if found
        else None
    )
