"""What `fedkd check` holds a codec to."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..codecs import Codec
from ..codecs.base import Undecodable
from ..rng import torch_generator
from .common import IN_RUNS, MADE
from .plugged import CLASSES, Plugged
from .plugged import plugged as subject
from .promises import Promise, Skipped, aside, expect, untouched

__all__ = ["SUITE", "subject"]


def values() -> Iterator[tuple[str, Tensor]]:
    """Yield what clients upload, of every shape."""
    noise = torch.randn(300, CLASSES, generator=torch_generator(1))
    yield "soft labels", (2 * noise).softmax(dim=-1)
    yield "logits", 4 * noise
    yield "one row", noise[:1]
    yield "constant rows", torch.ones(20, CLASSES)
    yield "parameters", noise.flatten()
    yield "a tensor of four dimensions", noise[:270].view(3, 9, 10, 10)


def fitting(subject: Plugged) -> Iterator[tuple[str, Codec, Tensor]]:
    """Yield what the codec takes."""
    found = [(name, value) for name, value in values() if subject.make().fits(value)]
    if not found:
        raise Skipped("it takes none of what was tried")
    for name, value in found:
        yield name, subject.make(), value


def returns(subject: Plugged) -> str:
    """Encode and decode everything that fits."""
    worst, told = 0.0, []
    for name, codec, value in fitting(subject):
        again = codec.decode(codec.encode(value), value.numel())
        got = f"{name} {list(value.shape)} came back as"
        expect(again.shape == value.shape, f"{got} {list(again.shape)}")
        expect(again.dtype == torch.float32, f"{got} {again.dtype}")
        expect(again.isfinite().all(), f"{got} NaN or infinity")
        low, high = value.aminmax()
        slack = 1e-3 * max(abs(low.item()), abs(high.item()))
        inside = low - slack <= again.min() and again.max() <= high + slack
        expect(inside, f"{got} numbers beyond its smallest and largest")
        worst = max(worst, (again - value).abs().max().item())
        told.append(name)
    return f"{', '.join(told)}: off by {worst:.2g} at most"


def small(subject: Plugged) -> str:
    """Count the bytes."""
    told = []
    for name, codec, value in fitting(subject):
        parts = codec.encode(value)
        for key, part in parts.items():
            expect(isinstance(part, np.ndarray), f"{key} is a {type(part).__name__}, no array")
        size, whole = sum(part.nbytes for part in parts.values()), 4 * value.numel()
        room = whole + 64  # its shape
        expect(size <= room, f"{name} of {whole} bytes take {size}")
        told.append(f"{name} {size / whole:.0%}")
    return ", ".join(told)


def pure(subject: Plugged) -> str:
    """Encode twice, with other global random numbers."""
    for name, codec, value in fitting(subject):
        found = []
        for seed in (1, 2):
            with aside("encode()", seed), untouched("encode()", values=value):
                found.append(codec.encode(value))
        same = all(np.array_equal(found[0][key], found[1][key]) for key in found[0])
        expect(same and found[0].keys() == found[1].keys(), f"{name} are encoded in two ways")
    return "the same bytes twice"


def hostile(subject: Plugged) -> str:
    """Have it decode what it did not encode."""
    for name, codec, value in fitting(subject):
        parts = codec.encode(value)
        wrong = {
            "no arrays at all": ({}, value.numel()),
            "more than its limit": (parts, value.numel() - 1),
        }
        for what, (given, limit) in wrong.items():
            try:
                codec.decode(given, limit)
            except Undecodable:
                continue
            expect(False, f"decode() takes {what} for {name}")
    return "raises Undecodable"


SUITE: tuple[Promise, ...] = (
    *MADE,
    Promise("returns", "gives back what it was given, or nearly", returns),
    Promise("small", "makes nothing larger", small),
    Promise("pure", "has no side effects, nor chance of its own", pure),
    Promise("hostile", "does not decode what nobody encoded", hostile),
    *IN_RUNS,
)
"""The promises of a codec."""
