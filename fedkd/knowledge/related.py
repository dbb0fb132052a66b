"""What says how alike samples are to a client's model: beside its logits, or alone."""

from torch import Tensor

from .kinds import KINDS, Kind

TOLERANCE = 1e-3
"""How far above 1 a cosine may be by rounding."""


class RelatedLogits(Kind):
    """Logits, and the cosines of each sample with all of them: ``[samples, classes + samples]``.

    Examples
    --------
    >>> import torch
    >>> RelatedLogits("related_logits").check(torch.tensor([[9.0, 0.0, 2.0, 1.0], [0.0] * 4]))
    'range: a cosine is 2'
    """

    on_samples = True
    personal = False
    plain = False

    def check(self, values: Tensor) -> str | None:
        """Say if a number is out of all proportion, or no cosine."""
        samples, width = values.shape[-2:]
        high = values[..., width - samples :].abs().max().item()
        return f"range: a cosine is {high:.3g}" if high > 1 + TOLERANCE else super().check(values)

    def width(self, rows: int, size: int) -> int:
        """Return ``size + rows``."""
        return size + rows

    def drawn(self, noise: Tensor) -> Tensor:
        """Return numbers between -1 and 1."""
        return noise.tanh()

    def paired(
        self, student_logits: Tensor, values: Tensor, own: float, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of both."""
        del own, temperature
        return student_logits, values[..., : student_logits.shape[-1]]


class Kernels(Kind):
    """Inner products of what a model makes of samples, in pairs ``[samples, samples]``."""

    rowwise = False
    personal = False

    def drawn(self, noise: Tensor) -> Tensor:
        """Return the inner products of the noise's rows."""
        return noise @ noise.transpose(-1, -2)


KINDS["related_logits"] = RelatedLogits("related_logits")
KINDS["kernels"] = Kernels("kernels")
