"""What the base does for every method: blocks, checks, bookkeeping; and Local, which needs none."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from fedkd.clients import Client
from fedkd.clients.standard import Standard
from fedkd.experiments.plugins.median import Median
from fedkd.experiments.plugins.nearest import Nearest
from fedkd.strategies import FusionStrategy
from fedkd.strategies.fusing import fuse_in_blocks
from fedkd.strategies.knfu import KnFu
from torch import Tensor

import fedkd
from fedkd.callbacks import Callback
from fedkd.engine.base import BLOCK, InlineBlocks
from fedkd.errors import FedkdError, RunError
from fedkd.knowledge import KnowledgeStack
from fedkd.maths.mixing import simplex_error

SAMPLES = 2 * BLOCK + 88


def labels(n: int = 3, samples: int = SAMPLES, classes: int = 5, seed: int = 0) -> KnowledgeStack:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(n, samples, classes, generator=generator).softmax(dim=-1)
    clients = [2 * k + 1 for k in range(n)]
    return KnowledgeStack("soft_labels", values, clients, torch.arange(samples))


class Counting(InlineBlocks):
    """Notes how many samples each block had."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def map(
        self, function: Callable[[Any], Any], blocks: Sequence[Any], light: bool = False
    ) -> Iterator[Any]:
        values = [b.values if isinstance(b, KnowledgeStack) else b for b in blocks]
        self.sizes += [block.shape[1] for block in values]
        return super().map(function, blocks)


def fused(strategy: FusionStrategy, knowledge: KnowledgeStack) -> Tensor:
    return fuse_in_blocks(strategy, knowledge, InlineBlocks())[0].values


# -- blocks --------------------------------------------------------------------------------------


class Maximum(FusionStrategy):
    """A per-sample rule whose result is exact however it is cut; already normalised."""

    per_sample = True

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        best = knowledge.values.amax(dim=(0, 2), keepdim=True)
        hits = (knowledge.values == best).any(dim=0)
        return hits.float() / hits.sum(dim=-1, keepdim=True)


class MaximumAtOnce(Maximum):
    per_sample = False


class Personal(FusionStrategy):
    """A per-sample rule with a teacher for every client: the others in turn."""

    per_sample = True

    def fuse(self, knowledge: KnowledgeStack) -> Tensor:
        return knowledge.values.roll(1, dims=0)


class PersonalAtOnce(Personal):
    per_sample = False


class MedianAtOnce(Median):
    per_sample = False


@pytest.mark.parametrize(
    ("cut", "whole"),
    [(Maximum, MaximumAtOnce), (Personal, PersonalAtOnce), (Median, MedianAtOnce)],
)
@pytest.mark.parametrize("samples", [1, BLOCK - 1, BLOCK, BLOCK + 1, SAMPLES])
def test_per_sample_rules_are_exact_in_blocks(cut: Any, whole: Any, samples: int) -> None:
    knowledge, pool = labels(samples=samples), Counting()
    teacher, weights = fuse_in_blocks(cut(), knowledge, pool)
    assert weights is None
    assert pool.sizes == [min(BLOCK, samples - i) for i in range(0, samples, BLOCK)]
    assert torch.equal(teacher.values, fused(whole(), knowledge))
    assert teacher.values.is_contiguous()
    assert teacher.clients == [1, 3, 5]


def test_a_rule_that_is_not_per_sample_sees_all_samples_at_once() -> None:
    seen = []

    class Whole(FusionStrategy):
        def fuse(self, knowledge: KnowledgeStack) -> Tensor:
            seen.append(len(knowledge.sample_ids))
            return knowledge.values.mean(dim=0)

    pool = Counting()
    fuse_in_blocks(Whole(), labels(), pool)
    assert (seen, pool.sizes) == ([SAMPLES], [])


@pytest.mark.parametrize("strategy", [KnFu(beta=3.0), Nearest(beta=2.0)])
def test_mixing_in_blocks_is_the_unblocked_mixture(strategy: FusionStrategy) -> None:
    knowledge, pool = labels(), Counting()
    teacher, weights = fuse_in_blocks(strategy, knowledge, pool)
    assert pool.sizes == [BLOCK, BLOCK, 88]
    assert weights is not None
    expected = torch.einsum("ij,jsc->isc", weights.double(), knowledge.values.double())
    torch.testing.assert_close(teacher.values.double(), expected, atol=1e-6, rtol=0)
    assert torch.equal(weights, strategy.weights(knowledge)), "the EPD is over all samples"
    assert torch.equal(fused(strategy, knowledge), teacher.values)


