"""Soft labels of those samples only that look like a client's private data."""

import torch
from torch import Tensor

from ...knowledge import Knowledge, scattered
from ...maths.density import density_ratio, held_out
from .phase import Phase
from .soft_labels import SoftLabels

AUXILIARY = 250
"""Uniform samples to compare the private data with, as in the official code."""


class OwnChoice(SoftLabels):
    """Base of exchanges that upload soft labels of samples that look like private ones.

    Which these are is decided once, from the data alone, and remembered as ``kept``.

    Parameters
    ----------
    quantile : float
        Of what private samples themselves score, in [0, 1]: where the line is.
    """

    masked = True

    def __init__(self, quantile: float) -> None:
        if not 0 <= quantile <= 1:
            raise ValueError(f"quantile={quantile} must be in [0, 1]")
        self.quantile = quantile

    def kept(self, public: Tensor, private: Tensor, generator: torch.Generator) -> Tensor:
        """Tell which public samples are near enough to the private ones, bool ``[samples]``.

        Parameters
        ----------
        public, private : Tensor
            ``[samples, *shape]`` and ``[n, *shape]``.
        generator : torch.Generator
            For whatever is drawn.
        """
        raise NotImplementedError(f"{type(self).__name__} must define kept()")

    def upload(self, phase: Phase) -> Knowledge:
        """Return soft labels of the samples that the client keeps."""
        client = phase.client
        x, ids = phase.transfer()
        if "kept" not in client.tensors:
            found = self.kept(phase.bench.transfer, client.x, client.generator)
            client.tensors["kept"] = found
        mask = client.tensors["kept"][ids]
        rows = torch.zeros(0, phase.classes)
        if mask.any():
            logits = phase.loop.predict([client], x[mask])[0]
            rows = self.values(logits, float(phase.options["temperature"]))
        return Knowledge(phase.index, self.kind, scattered(rows, mask), ids, mask)


class SelectedLabels(OwnChoice):
    """Uploads soft labels where a density ratio says that the model knows what it talks about.

    Parameters
    ----------
    quantile : float
        Samples whose ratio is below this quantile of held-out private ones are left out, in [0, 1].
    width : float
        Width of the Gaussian kernel, > 0, in units of the (standardised) inputs.
    exponent : float
        The penalty of KuLSIF is ``n ** exponent``, n the number of auxiliary samples.
    """

    def __init__(self, quantile: float = 0.125, width: float = 5.0, exponent: float = 0.5) -> None:
        super().__init__(quantile)
        if not width > 0:
            raise ValueError(f"width={width} must be greater than 0")
        self.width, self.exponent = width, exponent

    def reckons(self) -> str | None:
        """Say what is done with samples beside giving them to models."""
        return "compares private and public samples by a kernel on them"

    def kept(self, public: Tensor, private: Tensor, generator: torch.Generator) -> Tensor:
        """Compare density ratios, `generator` drawing what is held out and the auxiliary ones."""
        public, private = public.flatten(1).double(), private.flatten(1).double()
        fitted, held = held_out(len(private), generator)
        low, high = public.aminmax()
        uniform = torch.rand(AUXILIARY, public.shape[1], dtype=public.dtype, generator=generator)
        ratios = density_ratio(
            torch.cat([public, private[held]]),
            private[fitted],
            low + (high - low) * uniform,
            self.width,
            AUXILIARY**self.exponent,
        )
        ratios, own = ratios[: len(public)], ratios[len(public) :]
        return ratios >= own.quantile(self.quantile)
