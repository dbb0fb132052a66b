"""What the clients hold, and what they label."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Ge, Gt, Interval, MinLen

from ..errors import ConfigError
from .checked import Checked, OneOf

NOISE = "noise"
"""The ``transfer.data`` that is made up (a folder of that name is ``./noise``)."""


@dataclass
class DataConfig(Checked):
    """Which data set, and how the clients share it."""

    name: str = "digits"
    """a name (fedkd list data), a Parquet or CSV file, a folder of them or of pictures by class"""
    label: Any = None
    """the label's column, or a list of columns of numbers; null = label, or the only classes"""
    features: Annotated[list[str] | None, MinLen(1)] = None
    """the columns that are the features, in this order; null = all that can be used"""
    standardise: bool | None = None
    """whether a table's numbers get mean 0 and deviation 1; null = in regression"""
    text: str | None = None
    """the column of texts that are the samples; null = the only one, if there are no features"""
    vocabulary: Annotated[int | None, Ge(257)] = None
    """tokens that a tokenizer learns at most: padding, 256 bytes, and the rest; null = 8192, with
    task=tokens 512"""
    length: Annotated[int | None, Ge(1)] = None
    """tokens of a text at most, longer ones are cut, and of a window of task=tokens; null = 128,
    of a window 64"""
    alpha: Annotated[float | None, Gt(0)] = 0.1
    """concentration of the Dirichlet label skew (small = very skewed); null = IID"""
    partitioner: dict[str, Any] = field(default_factory=lambda: {"name": "auto"})
    """auto, iid, dirichlet, pathological, shard, FILE:Class, module:Class, or _target_"""
    client: str | None = None
    """the column that says whose a sample is: each of its values is a client, in sorted order"""
    split: str | None = None
    """a file of row numbers for each client: .npz, or JSON lists; in Python, lists of arrays"""
    samples_per_client: Annotated[int | None, Ge(1)] = None
    """equal partition size; null = the data set's default, or all samples"""
    min_partition_size: Annotated[int, Ge(1)] = 1
    """smallest partition that the class-wise Dirichlet split may produce"""
    validation: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """fraction of each client's samples held out of training"""
    test: Annotated[str, OneOf(("official", "local"))] = "official"
    """local accuracy: official test split under the client's labels, or local = its own samples"""
    test_share: Annotated[float | None, Interval(gt=0, lt=1)] = None
    """share of each client's samples to test on; null = its own test split's, else a fifth"""

    @property
    def held(self) -> str | None:
        """The key that says who holds what, if one does."""
        return next((f"data.{key}" for key in ("client", "split") if getattr(self, key)), None)

    def check(self) -> None:
        """Raise `ConfigError` for what is said twice, or for nothing."""
        if self.client is not None and self.split is not None:
            problem = "says who holds what, and so does data.client; leave one of them out"
            raise ConfigError("data.split", self.split, problem)
        if self.test_share is not None and self.test != "local":
            problem = "is for data.test=local, which tests clients on samples of their own"
            raise ConfigError("data.test_share", self.test_share, problem)


@dataclass
class TransferConfig(Checked):
    """The transfer set, which every client labels."""

    size: Annotated[int | None, Ge(1)] = None
    """number of transfer samples; null = the data set's default"""
    data: str | None = None
    """another data set, labelled or not, or noise; null = training samples that no client holds"""
    split: str | None = None
    """a file of their row numbers: .npz, .npy or a JSON list; in Python, an array; null = drawn"""
    per_round: Annotated[int | None, Ge(1)] = None
    """samples drawn afresh for each round; null = all of them"""
    labelled: bool = False
    """whether methods and objectives may see the transfer set's labels"""
    noise: Annotated[str, OneOf(("clusters", "gaussian", "uniform"))] = "clusters"
    """of transfer.data=noise: a cluster for each class, one in the middle, or uniform numbers"""
    spread: Annotated[float, Ge(0)] = 0.1
    """of clusters and gaussian: their standard deviation, as a share of the data's range"""
    mixup: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """share of the samples that are mixed of two, once, before anybody labels them"""
    hard: bool = False
    """whether rounds use the augmented view of each sample on which clients disagree the most"""
    views: Annotated[int, Interval(ge=1, le=1000)] = 4
    """augmented views of each sample beside the original, made once; every process holds all"""
    explore: Annotated[float, Interval(gt=0, le=1)] = 0.5
    """share of the samples that try another view in a round from the second on"""
    strength: Annotated[float, Interval(gt=0, le=1)] = 0.1
    """how far views are from the sample: turns of half a circle, shares of a side, of a deviation;
    of texts the share of words that are left out"""
    flip: bool = False
    """whether views of pictures are mirrored by chance, too"""

    def check(self) -> None:
        """Raise `ConfigError` for what is said of noise, or of views, where there is no such."""
        asked = self.data == NOISE
        self._idle(("noise", "spread"), asked, "transfer.data=noise")
        self._idle(("spread",), not asked or self.noise != "uniform", "clusters and gaussian noise")
        self._idle(("views", "explore", "strength", "flip"), self.hard, "transfer.hard=true")
        if asked and self.split is not None:
            raise ConfigError("transfer.split", self.split, "noise is made up; leave it out")

    def _idle(self, keys: tuple[str, ...], used: bool, what: str) -> None:
        """Refuse keys that are set where they have no use."""
        for key in keys:
            value = getattr(self, key)
            if not used and value != getattr(TransferConfig(), key):
                raise ConfigError(f"transfer.{key}", value, f"is for {what}; leave it out")
