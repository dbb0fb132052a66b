"""A client loop whose models diverge when told to; used by tests."""

import torch
from fedkd.clients.standard import Standard


class Diverging(Standard):
    """Spoils the model of one client in one phase of one round."""

    def __init__(self, client: int, round: int, phase: str = "fit", value: float = 0.0, **settings):
        super().__init__(**settings)
        self.when, self.value = (client, round, phase), value or float("nan")

    def fit(self, clients):
        """Fit as usual, then perhaps spoil."""
        numbers = super().fit(clients)
        self._spoil(clients, "fit")
        return numbers

    def distil(self, clients, x, teachers, objective):
        """Distil as usual, then perhaps spoil."""
        numbers = super().distil(clients, x, teachers, objective)
        self._spoil(clients, "distil")
        return numbers

    def _spoil(self, clients, phase):
        for client in clients:
            round_ = client.options.get("round", client.options.get("server-round"))
            if (client.index, round_, phase) == self.when:
                with torch.no_grad():
                    list(client.model.parameters())[-2].fill_(self.value)


class DivergingBuffer(Diverging):
    """Spoils a buffer, and no parameter."""

    def _spoil(self, clients, phase):
        before = [p.detach().clone() for p in clients[0].model.parameters()]
        super()._spoil(clients, phase)
        if any(not p.isfinite().all() for p in clients[0].model.parameters()):
            with torch.no_grad():
                for parameter, old in zip(clients[0].model.parameters(), before, strict=True):
                    parameter.copy_(old)
                next(b for b in clients[0].model.buffers() if b.is_floating_point()).fill_(
                    self.value
                )
