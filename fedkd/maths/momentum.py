"""How far a gradient carries when steps have momentum."""


def carried(steps: int, momentum: float) -> float:
    """Return a, such that so many steps of SGD along one gradient g move by ``lr * a * g``.

    The buffer of momentum starts at 0: ``a = sum over i = 1..steps of (1 - m^i) / (1 - m)``, which
    is `steps` without momentum. Along changing gradients, the movement is ``lr * a`` times their
    mean, weighted by how long each has carried.

    Source: FedNova, NeurIPS 2020, for SGD with momentum.

    Examples
    --------
    >>> carried(3, 0.0), carried(3, 0.5)  # 1, 1.5 and 1.75
    (3.0, 4.25)
    """
    total, step = 0.0, 0.0
    for _ in range(steps):
        step = 1.0 + momentum * step
        total += step
    return total
