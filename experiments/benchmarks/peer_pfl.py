"""Run a job with pfl-research, in its own virtual environment.

Written from its public interface (github.com/apple/pfl-research, 0.6): a `FederatedDataset` with a
user per client, `FederatedAveraging` on a `SimulatedBackend`. Every user takes part in every round
and sees its samples in the loop's order. With several processes, ``torchrun`` starts them and pfl
sums over them by ``torch.distributed`` (gloo).
"""

from typing import Any

import numpy as np
import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.sampling import get_user_sampler
from pfl.hyperparam.base import NNTrainHyperParams
from pfl.metrics import Metrics
from pfl.model.pytorch import PyTorchModel
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from .stopwatch import Stopwatch
from .training import BATCH, LR, first_model, order, private_loss
from .works import Job


class Network(nn.Module):
    """The model, with the two methods that pfl asks of one."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        return self.network(x)

    def loss(self, x: Tensor, y: Tensor, eval: bool = False) -> Tensor:
        """Return what a step minimises."""
        self.train(not eval)
        return F.cross_entropy(self(x), y)

    def metrics(self, x: Tensor, y: Tensor, eval: bool = True) -> dict[str, Any]:
        """Return nothing: no evaluation is asked for."""
        del x, y, eval
        return {}


class Clock(TrainingProcessCallback):
    """Notes when each round ended."""

    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch
        self.round = 1

    def after_central_iteration(
        self, aggregate_metrics: Metrics, model: PyTorchModel, *, central_iteration: int
    ) -> tuple[bool, Metrics]:
        """Note the time."""
        del aggregate_metrics, model
        self.watch.lap()
        self.round = central_iteration + 2
        return False, Metrics()


def run(job: Job) -> dict[str, Any]:
    """Run one round and then the steady ones; see ``ours.run`` for what is returned."""
    torch.set_num_threads(1)
    np.random.seed(0)
    tensors, clients = load_file(job.tensors), range(job.sizes.clients)
    private = [(tensors[f"x{k}"].clone(), tensors[f"y{k}"].clone()) for k in clients]
    clock = Clock(Stopwatch(job.sizes.rounds))

    def user(client: int) -> Dataset:
        x, y = private[client]
        rows = order(client, clock.round, "fit", len(x))
        return Dataset([x[rows], y[rows]], user_id=str(client))

    users = FederatedDataset(user, get_user_sampler("minimize_reuse", list(clients)))
    network = Network(first_model(job.work, 0))
    average = torch.optim.SGD(network.parameters(), lr=1.0)
    clock.watch.start()
    FederatedAveraging().run(
        _rounds(job),
        SimulatedBackend(training_data=users, val_data=users),
        PyTorchModel(network, torch.optim.SGD, average),
        NNTrainHyperParams(local_batch_size=BATCH, local_num_epochs=1, local_learning_rate=LR),
        callbacks=[clock],
        send_metrics_to_platform=False,
    )
    return clock.watch.told(loss=private_loss(network, *private[0]))


def _rounds(job: Job) -> NNAlgorithmParams:
    """Everyone takes part in every round; iteration 0 is always evaluated, by `Network.metrics`."""
    rounds = job.sizes.rounds + 1
    return NNAlgorithmParams(
        central_num_iterations=rounds,
        evaluation_frequency=rounds + 1,
        train_cohort_size=job.sizes.clients,
        val_cohort_size=None,
    )
