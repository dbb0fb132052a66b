"""Knowledge beyond soft labels: masks, scores, extras, classes, parameters; there and back."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from flwr.app import Array
from hypothesis import given
from hypothesis import strategies as st
from support import shape_for
from torch import Tensor, nn

from fedkd.knowledge import Knowledge, Target, Teacher, stack, to_record
from fedkd.knowledge.admission import Expected, Rejected, admit
from fedkd.models import ZOO, build
from fedkd.models.features import features_of, head, pooled, tapped
from fedkd.models.flat import flatten, layout, unflatten
from fedkd.rounds.server import Study, study
from fedkd.tasks.samples import made_up

NONE = torch.zeros(0, dtype=torch.int64)
MASKED = Expected(1, 2, "soft_labels", torch.arange(4), (4, 3), masked=True)
SCORED = Expected(1, 2, "logits", torch.arange(4), (4, 3), scored=True)
CLASSES = Expected(1, 2, "class_knowledge", NONE, (3, 5), masked=True, extras={"counts": (3,)})
WHOLE = Expected(1, 2, "parameters", NONE, (7,), extras={"samples": (1,)})


def knowledge(expected: Expected, seed: int = 0, **changed: Any) -> Knowledge:
    """Return good knowledge."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(expected.shape, generator=generator)
    if expected.kind == "soft_labels":
        values = values.softmax(dim=-1)
    mask = torch.rand(expected.shape[0], generator=generator) < 0.5 if expected.masked else None
    if mask is not None:
        values = torch.where(mask.unsqueeze(1), values, 0.0)
    scores = torch.rand(4, generator=generator) if expected.scored else None
    extras = {n: torch.rand(shape, generator=generator) for n, shape in expected.extras.items()}
    made = Knowledge(1, expected.kind, values, expected.sample_ids, mask, scores, extras)
    return replace(made, **changed)


@given(seed=st.integers(0, 1000))
@pytest.mark.parametrize("expected", [MASKED, SCORED, CLASSES, WHOLE])
def test_it_comes_back_as_it_went(expected: Expected, seed: int) -> None:
    sent = knowledge(expected, seed)
    got = admit(to_record(sent, 2, {}), expected)
    assert torch.equal(got.values, sent.values)
    for name in ("mask", "scores"):
        one, two = getattr(sent, name), getattr(got, name)
        assert (one is None) == (two is None)
        assert one is None or torch.equal(one, two)
    assert all(torch.equal(value, got.extras[name]) for name, value in sent.extras.items())


def test_rows_outside_the_mask_do_not_travel() -> None:
    whole = to_record(knowledge(MASKED, mask=torch.ones(4, dtype=torch.bool)), 2, {})
    some = to_record(knowledge(MASKED, mask=torch.tensor([True, False, False, False])), 2, {})
    assert whole["knowledge"]["values"].shape == (4, 3)
    assert some["knowledge"]["values"].shape == (1, 3)


@pytest.mark.parametrize(
    ("expected", "name", "value", "reason"),
    [
        (MASKED, "mask", torch.ones(3, dtype=torch.uint8), "^mask: must be 4"),
        (MASKED, "mask", torch.full((4,), 2, dtype=torch.uint8), "^mask: must be 4"),
        (MASKED, "mask", torch.ones(4), "^mask: must be 4"),
        (MASKED, "mask", torch.ones(4, dtype=torch.uint8), "^shape: got"),
        (SCORED, "scores", torch.ones(3), "^scores: shape"),
        (SCORED, "scores", torch.full((4,), torch.nan), "^scores: finite"),
        (SCORED, "scores", -torch.ones(4), "^scores: smallest entry is -1"),
        (SCORED, "scores", torch.ones(4, dtype=torch.float64), "^scores: dtype"),
        (CLASSES, "counts", torch.full((3,), torch.inf), "^counts: finite"),
        (CLASSES, "values", torch.full((3, 5), torch.nan), "^(finite|shape)"),
        (WHOLE, "samples", torch.tensor([-1.0]), "^samples: smallest"),
        (WHOLE, "samples", torch.tensor([1e30]), "^samples: magnitude"),
        (WHOLE, "values", torch.zeros(8), "^shape"),
        (WHOLE, "values", torch.full((7,), 1e30), "^magnitude"),
    ],
)
def test_bad_ones_are_rejected(expected: Expected, name: str, value: Tensor, reason: str) -> None:
    mask = torch.tensor([True, False, True, False])[: expected.shape[0]]
    record = to_record(knowledge(expected, **{"mask": mask} if expected.masked else {}), 2, {})
    record.array_records["knowledge"][name] = Array(value.numpy())
    with pytest.raises(Rejected, match=reason):
        admit(record, expected)


