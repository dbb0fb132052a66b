"""Objectives with features, and with nets of their own: by hand, limits, safety, memory."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedkd.distillation import Batch, Objective, Target
from fedkd.distillation.dhkd import DHKD, aligned, binary
from fedkd.distillation.kl import KL
from fedkd.distillation.nd import ND, off_direction
from fedkd.distillation.nets import Net, class_means
from fedkd.distillation.ofa import OFA
from fedkd.distillation.stages import averaged, stages
from fedkd.distillation.tgeo import TGeo
from fedkd.distillation.trg import TRG, log_graph
from fedkd.models import build
from fedkd.models.features import lacking, watched
from fedkd.tasks.samples import Tokens

P, Q = torch.tensor([[0.6, 0.3, 0.1]]), torch.tensor([[0.3, 0.3, 0.4]])
ALL: list[tuple[type[Objective], dict[str, Any]]] = [
    (ND, {}),
    (ND, {"labels": "transfer"}),
    (TRG, {}),
    (TRG, {"rows": "features", "k": 2}),
    (DHKD, {}),
    (TGeo, {}),
    (TGeo, {"ratio": "confidence"}),
    (OFA, {"stages": 2}),
]
KEEPING = [(make, own) for make, own in ALL if make(**own).remembers]


def drawn(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(shape, generator=generator, dtype=torch.float64)


class Student(nn.Module):
    """Two layers, of which the first one's output is a feature."""

    def __init__(self, classes: int = 4, frozen: bool = False) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 5, dtype=torch.float64), nn.Linear(5, classes)
        self.last = self.last.double()
        for place, weight in enumerate(self.parameters()):
            weight.data = drawn(place, *weight.shape) / 2
        self.first.requires_grad_(not frozen)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.last(self.first(x).tanh())
        return result


def asked(
    objective: Objective, student: Student, teacher: Target, memory: dict[str, Tensor], seed: int
) -> tuple[Tensor, Tensor]:
    """Return a batch's loss, and the student's features in it."""
    x = drawn(seed, 8, 3)
    hidden = student.first(x)
    features = hidden.tanh()
    layers = objective.looks_at(student)
    seen = {name: features if name == "head" else hidden for name in layers}
    y = torch.arange(8) % 4
    batch = Batch(x, torch.arange(8), y, seen or None, memory)
    return objective(student.last(features), teacher, batch), features


def test_nd_by_hand() -> None:
    own, means = torch.tensor([[True]]), torch.tensor([[1.2, 1.6]])  # of length 2 towards (3, 4)
    for features, by_hand in {(1.0, 0.0): 0.7, (3.0, 0.0): 0.4, (1.2, 1.6): 0.0}.items():
        assert off_direction(torch.tensor([features]), means, own).item() == pytest.approx(by_hand)


def test_class_means_pass_over_what_is_not_finite_and_begin_with_the_first_batch() -> None:
    memory: dict[str, Tensor] = {}
    own = torch.tensor([[True, False], [False, True]])
    rows = torch.tensor([[2.0, 4.0], [torch.nan, 1.0]])
    assert class_means(memory, "m", rows, own, 0.1).tolist() == [[2, 4], [0, 0]]
    moved = class_means(memory, "m", torch.tensor([[3.0, 4.0], [5.0, 6.0]]), own, 0.1)
    torch.testing.assert_close(moved, torch.tensor([[2.1, 4.0], [5.0, 6.0]]))


def test_the_graph_by_hand() -> None:
    rows, near = torch.tensor([[0.0, 0.0], [1.0, 1.0]]), torch.tensor([[0, 1], [1, 0]])
    by_hand = torch.tensor([[0.652970, 0.347030]] * 2)
    torch.testing.assert_close(log_graph(rows, near, 1.0).exp(), by_hand, rtol=0, atol=1e-5)


def test_binary_kl_of_logits_by_hand() -> None:
    loss = binary(torch.zeros(1, 2), torch.tensor([[2.0, 0.0]]), 2.0)
    assert loss.item() == pytest.approx(0.480458, abs=1e-5)
    assert binary(Q.log(), P.log(), 2.0).item() == pytest.approx(0.295325, abs=1e-5)
    assert binary(P.log(), P.log(), 2.0).item() == pytest.approx(0, abs=1e-6)


