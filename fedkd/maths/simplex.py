"""Shares that minimise a quadratic function."""

import torch
from torch import Tensor

EXACT = 1e-12
"""What counts as nothing, as a share of the form's diagonal."""


def least_quadratic(form: Tensor, pull: Tensor, start: int = 0) -> Tensor:
    """Return the a that minimises ``a' P a - 2 q' a`` where ``a >= 0`` and ``sum a = 1``, ``[n]``.

    An active-set method, as Wolfe's for the nearest point of a polytope ("Finding the nearest point
    in a polytope", Mathematical Programming 1976): a set of entries, whose minimum is positive,
    grows by those with the steepest descent, and loses those that would become negative. It ends at
    the minimum; its effort depends on how many entries are not 0.

    Parameters
    ----------
    form : Tensor
        P float64 ``[n, n]``, symmetric, no eigenvalue below 0 but by rounding.
    pull : Tensor
        q float64 ``[n]``.
    start : int
        The first entry of the set.

    Examples
    --------
    >>> form = torch.tensor([[1.0, 0.0], [0.0, 3.0]]).double()
    >>> least_quadratic(form, torch.zeros(2).double())
    tensor([0.7500, 0.2500], dtype=torch.float64)
    >>> least_quadratic(form, torch.tensor([0.0, 4.0]).double())
    tensor([0., 1.], dtype=torch.float64)
    """
    nothing = EXACT * form.diagonal().mean().clamp_min(EXACT)
    shares = torch.zeros_like(pull)
    shares[start] = 1.0
    for _ in range(10 * len(pull)):  # many more than it takes, should rounding go in circles
        chosen = torch.nonzero(shares).flatten()
        slope = shares[chosen] @ form[chosen] - pull
        steep = torch.nonzero(slope < shares @ slope - nothing).flatten()
        steep = steep[(shares[steep] == 0).nonzero().flatten()]
        if not len(steep):
            break
        more = steep[slope[steep].argsort()[: len(chosen)]]
        shares = _grown(form, pull, shares, chosen, more, nothing)
    return shares


def _grown(
    form: Tensor, pull: Tensor, shares: Tensor, chosen: Tensor, more: Tensor, nothing: Tensor
) -> Tensor:
    """Return the minimum over chosen entries and some more, as far as it is positive."""
    while True:
        both = torch.cat([chosen, more])
        wanted = _level(form[both][:, both], pull[both], nothing)
        new = wanted[len(chosen) :]
        if len(more) == 1 or not (new <= 0).any():
            break
        more = more[new > 0] if (new > 0).any() else more[:1]
    held = torch.cat([shares[chosen], torch.zeros(len(more)).double()])
    while (low := wanted < 0).any():
        steps = torch.where(low, held / (held - wanted), torch.inf)
        held = held + steps.min() * (wanted - held)
        held[steps.argmin()] = 0.0
        both, held = both[held > 0], held[held > 0]
        wanted = _level(form[both][:, both], pull[both], nothing)
    return torch.zeros_like(shares).index_put((both,), wanted)


def _level(form: Tensor, pull: Tensor, nothing: Tensor) -> Tensor:
    """Return the minimum where entries sum to 1, and may be negative."""
    sides = torch.stack([pull, torch.ones_like(pull)], dim=1)
    free, even = torch.linalg.solve(form + torch.diag(nothing.expand(len(pull))), sides).unbind(1)
    return free + (1 - free.sum()) / even.sum() * even
