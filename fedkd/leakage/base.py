"""What a privacy attack is. Subclass `PrivacyAttack` and override `run` to write one."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..privacy.scores import Interval

if TYPE_CHECKING:
    import pandas as pd

    from .subject import Subject

Metrics = dict[str, float | None]


@dataclass
class Finding:
    """What an attack found out, JSON-ready but for the picture.

    Attributes
    ----------
    results : dict
        ``{variant: {metric: number or None}}``: a row each in tables. A confidence interval of
        ``metric`` is in ``metric_low`` and ``metric_high``.
    details : list of dict
        Finer numbers, such as a row a client or a round.
    curves : dict
        ``{variant: {"fpr": [...], "tpr": [...]}}``, ROC curves.
    picture : ndarray, optional
        uint8 ``[height, width]`` or ``[height, width, 3]``.
    caption : str
        What the picture shows.
    notes : list of str
        What a reader must know.
    """

    results: dict[str, Metrics] = field(default_factory=dict)
    details: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    picture: np.ndarray | None = None
    caption: str = ""
    notes: list[str] = field(default_factory=list)

    def to_pandas(self) -> "pd.DataFrame":
        """Return the results: a row a variant, a column a metric.

        Examples
        --------
        >>> Finding({"audit": {"auc": 0.75, "tpr": None}}).to_pandas().loc["audit", "auc"].item()
        0.75
        """
        import pandas as pd

        table = pd.DataFrame.from_dict(self.results, orient="index", dtype="float64")
        return table.rename_axis("variant")

    def note(self, text: str) -> None:
        """Note something, once."""
        if text not in self.notes:
            self.notes.append(text)


class PrivacyAttack(ABC):
    """Base of privacy attacks; parameters are those of ``__init__``.

    Attributes
    ----------
    kinds : tuple of str or None
        Kinds of knowledge that it works on; None = any.
    access : str
        In a sentence: who the adversary is, and what it is given.
    brief : mapping
        Parameters with which a tiny run is attacked in a moment, to check the attack.
    """

    kinds: ClassVar[tuple[str, ...] | None] = None
    access: ClassVar[str] = ""
    brief: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def run(self, subject: "Subject") -> Finding:
        """Attack a run.

        It must be a function of the run and the parameters: randomness comes from `Subject.seed`.
        """


def metrics(**values: float | int | Interval | None) -> Metrics:
    """Return metrics, intervals spread out.

    Examples
    --------
    >>> metrics(auc=Interval(0.7, 0.6, 0.8), members=12)
    {'auc': 0.7, 'auc_low': 0.6, 'auc_high': 0.8, 'members': 12.0}
    """
    flat: Metrics = {}
    for name, value in values.items():
        if isinstance(value, Interval):
            flat |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
        else:
            flat[name] = None if value is None else float(value)
    return flat