@pytest.mark.parametrize("expected", [MASKED, SCORED, CLASSES, WHOLE])
def test_what_is_missing_is_rejected(expected: Expected) -> None:
    for name in expected.names:
        record = to_record(knowledge(expected), 2, {})
        del record.array_records["knowledge"][name]
        with pytest.raises(Rejected, match=r"^unreadable: KeyError"):
            admit(record, expected)


def test_a_stack_keeps_masks_scores_and_extras_in_the_order_of_clients() -> None:
    several = [replace(knowledge(CLASSES, seed), client=seed) for seed in (3, 5, 9)]
    stacked = stack(several)
    assert stacked.clients == [3, 5, 9]
    assert stacked.mask is not None
    assert stacked.mask.shape == (3, 3)
    assert torch.equal(stacked.counts[1], several[1].extras["counts"])
    with pytest.raises(AttributeError, match="does not declare counts"):
        _ = stack([knowledge(MASKED)]).counts


def test_a_block_of_samples_cuts_masks_and_scores_too() -> None:
    block = stack([knowledge(SCORED), knowledge(SCORED, 1)]).block(slice(1, 3))
    assert block.scores is not None
    assert block.scores.shape == (2, 2)
    cut = stack([knowledge(MASKED)]).block(slice(1, 3))
    assert cut.mask is not None
    assert cut.mask.shape == (1, 2)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_a_teacher_becomes_each_clients_lesson(shared: bool, masked: bool) -> None:
    values = torch.rand(4, 3) if shared else torch.rand(2, 4, 3)
    mask = torch.tensor([True, False, True, True]) if masked else None
    extras = {"rows": torch.tensor([[-1.0, 2.0]]), "of": torch.tensor([3])}
    teacher = Teacher("logits", values, [2, 7], mask, extras=extras)
    assert teacher.shared == shared
    for row, client in enumerate((2, 7)):
        lesson = Target.read(teacher.records()[client], "logits")
        assert {name: one.tolist() for name, one in lesson.extras.items()} == {
            "rows": [[-1.0, 2.0]],
            "of": [3],
        }
        wanted = values if shared else values[row]
        if mask is not None:
            assert lesson.mask is not None
            assert torch.equal(lesson.mask, mask)
            assert bool((lesson.values[1] == 0).all())
            wanted = torch.where(mask.unsqueeze(1), wanted, 0.0)
        assert torch.equal(lesson.values, wanted)


@pytest.mark.parametrize("name", ZOO)
def test_any_model_of_the_zoo_becomes_a_vector_and_back(name: str) -> None:
    one, two = (build(name, shape_for(name), 10) for _ in range(2))
    assert layout(one) == layout(two)
    unflatten(two, flatten(one))
    assert torch.equal(flatten(one), flatten(two))
    x = made_up(shape_for(name), 3)
    assert torch.equal(one.eval()(x), two.eval()(x))


@pytest.mark.parametrize("name", ZOO)
def test_the_head_and_its_features(name: str) -> None:
    model, x = build(name, shape_for(name), 10), made_up(shape_for(name), 5)
    features = features_of(model, x)
    assert torch.equal(head(model)(features), model.eval()(x))
    assert features_of(model, x, 16).shape == (5, 16)
    with tapped(model) as tap:
        model(x).sum().backward()
        assert tap.features.requires_grad
    assert not head(model)._forward_pre_hooks


def test_a_model_without_a_linear_layer_has_no_head() -> None:
    with pytest.raises(ValueError, match="has no linear layer"):
        head(nn.Conv2d(1, 1, 3))


def test_pooling_keeps_the_mean_where_widths_divide() -> None:
    x = torch.rand(4, 12)
    torch.testing.assert_close(pooled(x, 3).mean(dim=1), x.mean(dim=1))
    assert pooled(x, 12) is x


def squared(logits: Tensor, batch: dict[str, Tensor]) -> Tensor:
    return (logits - batch["y"]).square().mean()


def test_a_study_learns_and_is_a_function_of_its_task() -> None:
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    y = x @ torch.tensor([[1.0], [2.0], [3.0]])

    def task(epochs: int) -> Study:
        model = nn.Linear(3, 1)
        unflatten(model, torch.zeros(4))
        return Study(model, x, {"y": y}, squared, epochs=epochs, batch_size=16, lr=0.05, seed=1)

    vector, logits = study(task(100))
    torch.testing.assert_close(vector, torch.tensor([1.0, 2.0, 3.0, 0.0]), atol=0.05, rtol=0)
    torch.testing.assert_close(logits, y, atol=0.1, rtol=0)
    torch.rand(5)  # the global generator plays no part
    assert torch.equal(study(task(100))[0], vector)
    assert torch.equal(study(task(0))[0], torch.zeros(4))
    assert torch.equal(study(replace(task(0), loss=None, targets={}))[1], torch.zeros(64, 1))
