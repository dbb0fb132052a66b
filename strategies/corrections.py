"""Base of the methods that correct the clients' optimisation: SCAFFOLD, FedDyn, FedNova.

Parameters travel, and an extra with them or a number kept here; the mean is the server's first step
and `polish` its second. Clients train by SGD: that is what their corrections are made for.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..clients.exchange.corrections import COUNTED
from ..config import RunConfig
from ..errors import ConfigError
from ..knowledge import KnowledgeStack
from ..rounds.protocol import Outcome, RoundPlan
from .parametric import ParameterFusion


class CorrectedFusion(ParameterFusion):
    """One model for all; clients weigh alike.

    Attributes
    ----------
    state : dict
        See `ParameterFusion`; and ``unanswered`` ``[clients]``, once an answer was lost: the round
        whose upload counted at the server and was not answered to the client, 0 = there is none.
    """

    kinds = None

    def fit_options(self, plan: RoundPlan) -> dict[str, Any]:
        """Tell clients which of their fits counted, if they have had no answer to it."""
        if "unanswered" not in self.state:
            return {}
        rounds = self.state["unanswered"].tolist()
        return {f"{COUNTED}{k}": rounds[k] for k in plan.cohort if rounds[k]}

    def after_round(self, plan: RoundPlan, outcome: Outcome) -> None:
        """Note whose upload counted without an answer."""
        fresh = self.state["fresh"]  # by now: whose upload counted
        lost = [client for client in outcome.rejected if fresh[client]]
        if lost or "unanswered" in self.state:
            marks = self.state.get("unanswered", torch.zeros(len(fresh), dtype=torch.int64))
            marks = marks.masked_fill(fresh, 0)
            marks[lost] = plan.number
            self.state["unanswered"] = marks
        super().after_round(plan, outcome)

    def common(self, knowledge: KnowledgeStack) -> Tensor:
        """Return the mean over clients, each alike, ``[size]``."""
        return knowledge.values.mean(dim=0)

    def settle(self, config: RunConfig, models: Sequence[nn.Module]) -> list[str]:
        """Refuse another optimiser than SGD.

        Raises
        ------
        ConfigError
            If there is another.
        """
        if config.fit.optimizer != "sgd":
            name = config.strategy["name"]
            problem = f"{name} corrects steps of SGD, which others do not take; use sgd"
            raise ConfigError("fit.optimizer", config.fit.optimizer, problem)
        return super().settle(config, models)
