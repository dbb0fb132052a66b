"""Guards in runs: whatever distils, a guard has looked at the teacher before."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from fedkd.clients import Client
from fedkd.clients.exchange import SoftLabels
from fedkd.clients.guarding import Guarded, Guards
from fedkd.clients.parts import Parts
from fedkd.clients.side_by_side import StackLoop
from fedkd.clients.standard import Standard
from support import MIXED, TINY, fedkd, mostly_slow
from torch import Tensor, nn

from fedkd import ConfigError, resume, simulate
from fedkd.distillation import Objective, Target
from fedkd.distillation.guards import Guard
from fedkd.distillation.guards.base import Lesson
from fedkd.distillation.guards.bsd import BSD
from fedkd.distillation.guards.kd3 import KD3
from fedkd.distillation.guards.kl_dp import KLDP
from fedkd.distillation.kl import KL
from fedkd.plugins import available
from fedkd.plugins.table import SEAMS

HERE = Path(__file__)
SHIPPED = SEAMS["strategies"].shipped()
UNTAUGHT = (
    *("fd", "fedproto", "fedtgp", "fedhkd", "kafal", "kafal_student"),
    *("fedavg", "fedprox", "fedadam", "fedntd", "fedlmd", "moon", "feddistill_group"),
    *("scaffold", "feddyn", "fednova", "feddf", "fedpm", "fml", "fedkd_wu", "twin_merging"),
    *("lg_fedavg", "fedper", "fedrep", "fedbabu", "fedbn", "ditto", "apfl", "fedrod"),
    *("fedgh", "fedre", "fpl", "fedpcl", "fedpac", "fccl_plus", "fedhenn", "fedmrl", "fedcache"),
    *("fedavg_kd", "fedbe", "feddistill_plus", "fedgen", "ccvr", "dense", "fens"),
)
"""Methods whose clients are taught no class scores."""
GUARDS = [name for name in available("distillation.guards", Guard) if name != "none"]
METHODS = {"knfu": {"name": "knfu", "beta": 0.5}, "fedmd": {"name": "fedmd", "exchange": "logits"}}
SHARES = ("guard_kept", "guard_changed")
SOME = {"fraction": 0.6, "model": MIXED, "evaluate.every": 2}


def run(guard: Any, method: str = "knfu", **more: Any) -> Any:
    return simulate(METHODS[method], guard=guard, **TINY | {"transfer.labelled": True} | more)


def digest(*args: Any, **more: Any) -> str:
    found: str = run(*args, **more).summary["digest"]
    return found


def numbers(result: Any, name: str) -> dict[tuple[int, int], float]:
    rows = [row for row in result.clients.to_pylist() if row["metric"] == name]
    return {(row["round"], row["client"]): row["value"] for row in rows}


class Even(Guard):
    """Learns from every other sample, and of those from the first half as the teacher has them."""

    def __call__(self, teacher: Target, own: Target, y: Tensor | None = None) -> Lesson:
        """Return them."""
        n = len(teacher.values)
        rows = torch.arange(n)
        values = torch.where((rows < n // 2)[:, None], teacher.values, own.values)
        return values, rows % 2 == 0


class Nothing(Guard):
    """Learns from nothing."""

    def __call__(self, teacher: Target, own: Target, y: Tensor | None = None) -> Lesson:
        """Return no rows."""
        return teacher.values, torch.zeros(len(teacher.values), dtype=torch.bool)


class One(Guard):
    """Learns from one sample."""

    def __call__(self, teacher: Target, own: Target, y: Tensor | None = None) -> Lesson:
        """Return the first row."""
        return teacher.values, torch.arange(len(teacher.values)) == 0


class Counting(KL):
    """Fails unless a phase has this many samples."""

    def __init__(self, *, rows: int = 30, temperature: float = 1.0) -> None:
        super().__init__(temperature=temperature)
        self.rows = rows

    def __call__(self, student: Tensor, teacher: Target, batch: Any = None) -> Tensor:
        """Return the divergence."""
        assert int(batch.rows.max()) < self.rows
        assert len(batch.y) == len(student)
        return super().__call__(student, teacher, batch)


class OwnLoop(Standard):
    """A loop of somebody's own, with something of its own."""

    rate = 0.5

    def distil(self, clients: Any, x: Tensor, teachers: Any, objective: Objective) -> Any:
        """Count the samples."""
        found = super().distil(clients, x, teachers, objective)
        return [each | {"seen": float(len(x))} for each in found]