def test_blocks_get_their_own_ids_and_labels() -> None:
    whole = labels()
    whole = KnowledgeStack(
        whole.kind, whole.values, whole.clients, whole.sample_ids * 7, labels=torch.arange(SAMPLES)
    )

    class Check(FusionStrategy):
        per_sample = True

        def fuse(self, knowledge: KnowledgeStack) -> Tensor:
            assert knowledge.labels is not None
            assert torch.equal(knowledge.labels * 7, knowledge.sample_ids)
            rows = knowledge.labels
            assert torch.equal(knowledge.values, whole.values[:, rows])
            return knowledge.values[0]

    assert torch.equal(fused(Check(), whole), whole.values[0])


# -- the teacher's checks ------------------------------------------------------------------------


def returning(change: Callable[[Tensor], object], per_sample: bool = True) -> FusionStrategy:
    """Return a plug-in whose fuse() returns something else."""

    class PlugIn(FusionStrategy):
        def fuse(self, knowledge: KnowledgeStack) -> Tensor:
            return change(knowledge.values.mean(dim=0))  # type: ignore[return-value]

    PlugIn.per_sample = per_sample
    return PlugIn()


def spoil(value: float) -> Callable[[Tensor], Tensor]:
    def change(values: Tensor) -> Tensor:
        values[-1, 0] = value
        return values

    return change


BAD_TEACHERS = {
    "numpy": (Tensor.numpy, "type: got ndarray, expected Tensor"),
    "none": (lambda v: None, "type: got NoneType, expected Tensor"),
    "a list": (Tensor.tolist, "type: got list"),
    "classes": (lambda v: v[:, :-1], r"shape: got \[44, 4\], expected \[44, 5\]"),
    "samples": (lambda v: v[1:], r"shape: got \[43, 5\], expected \[44, 5\]"),
    "clients": (lambda v: v.expand(2, -1, -1), r"shape: got \[2, 44, 5\], expected \[3, 44, 5\]"),
    "a row": (lambda v: v[0], r"shape: got \[5\]"),
    "a scalar": (lambda v: v.sum(), r"shape: got \[\]"),
    "4 dimensions": (lambda v: v[None, None], r"shape: got \[1, 1, 44, 5\]"),
    "float64": (Tensor.double, "dtype: got torch.float64, expected torch.float32"),
    "integers": (lambda v: v.argmax(-1, keepdim=True) == torch.arange(5), "dtype: got torch.bool"),
    "nan": (spoil(float("nan")), "finite: contains NaN or infinity"),
    "infinity": (spoil(float("inf")), "finite"),
    "negative": (spoil(-0.5), "simplex: smallest entry is -"),
    "zeros": (torch.zeros_like, "simplex: a row sums to 1 ± 1"),
}


@pytest.mark.parametrize("name", BAD_TEACHERS)
@pytest.mark.parametrize("per_sample", [True, False])
def test_what_is_no_teacher_is_refused_by_name(name: str, per_sample: bool) -> None:
    change, reason = BAD_TEACHERS[name]
    with pytest.raises(RunError, match=f"^strategy PlugIn: fuse\\(\\) {reason}"):
        fused(returning(change, per_sample), labels(samples=44))


def test_a_bad_last_block_is_found() -> None:
    with pytest.raises(RunError, match="finite"):
        fused(returning(spoil(float("nan"))), labels())


def test_a_teacher_with_gradient_is_detached() -> None:
    """A learned fuser returns what autograd watches; it cannot be packed as it is."""
    scale = torch.ones(1, requires_grad=True)
    knowledge = labels(samples=4)
    teacher, _ = fuse_in_blocks(returning(lambda v: v * scale), knowledge, InlineBlocks())
    assert not teacher.values.requires_grad
    teacher.records()


def weighting(change: Callable[[Tensor], object]) -> FusionStrategy:
    class PlugIn(FusionStrategy):
        def weights(self, knowledge: KnowledgeStack) -> Tensor:
            n = len(knowledge.clients)
            return change(torch.full((n, n), 1 / n))  # type: ignore[return-value]

    return PlugIn()


