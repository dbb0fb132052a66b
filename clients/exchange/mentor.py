"""FedKD's exchange: mentor and mentee, tied by how sure both are; updates travel as factors.

The mentee's update since the server last spoke goes up, and the mean update comes back, each with
its matrices as two factors of low rank (`fedkd.models.lowrank.pack`): the mask says how many
numbers each took.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...knowledge import Knowledge, Target
from ...maths.mutual import adaptive
from ...models.features import pooled, tapped
from ...models.flat import flatten, unflatten
from ...models.lowrank import pack, ramped, shapes_of, unpack
from .mentee import Mentee, Pair
from .parameters import NO_SAMPLES
from .phase import Phase
from .scoring import needs_head

if TYPE_CHECKING:
    from collections.abc import Mapping


class Tied(Pair):
    """A pair that also notes both models' hidden features.

    Parameters
    ----------
    own, mentee : nn.Module
        See `Pair`.
    bridge : nn.Linear
        W ``[dim, dim]``, learnt with them.

    Attributes
    ----------
    hidden, shared_hidden : Tensor
        ``[batch, dim]`` features of the own model, and W times those of the mentee.
    """

    hidden: Tensor
    shared_hidden: Tensor

    def __init__(self, own: nn.Module, mentee: nn.Module, bridge: nn.Linear) -> None:
        super().__init__(own, mentee)
        self.bridge = bridge

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, *shape]`` to the own model's logits ``[batch, classes]``."""
        dim = self.bridge.in_features
        with tapped(self.own) as own, tapped(self.mentee) as mentee:
            logits = super().forward(x)
        self.hidden = pooled(own.features.flatten(1), dim)
        self.shared_hidden = self.bridge(pooled(mentee.features.flatten(1), dim))
        return logits


class Mentor(Mentee):
    """Uploads the mentee's update in low rank; mentor and mentee learn from each other.

    `FedKDWu` checks the parameters.

    Parameters
    ----------
    mentee : str
        The shared model, as for ``model=``; auto = mlp, for texts embedding_bag.
    hidden : int
        Features that are compared, >= 1; both models' are pooled to as many.
    energy_start, energy_end, ramp
        Share of an update's energy that is kept, see `FedKDWu`.
    floor : float
        Smallest sum of cross-entropies that divides, > 0.
    """

    masked = True

    def __init__(
        self,
        mentee: str = "auto",
        hidden: int = 64,
        energy_start: float = 0.95,
        energy_end: float = 0.98,
        ramp: int = 10,
        floor: float = 1.0,
    ) -> None:
        super().__init__(mentee)
        self.hidden, self.floor = hidden, floor
        self.energy_start, self.energy_end, self.ramp = energy_start, energy_end, ramp

    def refusal(self, models: "Mapping[str, nn.Module]") -> str | None:
        """Refuse models without features."""
        return needs_head(models, self.input_shape)

    def pair(self, phase: Phase, own: nn.Module) -> Pair:
        """Return mentor, mentee and the bridge between their features."""
        tensors = phase.client.tensors
        mentee = unflatten(phase.build(self.mentee, "mentee"), tensors["mentee"])
        bridge = phase.build(lambda: nn.Linear(self.hidden, self.hidden, bias=False), "bridge")
        if "bridge" in tensors:
            unflatten(bridge, tensors["bridge"])
        assert isinstance(bridge, nn.Linear)
        return Tied(own, mentee, bridge)

    def loss(self, pair: Pair, logits: Tensor, labels: Tensor) -> Tensor:
        """Return what FedKD adds to the mentor's cross-entropy."""
        assert isinstance(pair, Tied)
        hidden = pair.hidden, pair.shared_hidden
        return adaptive(logits, pair.shared, hidden, labels, self.floor)

    def keep(self, phase: Phase, pair: Pair) -> None:
        """Remember the mentee and the bridge."""
        assert isinstance(pair, Tied)
        super().keep(phase, pair)
        phase.client.tensors["bridge"] = flatten(pair.bridge)

    def upload(self, phase: Phase) -> Knowledge:
        """Return the mentee's update since the server last spoke, in low rank."""
        tensors, samples = phase.client.tensors, torch.tensor([float(len(phase.client.y))])
        energy = ramped(phase.round, self.energy_start, self.energy_end, self.ramp)
        update = tensors["mentee"] - tensors["start"]
        values, mask = pack(update, self._shapes(phase), energy)
        return Knowledge(
            phase.index, self.kind, values, NO_SAMPLES, mask, extras={"samples": samples}
        )

    def receive(self, phase: Phase, target: Target) -> None:
        """Go on with the server's mentee."""
        phase.client.tensors |= {"mentee": target.values, "start": target.values.clone()}

    def learn(self, phase: Phase, target: Target) -> dict[str, float]:
        """Make the clients' mean update in place of the own one."""
        assert target.mask is not None
        update = unpack(target.values, target.mask, self._shapes(phase))
        vector = phase.client.tensors["start"] + update
        self.receive(phase, target.part(vector))
        return {}

    def _shapes(self, phase: Phase) -> list[tuple[int, ...]]:
        return shapes_of(phase.build(self.mentee, "mentee"))
