"""A transfer set some of whose samples are mixed of two: ``transfer.mixup``.

::

    x = a x_i + (1 - a) x_j        a ~ Beta(1, 1), j another sample, drawn uniformly

Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018; in distillation Choi, Jeon,
Shukla, Turaga, "Understanding the Role of Mixup in Knowledge Distillation", WACV 2023, arXiv
2211.03946. Confidence: certain (official code), with two differences. Its "10 %" mixes about 41 %
of a batch: those that stay plain are drawn with replacement, so that only 1 - exp(-0.9) = 59 % do.
Here exactly the share is mixed, to the nearest sample. And it mixes every batch anew, in which the
teacher would have to answer at once; here samples are mixed once, before the first round, so that
all clients label the same ones. Its temperature, the deviation of a sample's logits, is about what
the objective `lskd` does.
"""

import numpy as np
from numpy.typing import NDArray

from ..config import RunConfig
from ..errors import ConfigError
from ..rng import SERVER, stream
from .corpus import Corpus


def check_mixup(config: RunConfig, source: Corpus, size: int) -> None:
    """Refuse to mix what cannot be.

    Raises
    ------
    ConfigError
        If samples of `source` are texts, methods may see labels (a mixed sample has none of its
        own), or none would be mixed.
    """
    share, problem = config.transfer.mixup, None
    if share and source.vocabulary is not None:
        problem = f"{source.name} has texts, whose token ids are no quantities; give other data"
    elif share and config.transfer.labelled:
        problem = "a sample mixed of two has no label of its own; leave out transfer.labelled"
    elif share and size < 2:
        problem = "one transfer sample has no other to be mixed with; raise transfer.size"
    elif share and not round(share * size):
        problem = f"mixes none of {size} samples; give it at least {1 / size:g}"
    if problem is not None:
        raise ConfigError("transfer.mixup", share, f"{problem}, or set it to 0")


def mixed(seed: int, share: float, size: int) -> dict[str, NDArray[np.generic]]:
    """Draw which transfer samples are mixed with which others.

    Parameters
    ----------
    seed : int
        The run's.
    share : float
        Share of the samples that are mixed, in [0, 1].
    size : int
        Number of samples.

    Returns
    -------
    dict
        ``partner`` int64 ``[size]``, the place of the other sample, and ``part`` float32
        ``[size]`` in [0, 1], how much of it is the sample's own; a plain one is its own partner.
        Nothing if nothing is mixed.

    Examples
    --------
    >>> drawn = mixed(seed=0, share=0.25, size=8)
    >>> int((drawn["partner"] != np.arange(8)).sum()), mixed(0, 0.0, 8)
    (2, {})
    """
    count = round(share * size)
    if not count:
        return {}
    rng = np.random.default_rng(stream(seed, SERVER, 0, "mixup"))
    partner, part = np.arange(size), np.ones(size, np.float32)
    chosen = rng.choice(size, count, replace=False)
    partner[chosen] = (chosen + rng.integers(1, size, count)) % size
    part[chosen] = rng.beta(1, 1, count)
    return {"partner": partner, "part": part}
