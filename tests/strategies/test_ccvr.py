"""CCVR: the Gaussians by hand, what the head learns of them, and that it is done once."""

import pytest
import torch
from fedkd.clients.exchange.class_gaussians import gaussians
from fedkd.strategies.ccvr import CCVR, among, drawn, pooled
from support import MIXED, TINY

import fedkd
from fedkd.config import RunConfig
from fedkd.config.overrides import merge
from fedkd.errors import ConfigError
from fedkd.knowledge import Knowledge
from fedkd.models.features import features_of
from fedkd.models.flat import flatten
from fedkd.run.estimate import plan

SMALL = TINY | {"clients": 6, "rounds": 3, "data.alpha": 0.3, "model": {"name": "mlp", "hidden": 8}}
NONE = torch.zeros(0, dtype=torch.int64)


def uploads(*clients: tuple[list[list[float]], list[int]], classes: int = 1) -> list[Knowledge]:
    """Return what clients with such features and labels upload."""
    found = []
    for number, (features, labels) in enumerate(clients):
        values, counts = gaussians(torch.tensor(features), torch.tensor(labels), classes)
        extras = {"counts": counts}
        found.append(Knowledge(number, "class_knowledge", values, NONE, counts > 0, extras=extras))
    return found


def test_the_covariance_by_hand_is_that_of_all_samples() -> None:
    """A has 0 and 2, B 4 and 6: mean 3, covariance 20/3; of biased local ones 6."""
    mean, covariance = pooled(uploads(([[0.0], [2.0]], [0, 0]), ([[4.0], [6.0]], [0, 0])))[0]
    assert mean.item() == 3.0
    assert covariance.item() == pytest.approx(20 / 3)


def test_many_clients_of_unequal_size_pool_to_what_one_client_would_say() -> None:
    features = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(30) % 3
    parts = zip(features.split([1, 4, 25]), labels.split([1, 4, 25]), strict=True)
    found = pooled(uploads(*((x.tolist(), y.tolist()) for x, y in parts), classes=3))
    for label, (mean, covariance) in found.items():
        own = features[labels == label].double()
        torch.testing.assert_close(mean, own.mean(dim=0), atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(covariance, own.T.cov(), atol=1e-6, rtol=1e-5)


def test_a_class_of_one_sample_in_all_has_no_covariance() -> None:
    found = pooled(uploads(([[1.0], [2.0], [3.0]], [0, 0, 1]), ([[5.0]], [2]), classes=4))
    assert list(found) == [0]


def test_draws_have_mean_and_covariance_and_may_be_of_a_flat_gaussian() -> None:
    mean, covariance = torch.tensor([1.0, -2.0]), torch.tensor([[4.0, 2.0], [2.0, 1.0]])  # rank 1
    found = drawn(mean.double(), covariance.double(), 4000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.mean(dim=0), mean, atol=0.1, rtol=0)
    torch.testing.assert_close(found.T.cov(), covariance, atol=0.3, rtol=0)


def test_a_class_that_is_away_keeps_its_row() -> None:
    """Cross-entropy among all would push its logit down: its gradient is 1/3."""
    logits, batch = torch.zeros(1, 3, requires_grad=True), {"labels": torch.tensor([0])}
    among(logits, batch, torch.tensor([False, False, True])).backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.5, 0.5, 0.0]]))


class Watched(CCVR):
    """Keeps what it is before it finishes, and how often that is."""

    times = 0

    def finish(self, plan):
        self.times += 1
        self.before = self.state["shared.0"].clone()
        return super().finish(plan)


def test_the_head_is_trained_once_and_all_clients_have_it_and_the_body_stays() -> None:
    strategy = Watched(samples=50, lr=0.05)
    result = fedkd.simulate(strategy, **SMALL | {"fraction": 0.5})
    assert strategy.times == 1
    models = [flatten(result.model(client)) for client in range(6)]
    assert all(torch.equal(one, models[0]) for one in models)
    body = len(models[0]) - 10 * 8 - 10
    assert torch.equal(models[0][:body], strategy.before[:body])
    assert (models[0][body:] - strategy.before[body:]).abs().max() > 1e-3
    assert result.rounds["calibrated"].to_pylist() == [None, None, 9.0]  # one is with nobody


def test_the_calibrated_head_knows_more() -> None:
    settings = SMALL | {"rounds": 1, "model": "mlp", "data.samples_per_client": 60}
    runs = [fedkd.simulate(name, **settings) for name in ("fedavg", "ccvr")]
    plain, calibrated = (run.summary["alma_global"]["last"] for run in runs)
    assert calibrated > plain + 0.1


@pytest.mark.parametrize("faults", [{}, {"dropout": 0.3, "straggler": 0.2}])
def test_rounds_after_a_finished_run_are_as_if_it_had_not_finished(faults, tmp_path) -> None:
    settings = SMALL | {"fraction": 0.5, "faults": faults}
    method = {"name": "ccvr", "samples": 20}
    whole = fedkd.simulate(method, **settings | {"rounds": 4})
    run_dir = tmp_path / "run"
    first = fedkd.simulate(method, run_dir=str(run_dir), **settings | {"rounds": 2})
    again = fedkd.resume(run_dir)  # there is nothing left to do but to finish
    assert again.summary["digest"] == first.summary["digest"]
    assert again.rounds.to_pylist() == first.rounds.to_pylist()
    resumed = fedkd.resume(run_dir, rounds=4)
    assert resumed.summary["digest"] == whole.summary["digest"]
    for table in ("rounds", "clients"):
        columns = [
            [name for name in getattr(run, table).column_names if "seconds" not in name]
            for run in (resumed, whole)
        ]
        assert columns[0] == columns[1]
        rows = [getattr(run, table).select(columns[0]).to_pylist() for run in (resumed, whole)]
        assert rows[0] == rows[1]


def test_features_below_a_relu_are_not_drawn_negative() -> None:
    plain, rectified = (
        fedkd.simulate({"name": "ccvr", "rectify": value}, **SMALL) for value in (False, True)
    )
    assert plain.summary["digest"] != rectified.summary["digest"]
    assert features_of(plain.model(0), torch.randn(50, 1, 8, 8)).min() >= 0


@pytest.mark.parametrize("more", [{"compress": "quantised"}, {"clients": 1}, {"model": "resnet8"}])
def test_it_runs_with_what_else_there_is(more) -> None:
    """Statistics are larger than these models; a codec expects them all the same."""
    result = fedkd.simulate("ccvr", **SMALL | {"rounds": 1} | more)
    assert result.summary["rejected"] == 0


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"model": MIXED}, "ccvr shares one model"),
        ({"secure.aggregation": True}, "ccvr"),
        ({"privacy": {"name": "dp_sgd", "noise_multiplier": 1.0}}, "ccvr has one more at the end"),
        ({"strategy": {"name": "ccvr", "samples": 0}}, "samples=0"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(more, problem) -> None:
    with pytest.raises(ConfigError, match=problem):
        fedkd.simulate(**{"strategy": "ccvr"} | SMALL | more)


def test_a_dry_run_says_what_is_uploaded_once() -> None:
    """Of 6 clients: 10 classes of 8 + 36 numbers and 10 counts, 4 bytes each, and who has what."""
    notes = plan(merge(RunConfig(), strategy="ccvr", **SMALL)).notes
    assert notes == ["After the last round: up to 11.5 kB up, once."]