def test_what_works_against_the_main_head_is_taken_out() -> None:
    main = torch.tensor([1.0, 0.0])
    kept = aligned(torch.tensor([-1.0, 1.0]), main)
    assert (main + kept).tolist() == [1, 1]
    helping = torch.tensor([2.0, 1.0])
    assert torch.equal(aligned(helping, main), helping)
    assert torch.equal(aligned(helping, torch.zeros(2)), helping)


def test_dhkd_pulls_features_towards_what_its_head_wants() -> None:
    """Without alignment the gradient is that of both losses."""
    student, teacher = Student(), Target(drawn(9, 8, 4), "logits")
    loss, features = asked(DHKD(align=False, weight=0.7), student, teacher, {}, 1)
    (slope,) = torch.autograd.grad(loss, features)
    head = Net({}, "head", (5, 4), features)

    def by_hand(seen: Tensor) -> Tensor:
        kl = KL()(student.last(seen), teacher)
        return kl + 0.7 * binary(head(seen), teacher.values, 2.0)

    seen = features.detach().requires_grad_()
    torch.testing.assert_close(loss, by_hand(seen))
    torch.testing.assert_close(slope, torch.autograd.grad(by_hand(seen), seen)[0])
    tied, _ = asked(DHKD(), student, teacher, {}, 1)
    assert tied.item() == pytest.approx(
        loss.item() + 0.3 * (loss.item() - KL()(student.last(features), teacher).item()) / 0.7
    )


def test_dhkd_has_the_gradient_of_finite_differences_and_nothing_to_learn_at_the_teacher() -> None:
    def loss(z: Tensor, features: Tensor) -> Tensor:
        batch = Batch(z, torch.arange(8), None, {"head": features}, {})
        result: Tensor = DHKD(align=False)(z, Target(drawn(7, 8, 4).softmax(-1)), batch)
        return result

    inputs = drawn(1, 8, 4).requires_grad_(), drawn(2, 8, 5).requires_grad_()
    assert torch.autograd.gradcheck(loss, inputs)
    features, weight = drawn(2, 8, 5) / 4, drawn(3, 4, 6)
    logits = features @ weight[:, :-1].T + weight[:, -1]
    for target in (Target(logits, "logits"), Target(logits.softmax(-1))):
        seen = features.clone().requires_grad_()
        batch = Batch(seen, torch.arange(8), None, {"head": seen}, {"head.0": weight})
        found = DHKD(smoothing=1e-9)(seen @ weight[:, :-1].T + weight[:, -1], target, batch)
        assert found.item() == pytest.approx(0, abs=1e-8)
        assert torch.autograd.grad(found, seen)[0].abs().max() < 1e-6


@pytest.mark.parametrize("shape", [(8, 5), (8, 2, 5)])
def test_features_of_any_rank_are_aligned(shape: tuple[int, ...]) -> None:
    """What is added to the main head's gradient never points against it."""
    turned = 0
    for seed in range(20):
        seen = drawn(seed, *shape).requires_grad_()
        z = (seen.flatten(1) @ drawn(3, seen[0].numel(), 4)).requires_grad_()
        teacher = Target(drawn(seed + 50, 8, 4), "logits")
        slopes = []
        for objective in (KL(), DHKD(weight=9.0), DHKD(weight=9.0, align=False)):
            batch = Batch(seen, torch.arange(8), None, {"head": seen}, {})
            loss = objective(z, teacher, batch)
            slopes.append(torch.autograd.grad(loss, seen, retain_graph=True)[0])
        main, tied, free = slopes
        assert (main * (tied - main)).sum() > -1e-9
        turned += int((main * (free - main)).sum() < -1e-9)
    assert turned > 0


