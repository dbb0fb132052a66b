"""FedCache: each private sample learns from the logits of samples like it, wherever they are.

Wu, Sun, Wang, Liu, Xu, Pan, Gao, "FedCache: A Knowledge Cache-driven Federated Learning
Architecture for Personalized Edge Intelligence", IEEE TMC 2024, arXiv 2308.07816. Confidence:
certain (official code)::

    once      client n sends a hash and the label of each of its samples
    round     teacher(x) = mean of the logits of the R nearest samples of x's class
              loss_n     = CE + alpha * T^2 * KL( softmax(teacher / T) || softmax(f_n(x) / T) )
              cache      client n's logits of its samples, after its fit

Nearest is by the cosine of hashes, among the samples that the server has logits of, the client's
own included, but not x itself (inferred). Who is absent stays in the cache as it was; who comes
back, or is new, is sent teachers of the cache as it is by then. Keys are the client and the place
of a sample in its data, so batches may be shuffled: the loop says which rows they are.

Traps of the official code. Cached zeros make the first teacher uniform: here what has no logits is
no neighbour, and without one a sample has only its label. Its loss has T = 3 and T^2 whatever is
configured, which is ``strategy.temperature=3`` here. Pixels are not divided by 255 before they are
normalised; here they are in [0, 1].

Deviations. Hashes there are features of a MobileNetV3 with pre-trained weights, which cannot be had
offline: here a random projection of the sample's numbers, so that near is near in pixels, or the
features of your own ``encoder``. All clients of a round fit at once, where officially one after the
other sees the uploads of those before it. The search is exact (HNSW there); the mean of the R
logits is sent in place of all R.

Privacy. What travels says a lot: the server learns the label, the hash and the model's answer for
every private sample, by client. A projection is linear, its weights are drawn from the run's seed:
with `size` numbers of a sample with d, it is known up to its scale and d - `size` directions.
"""

from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from math import inf
from typing import Any

import torch
from flwr.app import RecordDict
from torch import Tensor
from torch.nn import functional

from ..clients.exchange.sample_logits import HASHES, SAMPLE_LOGITS
from ..clients.exchange.scoring import needs_head
from ..errors import ConfigError
from ..knowledge import Teacher
from ..knowledge.admission import Expected
from ..models.features import head
from ..rounds.protocol import Outcome, RoundPlan
from ..rounds.server import Server
from .base import FusionStrategy, Records
from .collecting import collect
from .neighbours import Cache


class FedCache(FusionStrategy):
    """A cache of logits of private samples, of which each sample learns from its neighbours'.

    Parameters
    ----------
    alpha : float
        Weight of the distillation term, at least 0.
    neighbours : int
        R, at least 1.
    temperature : float
        T of the distillation term, > 0.
    encoder : str or None
        Whose features are the hashes, as for ``model=``, with the weights that it is made with;
        None = a random projection.
    size : int
        Numbers of a projection, at least 1.

    Attributes
    ----------
    state : dict
        ``hashes.N`` ``[samples, size]``, ``labels.N`` ``[samples]`` and ``logits.N`` ``[samples,
        classes]`` of client N.

    Examples
    --------
    >>> FedCache(alpha=1.0).exchange_node()["alpha"]
    1.0
    """

    exchange = "sample_logits"
    needs_classes = True
    tempers = True

    def __init__(
        self,
        alpha: float = 1.5,
        neighbours: int = 16,
        temperature: float = 1.0,
        encoder: str | None = None,
        size: int = 64,
    ) -> None:
        super().__init__(temperature=temperature)
        if not 0 <= alpha < inf:
            raise ValueError(f"alpha={alpha} must be at least 0 and finite")
        if neighbours < 1 or size < 1:
            raise ValueError(f"neighbours={neighbours} and size={size} must be at least 1")
        self.alpha, self.neighbours = alpha, neighbours
        self.encoder, self.size = encoder, size

    def exchange_node(self) -> dict[str, Any]:
        """Return the exchange with its parameters."""
        own = {"alpha": self.alpha, "temperature": self.temperature}
        return {"name": self.exchange, **own, "encoder": self.encoder, "size": self.size}

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of `size`, where an encoder is named."""
        why = f"has no effect: hashes are as wide as the features of {self.encoder}; leave it out"
        return super().unused(kind) | ({} if self.encoder is None else {"size": why})

    def refusal(self, server: Server) -> str | None:
        """Refuse an encoder that cannot be built, or has no features."""
        if self.encoder is None:
            return None
        try:
            server.check_model(self.encoder, trains=False)
        except ConfigError as error:
            return f"strategy.encoder={str(error).removeprefix('model=')}"
        return needs_head({f"strategy.encoder={self.encoder}": server.model(self.encoder)})

    def round(self, plan: RoundPlan) -> Outcome:
        """Have newcomers send hashes; fit, with the neighbours' logits; keep the new logits."""
        outcome = Outcome()
        self._meet(plan, outcome)
        known = [client for client in plan.cohort if f"hashes.{client}" in self.state]
        if not outcome.goes_on(known, self.fit_action, plan.min_clients):
            return outcome
        admitted = self._collect(replace(plan, cohort=known), plan.sample_ids, outcome)
        if outcome.goes_on(admitted, self.fit_action, plan.min_clients):
            self.state |= {f"logits.{one.client}": one.values for one in admitted}
        return outcome

    def before_fit(self, plan: RoundPlan) -> Mapping[int, Records]:
        """Send each client the mean logits of its samples' neighbours, where they have some."""
        owners = [c for c in range(plan.server.clients) if f"logits.{c}" in self.state]
        lessons: dict[int, Records] = {}
        if not owners:
            return lessons
        cache = Cache(
            *(
                torch.cat([self.state[f"{name}.{client}"] for client in owners])
                for name in ("hashes", "labels", "logits")
            )
        )
        sizes = [len(self.state[f"labels.{client}"]) for client in owners]
        first = dict(zip(owners, accumulate([0, *sizes]), strict=False))
        for client in plan.cohort:
            own = self.state[f"hashes.{client}"], self.state[f"labels.{client}"]
            values, mask = cache.taught(*own, self.neighbours, first.get(client))
            teacher = Teacher(SAMPLE_LOGITS, values, [client], mask)
            lessons[client] = {"teacher": teacher.records()[client]}
        return lessons

    def _meet(self, plan: RoundPlan, outcome: Outcome) -> None:
        """Ask those whose samples are not known for hashes and labels."""
        new = [client for client in plan.cohort if f"hashes.{client}" not in self.state]
        if not new:
            return
        width = self.size if self.encoder is None else width_of(plan.server, self.encoder)

        def expect(client: int, ids: Tensor) -> Expected:
            logits = plan.expect(client, ids)
            rows = logits.shape[0]
            return replace(logits, shape=(rows, width), extras={"labels": (rows,)})

        options = plan.options(upload=True, stage=HASHES, **{"skip-fit": True})
        contents = dict.fromkeys(new, RecordDict({"config": options}))
        hashing = replace(plan, expect=expect)
        for one in collect(hashing, self.fit_action, contents, plan.sample_ids, outcome):
            labels = one.extras["labels"]
            if bool(((labels != labels.round()) | (labels >= plan.classes)).any()):
                outcome.rejected[one.client] = f"labels: not all are from 0 to {plan.classes - 1}"
                continue
            hashes = functional.normalize(one.values, dim=1)
            self.state |= {f"hashes.{one.client}": hashes, f"labels.{one.client}": labels.long()}


def width_of(server: Server, encoder: str) -> int:
    """Return how many features an encoder has."""
    return head(server.model(encoder)).in_features
