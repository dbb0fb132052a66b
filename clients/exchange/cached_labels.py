"""Soft labels, and a cache of the teacher's: the client's half of SCARLET."""

import torch

from ...knowledge import Knowledge, Target
from .phase import Phase
from .soft_labels import SoftLabels


class CachedLabels(SoftLabels):
    """Keeps every teacher label that it is sent, and learns from those it is not sent again.

    The server says by the target's mask which rows it sends. The client keeps ``cache``
    ``[transfer set, classes]``; rows that it never had are 0.
    """

    from_model = True

    def upload(self, phase: Phase) -> Knowledge:
        """Return soft labels of the samples that the server asks for, perhaps none."""
        x, ids = phase.transfer()
        if not len(x):  # not every model takes an empty batch
            return Knowledge(phase.index, self.kind, torch.zeros(0, phase.bench.width), ids)
        return super().upload(phase)

    def learn(self, phase: Phase, target: Target) -> dict[str, float]:
        """Renew the cache, then learn from its rows for all samples of the round."""
        _, ids = phase.transfer()
        tensors = phase.client.tensors
        if "cache" not in tensors:
            tensors["cache"] = torch.zeros(phase.bench.transfer_rows, target.values.shape[-1])
        sent = torch.ones(len(ids), dtype=torch.bool) if target.mask is None else target.mask
        tensors["cache"][ids[sent]] = target.values[sent]
        known = tensors["cache"][ids]
        if not known.any(dim=-1).all():
            raise RuntimeError("the server left out a label that this client has not cached")
        return super().learn(phase, target.part(known))
