"""What the tests of many rooms share: small settings, stacks of knowledge, the command, waiting."""

import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
import torch
from click.testing import Result
from torch import Tensor
from typer.testing import CliRunner

from fedkd.cli.app import app
from fedkd.knowledge import KnowledgeStack, kind_named
from fedkd.models import ZOO
from fedkd.models.shapes import FOR_TEXTS
from fedkd.tasks.samples import Shape, Tokens

TINY: dict[str, Any] = {
    "clients": 5,
    "rounds": 2,
    "engine": "inline",
    "data.samples_per_client": 20,
    "transfer.size": 60,
}
"""Settings of a run that takes a tenth of a second."""

PICTURES = sorted(set(ZOO) - set(FOR_TEXTS))
"""Models of the zoo that take pictures."""

MIXED = ["mlp", "lenet5"]
"""Two architectures, which clients get in turn."""

LIMIT = 180
"""Seconds after which what a test waits for does not come any more, however busy the machine."""


def shape_for(model: str) -> Shape:
    """Return the shape of a small sample that a model of the zoo takes."""
    return Tokens(8, 300) if model in FOR_TEXTS else (1, 8, 8)


def stack_of(
    values: Tensor,
    clients: list[int] | None = None,
    kind: str = "soft_labels",
    mask: Tensor | None = None,
    **more: Any,
) -> KnowledgeStack:
    """Return values ``[n, ...]`` as knowledge of clients 0 to n - 1, or of those given.

    Entries outside `mask` are set to 0; `more` are other fields of the stack.
    """
    samples = values.shape[1] if kind_named(kind).on_samples else 0
    if mask is not None:
        values = values * mask.unsqueeze(-1)
    clients = list(range(len(values))) if clients is None else clients
    return KnowledgeStack(kind, values, clients, torch.arange(samples), mask, **more)


def fedkd(*words: Any, **options: Any) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, [str(word) for word in words], **options)


def slow(value: Any, *marks: Any) -> Any:
    """Mark one value of a parametrised test."""
    return pytest.param(value, marks=[pytest.mark.slow, *marks])


def mostly_slow(values: Iterable[Any] | Mapping[Any, Any], *quick: Any) -> list[Any]:
    """Mark all values but those that show the kind."""
    values = list(values)
    assert set(quick) <= set(values), f"{quick} are not among {values}"
    return [value if value in quick else slow(value) for value in values]


def wait_until(there: Callable[[], Any], process: "subprocess.Popen[str] | None" = None) -> None:
    """Wait for an event, as long as the process that shall bring it lives."""
    deadline = time.monotonic() + LIMIT
    while not there():
        assert process is None or process.poll() is None, process.communicate(timeout=LIMIT)
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.02)
