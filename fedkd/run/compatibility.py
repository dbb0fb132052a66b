"""``fedkd list models --compatibility``: untrained models on samples of a transfer set."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from ..config import RunConfig
from ..data import build_federation, corpora
from ..errors import ConfigError
from ..models import ZOO, build, check_model
from ..models.compatibility import SAMPLES, View, relation, semantic, view
from ..models.features import headless
from ..models.specs import model_name
from ..plugins.table import SEAMS
from ..rng import scoped
from .resolving import wanted, with_task

__all__ = ["SAMPLES", "Pair", "compatibility", "ranked"]


@dataclass(frozen=True)
class Pair:
    """Two models, and how alike they are; terms are at most 0, `semantic` nan where it is none."""

    one: str
    other: str
    relation: float
    semantic: float

    @property
    def score(self) -> float:
        """The sum of both terms; nan without the semantic one."""
        return self.relation + self.semantic


def compatibility(
    config: RunConfig, models: Sequence[Any], reference: Any = None
) -> tuple[list[Pair], dict[str, str]]:
    """Return pairs of models, the most alike first, and why models are in none, by name.

    Parameters
    ----------
    config : RunConfig
        Says which data, and with ``seed`` which weights.
    models : sequence
        As for ``model=``; empty = all that fedkd brings.
    reference : optional
        One that all are compared with; None = each other.

    Raises
    ------
    ConfigError
        If labels are no classes, or the reference cannot be compared.
    """
    with TemporaryDirectory() as scratch:
        sources = corpora(config, targets=wanted(config))
        task = with_task(config, sources[0]).task["name"]
        if not SEAMS["tasks"].create({"name": task}).needs_classes:
            problem = f"is for {task}, and models are compared by classes; use another data set"
            raise ConfigError("data", config.data.name, problem)
        federation = build_federation(config, *sources, Path(scratch))
        rows = torch.arange(min(SAMPLES, federation.transfer_size))
        x = federation.transfer(rows)
        labelled = federation.transfer_corpus.labelled
        y = federation.transfer_labels()[rows] if labelled else None
        shape, classes = federation.shape, federation.classes
    views: dict[str, View] = {}
    left: dict[str, str] = {}
    wished = [*models] or list(ZOO)
    for spec in [*wished, *([] if reference is None else [reference])]:
        name = model_name(spec)
        try:
            views[name] = _view(spec, shape, classes, x, y, config.seed)
        except ConfigError as error:
            left[name] = error.problem
    if reference is None:
        return ranked(views), left
    if (name := model_name(reference)) not in views:
        raise ConfigError("model", name, left[name])
    return ranked(views, name), left


def _view(spec: Any, shape: Any, classes: int, x: Tensor, y: Tensor | None, seed: int) -> View:
    check_model(spec, shape, classes)
    with scoped(seed):
        model = build(spec, shape, classes)
    if (found := headless({model_name(spec): model}, x[:2])) is not None:
        raise ConfigError("model", model_name(spec), found)
    return view(model, x, y)


def ranked(views: Mapping[str, View], reference: str | None = None) -> list[Pair]:
    """Return pairs, the best first: by both terms where all pairs have them, else by relation."""
    others = [name for name in views if name != reference]
    names = combinations(views, 2) if reference is None else ((n, reference) for n in others)
    pairs = []
    for one, other in names:
        a, b = views[one], views[other]
        terms = relation(a.features, b.features), semantic(a.gradients, b.gradients)
        pairs.append(Pair(one, other, *terms))
    whole = not any(math.isnan(pair.semantic) for pair in pairs)
    return sorted(pairs, key=lambda pair: -(pair.score if whole else pair.relation))
