"""DisWOT's terms, and the table of models that they make."""

import math

import pytest
import support
import torch
from torch import nn

from fedkd.config.overrides import compose
from fedkd.models.compatibility import View, relation, semantic, unit_rows, view
from fedkd.run.compatibility import compatibility, ranked

EYE = torch.eye(2)


def test_both_terms_by_hand() -> None:
    student = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    by_hand = torch.tensor([[0.707107, 0.707107], [0.447214, 0.894427]])
    torch.testing.assert_close(unit_rows(student @ student.T), by_hand)
    assert relation(EYE, student) == pytest.approx(-0.199233, abs=1e-6)
    assert semantic(EYE, torch.tensor([[3.0, 4.0], [0.0, 1.0]])) == pytest.approx(-0.45)


def test_a_model_is_most_like_itself_and_zeros_are_finite() -> None:
    x = torch.randn(6, 4)
    assert relation(x, x) == semantic(x, x) == 0
    assert math.isfinite(relation(x, torch.zeros(6, 3)))
    assert math.isfinite(semantic(x, torch.zeros(6, 4)))


def test_relation_compares_other_widths_and_semantic_does_not() -> None:
    assert relation(torch.randn(5, 3), torch.randn(5, 7)) < 0
    assert math.isnan(semantic(torch.randn(5, 3), torch.randn(5, 7)))


def test_gradients_are_those_of_the_head_and_none_stay() -> None:
    model, x, y = nn.Sequential(nn.Linear(3, 2)), torch.randn(4, 3), torch.tensor([0, 1, 1, 0])
    seen = view(model, x, y)
    again = view(model, x, y)
    assert seen.gradients is not None
    assert again.gradients is not None
    torch.testing.assert_close(seen.gradients, again.gradients)
    off = model(x).softmax(dim=-1) - torch.nn.functional.one_hot(y)
    torch.testing.assert_close(seen.gradients, off.T.detach() @ x / 4)
    assert all(p.grad is None for p in model.parameters())
    assert view(model, x, None).gradients is None


def test_the_nearest_pair_is_first() -> None:
    one = View(torch.eye(3), torch.eye(3))
    views = {"a": one, "b": View(torch.ones(3, 3), torch.ones(3, 3)), "c": one}
    first, *_ = ranked(views)
    assert (first.one, first.other) == ("a", "c")
    assert [p.one for p in ranked(views, "a")] == ["c", "b"]


def test_models_of_one_width_have_both_terms() -> None:
    models = [{"name": "mlp", "hidden": 16}, "lenet5"]
    same = ["clients=3", "transfer.size=40", "data.samples_per_client=20"]
    (pair,), left = compatibility(compose(same), models)
    assert pair.relation < 0
    assert not left
    assert math.isnan(pair.score)
    wide = {"name": "mlp", "hidden": 84}  # as LeNet's head
    (pair,), _ = compatibility(compose(same), ["lenet5"], wide)
    assert pair.semantic < 0
    assert pair.score == pair.relation + pair.semantic


def test_the_seed_draws_the_weights() -> None:
    scores = {
        compatibility(compose([f"seed={seed}", "clients=3"]), ["mlp", "lenet5"])[0][0].relation
        for seed in (0, 0, 1)
    }
    assert len(scores) == 2


def test_the_command_ranks_and_says_what_is_left_out() -> None:
    told = support.fedkd("list", "models", "--compatibility")
    assert told.exit_code == 0
    assert "left out: embedding_bag" in told.output
    assert told.output.index("relation") < told.output.index("resnet8")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("strategies", "--compatibility"), "for models"),
        (("models", "--data", "digits"), "goes with --compatibility"),
        (("models", "nix", "--compatibility"), "no such model"),
    ],
)
def test_what_cannot_be_compared_is_refused(words: tuple[str, ...], problem: str) -> None:
    result = support.fedkd("list", *words)
    assert result.exit_code == 2
    assert problem in result.output
