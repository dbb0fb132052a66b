"""Batches of a single sample, where a model cannot be trained on one."""

from collections.abc import Sequence

from torch import nn

from ..clients import Parts
from ..config import RunConfig
from ..errors import ConfigError
from ..models import model_name
from ..models.alone import trains_alone
from ..tasks.samples import Shape, blank


def check_alone(
    config: RunConfig,
    parts: Parts,
    instances: Sequence[nn.Module],
    shape: Shape,
    sizes: Sequence[int],
    taught: bool,
) -> None:
    """Refuse to train models on single samples if they need more, as batch normalisation does.

    Parameters
    ----------
    config, parts
        The run's.
    instances : sequence of nn.Module
        A model like each client's.
    shape : Shape
        Of a sample.
    sizes : sequence of int
        Samples that each client trains on.
    taught : bool
        Whether clients learn from a teacher of samples.

    Raises
    ------
    ConfigError
        If batches, transfer set or a client have one sample.
    """
    x, kinds = blank(shape, 1), {id(one): one for one in instances}
    needy = {key for key, one in kinds.items() if not trains_alone(one, x)}
    clients = [client for client, one in enumerate(instances) if id(one) in needy]
    if not clients:
        return
    name = model_name(parts.models[clients[0]])
    problem = "cannot be trained on a single sample, as it normalises over a batch"
    numbers: dict[str, int | None] = {"fit.batch_size": config.fit.batch_size}
    if taught:
        numbers |= {"distil.batch_size": config.distil.batch_size}
        numbers |= {"transfer.size": config.transfer.size}
        numbers |= {"transfer.per_round": config.transfer.per_round}
    for key, number in numbers.items():
        if number == 1:
            raise ConfigError(key, 1, f"model {name} {problem}; use at least 2, or another model")
    alone = [client for client in clients if sizes[client] == 1]
    if alone:
        remedy = "have more samples a client, or another model"
        raise ConfigError("model", name, f"{problem}, and client {alone[0]} has one; {remedy}")
