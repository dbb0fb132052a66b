"""What the parameters of Flower's strategies mean here: read, without effect, or not to be had."""

import inspect

from flwr.serverapp.strategy import (
    DifferentialPrivacyClientSideAdaptiveClipping,
    DifferentialPrivacyClientSideFixedClipping,
)
from flwr.serverapp.strategy import Strategy as FlowerBase

SIZES = ("min_train_nodes", "min_evaluate_nodes", "min_available_nodes")
DRAWN = "has no effect: the run draws who takes part; use fraction and min_clients"
MEASURED = "has no effect: the run measures every client; use evaluate.every"
UNUSED = {
    **dict.fromkeys(("fraction_train", *SIZES), DRAWN),
    **dict.fromkeys(("fraction_evaluate", "evaluate_metrics_aggr_fn"), MEASURED),
}
"""Parameters of Flower's strategies that the run decides in their place."""
CLIPPED = (
    DifferentialPrivacyClientSideAdaptiveClipping,
    DifferentialPrivacyClientSideFixedClipping,
)


def keys_of(inner: object) -> dict[str, str]:
    """Return the metrics that a Flower strategy, or one inside it, is told to read.

    Examples
    --------
    >>> from flwr.serverapp.strategy import QFedAvg
    >>> keys_of(QFedAvg(client_learning_rate=0.1))
    {'weighted_by_key': 'num-examples', 'train_loss_key': 'train_loss'}
    """
    found: dict[str, str] = {}
    for name, value in vars(inner).items():
        if isinstance(value, FlowerBase):
            found |= keys_of(value)
        elif name.endswith("_key") and not name.endswith("record_key"):
            found[name] = str(value)
    return found


def problem_of(inner: FlowerBase) -> str | None:
    """Say what of a Flower strategy, or of one inside it, would not do what its user expects.

    Examples
    --------
    >>> from flwr.serverapp.strategy import FedAvg
    >>> problem_of(FedAvg(fraction_train=0.5)).partition(":")[0]
    'FedAvg(fraction_train=0.5)'
    >>> problem_of(FedAvg())
    """
    name = type(inner).__name__
    if isinstance(inner, CLIPPED):
        problem = "relies on clients that clip by Flower's mod, which ours do not have"
        return f"{name} {problem}; use the ServerSide one, or privacy=dp_sgd"
    known = inspect.signature(type(inner)).parameters
    for key, why in UNUSED.items():
        default = known[key].default if key in known else None
        if default is not None and getattr(inner, key, default) != default:  # None becomes a value
            return f"{name}({key}={getattr(inner, key)}): {why}"
    inside = [problem_of(one) for one in vars(inner).values() if isinstance(one, FlowerBase)]
    return next(filter(None, inside), None)