class OwnExchange(SoftLabels):
    """Does by itself what an exchange does with a teacher."""

    def learn(self, phase: Any, target: Target) -> dict[str, float]:
        """Learn from the first 20 samples, at a rate that only a loop of its own has."""
        x, _ = phase.transfer()
        assert phase.loop.rate == 0.5
        part = target.part(target.values[:20])
        found: dict[str, float] = phase.loop.distil([phase.client], x[:20], [part], KL())[0]
        return found


# -- whole runs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("method", METHODS)
def test_it_teaches_clients_of_two_architectures(guard: str, method: str) -> None:
    result = run(guard, method, **SOME)
    assert result.summary["rejected"] == 0
    found = {name: numbers(result, name) for name in SHARES}
    assert len(found["guard_kept"]) == 2 * 3
    for key, kept in found["guard_kept"].items():
        assert 0 <= found["guard_changed"][key] <= kept <= 1
    for row in result.rounds.to_pylist():
        for name in SHARES:
            mine = [value for (number, _), value in found[name].items() if number == row["round"]]
            assert row[name] == pytest.approx(sum(mine) / len(mine))
        assert 0 <= row["guard_idle"] <= 3
    assert result.summary["digest"] != run("none", method, **SOME).summary["digest"]


def test_without_a_guard_nothing_changes() -> None:
    plain = simulate(METHODS["knfu"], **TINY)
    for guard in ("none", ["none"], {"name": "none", "tau": 0.3}):
        result = simulate(METHODS["knfu"], guard=guard, **TINY)
        assert result.summary["digest"] == plain.summary["digest"]
        assert not any("guard" in name for name in result.rounds.column_names)
        assert not numbers(result, "guard_kept")


def test_a_list_is_applied_in_order() -> None:
    one, other = (
        digest(names, **{"guard.tau": 0.5}) for names in (["kd3", "kl_dp"], ["kl_dp", "kd3"])
    )
    assert one != other
    assert digest(["none", "kd3"], **{"guard.kd3.tau": 0.7}) == digest({"name": "kd3", "tau": 0.7})


def test_the_rows_that_are_left_come_with_their_own_samples_and_labels() -> None:
    """Half of the rows, by hand: the same as a run of the loop on them alone."""
    loop = Standard(
        fit={"epochs": 1, "batch_size": 4, "lr": 0.1, "momentum": 0.9, "optimizer": "sgd"},
        distil={"epochs": 2, "batch_size": 4, "lr": None, "temperature": 1.0},
        device="cpu",
    )
    x, y = torch.randn(9, 3, generator=torch.Generator().manual_seed(1)), torch.arange(9) % 4
    values = torch.randn(9, 4, generator=torch.Generator().manual_seed(2))

    def client() -> Client:
        model = nn.Linear(3, 4)
        torch.nn.init.ones_(model.weight)
        torch.nn.init.zeros_(model.bias)
        return Client(0, model, x, y, torch.Generator().manual_seed(3))

    one, other = client(), client()
    own = loop.predict([other], x)[0]
    given = values.clone()
    found = Guarded(loop, [Even()]).distil([one], x, [Target(values, "logits", labels=y)], KL())
    assert torch.equal(values, given)
    wanted = torch.cat([values[:4], own[4:]])[::2]
    lesson = Target(wanted, "logits", labels=y[::2])
    plain = loop.distil([other], x[::2], [lesson], Counting(rows=5))
    assert found == [plain[0] | {"guard_kept": 5 / 9, "guard_changed": 3 / 9}]
    assert torch.equal(one.model.weight, other.model.weight)


