"""A client that does nothing, so that what is measured is the messages."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...clients import Client, ClientLoop


class NoOp(ClientLoop):
    """Neither fits nor distils; its logits are zeros, so its soft labels say nothing.

    Parameters
    ----------
    **settings
        See `fedkd.clients.ClientLoop`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._logits: Tensor | None = None

    def fit(self, clients: Sequence[Client]) -> list[dict[str, float]]:
        """Do nothing."""
        return [{} for _ in clients]

    def distil(self, clients: Sequence[Client], *lesson: Any) -> list[dict[str, float]]:
        """Do nothing."""
        return [{} for _ in clients]

    def predict(self, clients: Sequence[Client], x: Tensor) -> list[Tensor]:
        """Return zeros ``[samples, 10]``, made once."""
        if self._logits is None or len(self._logits) != len(x):
            self._logits = torch.zeros(len(x), 10)
        return [self._logits for _ in clients]
