"""What `fedkd check` holds a model to."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..config.overrides import compose, merge
from ..engine.host import one_thread
from ..errors import ConfigError
from ..models import build, check_model, factory, refuse_shared
from ..models.features import head, tapped
from ..plugins.table import Seam
from ..rng import scoped, torch_generator
from ..run.objects import Objects
from ..tasks.samples import Shape, Tokens, made_up
from .common import IN_RUNS
from .plugged import CLASSES, Plugged, tiny
from .promises import Broken, Promise, Skipped, aside, expect

__all__ = ["SUITE", "subject"]

SHAPES: tuple[Shape, ...] = ((64,), (1, 8, 8), (1, 28, 28), (3, 32, 32), Tokens(16, 300))
"""Samples of the data sets that fedkd knows, and texts."""


class ModelSubject(Plugged):
    """A model to check."""

    @property
    def spec(self) -> Any:
        """The model, with the parameters that the user gave."""
        return self.config.model

    def objects(self) -> Objects:
        """Return the data of runs where the model takes texts only."""
        if isinstance(self.shapes[0], Tokens):
            return replace(super().objects(), data=some_texts())
        return super().objects()

    @cached_property
    def shapes(self) -> list[Shape]:
        """The shapes of samples that it takes."""
        found: list[Shape] = []
        reasons = []
        for shape in SHAPES:
            try:
                check_model(self.spec, shape, CLASSES)
            except ConfigError as error:
                reasons.append(error.problem)
            else:
                found.append(shape)
        if not found:
            raise Broken(f"takes no samples of {list(SHAPES)}: {reasons[0]}")
        return found

    def build(self) -> nn.Module:
        """Return a new one."""
        return build(self.spec, self.shapes[0], CLASSES)

    def samples(self, count: int) -> Tensor:
        """Return some samples for it."""
        return made_up(self.shapes[0], count, torch_generator(1))


def subject(seam: Seam, target: str, overrides: Sequence[str] = (), **options: Any) -> ModelSubject:
    """Return a model that is to be checked."""
    settings = tiny(overrides) | {"strategy": {"name": "fedmd"}}
    if any(text.startswith("strategy") for text in overrides):
        settings = tiny(overrides)
    config = merge(compose([f"model={target}", *overrides]), **settings)
    factory(config.model)
    return ModelSubject(seam, target, {"name": target}, config, **options)


def some_texts() -> tuple[list[str], list[int]]:
    """Return texts of words that tell their class more or less, and the classes."""
    rng, labels = np.random.default_rng(1), [row % CLASSES for row in range(400)]
    words = rng.integers(0, 3 * CLASSES, (len(labels), 6))
    words[:, ::2] = np.array(labels)[:, None]
    return [" ".join(f"word{word}" for word in row) for row in words], labels


def builds(subject: ModelSubject) -> str:
    """Build two, and run samples of every shape through them."""
    refuse_shared([(subject.name, subject.build()) for _ in range(2)])
    told = []
    for shape in subject.shapes:
        size = sum(p.numel() for p in build(subject.spec, shape, CLASSES).parameters())
        told.append(f"{size} for {shape if isinstance(shape, Tokens) else list(shape)}")
    return f"parameters: {', '.join(told)}"


def seeded(subject: ModelSubject) -> str:
    """Build it twice from one seed, and once from another."""
    vectors = []
    for seed in (1, 1, 2):
        with scoped(seed):
            model = subject.build()
        vectors.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    expect(torch.equal(vectors[0], vectors[1]), "the same seed has two models")
    return "other weights" if not torch.equal(vectors[0], vectors[2]) else "always the same weights"


def apart(subject: ModelSubject) -> str:
    """Evaluate samples together and one by one, with other global random numbers."""
    model, x = subject.build().eval(), subject.samples(6)
    with one_thread(), torch.no_grad(), aside("evaluation"):
        whole, before = model(x), {k: v.clone() for k, v in model.state_dict().items()}
        each = torch.cat([model(one[None]) for one in x])
    off = (whole - each).abs().max().item()
    expect(off < 1e-4, f"in evaluation a sample's logits depend on the others, by {off:.3g}")
    same = all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    expect(same, "evaluation changes the model")
    return f"up to {off:.1g}"


def learns(subject: ModelSubject) -> str:
    """Look for gradients that do not reach a parameter."""
    model = subject.build().train()
    model(subject.samples(8)).square().sum().backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for name, parameter in trained.items():
        if parameter.grad is None:
            raise Broken(f"{name} has no gradient: no layer uses it")
        expect(parameter.grad.isfinite().all(), f"the gradient of {name} is not finite")
    return f"{len(trained)} tensors"


def features(subject: ModelSubject) -> str:
    """Look at what goes into its last linear layer, which some methods need."""
    model = subject.build().eval()
    try:
        width = head(model).in_features
    except ValueError as reason:
        raise Skipped(f"{reason}; methods that need features refuse it") from reason
    with torch.no_grad(), tapped(model) as tap:
        model(subject.samples(2))
    expect(tap.features.shape == (2, width), f"features are {list(tap.features.shape)}")
    return f"{width} features"


def travels(subject: ModelSubject) -> str:
    """Pickle it, as on the way to an actor, and copy it."""
    from ray import cloudpickle

    model = subject.build()
    size, again = len(cloudpickle.dumps(model)), copy.deepcopy(model).state_dict()
    same = all(torch.equal(value, again[key]) for key, value in model.state_dict().items())
    expect(same, "a copy has other weights")
    return f"{size} bytes"


SUITE: tuple[Promise, ...] = (
    Promise("builds", "can be built, each time with weights of its own", builds, vital=True),
    Promise("seeded", "begins with weights drawn from the seed", seeded),
    Promise("apart", "evaluates samples one by one, without side effects", apart),
    Promise("learns", "has gradients for all of its parameters", learns),
    Promise("features", "has features before its last layer", features),
    Promise("travels", "can be sent to an actor", travels),
    *IN_RUNS,
)
"""The promises of a model."""