def test_a_phase_with_nothing_left_does_nothing_and_is_counted() -> None:
    result = run(Nothing())
    assert result.summary["digest"] == digest("none", **{"distil.epochs": 0})
    assert result.summary["rejected"] == 0
    assert not numbers(result, "loss_distil")
    assert set(numbers(result, "guard_kept").values()) == {0.0}
    assert [row["guard_idle"] for row in result.rounds.to_pylist()] == [5, 5]
    values = [row["value"] for row in result.clients.to_pylist()]
    assert not any(math.isnan(value) for value in values)


@pytest.mark.parametrize("layer", [nn.BatchNorm1d, nn.Identity])
def test_one_sample_trains_no_batch_normalisation(layer: type[nn.Module]) -> None:
    def model() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 4), layer(4), nn.Linear(4, 10))

    result = run(One(), model=model)
    idle = layer is nn.BatchNorm1d
    assert result.summary["rejected"] == 0
    assert {row["guard_idle"] for row in result.rounds.to_pylist()} == {5 * idle}
    assert set(numbers(result, "guard_kept").values()) == {0.0 if idle else 1 / 60}


@pytest.mark.parametrize("more", [{"transfer.per_round": 20}, {"compress": "float16"}])
def test_it_sees_the_samples_of_the_round(more: Any) -> None:
    result = run(Even(), objective=f"{HERE}:Counting", **more)
    assert result.summary["rejected"] == 0
    assert set(numbers(result, "guard_kept").values()) == {0.5}


def test_rows_without_a_teacher_do_not_count() -> None:
    """Selective-FD teaches some samples only, and a guard is asked about those."""
    more = {"transfer.labelled": True} | TINY
    result = simulate("selective_fd", guard=Even(), **more)
    assert result.summary["rejected"] == 0
    shares = set(numbers(result, "guard_kept").values())
    assert shares
    assert all(0.5 <= share < 0.75 for share in shares)  # the odd row out of an odd number


# -- resumed, elsewhere, side by side ------------------------------------------------------------


@pytest.mark.parametrize("guard", mostly_slow(GUARDS, "kl_dp"))
def test_it_goes_on_from_a_checkpoint(guard: str, tmp_path: Path) -> None:
    more = SOME | {"checkpoint.every": 2, "rounds": 4}
    run(guard, **more | {"rounds": 2}, run_dir=str(tmp_path / "run"))
    assert resume(tmp_path / "run", rounds=4).summary["digest"] == digest(guard, **more)


@pytest.mark.slow
@pytest.mark.parametrize("guard", [["kd3", "kl_dp"], "mulki", "bsd"])
def test_ray_agrees(guard: Any) -> None:
    """Flower's engine, too: `test_engines_agree` has guards among its cases."""
    elsewhere = {"name": "ray", "actors": 2}
    assert digest(guard, rounds=3, engine=elsewhere, **SOME) == digest(guard, rounds=3, **SOME)


