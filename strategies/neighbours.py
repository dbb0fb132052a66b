"""What the samples nearest to others say of them."""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cache:
    """Samples, of one or more clients one after the other.

    Parameters
    ----------
    hashes : Tensor
        ``[samples, size]``, rows of length 1.
    labels : Tensor
        ``[samples]`` int64.
    logits : Tensor
        ``[samples, classes]``.
    """

    hashes: Tensor
    labels: Tensor
    logits: Tensor

    def taught(
        self, hashes: Tensor, labels: Tensor, most: int, first: int | None
    ) -> tuple[Tensor, Tensor]:
        """Return the mean logits of the nearest of each sample's class, and who has some.

        Parameters
        ----------
        hashes, labels : Tensor
            The samples', as in the cache.
        most : int
            How many neighbours a sample has, if there are as many.
        first : int or None
            Where these very samples begin in the cache; None = they are not in it.

        Returns
        -------
        values : Tensor
            ``[samples, classes]``, 0 where there is no neighbour.
        mask : Tensor
            bool ``[samples]``.

        Examples
        --------
        >>> cache = Cache(torch.eye(3), torch.tensor([0, 0, 1]), torch.arange(6.0).view(3, 2))
        >>> cache.taught(torch.eye(3), torch.tensor([0, 0, 1]), 5, first=0)
        (tensor([[2., 3.],
                [0., 1.],
                [0., 0.]]), tensor([ True,  True, False]))
        """
        values = torch.zeros(len(labels), self.logits.shape[1])
        mask = torch.zeros(len(labels), dtype=torch.bool)
        for label in labels.unique():
            rows, pool = (torch.nonzero(one == label).flatten() for one in (labels, self.labels))
            count = len(pool) - (first is not None)
            if count < 1:
                continue
            like = hashes[rows] @ self.hashes[pool].T
            if first is not None:
                like[pool == (rows + first).unsqueeze(1)] = -inf
            near = pool[like.topk(min(most, count), dim=1).indices]
            values[rows], mask[rows] = self.logits[near].mean(dim=1), True
        return values, mask
