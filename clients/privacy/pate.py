"""PATE: clients vote, and the server answers with the winner of a noisy vote, or not at all.

Papernot et al., "Scalable Private Learning with PATE", ICLR 2018, arXiv 1802.08908; formulas:
`fedkd.privacy.pate`. The clients' half: one-hot soft labels. The server's half takes the place of a
method's mean: `fedkd.strategies.votes`.

**Who is protected from whom**: one client's data, however it changes, from all who see teachers.
Not from the server, which sees every vote and adds the noise. Few clients have few votes to hide
among: with ten of them, a small epsilon leaves nothing but noise.
"""

from collections.abc import Mapping

from torch import nn

from ...privacy.accounting import Cost, History, Release
from ..exchange import Exchange, SoftLabels
from .base import Facts, Noisy, positive
from .label_only import LabelOnly


class PATE(Noisy, LabelOnly):
    """Votes, and a teacher that is the noisy winner where many agree.

    Parameters
    ----------
    threshold : float
        Share of the clients of a round that must agree, as far as the noise lets one see, in
        [0, 1].
    check : float
        Noise multiplier of that comparison, in units of the answer's, > 0. The comparison has
        sensitivity 1, the answer sqrt(2).
    **noise
        See `Noisy`.
    """

    protects = "any change of all that one client holds (from those who see teachers, not votes)"
    fusion = "fedkd.strategies.votes:NoisyVotes"

    def __init__(
        self, threshold: float = 0.5, check: float = 2.0, **noise: float | bool | None
    ) -> None:
        super().__init__(**noise)  # type: ignore[arg-type]
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold={threshold} must be in [0, 1]")
        positive("check", check)
        self.threshold, self.check = threshold, check

    @property
    def deviations(self) -> tuple[float, float]:
        """Standard deviations of the noise of the comparison and of the answer."""
        return self.check * self.noise(), 2**0.5 * self.noise()

    def refusal(self, exchange: Exchange, models: Mapping[str, nn.Module]) -> str | None:
        """Refuse what is not plain soft labels on the round's transfer samples."""
        if type(exchange) is not SoftLabels:
            return "votes with plain soft labels on the transfer set, and the method has others"
        return super().refusal(exchange, models)

    def cost(self, facts: Facts, multiplier: float | None) -> History:
        """Return a comparison and an answer for each transfer sample, as if all were answered."""
        z = self.noise(multiplier)
        answers: dict[Cost, int] = {Release("gaussian", z): facts.transfer}
        compared = Release("gaussian", self.check * z)
        answers[compared] = answers.get(compared, 0) + facts.transfer
        return answers