BAD_WEIGHTS = {
    "numpy": (Tensor.numpy, "type: got ndarray, expected Tensor"),
    "a row": (lambda w: w[0], r"shape: got \[3\], expected \[3, 3\]"),
    "too few": (lambda w: w[:2], r"shape: got \[2, 3\]"),
    "nan": (spoil(float("nan")), "finite"),
    "negative": (spoil(-0.25), "simplex: smallest entry is -0.25, below 0"),
    "not normalised": (lambda w: w * 2, "simplex: a row sums to 1 ± 1"),
    "columns": (lambda w: torch.tensor([[1.0, 1, 0], [0, 0, 1], [0, 0, 0]]), "simplex"),
}


@pytest.mark.parametrize("name", BAD_WEIGHTS)
def test_what_are_no_weights_is_refused_by_name(name: str) -> None:
    change, reason = BAD_WEIGHTS[name]
    with pytest.raises(RunError, match=f"^strategy PlugIn: weights\\(\\) {reason}"):
        fused(weighting(change), labels(samples=4))


def test_weights_may_be_double_or_watched_by_autograd() -> None:
    knowledge = labels(samples=4)
    plain = fused(weighting(lambda w: w), knowledge)
    assert torch.equal(fused(weighting(Tensor.double), knowledge), plain)
    watched, weights = fuse_in_blocks(
        weighting(lambda w: w.requires_grad_()), knowledge, InlineBlocks()
    )
    assert torch.equal(watched.values, plain)
    assert weights is not None
    assert not weights.requires_grad
    watched.records()


def test_rows_of_a_median_are_normalised() -> None:
    values = torch.tensor([[[0.6, 0.4, 0.0]], [[0.0, 0.5, 0.5]], [[0.3, 0.0, 0.7]]])
    knowledge = KnowledgeStack("soft_labels", values, [0, 1, 2], torch.arange(1))
    raw = Median().fuse(knowledge)
    torch.testing.assert_close(raw, torch.tensor([[0.3, 0.4, 0.5]]))
    torch.testing.assert_close(fused(Median(), knowledge), raw / 1.2)
    assert simplex_error(fused(Median(), labels())) < 1e-6


def test_logits_are_not_normalised() -> None:
    values = torch.tensor([[[3.0, -5.0]], [[1.0, 1.0]]])
    knowledge = KnowledgeStack("logits", values, [0, 1], torch.arange(1))
    assert torch.equal(fused(returning(lambda v: v), knowledge), torch.tensor([[2.0, -2.0]]))
    with pytest.raises(RunError, match="magnitude"):
        fused(returning(lambda v: v * 1e9), knowledge)


def test_normalisation_does_not_depend_on_the_block() -> None:
    """A row that is off by less than the tolerance must not change with its neighbours."""

    def slightly_off(values: Tensor) -> Tensor:
        return values * 1.0005

    def change(values: Tensor) -> Tensor:
        values = slightly_off(values)
        values[-1] *= 0.5
        return values

    calm, mixed = labels(samples=4), labels(samples=4)
    untouched = fused(returning(slightly_off), calm)
    assert torch.equal(fused(returning(change), mixed)[:-1], untouched[:-1])


# -- neither fuse() nor weights() ----------------------------------------------------------------


class Neither(FusionStrategy):
    """Overrides nothing."""


def test_a_strategy_must_override_one_of_two() -> None:
    with pytest.raises(RunError, match=r"Neither must override weights\(\) or fuse\(\)"):
        fused(Neither(), labels(samples=4))


def test_in_a_run_that_is_one_readable_line() -> None:
    with pytest.raises(FedkdError, match="must override"):
        fedkd.simulate(Neither(), clients=2, rounds=1, engine="inline")


def test_what_a_plug_in_raises_names_it() -> None:
    def fails(values: Tensor) -> Tensor:
        raise KeyError("beta")

    with pytest.raises(RunError, match="strategy PlugIn raised KeyError: 'beta'") as caught:
        fused(returning(fails), labels(samples=4))
    assert isinstance(caught.value.__cause__, KeyError)


def test_what_a_plug_in_raises_is_one_line() -> None:
    def fails(values: Tensor) -> Tensor:
        raise ValueError("two\nlines")

    with pytest.raises(RunError, match="two lines"):
        fused(returning(fails), labels(samples=4))


