"""DENSE: the server makes samples up of its clients' models, and distils them there into one.

Zhang, Chen, Li, Lyu, Wu, Ding, Shen, Wu, "DENSE: Data-Free One-Shot Federated Learning", NeurIPS
2022, arXiv 2112.12371. Confidence: certain (official code) for what follows::

    teacher = mean_n f_n(x)                                   the logits of all clients' models
    epoch   a fresh generator G and noise z take some steps on
              CE(teacher(x), y)  + norms * sum over all BatchNorm layers of all clients of
              |variance of the batch - running one| + |mean of the batch - running one|
              - adversarial * mean[ 1(argmax differs) KL(teacher || student) ]    x = G(z)
            the x of the lowest loss join a pool
            student <- argmin T^2 KL( softmax(teacher / T) || softmax(student / T) ) over the pool

Without BatchNorm the second term is empty. Each round is a one-shot run: clients go on from the
student, upload, and the server makes samples up anew. ``rounds=1`` is the paper's; what a run of
more is measured by after its first is how far further rounds help (that they go on from the student
is inferred). Clients that are away have no part in the teacher, and are sent the newest student
before their next fit. Of mixed models, each architecture has a student, as in FedDF; samples are
made for all of them, by the mean of their terms of disagreement.

Deviations, all inferred or for two cores: the student starts as its architecture's mean, weighted
by samples, so that ``epochs=0`` is FedAvg; G is smaller (two convolutions; for rows of numbers a
hidden layer); officially 200 epochs of 30 steps with 256 samples, 256 numbers of noise, and a
student that passes once an epoch over the pool at a rate of 0.005: for convolutional networks, give
it more than the defaults. Traps of the official code, not
repeated: hooks on BatchNorm layers are never removed, so that each epoch counts them once more; a
learning rate set for client 0 holds for all later ones; the best result on *test* data is told.
"""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from ..knowledge import Knowledge
from ..models.parts import BATCH_NORMS
from ..rounds.protocol import RoundPlan
from ..rounds.server import Server
from ..tasks.samples import Tokens
from .parametric import ParameterFusion
from .synthesising import Recipe, Synthesis, synthesise

NORMS = 1.0
"""Weight of the BatchNorm statistics, where nobody says another."""


class Dense(ParameterFusion):
    """A model for all, distilled from the clients' on samples that the server makes up.

    Parameters
    ----------
    epochs : int
        Batches that are made up in a round, at least 0; 0 is FedAvg.
    steps : int
        Steps of the generator for each, at least 1.
    batch_size, latent, width : int
        Samples of a batch, numbers of noise, and channels of the generator; at least 2, 1 and 1.
    lr : float
        The generator's learning rate (Adam), > 0.
    norms, adversarial : float
        Weights of the terms of BatchNorm statistics and of disagreement, at least 0.
    temperature : float
        T of the distillation, > 0.
    passes : int
        Passes of the student over the pool after each batch, at least 1.
    student_lr : float
        Its learning rate (SGD with momentum 0.9), > 0.

    Examples
    --------
    >>> Dense(epochs=3).recipe.epochs
    3
    """

    homogeneous = False
    needs_classes = True
    tempers = True
    brief: ClassVar = {"epochs": 2, "steps": 3, "batch_size": 16}

    def __init__(
        self,
        epochs: int = 5,
        steps: int = 15,
        batch_size: int = 32,
        latent: int = 64,
        width: int = 8,
        lr: float = 1e-3,
        norms: float = NORMS,
        adversarial: float = 1.0,
        temperature: float = 20.0,
        passes: int = 5,
        student_lr: float = 0.005,
    ) -> None:
        super().__init__(temperature=temperature)
        least: dict[str, tuple[float, int]] = {
            "epochs": (epochs, 0),
            "steps": (steps, 1),
            "batch_size": (batch_size, 2),
        }
        least |= {"latent": (latent, 1), "width": (width, 1), "passes": (passes, 1)}
        least |= {"norms": (norms, 0), "adversarial": (adversarial, 0)}
        for name, (value, low) in least.items():
            if not value >= low:
                raise ValueError(f"{name}={value} must be at least {low}")
        if not lr > 0 or not student_lr > 0:
            raise ValueError(f"lr={lr} and student_lr={student_lr} must be greater than 0")
        self.recipe = Recipe(
            epochs,
            steps,
            batch_size,
            latent,
            width,
            lr,
            norms,
            adversarial,
            temperature,
            passes,
            student_lr,
        )

    def refusal(self, server: Server) -> str | None:
        """Refuse texts, whose tokens no generator makes, and a weight of what is not there."""
        if isinstance(server.federation.shape, Tokens):
            return "makes samples up, and token ids of texts are no quantities"
        layers = (one for model in server.instances for one in model.modules())
        if self.recipe.norms == NORMS or any(isinstance(one, BATCH_NORMS) for one in layers):
            return super().refusal(server)
        return f"norms={self.recipe.norms} has no effect: no model has BatchNorm; leave it out"

    def polish(
        self, plan: RoundPlan, admitted: Sequence[Knowledge], shared: dict[int, Tensor]
    ) -> dict[int, Tensor]:
        """Distil all clients' models into each architecture's mean."""
        if not self.recipe.epochs:
            return shared
        server, groups = plan.server, self.groups(plan.server)
        member = {groups[one.client]: one.client for one in admitted}
        task = Synthesis(
            [server.filled(one.client, one.values) for one in admitted],
            [server.filled(member[number], vector) for number, vector in shared.items()],
            tuple(server.federation.shape),
            plan.classes,
            self.recipe,
            plan.seed,
        )
        (learnt,) = plan.blocks.map(synthesise, [task])
        return dict(zip(shared, learnt, strict=True))
