"""All mechanisms of a run together, as the clients apply them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flwr.app import Array, Context, Message
from flwr.clientapp.typing import ClientAppCallable
from torch import nn

from ...knowledge import to_tensor
from ...plugins import create, parameters
from ...plugins.several import made_of, nodes_of
from ...plugins.table import SEAMS
from ...privacy.accounting import History
from ...privacy.budget import Budget
from ...rng import stream, torch_generator
from ..base import Client, ClientLoop
from ..exchange import Exchange
from .base import PUBLIC, Facts, Mechanism, Noisy

SUBSET = "privacy.subset"


class Protection:
    """Mechanisms, applied in the order given.

    Parameters
    ----------
    mechanisms : mapping
        Mechanisms by name.
    seed : int
        The run's seed.
    """

    def __init__(self, mechanisms: Mapping[str, Mechanism] | None = None, seed: int = 0) -> None:
        self.mechanisms, self.seed = dict(mechanisms or {}), seed

    @classmethod
    def from_node(cls, node: Mapping[str, Any], seed: int = 0) -> "Protection":
        """Make the mechanisms that a configuration names.

        ``privacy.name`` is a name or a list of names. ``privacy.KEY`` goes to every mechanism that
        has this parameter, ``privacy.NAME.KEY`` to one, and wins. Those of `Budget` are the run's.

        Raises
        ------
        ConfigError
            For an unknown name or parameter.

        Examples
        --------
        >>> node = {"name": ["dp_sgd", "gaussian"], "clip": 2.0, "gaussian": {"clip": 0.5}}
        >>> made = Protection.from_node(node).mechanisms
        >>> made["dp_sgd"].clip, made["gaussian"].clip
        (2.0, 0.5)
        """
        return cls(made_of(SEAMS["privacy"], node, cls.nodes(node)), seed)

    @staticmethod
    def nodes(node: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Return each mechanism's own node, by name; raises as `from_node`."""
        return nodes_of(SEAMS["privacy"], node, "mechanisms", parameters(Budget))

    @property
    def secure(self) -> bool:
        """Whether some noise comes from the operating system."""
        return any(one.secure_rng for one in self.mechanisms.values())

    @property
    def uncalibrated(self) -> list[Noisy]:
        """Mechanisms that have no noise multiplier yet."""
        noisy = [one for one in self.mechanisms.values() if isinstance(one, Noisy)]
        return [one for one in noisy if one.noise_multiplier is None]

    def calibrate(self, multiplier: float | None) -> None:
        """Give those a noise multiplier."""
        for mechanism in self.uncalibrated:
            mechanism.noise_multiplier = multiplier

    @property
    def protects(self) -> list[str]:
        """The neighbouring relations, each once."""
        found = (one.protects for one in self.mechanisms.values() if one.protects)
        return list(dict.fromkeys(found))

    def refusal(
        self, exchange: Exchange | None, models: Mapping[str, nn.Module]
    ) -> tuple[str, str] | None:
        """Return a mechanism that cannot be used, and why; None if all can."""
        for name, mechanism in self.mechanisms.items():
            if exchange is None and mechanism.kinds is not None:
                continue  # nothing is uploaded, so there is nothing to protect
            if problem := mechanism.refusal(exchange or Exchange(), models):
                return name, problem
        return None

    def cost(self, facts: Facts, multiplier: float | None = None) -> History:
        """Return what a client spends in a round that it takes part in."""
        total: Counter[Any] = Counter()
        trained = self.kept(facts.samples)
        for mechanism in self.mechanisms.values():
            if mechanism.kinds is None or facts.uploads:
                total.update(mechanism.cost(replace(facts, trained=trained), multiplier))
        return dict(total)

    def kept(self, samples: int) -> int:
        """Return on how many of so many private samples a client trains."""
        for mechanism in self.mechanisms.values():
            samples = mechanism.kept(samples)
        return samples

    def select(self, client: Client) -> None:
        """Choose what a client trains on."""
        for mechanism in self.mechanisms.values():
            mechanism.select(client, stream(self.seed, client.index, 0, SUBSET))

    def loop(self, loop: ClientLoop) -> ClientLoop:
        """Return the loop that clients train with."""
        for mechanism in self.mechanisms.values():
            loop = mechanism.loop(loop)
        return loop

    def told(self, numbers: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the numbers that the method may see, and those that only the simulation may.

        Under a guarantee the former are those that are `PUBLIC`.
        """
        named = {k for k in numbers if not self.protects or k in PUBLIC}
        told = {k: v for k, v in numbers.items() if k in named}
        return told, {k: v for k, v in numbers.items() if k not in named}

    def __call__(self, message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        """Protect the knowledge in a reply.

        A Flower mod, inside of attacks: a hostile client does not keep to it, and replaces what an
        honest one would have sent. Noise belongs to (client, round), so a replayed round releases
        the same numbers again, which costs nothing.
        """
        reply = call_next(message, context)
        content = reply.content
        if not self.mechanisms or "knowledge" not in content:
            return reply
        about, arrays = content.config_records["about"], content.array_records["knowledge"]
        kind, values = str(about["kind"]), to_tensor(arrays["values"])
        seed = stream(self.seed, int(about["client"]), int(about["round"]), "privacy")  # type: ignore[arg-type]
        seeded = torch_generator(seed)
        for mechanism in self.mechanisms.values():
            if values.numel() and mechanism.kinds is not None and kind in mechanism.kinds:
                values = mechanism.release(values, kind, None if mechanism.secure_rng else seeded)
        arrays["values"] = Array(values.float().contiguous().numpy())
        return reply


def budget(node: Mapping[str, Any]) -> Budget:
    """Return the run-wide keys of a configuration."""
    keys = {key: value for key, value in node.items() if key in parameters(Budget)}
    made: Budget = create(
        {"name": "fedkd.privacy.budget:Budget", **keys}, "privacy", Budget, "privacy"
    )
    return made