@pytest.mark.parametrize(("objective", "together"), [("kl", 3.0), ("sinkd", 1.0)])
def test_clients_side_by_side_learn_from_rows_of_their_own(objective: str, together: float) -> None:
    """Per-sample objectives are padded; others go alone where the rows differ in number."""
    more: dict[str, Any] = {
        "clients": 3,
        "objective": objective,
        "rounds": 1,
        "distil.temperature": 2.0,
    }
    more |= {"guard.tau": 0.18}
    alone = run("kd3", **more)
    stacked = run("kd3", **more, engine={"name": "inline", "stack": 3})
    kept = [numbers(one, "guard_kept") for one in (alone, stacked)]
    assert kept[0] == pytest.approx(kept[1], abs=0.05)
    assert len(set(kept[0].values())) == 3  # else this shows nothing
    assert set(numbers(stacked, "stack").values()) == {together}
    losses = [list(numbers(one, "loss_distil").values()) for one in (alone, stacked)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def test_loops_and_exchanges_of_ones_own_are_guarded() -> None:
    result = run(Even(), client=f"{HERE}:OwnLoop")
    assert set(numbers(result, "seen").values()) == {30.0}
    assert set(numbers(result, "guard_kept").values()) == {0.5}


def test_an_exchange_that_learns_by_itself_is_guarded() -> None:
    from fedkd.strategies.fedmd import FedMD

    strategy = FedMD(exchange="soft_labels")
    strategy.exchange = f"{HERE}:OwnExchange"
    result = simulate(strategy, guard=Even(), client=f"{HERE}:OwnLoop", **TINY)
    assert result.summary["rejected"] == 0
    assert set(numbers(result, "seen").values()) == {10.0}


def test_a_stack_is_inside_of_the_guards() -> None:
    standard = Standard(fit={}, distil={}, device="cpu")
    parts = Parts(models=[], loop=StackLoop(standard), objective=KL(), guard=Guards.of(["kl_dp"]))
    assert isinstance(parts.guarded, Guarded)
    assert isinstance(parts.guarded.inner, StackLoop)
    assert Parts(models=[], loop=standard, objective=KL()).guarded is standard


# -- from Python, refusals -----------------------------------------------------------------------


def test_objects_classes_and_names() -> None:
    assert digest(KD3(tau=0.6)) == digest({"name": "kd3", "tau": 0.6})
    assert digest(KLDP) == digest("kl_dp")
    assert digest([KD3(tau=0.6), "kl_dp"]) == digest(["kd3", "kl_dp"], **{"guard.tau": 0.6})
    assert digest(KD3, **{"guard.tau": 0.6}) == digest(KD3(tau=0.6)) != digest(KD3)
    mixed = digest([KD3, "kl_dp"], **{"guard.tau": 0.6})
    assert mixed == digest([KD3, KLDP], **{"guard.KD3.tau": 0.6}) == digest([KD3(tau=0.6), KLDP])
    assert digest(f"{HERE}:Even") == digest(Even())


def test_a_run_with_an_object_goes_on_with_it(tmp_path: Path) -> None:
    more = {"checkpoint.every": 2, "rounds": 4}
    run(Even(), **more | {"rounds": 2}, run_dir=str(tmp_path / "run"))
    with pytest.raises(ConfigError, match=r"guard=Even: .*if it was a Python object"):
        resume(tmp_path / "run", rounds=4)
    found = resume(tmp_path / "run", rounds=4, guard=Even())
    assert found.summary["digest"] == digest(Even(), **more)


def test_a_class_goes_on_with_the_parameters_that_the_run_had(tmp_path: Path) -> None:
    more = {"checkpoint.every": 2, "rounds": 4, "guard.tau": 0.6}
    run(KD3, **more | {"rounds": 2}, run_dir=str(tmp_path / "run"))
    found = resume(tmp_path / "run", rounds=4, guard=KD3)
    assert found.summary["digest"] == digest(KD3(tau=0.6), rounds=4)


@pytest.mark.slow
def test_an_object_reaches_actors() -> None:
    """Flower's, too, as all objects do: `test_simulate`."""
    assert digest(KD3(tau=0.6), engine={"name": "ray", "actors": 2}) == digest(KD3(tau=0.6))


@pytest.mark.parametrize(
    ("guard", "words"),
    [
        (3, r"guard=int: must be a name, a Guard object or class, or a list of them"),
        ([KL(), "kd3"], r"guard=KL: must be a name, a Guard object or class, or a list of them"),
        ([KD3(), KD3(tau=0.6)], r"must name guards, each once"),
    ],
)
def test_what_is_no_guard_is_refused(guard: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        run(guard)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["guard=kldp"], "guard=kldp: no such guard; did you mean 'kl_dp'?"),
        (["guard=[kd3,kd3]"], "must name guards, each once"),
        (["guard=kl_dp", "guard.tau=0.3"], "guard.tau=0.3: unknown key, kl_dp has no such"),
        (["guard=kd3", "guard.tau=2"], "guard.tau=2.0: must be in [0, 1)"),
        (["guard=kd3", "guard.kd3.tau=2"], "guard.kd3.tau=2.0: must be in [0, 1)"),
        (["guard=none", "guard.tau=99"], "guard.tau=99.0: must be in [0, 1)"),
        (["guard=none", "guard.labels=zzz"], "guard.labels=zzz: must be one of"),
        (["guard=bsd"], "transfer.labelled=false: guard bsd needs the transfer set's labels"),
        (
            ["guard=kl_dp", "guard.labels=transfer"],
            "transfer.labelled=false: guard kl_dp needs the transfer set's labels; set it to true",
        ),
        (
            ["guard=kl_dp", "strategy=feddf"],
            "guard=kl_dp: is for soft_labels or logits, and feddf teaches parameters; leave it out",
        ),
        (["guard=[kd3,kl_dp]", "strategy=fd"], "fd teaches class_knowledge; leave it out"),
        (["guard=kl_dp", "strategy=kafal_student"], "teaches parameters; leave it out"),
        (
            ["guard=mulki", "task=regression"],
            "guard=mulki: is for soft_labels or logits, and knfu teaches predictions; leave it out",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_in_a_line(overrides: list[str], words: str) -> None:
    tiny = [f"{key}={value}" for key, value in TINY.items()]
    done = fedkd("run", *tiny, *overrides)
    assert done.exit_code == 2
    text = " ".join(done.output.split())
    assert words in text
    assert len(done.output.strip().splitlines()) <= 3


@pytest.mark.parametrize("name", mostly_slow(SHIPPED, "scarlet", "kafal_soft", "fedproto"))
def test_every_method_is_guarded_or_refused_by_name(name: str) -> None:
    cls = SHIPPED[name]
    more: dict[str, Any] = {"transfer.labelled": True, "rounds": 3}
    more |= {"strategy": {"name": name, **cls.brief}, "guard": ["kl_dp", "kd3"], "fit.epochs": 2}
    if name in UNTAUGHT:
        with pytest.raises(ConfigError, match=rf"^guard=\['kl_dp', 'kd3'\]: .* {name} teaches "):
            simulate(**TINY | more)
        return
    result = simulate(**TINY | more)
    assert result.summary["rejected"] == 0
    assert ("guard_kept" in result.rounds.column_names) == (name != "local")


def test_nothing_to_guard_is_fine() -> None:
    """A baseline of a sweep."""
    guarded, plain = (simulate("local", guard=guard, **TINY) for guard in ("kl_dp", "none"))
    assert guarded.summary["digest"] == plain.summary["digest"]


def test_an_earlier_runs_spec_has_no_guard() -> None:
    spec = {"privacy": {"name": "none"}, "seed": 0, "secure": {}, "clients": 1, "model": "mlp"}
    spec |= {"fit": {}, "distil": {}, "device": "cpu"}
    nodes = {"objective": "kl", "client": "standard", "attack": "none", "compress": "none"}
    nodes |= {"sampler": "ksas", "oracle": "exact", "exchange": "soft_labels"}
    made = Parts.from_spec(spec | {key: {"name": name} for key, name in nodes.items()})
    assert made.guard.guards == {}
    assert made.guarded is made.loop


def test_labels_are_asked_for_by_those_that_need_them() -> None:
    assert Guards.of([BSD(), KD3(), KLDP(labels="transfer")]).needing_labels == ["BSD", "KLDP"]