def test_fuse_wins_over_weights() -> None:
    class Both(Nearest):
        def fuse(self, knowledge: KnowledgeStack) -> Tensor:
            return knowledge.values[0]

    knowledge = labels(samples=4)
    teacher, weights = fuse_in_blocks(Both(), knowledge, InlineBlocks())
    assert weights is None
    assert torch.equal(teacher.values, knowledge.values[0])


# -- whole runs ----------------------------------------------------------------------------------


class Extras(Median):
    """Has one number of each shape for the tables."""

    def round_extras(self, knowledge: KnowledgeStack) -> dict[str, Tensor]:
        n = len(knowledge.clients)
        return {
            "answer": torch.tensor(42.0),
            "row": torch.tensor(knowledge.clients) * 2.0,
            "wide": torch.arange(2.0 * n).reshape(n, 2),
        }


def test_round_extras_land_in_the_tables() -> None:
    result = fedkd.simulate(Extras(), clients=4, rounds=2, fraction=0.5, engine="inline")
    assert result.rounds["answer"].to_pylist() == [42, 42]
    rows = result.clients.to_pandas()
    for round_ in (1, 2):
        of_round = rows[rows["round"] == round_].pivot_table(
            index="client", columns="metric", values="value"
        )
        assert (of_round["row"].dropna() == 2 * of_round["row"].dropna().index).all()
        assert of_round[["wide_0", "wide_1"]].dropna().to_numpy().tolist() == [[0, 1], [2, 3]]


class Clumsy(Standard):
    """Some clients fail or answer nonsense."""

    bad: ClassVar[dict[int, str]] = {1: "raise", 3: "nan"}

    def predict(self, clients: Sequence[Client], x: Tensor) -> list[Tensor]:
        answers = super().predict(clients, x)
        for client, logits in zip(clients, answers, strict=True):
            if self.bad.get(client.index) == "nan" and len(x) == 200:
                logits[0, 0] = float("nan")
        return answers

    def fit(self, clients: Sequence[Client]) -> list[dict[str, float]]:
        if self.bad.get(clients[0].index) == "raise":
            raise RuntimeError("out of coffee\nand tea")
        return super().fit(clients)


class AllClumsy(Clumsy):
    bad: ClassVar[dict[int, str]] = dict.fromkeys(range(9), "raise")


class Watcher(Callback):
    """Keeps the round records."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def on_round(self, record: Any) -> None:
        self.records.append(record)


def client_class(cls: type) -> str:
    return f"{__file__}:{cls.__name__}"


@pytest.mark.parametrize("strategy", ["knfu", "fedmd"])
def test_bad_replies_are_dropped_counted_and_named(strategy: str) -> None:
    watcher = Watcher()
    result = fedkd.simulate(
        strategy, clients=5, rounds=2, engine="inline", client=client_class(Clumsy),
        callbacks=[watcher],
    )  # fmt: skip
    assert result.summary["rejected"] == 4
    assert result.rounds["rejected"].to_pylist() == [2, 2]
    for record in watcher.records:
        assert list(record.rejected) == [1, 3]
        where = f"client 1, round {record.round}, train.fit"
        assert record.rejected[1].startswith(f"{where}: RuntimeError: out of coffee")
        assert "\n" not in record.rejected[1]
        assert record.rejected[3] == "finite: contains NaN or infinity"
        assert record.knowledge.clients == [0, 2, 4]
        assert record.knowledge.values.isfinite().all()
        if record.weights is not None:
            assert record.weights[0] == [0, 2, 4]
            assert record.weights[1].shape == (3, 3)
    rows = result.clients.to_pandas()
    distilled = rows[rows["metric"] == "loss_distil"]
    assert sorted(set(distilled["client"])) == [0, 2, 4]
    assert sorted(rows[rows["metric"] == "rejected"]["client"]) == [1, 1, 3, 3]


@pytest.mark.parametrize("strategy", ["knfu", "local", "fedavg"])
def test_when_everybody_fails_the_run_ends_with_the_first_cause(strategy: str) -> None:
    with pytest.raises(
        RunError, match=r"client 0, round 1, .*RuntimeError: out of coffee"
    ) as caught:
        fedkd.simulate(
            strategy, clients=3, rounds=1, engine="inline", client=client_class(AllClumsy)
        )
    assert "\n" not in str(caught.value)


class Listing(Standard):
    """Answers a list where a number belongs."""

    def fit(self, clients: Sequence[Client]) -> list[dict[str, float]]:
        numbers = super().fit(clients)
        if clients[0].index == 1:
            numbers[0]["loss_per_epoch"] = [2.0, 1.0]  # type: ignore[assignment]
        return numbers


def test_a_client_with_an_odd_metric_does_not_end_the_run() -> None:
    run = fedkd.simulate(
        "local", clients=3, rounds=1, engine="inline", client=client_class(Listing)
    )
    told = {(row["client"], row["metric"]) for row in run.clients.to_pylist()}
    assert {(client, "loss_fit") for client in range(3)} <= told
    assert (1, "loss_per_epoch") not in told


def test_absent_clients_keep_their_model() -> None:
    """Half the clients a round: the others' weights are those of the round before."""
    one = fedkd.simulate("knfu", clients=6, rounds=1, fraction=0.5, engine="inline")
    two = fedkd.simulate("knfu", clients=6, rounds=2, fraction=0.5, engine="inline")
    rows = two.clients.to_pandas()
    fitted = rows[(rows["metric"] == "loss_fit") & (rows["round"] == 2)]["client"].tolist()
    assert len(fitted) == 3
    for client in range(6):
        before, after = one.model(client).state_dict(), two.model(client).state_dict()
        same = all(torch.equal(before[name], after[name]) for name in before)
        assert same == (client not in fitted)


