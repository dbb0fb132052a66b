"""Paired-logits inversion: what a private class looks like, from logits on public samples.

Takahashi, Liu and Liu, "Breaching FedMD: Image Recovery via Paired-Logits Inversion Attack", CVPR
2023, arXiv 2304.11436. Certain (official code): the server has a model of its own, trained on the
public samples with their labels. A network G learns to draw a public sample from the pair of soft
labels that the server (p_0) and a client (p_k) give it, at temperature 3::

    loss = MSE(x, G) + gamma * MSE(prior_y, G)

Where the client knows of a class what the public samples do not show, it is the surer of the two.
So G is asked for class j with a server that hardly is and a client that is certain::

    p_0 = e^{1/a} / (C - 1 + e^{1/a}) at j, 1 / (C - 1 + e^{1/a}) elsewhere;    p_k = one-hot(j)

and of all clients' drawings the one that minimises ``mean SSIM to the others + beta * TV`` counts.
Success: of all classes' private and public mean pictures the most alike (SSIM) is the target's
private one. The baseline TBI has the client's soft labels alone.

A reconstruction where the paper is large: G is a small transposed-convolution network for pictures
of some 28 pixels with a sigmoid, trained by Adam once, on the clients' newest uploads; ``prior_y``
is the public mean picture of class y, where the paper has one made from public pictures.

The attack only means something where the public samples of a class differ in kind from the private
ones, as masked or blurred faces do from faces: else the public mean *is* the private one. So it
needs ``transfer.data``, another data set with the same classes.
``python -m fedkd.experiments.reproduce.paired_logits`` makes such a pair of MNIST.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ..knowledge import CLASS_SCORES
from ..privacy.similarity import Picture, ssim, total_variation
from ..rounds.server import Study, study
from .base import Finding, PrivacyAttack, metrics
from .painter import taught
from .pictures import class_means, means_of, needs_pictures, sheet, to_picture, to_pixels
from .subject import Subject


class PairedLogits(PrivacyAttack):
    """Draw private classes from the soft labels of server and clients on public samples (PLI).

    The adversary is the honest-but-curious server: it has the transfer samples with their labels
    and each client's uploads. The clients' mean pictures serve to measure success only.

    Parameters
    ----------
    targets : list of int or None
        The private classes, by number; None = all.
    clients : int
        Clients whose uploads are inverted, drawn at random among those that uploaded.
    epochs : int
        Passes over the transfer set, of the drawing network and of the server's model.
    lr : float
        Adam's learning rate for the drawing network.
    gamma : float
        Weight of the prior picture, at least 0.
    a : float
        How unsure the server is in the question; > 0.
    temperature : float
        Softens the soft labels that are drawn from; > 0.
    beta : float
        Weight of total variation in the choice among clients' drawings.
    """

    kinds = CLASS_SCORES
    access = "Honest-but-curious server: labelled transfer samples and the clients' uploads."
    brief: ClassVar[Mapping[str, Any]] = {"clients": 1, "epochs": 1}

    def __init__(
        self,
        targets: Sequence[int] | None = None,
        clients: int = 3,
        epochs: int = 15,
        lr: float = 1e-3,
        gamma: float = 0.03,
        a: float = 5.0,
        temperature: float = 3.0,
        beta: float = 0.1,
    ) -> None:
        for name, value in (("clients", clients), ("epochs", epochs)):
            if value < 1:
                raise ValueError(f"{name}={value} must be at least 1")
        for name, number in (("lr", lr), ("a", a), ("temperature", temperature)):
            if not number > 0:
                raise ValueError(f"{name}={number} must be greater than 0")
        if gamma < 0:
            raise ValueError(f"gamma={gamma} must be at least 0")
        self.targets, self.clients, self.epochs, self.lr = targets, clients, epochs, lr
        self.gamma, self.a, self.temperature, self.beta = gamma, a, temperature, beta

    def run(self, subject: Subject) -> Finding:
        """Train the server's model and the networks; draw every target and compare."""
        self._check(subject)
        federation, finding = subject.federation, Finding()
        targets = list(range(federation.classes)) if self.targets is None else list(self.targets)
        private, public = class_means(subject)
        chosen = self._drawn(subject, targets)
        chosen["public mean"] = [public[j] for j in targets]
        for name, pictures in chosen.items():
            self._judge(finding, name, targets, pictures, private, public)
        finding.picture = sheet([[private[j] for j in targets], *chosen.values()])
        finding.caption = (
            f"Rows: the clients' mean picture of each target class (the secret), "
            f"{', '.join(chosen)}. All but the first are what the server can make."
        )
        finding.note("Success: the target's private mean is the nearest of all classes' means.")
        chance = 1 / (2 * federation.classes)
        finding.note(f"Chance of a success by picking a private or public mean: {chance:.1%}.")
        return finding

    def _drawn(self, subject: Subject, targets: list[int]) -> dict[str, list[Picture]]:
        """Return the drawings of the targets, by PLI and by its baseline."""
        server = self._soften(self._server(subject).softmax(dim=-1))
        drawn: dict[str, list[list[Picture]]] = {"PLI": [], "TBI": []}
        sure = torch.eye(subject.federation.classes)[targets]
        asked = torch.cat([question(subject.federation.classes, self.a)[targets], sure], dim=1)
        for k in subject.drawn(self.clients, subject.takers):
            found = subject.recordings.uploaded(k)
            assert found is not None  # only such clients are drawn
            soft, ids = self._soften(found[0]), found[1]
            pair = torch.cat([server[ids], soft], dim=1)
            drawn["PLI"].append(self._draw(subject, k, pair, ids, asked, "pli"))
            drawn["TBI"].append(self._draw(subject, k, soft, ids, sure, "tbi"))
        return {
            name: [self._best([each[i] for each in made]) for i in range(len(targets))]
            for name, made in drawn.items()
        }

    def _check(self, subject: Subject) -> None:
        """Refuse runs where the question makes no sense."""
        needs_pictures(subject, "paired_logits")
        federation = subject.federation
        own, other = federation.corpus, federation.transfer_corpus
        if own.path == other.path:
            problem = (
                "its transfer samples are of the same data set as the private ones, so nothing is "
                "private about a class; run with transfer.data=ANOTHER, see `fedkd list keys`"
            )
            raise subject.refuse("paired_logits", problem)
        if not federation.transfer_labelled:
            problem = f"its transfer samples ({other.name}) are unlabelled, or mixed of two"
            raise subject.refuse("paired_logits", problem)
        if own.class_names != other.class_names:
            problem = f"the classes of {other.name} are not those of {own.name}"
            raise subject.refuse("paired_logits", problem)
        wrong = [j for j in self.targets or [] if not 0 <= j < federation.classes]
        if wrong:
            problem = f"target {wrong[0]} is none of its {federation.classes} classes"
            raise subject.refuse("paired_logits", problem)

    def _server(self, subject: Subject) -> Tensor:
        """Return the server's logits on the transfer set after learning its labels."""
        labels = subject.federation.transfer_labels()
        task = Study(
            model=subject.fresh(0, "server"),
            x=subject.transfer,
            targets={"labels": labels},
            loss=_cross_entropy,
            epochs=self.epochs,
            lr=float(subject.config["fit"]["lr"]),
            seed=subject.seed("server"),
        )
        return study(task)[1]

    def _soften(self, soft: Tensor) -> Tensor:
        """Return soft labels at the attack's temperature."""
        return (soft.clamp_min(1e-12).log() / self.temperature).softmax(dim=-1)

    def _draw(
        self, subject: Subject, client: int, given: Tensor, ids: Tensor, asked: Tensor, name: str
    ) -> list[Picture]:
        """Train a network to draw the transfer samples, and return what it draws when asked."""
        federation = subject.federation
        x = to_pixels(federation.transfer_corpus, subject.transfer[ids])
        labels = federation.transfer_labels()[ids]
        means = torch.stack(means_of(x, labels, federation.classes, x.mean(dim=0)))
        seed = subject.seed(name, client)
        painter = taught(given, x, means[labels], self.gamma, self.lr, self.epochs, seed)
        with torch.no_grad():
            return [to_picture(one) for one in painter(asked)]

    def _best(self, drawings: list[Picture]) -> Picture:
        """Return the drawing least like those of other clients, and smooth."""

        def cost(i: int) -> float:
            others = [ssim(drawings[i], one) for j, one in enumerate(drawings) if j != i]
            return float(np.mean(others or [0.0])) + self.beta * total_variation(drawings[i])

        return drawings[min(range(len(drawings)), key=cost)]

    def _judge(
        self,
        finding: Finding,
        name: str,
        targets: list[int],
        pictures: list[Picture],
        private: list[Picture],
        public: list[Picture],
    ) -> None:
        """Add how near the pictures come to the private means."""
        scores = []
        for j, picture in zip(targets, pictures, strict=True):
            likeness = [ssim(picture, one) for one in [*private, *public]]
            nearest = int(np.argmax(likeness))
            row = {
                "success": float(nearest == j),
                "public": float(nearest == len(private) + j),
                "ssim": likeness[j],
                "ssim_public": likeness[len(private) + j],
                "mse": float(np.square(picture - private[j]).mean()),
            }
            scores.append(row)
            finding.details.append({"variant": name, "class": j, **row})
        means = {key: float(np.mean([row[key] for row in scores])) for key in scores[0]}
        finding.results[name] = metrics(**means, classes=len(targets))


def question(classes: int, a: float) -> Tensor:
    """Return the server's soft labels in the question for each class, ``[classes, classes]``.

    Examples
    --------
    >>> question(2, 1.0)
    tensor([[0.7311, 0.2689],
            [0.2689, 0.7311]])
    """
    return (torch.eye(classes) / a).softmax(dim=-1)


def _cross_entropy(logits: Tensor, targets: dict[str, Tensor]) -> Tensor:
    return nn.functional.cross_entropy(logits, targets["labels"])
