"""Plug-ins that keep at a client what is no tensor. Used by tests."""

from fedkd.clients.standard import Standard

from fedkd.distillation.kl import KL


class Counting(KL):
    """An objective that counts its batches, as a number."""

    remembers = True

    def __call__(self, student_logits, teacher, batch=None):
        """Return the loss, and count."""
        memory = self.memory(batch)
        memory["batches"] = memory.get("batches", 0) + 1
        return super().__call__(student_logits, teacher, batch)


class Noting(Standard):
    """A loop that notes the clients' losses, as a list."""

    def fit(self, clients):
        """Train, and note."""
        found = super().fit(clients)
        for client, one in zip(clients, found, strict=True):
            client.tensors["losses"] = [one["loss_fit"]]
        return found
