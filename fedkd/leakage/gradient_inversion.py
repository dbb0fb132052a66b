"""Gradient inversion: from a client's update back to the samples that it trained on.

Zhu, Liu and Han, "Deep Leakage from Gradients", NeurIPS 2019 (the idea); Geiping, Bauermeister,
Dröge and Moeller, "Inverting Gradients", NeurIPS 2020 (the loss: cosine distance and total
variation, signed Adam); labels from the last layer's bias as in Zhao et al., "iDLG", 2020, here for
batches. All certain; the step counts and rates are ours.

It is the contrast to knowledge fusion: where parameters are shared, pictures come back that no
attack gets out of soft labels. With ``theta`` what the client started from and ``theta'`` its reply
after E epochs of SGD, the mean gradient of its steps is ``(theta - theta') / (lr * steps)``; it is
the gradient at theta, and the attack exact, if there was one step only. Momentum matters from the
second step on and is not accounted for. An MLP gives its samples back almost exactly; of a LeNet-5
with ReLU and max pooling, whose gradient says little about a pixel, far less comes back.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..models.flat import size, unflatten
from ..privacy.similarity import Picture, ssim
from ..rng import torch_generator
from .base import Finding, PrivacyAttack, metrics
from .candidates import Pools
from .inversion import descend, infer_labels
from .pictures import limits, needs_pictures, sheet, to_picture, to_pixels
from .subject import Subject

CHANCE = 10
"""Draws of other samples that chance is measured with."""


class GradientInversion(PrivacyAttack):
    """Reconstruct a client's samples from the parameters that it was sent and its reply.

    The adversary is the honest-but-curious server of a method that shares the whole model: it has
    both parameter vectors, how many samples the client has, and its learning rate; not the labels.
    Reconstructions are paired with the true samples so that the mean squared error is least.
    ``chance`` pairs them alike with random samples of the same classes that the client does not
    hold: a reconstruction of a typical member of the class, or of nothing, is no better than that.

    Parameters
    ----------
    clients : int
        Clients attacked, drawn at random.
    samples : int
        Most samples that a client attacked may have; beyond 8 little comes back.
    steps : int
        Optimisation steps of a start.
    starts : int
        Random starts; the one whose gradient fits best counts.
    lr : float
        Step size, in standard deviations of a pixel.
    tv : float
        Weight of total variation.
    round : int or None
        Which round; None = the first one recorded.
    """

    kinds = ("parameters",)
    access = "Honest-but-curious server: the parameters that it sent, and the client's reply."
    brief: ClassVar[Mapping[str, Any]] = {"clients": 1, "samples": 40, "steps": 5}

    def __init__(
        self,
        clients: int = 4,
        samples: int = 8,
        steps: int = 400,
        starts: int = 1,
        lr: float = 0.1,
        tv: float = 1e-4,
        round: int | None = None,
    ) -> None:
        for name, value in (
            ("clients", clients),
            ("samples", samples),
            ("steps", steps),
            ("starts", starts),
        ):
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        if not lr > 0 or tv < 0:
            raise ValueError(f"lr={lr} must be greater than 0 and tv={tv} at least 0")
        self.clients, self.samples, self.steps, self.starts = clients, samples, steps, starts
        self.lr, self.tv, self.round = lr, tv, round

    def run(self, subject: Subject) -> Finding:
        """Invert the updates of some clients in one round."""
        needs_pictures(subject, "gradient_inversion")
        finding, number = Finding(), self._round(subject)
        updates = self._updates(subject, number)
        pools = Pools(subject, ratio=1)
        rows: list[list[Picture]] = [[], []]
        scores: dict[str, list[tuple[float, float]]] = {"reconstruction": [], "chance": []}
        for k in subject.drawn(self.clients, list(updates)):
            x, y = subject.federation.client(k)
            made = self._invert(subject, k, *updates[k], len(x))
            true, guess = (
                [to_picture(one) for one in to_pixels(subject.federation.corpus, each)]
                for each in (x, made)
            )
            true, guess, own = paired(true, guess)
            scores["reconstruction"] += own
            scores["chance"] += self._chance(subject, pools, k, guess)
            rows[0] += true
            rows[1] += guess
            mse, alike = np.mean(own, axis=0)
            finding.details.append({"client": k, "samples": len(y), "mse": mse, "ssim": alike})
        for name, values in scores.items():
            mse, alike = np.array(values).reshape(-1, 2).mean(axis=0) if values else (None, None)
            finding.results[name] = metrics(mse=mse, ssim=alike, samples=len(values))
        finding.picture = sheet([row[:12] for row in rows])
        finding.caption = "Above: what clients trained on; below: reconstructed from their updates."
        self._note(finding, subject, number)
        return finding

    def _round(self, subject: Subject) -> int:
        rounds = subject.recordings.rounds
        if self.round is not None and self.round not in rounds:
            problem = (
                f"round {self.round} is not among the recorded ones, {rounds[0]}..{rounds[-1]}"
            )
            raise subject.refuse("gradient_inversion", problem)
        return self.round or rounds[0]

    def _updates(self, subject: Subject, number: int) -> dict[int, tuple[Tensor, Tensor]]:
        """Return start and reply of each client that can be attacked."""
        sizes = {k: len(subject.federation.indices(k)) for k in subject.takers}
        small = [k for k, n in sizes.items() if n <= self.samples]
        if not small:
            problem = (
                f"its smallest client has {min(sizes.values())} samples, the attack takes "
                f"{self.samples}; raise samples=, or make a run with fewer "
                "(data.samples_per_client)"
            )
            raise subject.refuse("gradient_inversion", problem)
        found = {k: subject.recordings.update(number, k) for k in small}
        whole = {
            k: update
            for k, update in found.items()
            if update is not None and len(update[0]) == size(subject.fresh(k, "shape"))
        }
        if not whole:
            problem = f"no update of a client's whole model is recorded in round {number}"
            raise subject.refuse("gradient_inversion", problem)
        return whole

    def _invert(
        self, subject: Subject, client: int, start: Tensor, reply: Tensor, count: int
    ) -> Tensor:
        """Return samples ``[count, *shape]`` whose gradient is most like the update."""
        model = unflatten(subject.fresh(client, "shape"), start).train()
        after = unflatten(subject.fresh(client, "shape"), reply)
        scale = float(subject.config["fit"]["lr"]) * _steps(subject, count)
        pairs = zip(model.parameters(), after.parameters(), strict=True)
        wanted = [(now - then).detach() / scale for now, then in pairs]
        try:
            labels = infer_labels(model, wanted, count, subject.transfer[:256])
        except ValueError as error:
            raise subject.refuse("gradient_inversion", str(error)) from error
        generator = torch_generator(subject.seed("inversion", client))
        shape, ends = subject.federation.shape, limits(subject.federation.corpus)
        tries = []
        for _ in range(self.starts):
            x = torch.randn(count, *shape, generator=generator)
            tries.append(descend(model, wanted, labels, x, ends, self.steps, self.lr, self.tv))
        return min(tries, key=lambda one: one[0])[1]

    def _chance(
        self, subject: Subject, pools: Pools, client: int, guess: list[Picture]
    ) -> list[tuple[float, float]]:
        """Return errors and likeness to samples of these classes that the client does not hold."""
        labels = pools.labels[subject.federation.indices(client)]
        rng = subject.numpy("chance", client)
        if any(not len(pools.candidates[y]) for y in labels):
            return []
        scores = []
        for _ in range(CHANCE):
            rows = np.array([rng.choice(pools.candidates[y]) for y in labels])
            other = to_pixels(subject.federation.corpus, pools.gather(rows)[0])
            scores += paired([to_picture(one) for one in other], guess)[2]
        return scores

    def _note(self, finding: Finding, subject: Subject, number: int) -> None:
        finding.note(
            f"Round {number}. Pixels are in [0, 1]; chance: other samples of these classes."
        )
        sizes = [len(subject.federation.indices(one["client"])) for one in finding.details]
        steps = max(_steps(subject, count) for count in sizes)
        if steps > 1:
            finding.note(f"Clients made up to {steps} steps, so the gradient is their mean only.")
        if subject.config["fit"]["optimizer"] != "sgd":
            finding.note("Clients did not use SGD: their update is no gradient.")


def paired(
    true: list[Picture], guess: list[Picture]
) -> tuple[list[Picture], list[Picture], list[tuple[float, float]]]:
    """Return pictures paired for the least mean squared error, and each pair's (MSE, SSIM)."""
    costs = np.array([[np.square(a - b).mean() for b in guess] for a in true])
    rows, columns = linear_sum_assignment(costs)
    matched = [guess[j] for j in columns]
    kept = [true[i] for i in rows]
    scores = [
        (float(costs[i, j]), ssim(true[i], guess[j])) for i, j in zip(rows, columns, strict=True)
    ]
    return kept, matched, scores


def _steps(subject: Subject, count: int) -> int:
    """Return how many steps a client with so many samples makes in a round."""
    fit = subject.config["fit"]
    full, rest = divmod(count, fit["batch_size"])
    steps = max(1, full + (rest > 1 or (rest == 1 and full == 0)))
    return int(fit["epochs"]) * steps
