"""FedDF: averaged parameters, and the ensemble distilled into them."""

import math

import pytest
import torch
from fedkd.strategies.feddf import FedDF, ensemble_loss
from support import MIXED, TINY
from torch.nn import functional as F

import fedkd
from fedkd.knowledge import KnowledgeStack
from fedkd.models.flat import flatten, unflatten

NONE = torch.zeros(0, dtype=torch.int64)


def test_the_average_weighs_by_samples() -> None:
    """(1 * 0 + 3 * 4) / 4 = 3, where the plain mean is 2."""
    values, samples = torch.tensor([[0.0, 8.0], [4.0, 0.0]]), torch.tensor([[1.0], [3.0]])
    stack = KnowledgeStack("parameters", values, [0, 1], NONE, extras={"samples": samples})
    torch.testing.assert_close(FedDF().fuse(stack), torch.tensor([3.0, 2.0]))


def test_the_loss_by_hand() -> None:
    """Ensemble (3/4, 1/4), student (1/2, 1/2): 3/4 log 3/2 + 1/4 log 1/2."""
    ensemble = torch.tensor([[0.75, 0.25]]).log()
    loss = ensemble_loss(torch.zeros(1, 2), {"ensemble": ensemble}, 1.0)
    assert loss.item() == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))


def test_the_loss_is_a_mean_over_samples_and_has_no_squared_temperature() -> None:
    student, ensemble = torch.randn(5, 3), torch.randn(5, 3)
    one = ensemble_loss(student / 4, {"ensemble": ensemble / 4}, 1.0)
    torch.testing.assert_close(ensemble_loss(student, {"ensemble": ensemble}, 4.0), one)
    twice = ensemble_loss(student.repeat(2, 1), {"ensemble": ensemble.repeat(2, 1)}, 1.0)
    torch.testing.assert_close(twice, ensemble_loss(student, {"ensemble": ensemble}, 1.0))


def test_the_divergence_is_of_the_student_from_the_ensemble() -> None:
    """Its gradient is softmax(student) - softmax(ensemble): that of KL(ensemble || student)."""
    student, ensemble = torch.randn(4, 3).requires_grad_(), torch.randn(4, 3)
    ensemble_loss(student, {"ensemble": ensemble}, 1.0).backward()
    expected = (student.detach().softmax(-1) - ensemble.softmax(-1)) / 4
    torch.testing.assert_close(student.grad, expected)


def test_the_ensemble_is_a_mean_of_logits() -> None:
    """Mean logits are not the logarithm of mean soft labels; the student meets the former."""
    logits = torch.tensor([[[4.0, 0.0]], [[0.0, 1.0]]])
    mean = logits.mean(dim=0)
    assert (mean.softmax(-1) - logits.softmax(-1).mean(dim=0)).abs().max() > 1e-3
    assert ensemble_loss(mean, {"ensemble": mean}, 1.0) == 0


class Watched(FedDF):
    """Keeps the averages before and after the server's distillation."""

    def polish(self, plan, admitted, shared):  # type: ignore[no-untyped-def]
        self.plan, self.before = plan, {k: v.clone() for k, v in shared.items()}
        self.uploads = {one.client: one.values for one in admitted}
        self.after = super().polish(plan, admitted, shared)
        return self.after


def test_the_server_moves_the_average_towards_the_ensemble() -> None:
    strategy = Watched(epochs=5, lr=0.02)
    fedkd.simulate(strategy, **TINY | {"rounds": 1})
    plan = strategy.plan
    x = plan.server.transfer(plan.sample_ids)

    def logits(vector: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return unflatten(plan.server.model("mlp"), vector).eval()(x)

    ensemble = {"ensemble": torch.stack([logits(v) for v in strategy.uploads.values()]).mean(0)}
    losses = [
        ensemble_loss(logits(vector[0]), ensemble, 1.0).item()
        for vector in (strategy.before, strategy.after)
    ]
    assert losses[1] < 0.7 * losses[0]


def test_without_epochs_it_is_fedavg() -> None:
    """The average of what clients upload, by hand; then the clients have it."""
    strategy = Watched(epochs=0)
    result = fedkd.simulate(strategy, **TINY | {"rounds": 1})
    mean = torch.stack(list(strategy.uploads.values())).mean(dim=0)  # equal sample sizes
    torch.testing.assert_close(strategy.after[0], mean)
    for client in range(5):
        torch.testing.assert_close(flatten(result.model(client)), mean)
    trained = fedkd.simulate(FedDF(epochs=3, lr=0.05), **TINY | {"rounds": 1})
    assert (flatten(trained.model(0)) - mean).abs().max() > 1e-3


def test_architectures_do_not_mix() -> None:
    """Two of each of two architectures: each pair has one model, and the ensemble is of all."""
    strategy = Watched(epochs=1)
    result = fedkd.simulate(strategy, model=["mlp", "lenet5"], **TINY | {"clients": 4})
    models = [flatten(result.model(client)) for client in range(4)]
    assert torch.equal(models[0], models[2])
    assert torch.equal(models[1], models[3])
    assert len(models[0]) != len(models[1])
    alone = fedkd.simulate(FedDF(epochs=0), model=["mlp", "lenet5"], **TINY | {"clients": 4})
    assert not torch.equal(models[0], flatten(alone.model(0)))


@pytest.mark.parametrize("epochs", [-1])
@pytest.mark.parametrize("lr", [0.0, -1.0, 0.1])
def test_parameters_out_of_range_are_refused(epochs: int, lr: float) -> None:
    with pytest.raises(ValueError, match="must be at least 0"):
        FedDF(epochs=epochs, lr=lr)
    if lr <= 0:
        with pytest.raises(ValueError, match="greater than 0"):
            FedDF(lr=lr)


def test_a_run_with_mixed_models_can_be_resumed(tmp_path) -> None:
    settings = TINY | {"fraction": 0.6, "model": MIXED}
    whole = fedkd.simulate("feddf", **settings | {"rounds": 3})
    run_dir = tmp_path / "run"
    fedkd.simulate("feddf", run_dir=str(run_dir), **settings)
    resumed = fedkd.resume(run_dir, rounds=3)
    assert resumed.summary["digest"] == whole.summary["digest"]
    assert whole.summary["rejected"] == 0


def test_the_ensemble_loss_of_a_sure_student_is_finite() -> None:
    logits = torch.tensor([[200.0, -200.0]])
    assert math.isfinite(ensemble_loss(logits, {"ensemble": -logits}, 1.0))
    assert F.softmax(logits, -1)[0, 1] == 0
