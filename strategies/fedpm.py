"""FedPM: clients learn which random weights to keep, and send a bit for each.

Isik, Pase, Gunduz, Weissman, Zorzi, "Sparse Random Networks for Communication-Efficient Federated
Learning", ICLR 2023, arXiv 2209.15328. Confidence: certain (official code)::

    weights   w = +-e / sqrt(fan_in), drawn once from a seed that all share, and never trained
    client    s = ln(theta / (1 - theta));  m ~ Bernoulli(sigmoid s) for each batch
              minimises the loss of the network w * m by s; the gradient by sigmoid s is sigmoid s
              times that by m
    upload    one mask m_n ~ Bernoulli(sigmoid s_n), a bit a parameter
    server    alpha = 1 + sum_n m_n, beta = 1 + sum_n (1 - m_n)
              theta = (alpha - 1) / (alpha + beta - 2)      the mean of masks in [clip, 1 - clip]
    first     s ~ N(0, 1), the same for all

The prior is forgotten each round, as officially (and in FL4Health); ``reset`` has it count several.
theta travels down as floats. Which parameters are masked: all weights and biases of layers with a
matrix; scales and shifts of normalisation stay at 1 and 0. Statistics of BatchNorm are outside the
scheme, so models with them are refused.

Ours: scores are `gain` times what is trained, so that the run's ``fit.lr`` does for them, too. The
official setting is ``fit.optimizer=adam fit.lr=0.1 fit.epochs=3 fit.batch_size=128``, gain 1.
Models predict with what theta holds more probable than not; ``inference=mean`` with ``w * theta``,
where the paper takes the mean over several draws. The entropy coder of the paper is not there: what
it would make of a bit is logged (``entropy``, bits a parameter by each mask's share of ones).
Disjoint masks of clients in turn (ExSSNeT) are not. Numbers are refused: weights of one size do not
fit them (RMSE 2.2 where FedAvg has 0.24, four times a target's deviation with variances).
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..clients.exchange.masks import maskable
from ..config import RunConfig
from ..knowledge import Knowledge, KnowledgeStack, stack
from ..rng import SERVER, stream, torch_generator
from ..rounds.protocol import RoundPlan
from ..rounds.server import Server
from .parametric import ParameterFusion

GAINS = {"sgd": 100.0, "adam": 2.0}
"""What ``gain=None`` is for the run's optimiser."""


class FedPM(ParameterFusion):
    """Binary masks of one frozen random network, averaged.

    Parameters
    ----------
    clip : float
        How near to 0 and 1 a mask counts, in (0, 0.5): unanimity must not be for ever.
    reset : int
        Rounds after which the server forgets the masks so far, at least 1.
    gain : float or None
        Scores are as many times what is trained, > 0: a step of Adam is `gain` times ``fit.lr``, of
        SGD its square. None = 2 with Adam, 100 with SGD.
    inference : {"threshold", "mean"}
        Whether models keep what is more probable than not, or every weight times its probability.
    **base
        See `FusionStrategy`.

    Attributes
    ----------
    state : dict
        ``shared.0`` is theta; ``ones`` ``[size]`` and ``masks`` ``[]`` are the sum and number of
        masks since the last reset, beside what `ParameterFusion` has.

    Examples
    --------
    >>> masks = torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0]])
    >>> knows = KnowledgeStack("masks", masks, [0, 1, 2], torch.zeros(0, dtype=torch.int64))
    >>> FedPM().fuse(knows)
    tensor([0.6633, 0.9900])
    """

    exchange = "masks"
    lesson_kind = "parameters"
    sums_only = True

    def __init__(
        self,
        clip: float = 0.01,
        reset: int = 1,
        gain: float | None = None,
        inference: Literal["threshold", "mean"] = "threshold",
        **base: float | None,
    ) -> None:
        super().__init__(**base)
        if not 0 < clip < 0.5:
            raise ValueError(f"clip={clip} must be above 0 and below 0.5")
        if reset < 1:
            raise ValueError(f"reset={reset} must be at least 1")
        self.clip, self.reset, self.gain, self.inference = clip, reset, gain, inference
        self.seed = 0

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with its parameters."""
        gain = GAINS["sgd"] if self.gain is None else self.gain
        return {
            "name": self.exchange,
            "seed": self.seed,
            "gain": gain,
            "inference": self.inference,
        }

    def compress_node(self) -> dict[str, Any]:
        """Return the codec that makes a mask a bit a parameter."""
        return {"name": "bits", "up": True, "down": False}

    def settle(self, config: RunConfig, models: Sequence[nn.Module]) -> list[str]:
        """Take the run's seed for the frozen weights, and a gain for its optimiser."""
        del models
        self.seed = config.seed
        if self.gain is not None:
            return []
        self.gain = GAINS[config.fit.optimizer]
        return [f"strategy.gain: {self.gain:g}, for fit.optimizer={config.fit.optimizer}"]

    def first(self, server: Server, client: int) -> Tensor:
        """Return the probabilities of scores drawn from N(0, 1), ``[size]``."""
        size = sum(p.numel() for p in maskable(server.instances[client]).values())
        drawn = torch_generator(stream(server.seed, SERVER, 0, "masks"))
        return torch.randn(size, generator=drawn).sigmoid()

    def common(self, knowledge: KnowledgeStack) -> Tensor:
        """Return theta ``[size]``, in [clip, 1 - clip]."""
        ones, masks = self.counted(knowledge)
        return self.clip + (1 - 2 * self.clip) * ones / masks

    def counted(self, knowledge: KnowledgeStack) -> tuple[Tensor, Tensor]:
        """Return sum ``[size]`` and number of the masks since the last reset, these included."""
        masks = torch.tensor(float(len(knowledge.clients)))
        ones = masks * knowledge.values.mean(dim=0)
        return ones + self.state.get("ones", 0.0), masks + self.state.get("masks", 0.0)

    def polish(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], shared: dict[int, Tensor]
    ) -> dict[int, Tensor]:
        """Remember the masks, unless they are due to be forgotten."""
        ones, masks = self.counted(stack(admitted))
        over = plan.number % self.reset == 0
        self.state |= {"ones": torch.zeros_like(ones) if over else ones}
        self.state |= {"masks": torch.zeros_like(masks) if over else masks}
        return shared

    def round_extras(self, knowledge: KnowledgeStack) -> dict[str, Tensor]:
        """Log the entropy of each mask, in bits a parameter; with secure sums of their mean."""
        share = knowledge.values.mean(dim=1).double()
        entropy = torch.special.entr(share) + torch.special.entr(1 - share)
        entropy = entropy / torch.log(torch.tensor(2.0))
        single = len(entropy) == len(knowledge.clients)
        return {"entropy": entropy if single else entropy.mean()}