def test_tgeo_by_hand() -> None:
    """At a ratio of a half, and at that of the confidences at the label: .6 to .3."""
    batch = Batch(torch.zeros(1, 2), torch.arange(1), torch.tensor([0]), memory={})
    half = TGeo(lr=0.0)
    geometry = half.geometry(Q.log(), P.log(), torch.tensor([[True, False, False]]), batch)
    squares = geometry.reshape(9, 3).sum(dim=1)[4:]
    torch.testing.assert_close(squares, torch.tensor([0.18, 0.74, 0.18, 0.26, 0.26]))
    loss = TGeo(ratio="confidence")(Q.log(), Target(P), batch)
    assert loss.item() == pytest.approx(1.203973 / 3 + 0.277259 * 2 / 3, abs=1e-5)
    memory = {"net.2": torch.zeros(1, 17)}  # a net that says 0, and so a half
    batch = Batch(torch.zeros(1, 2), torch.arange(1), torch.tensor([0]), memory=memory)
    assert half(Q.log(), Target(P), batch).item() == pytest.approx(0.740616, abs=1e-5)


@pytest.mark.parametrize("frozen", [False, True])
def test_what_a_ratio_is_worth_is_what_trying_the_step_says(frozen: bool) -> None:
    """Against the derivative by brute force: the step of another ratio, and its held-out loss."""
    student, objective = Student(frozen=frozen), TGeo(step=0.3)
    objective.start(student)
    x, own = drawn(3, 8, 3), torch.eye(4).bool()[torch.arange(8) % 4]
    target = drawn(4, 8, 4).log_softmax(-1)
    others = torch.arange(8) % 4 > 0

    def held_out(trust: Tensor) -> Tensor:
        label, soft = objective.parts(student(x), target, own)
        loss = ((1 - trust) * label + trust * soft)[others].mean()
        named = {n: w for n, w in student.named_parameters() if w.requires_grad}
        slopes = torch.autograd.grad(loss, list(named.values()), create_graph=True)
        there = {n: w - 0.3 * s for (n, w), s in zip(named.items(), slopes, strict=True)}
        found = torch.func.functional_call(student, there, (x[~others],))
        return objective.parts(found, target[~others], own[~others])[0].mean()

    trust = torch.full((8,), 0.4, dtype=torch.float64, requires_grad=True)
    (by_hand,) = torch.autograd.grad(held_out(trust), trust)
    label, soft = objective.parts(student(x), target, own)
    loss = (0.6 * label + 0.4 * soft)[others].mean()
    worth = objective.worth(loss, x, target, own, others, ~others)
    torch.testing.assert_close(worth, by_hand[others], rtol=1e-3, atol=1e-6)


def shuffled(seed: int) -> tuple[Tensor, Tensor]:
    """Return eight samples of four classes, two of each, in any order."""
    y = torch.randperm(8, generator=torch.Generator().manual_seed(seed)) // 2
    return drawn(0, 4, 3)[y] + drawn(seed, 8, 3) / 10, y


def ratio_after(wrong: bool, batches: int = 100) -> float:
    """Let a net learn from a student that knows its classes, and a teacher; return its ratio."""
    student, memory, objective = Student(), dict[str, Tensor](), TGeo(lr=20.0)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.3)
    for seed in range(300):
        x, y = shuffled(seed + 1000)
        optimizer.zero_grad()
        nn.functional.cross_entropy(student(x), y).backward()
        optimizer.step()
    objective.start(student)
    for seed in range(batches):
        x, y = shuffled(seed)
        teacher = Target(9 * torch.eye(4).double()[3 - y if wrong else y], "logits")
        batch = Batch(x, torch.arange(8), y, memory=memory)
        objective(student(x), teacher, batch)
    own, target = torch.eye(4).bool()[y], teacher.log_probabilities()
    seen = objective.geometry(student(x), target, own, batch)
    return Net(memory, "net", (36, 32, 16, 1), seen)(seen).sigmoid().mean().item()


def test_the_ratio_falls_where_the_teacher_is_wrong() -> None:
    wrong, right = ratio_after(wrong=True), ratio_after(wrong=False)
    assert wrong < 0.95 * ratio_after(wrong=True, batches=1)
    assert right > 0.95 * ratio_after(wrong=False, batches=1)


def test_stages_add_their_losses_and_learn() -> None:
    student, teacher, memory = Student(), Target(drawn(9, 8, 4), "logits"), dict[str, Tensor]()
    objective = OFA(stages=3, weight=1.0, lr=0.1)
    assert objective.looks_at(student) == ("first",)
    plain, _ = asked(OFA(), student, teacher, {}, 1)
    losses = [asked(objective, student, teacher, memory, 1)[0].item() for _ in range(20)]
    assert losses[0] > losses[-1] > plain.item()
    assert memory["first.0"].shape == (4, 6)


