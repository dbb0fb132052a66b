"""Whether there are enough samples, said before anything takes seconds."""

import numpy as np

from ..config import RunConfig
from ..errors import ConfigError
from .corpus import Corpus


def check_sizes(config: RunConfig, size: int, each: int | None) -> None:
    """Refuse to deal `size` samples, `each` to a client if that is given, if they are too few."""
    if config.population > size:
        problem = f"more clients than training samples ({size} after the transfer set)"
        raise ConfigError("clients", config.population, problem)
    if each is not None and each * config.population > size:
        problem = (
            f"{config.population} clients would need {each * config.population} samples and there "
            f"are {size}; at most {size // config.population} each"
        )
        raise ConfigError("data.samples_per_client", each, problem)


def check_tested(config: RunConfig, corpus: Corpus) -> None:
    """Refuse to measure on so few samples that some classes have none."""
    classes = len(np.unique(corpus.groups_test))
    if 0 < config.evaluate.subset(len(corpus.y_test)) < classes:
        what = "bin of targets" if corpus.targets.numeric else "class"
        problem = f"must be at least {classes}, one of each {what} in the test split; null = all"
        raise ConfigError("evaluate.samples", config.evaluate.samples, problem)
