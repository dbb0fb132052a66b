"""Kinds of knowledge: what the numbers are that travel, and what may be made of them.

A `Kind` is its own name, a string, and that is what is written down: in messages, ``spec.json``,
recordings and checkpoints. A plug-in brings one of its own with its exchange::

    class Ranks(Kind):
        on_samples = True

    class Ranking(Exchange):
        kind = Ranks("ranks")
"""

import math
from collections.abc import Sequence
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

LARGEST = 1e6
"""Numbers beyond this magnitude are refused: they would drown every other client in a mean."""

SIMPLEX_TOLERANCE = 1e-3
"""How far from 1 the sum of a client's soft labels may be."""

ROUNDING = 1e-5
"""How far from 1 a row of soft labels may be by rounding alone."""

_LOG_FLOOR = math.log(torch.finfo(torch.float32).tiny)


class Kind(str):
    """A kind of knowledge: a name, and what it means.

    Attributes
    ----------
    on_samples : bool
        Whether its rows are about samples of the transfer set, one each.
    dims : int
        Dimensions of one client's values.
    rowwise : bool
        Whether rows weigh by themselves in a mean over clients; if not, all of it weighs the same.
    personal : bool
        Whether each client may have a teacher of its own.
    simplex : bool
        Whether rows are probability distributions; such have a softmax temperature.
    plain : bool
        Whether a mean over clients is that of their numbers, and the numbers of a row are of one
        sort: else sums of them say too little, and they cannot share a scale.

    Examples
    --------
    >>> kind = kind_named("soft_labels")
    >>> kind == "soft_labels", kind.on_samples, kind.check(torch.tensor([[0.5, 0.4]]))
    (True, True, 'simplex: a row sums to 1 ± 0.1')
    """

    on_samples: ClassVar[bool] = False
    dims: ClassVar[int] = 2
    rowwise: ClassVar[bool] = True
    personal: ClassVar[bool] = True
    simplex: ClassVar[bool] = False
    plain: ClassVar[bool] = True

    def check(self, values: Tensor) -> str | None:
        """Say what is wrong with values, finite and at least one; None if nothing is."""
        high = values.abs().max().item()
        return f"magnitude: {high:.3g} is above {LARGEST:g}" if high > LARGEST else None

    def width(self, rows: int, size: int) -> int:
        """Return how many numbers a row has, where predictions have `size` and there are `rows`."""
        del rows
        return size

    def bytes(self, shape: Sequence[int]) -> int:
        """Return the bytes of values of this shape, without headers."""
        return 4 * prod(shape)

    def blank(self, shape: Sequence[int]) -> Tensor:
        """Return values that say nothing."""
        return torch.zeros(*shape)

    def drawn(self, noise: Tensor) -> Tensor:
        """Return values as some client might have them, made of standard normal numbers."""
        return 2 * noise

    def repaired(self, values: Tensor) -> Tensor:
        """Return values of this kind where fusion, or a codec, left them a little off."""
        return values

    def linear(self, values: Tensor) -> Tensor:
        """Return values in a form in which a mixture is a weighted sum; `mixed` leads back."""
        return values

    def mixed(self, values: Tensor) -> Tensor:
        """Return values of what `linear` returned, mixed."""
        return values

    def apart(self, values: Tensor, weights: Tensor) -> Tensor:
        """Return how far clients are from their mean, a number for each row, at least 0.

        Parameters
        ----------
        values : Tensor
            ``[n, rows, ...]``.
        weights : Tensor
            float64 ``[n, rows]``, columns sum to 1: what a client counts in a row's mean.
        """
        del values, weights
        raise AttributeError(f"{self} do not say how far clients are apart")

    def distribution(self, values: Tensor) -> Tensor:
        """Return how each client's predictions are spread, ``[n, bins]``, rows sum to 1."""
        del values
        raise AttributeError(f"{self} are no predictions of numbers")

    def probabilities(self, values: Tensor, own: float = 1.0, temperature: float = 1.0) -> Tensor:
        """Return class probabilities at a temperature; `own` is the temperature of the values."""
        del values, own, temperature
        raise AttributeError(f"{self} give no class probabilities; soft_labels and logits do")

    def log_probabilities(self, values: Tensor, own: float, temperature: float) -> Tensor:
        """Return the logarithm of `probabilities`, finite also where they are 0."""
        return self.probabilities(values, own, temperature).log().clamp_min(_LOG_FLOOR)

    def paired(
        self, student_logits: Tensor, values: Tensor, own: float, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """Return what a student says and what it should, in a form that can be compared."""
        del own, temperature
        return student_logits, values


class _ClassScores(Kind):
    """What says of each sample which class it may be."""

    def apart(self, values: Tensor, weights: Tensor) -> Tensor:
        """Return ``sum_n w_n KL(p_n || pbar)`` in nats; of two clients the JS divergence.

        It is computed as ``H(pbar) - sum_n w_n H(p_n)``, in float64.
        """
        p = self.probabilities(values).double()
        mean = torch.einsum("nr,nrc->rc", weights, p)
        own = torch.special.entr(p).sum(dim=-1)
        apart: Tensor = torch.special.entr(mean).sum(dim=-1) - (weights * own).sum(dim=0)
        return apart.clamp_min(0)


class SoftLabels(_ClassScores):
    """Class probabilities ``[samples, classes]``."""

    on_samples = True
    simplex = True

    def check(self, values: Tensor) -> str | None:
        """Say if a row is not on the simplex."""
        if (low := values.min().item()) < 0:
            return f"simplex: smallest entry is {low:.3g}, below 0"
        off = (values.sum(dim=-1) - 1).abs().max().item()
        return f"simplex: a row sums to 1 ± {off:.3g}" if off > SIMPLEX_TOLERANCE else None

    def blank(self, shape: Sequence[int]) -> Tensor:
        """Return uniform rows."""
        return torch.full(tuple(shape), 1 / shape[-1])

    def drawn(self, noise: Tensor) -> Tensor:
        """Return the softmax of twice the noise."""
        return (2 * noise).softmax(dim=-1)

    def repaired(self, values: Tensor) -> Tensor:
        """Return rows on the simplex."""
        return normalised(values)

    def probabilities(self, values: Tensor, own: float = 1.0, temperature: float = 1.0) -> Tensor:
        """Return ``p ** (own / T)``, renormalised."""
        if temperature == own:
            return values
        return (self._logits(values, own) / temperature).softmax(dim=-1)

    def log_probabilities(self, values: Tensor, own: float, temperature: float) -> Tensor:
        """Return the logarithm of `probabilities`, never under that of the smallest float32."""
        logits = self._logits(values, own) / temperature
        return logits.log_softmax(dim=-1).clamp_min(_LOG_FLOOR)

    def paired(
        self, student_logits: Tensor, values: Tensor, own: float, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """Return probabilities: soft labels fix logits only up to a constant."""
        student = (student_logits / temperature).softmax(dim=-1)
        return student, self.probabilities(values, own, temperature)

    def _logits(self, values: Tensor, own: float) -> Tensor:
        return own * values.log()


class Logits(_ClassScores):
    """Logits ``[samples, classes]``."""

    on_samples = True

    def probabilities(self, values: Tensor, own: float = 1.0, temperature: float = 1.0) -> Tensor:
        """Return ``softmax(z / T)``."""
        del own
        return (values / temperature).softmax(dim=-1)

    def log_probabilities(self, values: Tensor, own: float, temperature: float) -> Tensor:
        """Return the logarithm of `probabilities`, not clipped."""
        del own
        return (values / temperature).log_softmax(dim=-1)


class Parameters(Kind):
    """A model, or part of one, as a vector ``[size]``."""

    dims = 1
    rowwise = False

    def drawn(self, noise: Tensor) -> Tensor:
        """Return a tenth of the noise, not negative: some may be variances."""
        return 0.1 * noise.abs()


KINDS: dict[str, Kind] = {
    kind: kind
    for kind in (
        SoftLabels("soft_labels"),
        Logits("logits"),
        Kind("class_knowledge"),  # [classes, dim]
        Parameters("parameters"),
    )
}
"""The kinds that fedkd brings, by name."""

CLASS_SCORES = ("soft_labels", "logits")
"""Those that say of each transfer sample which class it may be."""

NUMBERS = ("predictions", "gaussian_predictions")
"""Those that say which number it may have (`fedkd.knowledge.predictions`)."""


def kind_named(name: str, brought: str = "") -> Kind:
    """Return the kind of this name; `brought` is a plug-in's own, which its name may stand for.

    Raises
    ------
    ValueError
        If there is none.

    Examples
    --------
    >>> kind_named("ranks", Kind("ranks"))
    'ranks'
    >>> kind_named("ranks")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: kind=ranks must be soft_labels, logits, class_knowledge, parameters, ... or a Kind
    """
    if isinstance(name, Kind):
        return name
    if isinstance(brought, Kind) and brought == name:
        return brought
    if name not in KINDS:
        raise ValueError(f"kind={name} must be {', '.join(KINDS)} or a Kind")
    return KINDS[name]


def normalised(values: Tensor) -> Tensor:
    """Divide rows by their sum, where they are not negative and their sum is not 1.

    What is negative, not finite or all zero stays as it is, for checks to refuse; so do rows that
    are off by no more than rounding.

    Examples
    --------
    >>> normalised(torch.tensor([[1.0, 3.0], [-1.0, 3.0], [0.0, 0.0]]))
    tensor([[ 0.2500,  0.7500],
            [-1.0000,  3.0000],
            [ 0.0000,  0.0000]])
    """
    sums = values.sum(dim=-1, keepdim=True)
    usable = (values >= 0).all(dim=-1, keepdim=True) & (sums > 0) & torch.isfinite(sums)
    off = usable & ((sums - 1).abs() > ROUNDING)
    return torch.where(off, values / sums, values) if off.any() else values
