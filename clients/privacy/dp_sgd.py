"""DP-SGD: private training with clipped per-sample gradients and Gaussian noise.

Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, arXiv 1607.00133; by Opacus
(Yousefpour et al. 2021, arXiv 2109.12298). Confidence: certain. With n private samples and batches
of about B, an epoch has ``s = ceil(n / B)`` steps; each sample is in each batch with chance 1/s::

    g = ( sum_i g_i * min(1, clip / |g_i|) + N(0, (noise_multiplier * clip)^2) ) / (n / s)

The guarantee is for **one record, added or removed** (with n taken as public), and for the model
and all that is computed from it alone: soft labels, logits, parameters. Learning from a teacher on
the public transfer set costs nothing. A round's fit costs ``epochs * s`` sampled Gaussian releases.
"""

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn

from ...errors import ConfigError
from ...privacy.accounting import History, Release
from ..base import ClientLoop
from ..exchange import Exchange
from ..standard import Standard
from .base import RECORD, Facts, Noisy, positive
from .private_fit import PrivateFit, library, refusal_of, steps_of


class DPSGD(Noisy):
    """Fits with DP-SGD (Opacus); for models without BatchNorm and the like.

    Parameters
    ----------
    clip : float
        Bound on the norm of each sample's gradient, > 0.
    **noise
        See `Noisy`.
    """

    kinds = None
    protects = RECORD

    def __init__(self, clip: float = 1.0, **noise: float | bool | None) -> None:
        super().__init__(**noise)  # type: ignore[arg-type]
        positive("clip", clip)
        self.clip = clip

    def refusal(self, exchange: Exchange, models: Mapping[str, nn.Module]) -> str | None:
        """Refuse uploads that say more than the model, and models that Opacus cannot handle."""
        if not exchange.from_model:
            return (
                "protects the model and what is computed from it alone, and the method trains in "
                "its own way or uploads more about private data"
            )
        validator = library().validators.ModuleValidator
        for name, model in models.items():
            errors = validator.validate(copy.deepcopy(model).train(), strict=False)
            if errors:
                return f"cannot train {name}: {' '.join(str(errors[0]).split())}"
            shape = exchange.input_shape
            if shape and (reason := refusal_of(model, shape)) is not None:
                return f"cannot train {name}: {reason}"
        return None

    def loop(self, loop: ClientLoop) -> ClientLoop:
        """Return a loop that fits with DP-SGD, and is `loop` otherwise."""
        own = vars(Standard)
        changed = [
            name for name in ("fit", "_fit", "_train") if _lookup(loop, name) is not own[name]
        ]
        if not isinstance(loop, Standard) or changed:
            problem = "fits in its own way, which dp_sgd cannot make private"
            raise ConfigError("client", type(loop).__name__, problem)
        return PrivateFit(loop, self.clip, self)

    def cost(self, facts: Facts, multiplier: float | None) -> History:
        """Return the steps of one fit."""
        steps = steps_of(facts.trained, int(facts.fit["batch_size"]))
        times = int(facts.fit["epochs"]) * steps
        return {Release("gaussian", self.noise(multiplier), 1 / steps): times} if times else {}


def _lookup(loop: ClientLoop, name: str) -> Any:
    return getattr(type(loop), name, None)