def test_transfer_samples_of_a_round_reach_every_client() -> None:
    watcher = Watcher()
    fedkd.simulate(
        "knfu", clients=3, rounds=3, engine="inline", transfer={"per_round": 20},
        callbacks=[watcher],
    )  # fmt: skip
    drawn = [tuple(record.knowledge.sample_ids.tolist()) for record in watcher.records]
    assert len(set(drawn)) == 3
    for ids in drawn:
        assert len(set(ids)) == 20
        assert list(ids) == sorted(ids)
        assert ids[0] >= 0
        assert ids[-1] < 200


def test_transfer_labels_only_where_they_are_allowed() -> None:
    for allowed in (False, True):
        watcher = Watcher()
        fedkd.simulate(
            "knfu", clients=2, rounds=1, engine="inline", callbacks=[watcher],
            transfer={"labelled": allowed},
        )  # fmt: skip
        assert (watcher.records[0].knowledge.labels is not None) == allowed


def test_local_exchanges_nothing_and_clients_do_not_see_each_other() -> None:
    """A client's model under Local is a matter of its own data and streams alone."""
    result = fedkd.simulate("local", clients=4, rounds=2, engine="inline")
    assert result.summary["bytes_up"] == result.summary["bytes_down"] == 0
    assert result.summary["seconds"]["fuse"] == result.summary["seconds"]["distil"] == 0
    assert "effective_neighbours" not in result.rounds.column_names
    assert not (result.run_dir / "weights.npz").exists()
    some = fedkd.simulate(
        "local", clients=4, rounds=2, engine="inline", client=client_class(Clumsy)
    )
    for client in (0, 2, 3):
        mine, theirs = result.model(client).state_dict(), some.model(client).state_dict()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_local_is_plain_training() -> None:
    """Two rounds of Local = the fit phases by hand, from the run's own split and streams."""
    from fedkd.data import Federation
    from fedkd.models import build
    from fedkd.rng import scoped, stream

    result = fedkd.simulate("local", clients=3, rounds=2, engine="inline", fit={"batch_size": 5})
    locator = json.loads((result.run_dir / "spec.json").read_text())["data"]
    federation = Federation.open(locator)
    x, y = federation.client(2)
    with scoped(stream(0, 2, 0, "model")):
        model = build("mlp", federation.shape, federation.classes)
    for round_ in (1, 2):
        generator = torch.Generator().manual_seed(stream(0, 2, round_, "fit"))
        optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
        for _ in range(2):
            order = torch.randperm(len(x), generator=generator)
            for rows in order.split(5):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
                optimizer.step()
    for name, value in result.model(2).state_dict().items():
        np.testing.assert_allclose(value, model.state_dict()[name], atol=1e-6)
