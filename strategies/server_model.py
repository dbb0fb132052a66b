"""The round of methods whose server has a model of its own that learns on the transfer set."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from ..errors import ConfigError, RunError
from ..models.flat import unflatten
from ..rounds.protocol import RoundPlan
from ..rounds.server import Loss, Server, Study, study
from .base import FusionStrategy


class ServerStudent(FusionStrategy):
    """Base of methods that distil the clients' knowledge into a model at the server.

    Override `refine`, and have it call `learnt`.

    Parameters
    ----------
    server_model : str or None
        The server's architecture, as for ``model=``; None = that of the first client.
    server_epochs : int
        Passes over the round's transfer samples at the server, >= 0.
    server_lr : float
        The server's learning rate, > 0.
    temperature : float or None
        See `FusionStrategy`.

    Attributes
    ----------
    state : dict
        ``server`` ``[size]``, the model's parameters after its last round.
    """

    brief: ClassVar[Mapping[str, Any]] = {"server_epochs": 2}

    def __init__(
        self,
        *,
        server_model: str | None = None,
        server_epochs: int = 10,
        server_lr: float = 0.05,
        temperature: float | None = None,
    ) -> None:
        super().__init__(temperature=temperature)
        if server_epochs < 0:
            raise ValueError(f"server_epochs={server_epochs} must be at least 0")
        if not server_lr > 0:
            raise ValueError(f"server_lr={server_lr} must be greater than 0")
        self.server_model, self.server_epochs = server_model, server_epochs
        self.server_lr = server_lr

    def refusal(self, server: Server) -> str | None:
        """Say so if there is no such model."""
        return unbuildable(server, self.server_model, "server_model")

    def guessed(self, plan: RoundPlan) -> Tensor:
        """Return the model's logits ``[samples, classes]`` before it learns in this round."""
        return self._study(plan, {}, None)

    def learnt(self, plan: RoundPlan, targets: Mapping[str, Tensor], loss: Loss) -> Tensor:
        """Train the model on targets for the round's samples; return its logits on them.

        Parameters
        ----------
        targets : mapping
            ``{name: [samples, ...]}``.
        loss : callable
            See `Study`.

        Raises
        ------
        RunError
            If the model diverges.
        """
        logits = self._study(plan, targets, loss)
        if not logits.isfinite().all():
            raise RunError(
                f"strategy {type(self).__name__}: the server's model diverged in round "
                f"{plan.number}; try a smaller strategy.server_lr (it is {self.server_lr:g})"
            )
        return logits

    def _study(self, plan: RoundPlan, targets: Mapping[str, Tensor], loss: Loss | None) -> Tensor:
        model = fresh(plan.server, self.server_model)
        if "server" in self.state:
            unflatten(model, self.state["server"])
        task = Study(
            model,
            plan.server.transfer(plan.sample_ids),
            dict(targets),
            loss,
            epochs=self.server_epochs,
            lr=self.server_lr,
            seed=plan.seed,
        )
        ((vector, logits),) = plan.blocks.map(study, [task])
        if loss is not None:
            self.state["server"] = vector
        return logits


def fresh(server: Server, spec: str | None) -> nn.Module:
    """Return the model that a server starts from; None = the architecture of the first client."""
    return server.model(server.models[0] if spec is None else spec)


def unbuildable(server: Server, spec: str | None, key: str, trains: bool = True) -> str | None:
    """Say why the server cannot have, and train, the model that `key` names; None if it can."""
    try:
        server.check_model(server.models[0] if spec is None else spec, trains)
    except ConfigError as error:
        return f"{key}: {error}"
    return None
