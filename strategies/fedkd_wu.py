"""FedKD (Wu et al.): a private mentor and a shared mentee, whose updates travel in low rank.

Wu et al., "Communication-efficient federated learning via knowledge distillation", Nature
Communications 2022. Confidence: certain (the authors' code and a public re-implementation)::

    loss_mentor = CE_m + ( KL(p_s || p_m) + MSE(h_m, W h_s) ) / (CE_m + CE_s)
    loss_mentee = CE_s + ( KL(p_m || p_s) + MSE(h_m, W h_s) ) / (CE_m + CE_s)
    update      = U S V of rank k, the least with  sum_{i<=k} s_i^2 >= E * sum_i s_i^2
    E           = E_start + (E_end - E_start) * min(1, round / ramp)

In either direction the update's matrices travel as the factors ``U S`` and ``V`` where those have
fewer numbers; ``bytes_up`` and ``bytes_down`` count that, and a byte a number for the mask that
says how many.

Deviations. The rise of E ends after `ramp` rounds, not with the run, so that a run can be extended.
Targets and divisors carry no gradient, so each loss trains its own model. The divisor has a floor,
without which the terms outgrow the learning rate once both models fit their few samples (MNIST,
200 samples a client, 60 local epochs: 76% without, 83% with it). h is what goes into the last
layer, pooled to `hidden` numbers; the authors compare every layer. Updates are weighted by samples.
The authors' search for k finds 0 where all singular values are needed, and so loses the update;
here it finds all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from ..knowledge import Knowledge, Teacher
from ..knowledge.admission import Rejected, check_values
from ..models.features import head
from ..models.lowrank import pack, ramped, shapes_of, unpack
from ..rounds.protocol import Outcome, RoundPlan
from ..rounds.server import Server
from .base import Records
from .mentees import MenteeFusion


class FedKDWu(MenteeFusion):
    """Adaptive mutual distillation with a shared mentee, and compressed updates.

    Parameters
    ----------
    mentee : str
        The shared model, as for ``model=``; auto = mlp, for texts embedding_bag.
    hidden : int
        Hidden features that are compared, >= 1.
    energy_start, energy_end : float
        Share of an update's energy that is kept at first and in the end, in (0, 1].
    ramp : int
        Rounds until `energy_end` is reached, >= 1.
    floor : float
        Smallest sum of cross-entropies that divides, > 0; tiny values are the original.
    **base
        See `FusionStrategy`.

    Examples
    --------
    >>> FedKDWu(ramp=5).exchange_node()["ramp"]
    5
    """

    exchange = "mentor"

    def __init__(
        self,
        mentee: str = "auto",
        hidden: int = 64,
        energy_start: float = 0.95,
        energy_end: float = 0.98,
        ramp: int = 10,
        floor: float = 1.0,
        **base: float | None,
    ) -> None:
        super().__init__(mentee, **base)
        if hidden < 1 or ramp < 1 or not floor > 0:
            raise ValueError(f"hidden={hidden}, ramp={ramp} must be at least 1, floor={floor} > 0")
        if not (0 < energy_start <= 1 and 0 < energy_end <= 1):
            problem = "must be above 0 and at most 1"
            raise ValueError(f"energy_start={energy_start}, energy_end={energy_end} {problem}")
        self.hidden, self.floor = hidden, floor
        self.energy_start, self.energy_end, self.ramp = energy_start, energy_end, ramp

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with what it needs."""
        names = ("mentee", "hidden", "energy_start", "energy_end", "ramp", "floor")
        return {"name": self.exchange, **{name: getattr(self, name) for name in names}}

    def refusal(self, server: Server) -> str | None:
        """Refuse a mentee that cannot be built, or has no last layer to look into."""
        reason = super().refusal(server)
        if reason is None:
            try:
                head(server.model(self.mentee))
            except ValueError as error:
                reason = f"strategy.mentee={self.mentee}: {error}"
        return reason

    def teach(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], outcome: Outcome
    ) -> tuple[str, Mapping[int, Records]]:
        """Fuse; send the mean update in low rank, which is also what the server goes on with."""
        before = self.state["shared.0"]
        kind, _ = super().teach(plan, admitted, outcome)
        shapes = shapes_of(plan.server.model(self.mentee))
        energy = ramped(plan.number, self.energy_start, self.energy_end, self.ramp)
        values, mask = pack(self.state["shared.0"] - before, shapes, energy)
        self.state["shared.0"] = before + unpack(values, mask, shapes)
        present = [one.client for one in admitted]
        records = Teacher(kind, values, present, mask).records()
        return kind, {client: {"teacher": record} for client, record in records.items()}

    def _collect(self, plan: RoundPlan, ids: Tensor, outcome: Outcome) -> list[Knowledge]:
        """Turn the updates that clients sent back into parameters; drop what is no update."""
        shapes, whole, shares = shapes_of(plan.server.model(self.mentee)), [], []
        for sent in super()._collect(plan, ids, outcome):
            assert sent.mask is not None
            shares.append(sent.mask.float().mean().item())
            try:
                vector = self.state["shared.0"] + unpack(sent.values, sent.mask, shapes)
                check_values(sent.kind, vector, vector.shape)
            except (ValueError, Rejected) as reason:
                outcome.rejected[sent.client] = str(reason)
                continue
            whole.append(replace(sent, values=vector, mask=None))
        outcome.scalars["sent_share"] = sum(shares) / max(len(shares), 1)
        return whole
