"""Where secure aggregation is of no use, or cannot work: refused before a run starts."""

from collections.abc import Sequence

import torch
from torch import nn

from ..clients import Parts
from ..config import RunConfig
from ..errors import ConfigError
from ..knowledge import kind_named
from ..knowledge.admission import Expected
from ..plugins.table import SEAMS
from ..rounds.protocol import Strategy
from ..secure.fixedpoint import Layout
from ..secure.masking import ADVERT_BYTES, SEALED_BYTES
from ..secure.shamir import SHARE_BYTES
from ..secure.summing import arrays_layout, knowledge_layout
from ..strategies.flower_adapter import FlowerStrategy

LEAST_FRACTION = 8
"""Bits behind the point that a mean must have."""


def check_secure(
    config: RunConfig,
    strategy: Strategy,
    parts: Parts,
    instances: Sequence[nn.Module],
    classes: int,
) -> None:
    """Raise `ConfigError` if what this run's clients upload cannot be summed behind masks.

    Parameters
    ----------
    config, strategy, parts
        The run's, with ``secure.aggregation=true``.
    instances : sequence of nn.Module
        A model like each client's.
    classes : int
        Number of classes.
    """
    check_sums(config, strategy, parts)
    none = torch.zeros(1, dtype=torch.int64)
    wanted = [parts.exchange.expected(k, 0, none, classes, m) for k, m in enumerate(instances)]
    if len({one.shape for one in wanted}) > 1:
        problem = "has clients that upload different shapes, which cannot be summed; have one model"
        raise ConfigError("secure.aggregation", True, f"{config.strategy['name']} {problem}")
    layout = _layout(config, strategy, instances[0], wanted[0])
    if layout.fraction < LEAST_FRACTION:
        problem = f"leave {layout.fraction} bits behind the point for a sum over {config.cohort}"
        remedy = "use secure.bits=64 or a smaller secure.clip"
        raise ConfigError("secure.bits", layout.bits, f"{problem} clients; {remedy}")


def check_sums(config: RunConfig, strategy: Strategy, parts: Parts) -> None:
    """Raise `ConfigError` if a sum is not enough, whatever models and data are."""
    if (reason := _individual(config, strategy)) is not None:
        able = [name for name, cls in SEAMS["strategies"].shipped().items() if cls.sums_only]
        problem = f"{config.strategy['name']} {reason}; it works with {', '.join(able)}"
        raise ConfigError("secure.aggregation", True, problem)
    if not kind_named(parts.exchange.kind).plain:
        problem = f"the sum of {parts.exchange.kind} lacks how their means are spread"
        raise ConfigError("secure.aggregation", True, f"{problem}; use task.variance=false")
    if parts.codec.up:
        problem = "masked integers cannot be compressed: leave compress=none, or secure.aggregation"
        raise ConfigError("compress", config.compress["name"], problem)


def traffic(
    config: RunConfig, strategy: Strategy, expected: Expected, model: nn.Module
) -> tuple[int, int]:
    """Return the bytes that a client sends and is sent in a round, beside what it learns from.

    Public keys, one encrypted pair of shares for and from each other client, integers, and the
    shares that unmask the sum; see `fedkd.clients.secure`.

    Parameters
    ----------
    config, strategy
        The run's.
    expected : Expected
        What a client uploads.
    model : nn.Module
        A client's model.
    """
    layout, clients = _layout(config, strategy, model, expected), config.cohort
    up = ADVERT_BYTES + clients * (SEALED_BYTES + SHARE_BYTES) + layout.size * layout.bits // 8
    number = 4
    return up, clients * (number + ADVERT_BYTES + number + SEALED_BYTES + number)


def _layout(config: RunConfig, strategy: Strategy, model: nn.Module, expected: Expected) -> Layout:
    if isinstance(strategy, FlowerStrategy):
        return arrays_layout(model.state_dict(), config.secure, config.cohort)
    return knowledge_layout(expected, config.secure, config.cohort)


def _individual(config: RunConfig, strategy: Strategy) -> str | None:
    """Say why a method needs to see each client's knowledge; None if it does not."""
    if strategy.exchange is None:
        return "exchanges nothing that could be summed"
    if strategy.sums_only and not strategy.finishes:
        return None
    if strategy.personalised:
        return "makes each client a teacher of its own, out of what each has uploaded"
    return "looks at what each client has uploaded, not only at their sum"