def test_stages_have_the_gradient_of_finite_differences() -> None:
    def loss(z: Tensor, maps: Tensor) -> Tensor:
        batch = Batch(z, torch.arange(8), None, {"conv": maps}, {})
        objective = OFA(stages=["conv"], labels="teacher", temperature=1.5)
        result: Tensor = objective(z, Target(drawn(7, 8, 4), "logits"), batch)
        return result

    inputs = drawn(1, 8, 4).requires_grad_(), drawn(2, 8, 3, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(loss, inputs)


def test_stages_are_found_in_every_architecture() -> None:
    images = {name: build(name, (1, 8, 8), 10) for name in ("mlp", "lenet5", "resnet8")}
    assert OFA(stages=2).looks_at(images["mlp"]) == ("1",)
    assert OFA(stages=2).looks_at(images["lenet5"]) == ("3", "7")
    assert OFA(stages=2).looks_at(images["resnet8"]) == ("1", "3")
    assert OFA(stages=["1", "head"]).looks_at(images["mlp"]) == ("1", "head")
    assert OFA().looks_at(images["mlp"]) == OFA(stages=2).looks_at(nn.Linear(2, 3)) == ()
    listed = nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])})
    assert stages(nn.ModuleDict({**listed, "last": nn.Linear(2, 2)}), 9) == (
        "blocks.0",
        "blocks.1",
        "blocks.2",
    )
    assert lacking(listed, ["blocks"]) == "blocks"  # nothing comes out of a list


@pytest.mark.parametrize("name", ["embedding_bag", "textcnn", "gru", "transformer"])
def test_stages_of_models_of_texts_learn(name: str) -> None:
    model, memory = build(name, Tokens(12, 50), 4), dict[str, Tensor]()
    objective, x = OFA(stages=2, labels="teacher"), torch.randint(1, 50, (8, 12))
    names = objective.looks_at(model)
    with watched(model, names) as seen:
        logits = model(x)
    batch = Batch(x, torch.arange(8), None, seen, memory)
    loss = objective(logits, Target(drawn(1, 8, 4).float(), "logits"), batch)
    assert loss.isfinite()
    assert set(memory) == {f"{stage}.0" for stage in names}
    assert names


@pytest.mark.parametrize("first", [True, False])
def test_padded_places_of_texts_count_for_nothing_in_a_stage(first: bool) -> None:
    states = drawn(2, 3, 5, 4)
    there = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]]).bool()
    other = torch.where(there.unsqueeze(2), states, 1e6)
    found, same = (
        averaged("gru", one if first else one.transpose(1, 2), there) for one in (states, other)
    )
    torch.testing.assert_close(found, same)
    places = found[:, :4] if first else found[:, 5:]
    torch.testing.assert_close(places[0], states[0].mean(dim=0))
    torch.testing.assert_close(places[1], states[1, :2].mean(dim=0))
    assert not places[2].any()
    assert Batch(torch.tensor([[7, 0]]), torch.arange(1)).there.tolist() == [[True, False]]
    assert Batch(drawn(1, 8, 4), torch.arange(8)).there is None


def test_a_stage_that_is_not_there_is_named() -> None:
    z = drawn(1, 8, 4)
    with pytest.raises(ValueError, match="has no features of 'stem'"):
        OFA(stages=["stem"], labels="teacher")(z, Target(z, "logits"), Batch(z, torch.arange(8)))
    with pytest.raises(ValueError, match="'stem' computes is no tensor"):
        averaged("stem", {})


@pytest.mark.parametrize(("make", "own"), ALL)
@pytest.mark.parametrize("kind", ["soft_labels", "logits"])
def test_safe_at_the_extremes(make: Any, own: dict[str, Any], kind: str) -> None:
    sure = torch.eye(4)[torch.arange(8) % 4]
    teacher = Target(sure if kind == "soft_labels" else 1e4 * (2 * sure - 1), kind)
    for logits in (1e4 * (2 * sure.flip(0) - 1), torch.zeros(8, 4)):
        for features in (torch.zeros(8, 5), 1e4 * torch.ones(8, 5)):
            z, f, memory = logits.clone().requires_grad_(), features.requires_grad_(), {}
            objective = make(**own)
            seen = dict.fromkeys(objective.layers or ("stage",), f)
            batch = Batch(torch.zeros(8, 3), torch.arange(8), torch.arange(8) % 4, seen, memory)
            loss = objective(z, teacher, batch)
            gradients = torch.autograd.grad(loss, (z, f), allow_unused=True)
            assert loss.isfinite()
            assert all(g is None or g.isfinite().all() for g in gradients)
            assert all(value.isfinite().all() for value in memory.values())


