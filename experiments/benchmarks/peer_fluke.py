"""Run a job with fluke, in its own virtual environment.

Written from its public interface (github.com/makgyver/fluke, 0.8): `FedAVG` with data that are
dealt already. On a CPU fluke trains one client after the other. It shuffles with torch's global
generator, so the order of the samples is not the loop's.
"""

from typing import Any

import torch

# PyPI's torchvision is built for CUDA: beside torch's CPU build its operators do not load, and
# importing it fails where it describes these two. fluke needs none, so declaring them will do.
if not torch.cuda.is_available():
    _operators = torch.library.Library("torchvision", "FRAGMENT")
    for _name in ("nms", "qnms"):
        _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from fluke import DDict, FlukeENV
from fluke.algorithms.fedavg import FedAVG
from fluke.data import DataSplitter, DummyDataContainer, FastDataLoader
from fluke.evaluation import ClassificationEval
from fluke.utils import FederationObserver
from safetensors.torch import load_file

from .stopwatch import Stopwatch
from .training import BATCH, LR, first_model, private_loss
from .works import Job


class Clock(FederationObserver):
    """Notes when each round ended."""

    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch

    def end_round(self, round: int) -> None:
        """Note the time."""
        del round
        self.watch.lap()


def run(job: Job) -> dict[str, Any]:
    """Run one round and then the steady ones; see ``ours.run`` for what is returned."""
    torch.set_num_threads(1)
    _set_up()
    tensors, clients = load_file(job.tensors), range(job.sizes.clients)
    private = [(tensors[f"x{k}"].clone(), tensors[f"y{k}"].clone()) for k in clients]
    loaders = [
        FastDataLoader(x, y, num_labels=10, batch_size=BATCH, shuffle=True) for x, y in private
    ]
    data = DummyDataContainer(loaders, [None] * len(loaders), None, num_classes=10)
    algorithm = FedAVG(len(loaders), DataSplitter(data), DDict(_settings(job)))
    watch = Stopwatch(job.sizes.rounds)
    algorithm.set_callbacks([Clock(watch)])
    watch.start()
    algorithm.run(job.sizes.rounds + 1, 1.0)
    return watch.told(loss=private_loss(algorithm.server.model, *private[0]))


def _set_up() -> None:
    """Keep everything in memory and evaluate nothing."""
    environment = FlukeENV()
    environment.set_seed(0)
    environment.set_device("cpu")
    environment.set_inmemory(True)
    environment.set_evaluator(ClassificationEval(eval_every=10**6, n_classes=10))
    environment.set_eval_cfg(pre_fit=False, post_fit=False, locals=False, server=False)


def _settings(job: Job) -> dict[str, Any]:
    return {
        "model": first_model(job.work, 0),
        "client": {
            "batch_size": BATCH,
            "local_epochs": 1,
            "loss": "CrossEntropyLoss",
            "optimizer": {"name": "SGD", "lr": LR, "momentum": 0.0},
            "scheduler": {"name": "StepLR", "step_size": 1, "gamma": 1},
        },
        "server": {"weighted": True},
    }
