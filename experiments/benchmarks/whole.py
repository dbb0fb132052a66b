"""The plain loop of the works that are whole runs."""

import torch
from torch import Tensor, nn

from ...maths.divergences import divergence
from ...maths.mixing import mix
from .loops import Loop
from .systems import LOOP_ALL
from .training import distil, first_model, fit, hits, order, predict
from .works import WORKS, Job


class Fusion(Loop):
    """KnFu as a whole run: every client learns from its own mixture, and is then measured.

    Attributes
    ----------
    tested : list of int
        Test samples that every model is measured on, round by round: those of fedkd's run, whose
        last round has them all, or all in every round.
    accuracies : list of tuple of float
        Mean accuracy over clients after each round: on each client's own mix of classes, and on
        all test samples alike.
    """

    beta = 10.0

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self._models = [first_model(job.work, client).to(job.device) for client in self.clients]
        self.settings = WORKS[job.work]
        self.accuracies: list[tuple[float, float]] = []
        self.tested = self.tensors["tested"].tolist()
        sizes = set(self.tested) - {0}
        self.tests = {n: (self.tensors[f"test{n}"], self.tensors[f"truth{n}"]) for n in sizes}
        if job.system == LOOP_ALL:
            self.tested = [self.tested[-1]] * job.rounds

    def order(self, client: int, number: int, phase: str, x: Tensor) -> Tensor:
        """Return the order of all epochs."""
        epochs = (self.settings.fit if phase == "fit" else self.settings.distil)["epochs"]
        return order(client, number, phase, len(x), epochs).to(self.device)

    def round(self, number: int) -> None:
        """Train and predict, mix for each client, distil, evaluate."""
        answers = []
        for client, model in enumerate(self._models):
            x, y = self.private[client]
            fit(model, x, y, self.order(client, number, "fit", x), self.settings.fit)
            answers.append(predict(model, self.transfer))
        teachers = self.mixtures(torch.stack(answers))
        for client, model in enumerate(self._models):
            rows = self.order(client, number, "distil", self.transfer)
            distil(model, self.transfer, teachers[client], rows, self.settings.distil)
        self.evaluate(number)

    def mixtures(self, answers: Tensor) -> Tensor:
        """Return each client's teacher: softmax(-beta * KL) of the mean soft labels weighs all."""
        distances = divergence(answers.mean(dim=1))
        return mix((-self.beta * distances.double()).softmax(dim=1), answers)

    def evaluate(self, number: int) -> None:
        """Measure every client on the samples that this round is measured on."""
        if self.tested[number - 1] == 0:
            return
        x, y = self.tests[self.tested[number - 1]]
        each = torch.bincount(y, minlength=10)
        found = []
        for model, (_, own) in zip(self._models, self.private, strict=True):
            right = hits(model, x, y)
            recall = torch.bincount(y[right], minlength=10) / each.clamp_min(1)
            share = torch.bincount(own, minlength=10) * (each > 0)
            found.append([(recall * share).sum() / share.sum(), right.float().mean()])
        local, everywhere = torch.tensor(found).mean(dim=0).tolist()
        self.accuracies.append((local, everywhere))

    @property
    def models(self) -> list[nn.Module]:
        """The models, which persist."""
        return self._models
