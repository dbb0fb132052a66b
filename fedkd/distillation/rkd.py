"""RKD: the shape of a batch's point cloud (Park et al., 2019, arXiv 1904.05068).

A sample is a point, its scores or what the student computes before its last layer. With d_ij the
distances over the mean of those that are positive, on each side its own, and a_ijk the cosine of
the angle at i between j and k::

    L = kl * KL( teacher || student )
        + distance * mean_ij huber( d_s - d_t ) + angle * mean_ijk huber( a_s - a_t )

Confidence: certain for both relations (megvii-research/mdistiller: 25 and 50; here 2.5 and 5, for
at the default learning rate of distillation the source's leave clients at chance). The source adds
them to a cross-entropy; here the KL divergence of `kl` stands in its place, for relations alone do
not say which class is which. Points are logits less their mean where the teacher is logits, else
probabilities; with ``rows=features`` the student's are its features, of any width.

Traps avoided: equal points have distance 0 and no direction, and no gradient there. The angles of a
batch take B^3 numbers.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..knowledge import kind_named
from .base import Batch, Objective, Target
from .divergences import any_of, within
from .kl import KL

NEAR = 1e-12
"""Squared distance up to which points are equal."""


class RKD(Objective):
    """KL divergence, and the differences of distances and angles between samples.

    Parameters
    ----------
    distance : float
        Weight of the distances, in [0, 10000].
    angle : float
        Weight of the angles, in [0, 10000].
    kl : float
        Weight of the KL divergence, in [0, 10000].
    rows : {"scores", "features"}
        What the student's points are.
    temperature : float
        Softmax temperature of student and teacher.

    Examples
    --------
    >>> same = torch.randn(4, 10, generator=torch.Generator().manual_seed(0))
    >>> RKD()(same, Target(same, "logits")).abs() < 1e-5
    tensor(True)
    """

    most_rows = 256

    def __init__(
        self,
        *,
        distance: float = 2.5,
        angle: float = 5.0,
        kl: float = 1.0,
        rows: Literal["scores", "features"] = "scores",
        temperature: float = 1.0,
    ) -> None:
        super().__init__(temperature)
        within({"distance": distance, "angle": angle, "kl": kl}, 0, 10_000)
        any_of(distance=distance, angle=angle, kl=kl)
        self.distance, self.angle, self.kl = distance, angle, kl
        self.fewest = 1 if kl else 3  # of two points all distances are alike, and no angle
        self.layers = ("head",) if rows == "features" else ()
        self._kl = KL(temperature=temperature)

    def tempers(self, kind: str) -> bool:
        """Say so of the KL divergence, and of points that are probabilities."""
        return self.kl > 0 or kind_named(kind).simplex

    def unused(self, kind: str) -> dict[str, str]:
        """Say so of what points are, where relations have no weight."""
        if self.distance or self.angle:
            return {}
        return {"rows": "has no effect with objective.distance=0 and angle=0; leave it out"}

    def __call__(
        self, student_logits: Tensor, teacher: Target, batch: Batch | None = None
    ) -> Tensor:
        """Return the scalar loss of one batch."""
        student, target = (
            points - points.mean(dim=-1, keepdim=True)
            for points in teacher.paired(student_logits, self.temperature)
        )
        if self.layers:
            student = self.features(batch).flatten(1)
        return self.kl * self._kl(student_logits, teacher) + self.related(student, target)

    def related(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the weighted differences of two clouds, ``[B, any]`` each."""
        (near, turned), (near_t, turned_t) = _relations(student), _relations(teacher)
        distance = F.smooth_l1_loss(near, near_t)
        return self.distance * distance + self.angle * F.smooth_l1_loss(turned, turned_t)


def _relations(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return distances over their mean ``[B, B]`` and cosines ``[B, B, B]``."""
    steps = points[None, :, :] - points[:, None, :]
    squares = steps.square().sum(dim=-1)
    apart = squares > NEAR
    distances = torch.where(apart, squares, 1.0).sqrt()
    directions = torch.where(apart[..., None], steps / distances[..., None], 0.0)
    distances = torch.where(apart, distances, 0.0)
    mean = distances.sum() / apart.sum().clamp_min(1)
    cosines = directions @ directions.transpose(1, 2)
    return distances / torch.where(mean > 0, mean, 1.0), cosines
