"""Base of the methods that correct the clients' optimisation: SCAFFOLD, FedDyn, FedNova.

Parameters travel, and an extra with them or a number kept here; the mean is the server's first step
and `polish` its second. Clients train by SGD: that is what their corrections are made for.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from ..config import RunConfig
from ..errors import ConfigError
from ..knowledge import KnowledgeStack
from .parametric import ParameterFusion


class CorrectedFusion(ParameterFusion):
    """One model for all; clients weigh alike."""

    kinds = None

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