@pytest.mark.parametrize(("make", "own"), ALL)
def test_no_gradient_reaches_the_teacher(make: Any, own: dict[str, Any]) -> None:
    values = drawn(5, 8, 4).requires_grad_()
    student, objective = Student(), make(**own)
    objective.start(student)
    loss, _ = asked(objective, student, Target(values.detach(), "logits"), {}, 1)
    assert loss.requires_grad
    assert values.grad is None


@pytest.mark.parametrize(("make", "own"), [(ND, {}), (TRG, {}), (TRG, {"rows": "features"})])
def test_the_gradient_is_that_of_finite_differences(make: Any, own: dict[str, Any]) -> None:
    teacher = Target(drawn(7, 8, 4), "logits")
    means = {"means": drawn(8, 4, 5), "means.seen": torch.ones(4)}

    def loss(z: Tensor, features: Tensor) -> Tensor:
        objective = make(temperature=1.5, **own)
        objective.rate = 0.0  # the means stay: they are constants of the loss
        batch = Batch(z, torch.arange(8), None, {"head": features}, dict(means))
        result: Tensor = objective(z, teacher, batch)
        return result

    inputs = drawn(1, 8, 4).requires_grad_(), drawn(2, 8, 5).requires_grad_()
    assert torch.autograd.gradcheck(loss, inputs)


@pytest.mark.parametrize("rows", ["scores", "features"])
def test_trg_sees_nothing_at_the_teacher_and_in_a_single_sample(rows: Any) -> None:
    z = drawn(1, 8, 4).requires_grad_()
    graphs = TRG(kl=0.0, rows=rows)
    batch = Batch(z, torch.arange(8), None, {"head": z})
    if rows == "scores":
        loss = graphs(z, Target(z.detach(), "logits"), batch)
        assert loss.item() == pytest.approx(0, abs=1e-9)
    one = Batch(z[:1], torch.arange(1), None, {"head": z[:1]})
    assert graphs(z[:1], Target(drawn(2, 1, 4), "logits"), one).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("make", "own"), KEEPING)
def test_a_new_object_goes_on_with_what_is_in_the_memory(make: Any, own: dict[str, Any]) -> None:
    student, teacher = Student(), Target(drawn(9, 8, 4), "logits")

    def phase(memory: dict[str, Tensor], seeds: range) -> list[float]:
        objective = make(**own)
        objective.start(student)
        return [asked(objective, student, teacher, memory, seed)[0].item() for seed in seeds]

    memory: dict[str, Tensor] = {}
    first = phase(memory, range(3))
    kept = {name: value.clone() for name, value in memory.items()}
    assert all(not value.requires_grad for value in memory.values())
    second = phase(memory, range(3, 6))
    assert phase(kept, range(3, 6)) == second
    assert phase({}, range(3, 6)) != second
    assert phase({}, range(3)) == first


@pytest.mark.parametrize(("make", "own"), [(ND, {}), (TRG, {"rows": "features"}), (DHKD, {})])
def test_without_features_it_says_so(make: Any, own: dict[str, Any]) -> None:
    z = drawn(1, 8, 4)
    with pytest.raises(ValueError, match="needs a batch with the student's features"):
        make(**own)(z, Target(z, "logits"), Batch(z, torch.arange(8), memory={}))


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (ND, {"rate": 0.0}),
        (ND, {"weight": -1.0}),
        (TRG, {"k": 0}),
        (TRG, {"sigma": 0.0}),
        (DHKD, {"softness": 0.0}),
        (DHKD, {"smoothing": 0.0}),
        (TGeo, {"step": 0.0}),
        (OFA, {"stages": 17}),
    ],
)
def test_wrong_parameters_are_named(make: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        make(**wrong)
