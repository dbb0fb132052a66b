"""FedGen: the server trains a generator of features on clients' heads, and clients learn from it.

Zhu, Hong, Zhou, "Data-Free Knowledge Distillation for Heterogeneous Federated Learning", ICML 2021,
arXiv 2105.10056. Confidence: certain (official code), but for its faults. h_n is the last layer of
client n's model, and t the number of rounds before::

    w    = sum_n samples_n * w_n / sum_n samples_n
    G   <- argmin sum_n mean_i( W_n[y_i] CE(h_n(G(y_i)), y_i) ) + diversity * D        at the server
    W_n[y] = samples_n of label y / those of all,  y_i uniform over the labels that somebody has
    D    = exp( - mean_ij( mean |e_i - e_j|^2 * mean |G_i - G_j| ) ),  e the noise
    loss_n = CE + a_t CE(h_n(G(y~)), y~) + b_t KL( softmax h_n(G(y)) || p ),  y~ uniform over all
    a_t  = max(1e-4, alpha * decay^t), and b_t of beta alike

once G has learnt; h_n(G(y)) is a teacher without gradient. The server takes `steps` steps of Adam a
round, 32 labels each; clients make as many features as their batch has samples. Absent clients
count for nothing, and get w and G, which travel together, before they next fit.

Traps of public codes: the official one multiplies mean W and mean CE, not W and CE; draws uniform
noise that it calls Gaussian (normal here, as in the paper); counts labels from 1 (here a client
without a label weighs nothing in it); fails with all clients sampled, and with fewer than 32
samples. HtFLlib never keeps the generator that it trains: its clients learn from a random one.
Deviations. alpha and beta are 1, where the authors have 10 for steps of 0.01 without momentum: at
the defaults of ``fit`` nothing is learnt with 10. BatchNorm's statistics are averaged, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..clients.exchange.generated import GENERATOR, LABELS, SAME
from ..clients.optimisers import carry, make_optimizer
from ..config import RunConfig
from ..errors import RunError
from ..knowledge import Knowledge
from ..knowledge.admission import Expected
from ..models.features import head
from ..models.flat import flatten, size, unflatten
from ..models.generator import Generator, likeness, told_apart
from ..rng import SERVER, scoped, stream, torch_generator
from ..rounds.protocol import RoundPlan
from ..rounds.server import Server
from .parametric import ParameterFusion

BATCH = 32
"""Labels of one step at the server."""

WEIGHT_DECAY = 0.01
LEAST = 1e-4
"""What the weights of the clients' terms do not fall below, unless they are 0."""


class FedGen(ParameterFusion):
    """FedAvg, and features of every label from a generator that knows all clients' heads.

    Parameters
    ----------
    alpha, beta : float
        Weights of the generated labels and of the agreement with the generator, >= 0.
    decay : float
        What they are multiplied by each round, and `lr`, in (0, 1].
    diversity : float
        Weight of D, >= 0.
    steps : int
        Steps of the generator in a round, at least 1.
    lr : float
        Its learning rate, > 0.
    noise, hidden : int
        Its numbers of noise and the width of its hidden layer, at least 1.

    Attributes
    ----------
    state : dict
        See `ParameterFusion`; ``generator``: its parameters, once it has learnt; ``optimizer.*``:
        of its optimiser.
    """

    exchange = "generated"
    needs_classes = True
    brief: ClassVar[Mapping[str, Any]] = {"steps": 5}

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 1.0,
        decay: float = 0.98,
        diversity: float = 1.0,
        steps: int = 50,
        lr: float = 3e-4,
        noise: int = 32,
        hidden: int = 256,
    ) -> None:
        super().__init__()
        if not all(weight >= 0 for weight in (alpha, beta, diversity)):
            raise ValueError(f"alpha={alpha}, beta={beta}, diversity={diversity}: at least 0")
        if not 0 < decay <= 1 or not lr > 0:
            raise ValueError(f"decay={decay} must be in (0, 1], lr={lr} greater than 0")
        if min(steps, noise, hidden) < 1:
            raise ValueError(f"steps={steps}, noise={noise} and hidden={hidden} must be at least 1")
        self.alpha, self.beta, self.decay, self.diversity = alpha, beta, decay, diversity
        self.steps, self.lr, self.noise, self.hidden = steps, lr, noise, hidden
        self.dim = 0  # of features

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with the generator's shape."""
        return {"name": self.exchange, "noise": self.noise, "hidden": self.hidden}

    def settle(self, config: RunConfig, models: Sequence[nn.Module]) -> list[str]:
        """Note how many features a generator makes."""
        self.dim = head(models[0]).in_features
        return super().settle(config, models)

    def generator(self, server: Server) -> Generator:
        """Return the generator as it is by now."""
        with scoped(stream(server.seed, SERVER, 0, "generator")):
            made = Generator(server.classes, self.dim, self.noise, self.hidden)
        if GENERATOR in self.state:
            unflatten(made, self.state[GENERATOR])
        return made

    def beside(self) -> dict[str, Tensor]:
        """Return the generator, once it has learnt."""
        return {name: self.state[name] for name in (GENERATOR,) if name in self.state}

    def beside_size(self, cohort: int, upload: Expected) -> int:
        """Return the numbers of a generator."""
        del cohort
        (classes,) = upload.extras["counts"]
        return size(Generator(classes, self.dim, self.noise, self.hidden))

    def fit_options(self, plan: RoundPlan) -> dict[str, Any]:
        """Return the weights of the clients' terms, which begin with the first generator."""
        pairs = {LABELS: self.alpha, SAME: self.beta}
        return {name: self.strength(weight, plan.number) for name, weight in pairs.items()}

    def strength(self, weight: float, number: int) -> float:
        """Return what is left of a weight in a round.

        Examples
        --------
        >>> round(FedGen().strength(10.0, 101), 3), FedGen().strength(0.0, 101)
        (1.326, 0.0)
        """
        return max(LEAST, weight * self.decay ** (number - 1)) if weight else 0.0

    def polish(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], shared: dict[int, Tensor]
    ) -> dict[int, Tensor]:
        """Train the generator on this round's heads; the mean stays as it is."""
        generator = self.generator(plan.server)
        models = [plan.server.filled(one.client, one.values) for one in admitted]
        heads = [head(model.requires_grad_(False)) for model in models]
        counts = torch.stack([one.extras["counts"] for one in admitted])
        if counts.any():
            self._train(generator, heads, counts, plan)
            self.state[GENERATOR] = flatten(generator)
            if not self.state[GENERATOR].isfinite().all():
                where = f"strategy FedGen: the generator diverged in round {plan.number}"
                raise RunError(f"{where}; try a smaller strategy.lr (it is {self.lr:g})")
        return shared

    def _train(
        self, net: Generator, heads: Sequence[nn.Linear], counts: Tensor, plan: RoundPlan
    ) -> None:
        rate = self.lr * self.decay ** (plan.number - 1)
        settings = {"optimizer": "adam", "lr": rate, "weight_decay": WEIGHT_DECAY, "momentum": 0.0}
        optimizer = make_optimizer(net.train(), settings, self.state)
        draws, met = torch_generator(plan.seed), counts.sum(dim=0).nonzero().flatten()
        for _ in range(self.steps):
            labels = met[torch.randint(len(met), (BATCH,), generator=draws)]
            noise = torch.randn(BATCH, self.noise, generator=draws)
            features = net(labels, noise)
            loss = told_apart([layer(features) for layer in heads], labels, counts)
            optimizer.zero_grad()
            (loss + self.diversity * likeness(noise, features)).backward()
            optimizer.step()
        carry(optimizer, self.state)
