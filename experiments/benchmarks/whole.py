"""The plain loop of the works that are whole runs."""

import torch
from torch import Tensor, nn

from ...data.sampling import balanced
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
        Test samples that every model is measured on, round by round.
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
        self.test, self.truth = self.tensors["test"], self.tensors["truth"]
        every = [len(self.truth)] * job.rounds
        self.tested = every if job.system == LOOP_ALL else list(job.tested) or every

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
        rows = torch.from_numpy(balanced(self.truth.cpu().numpy(), self.tested[number - 1], 0))
        x, y = self.test[rows], self.truth[rows]
        each, whole = (torch.bincount(labels, minlength=10) for labels in (y, self.truth))
        found = []
        for model, (_, labels) in zip(self._models, self.private, strict=True):
            recall = torch.bincount(y[hits(model, x, y)], minlength=10) / each.clamp_min(1)
            counted = (torch.bincount(labels, minlength=10), whole)
            shares = [counts * (each > 0) for counts in counted]
            found.append([(recall * share).sum() / share.sum() for share in shares])
        local, everywhere = torch.tensor(found).mean(dim=0).tolist()
        self.accuracies.append((local, everywhere))

    @property
    def models(self) -> list[nn.Module]:
        """The models, which persist."""
        return self._models
