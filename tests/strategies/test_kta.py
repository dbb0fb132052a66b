"""KTA: likeness times accuracy."""

import pytest
import torch
from fedkd.strategies.kta import KTA
from support import TINY, stack_of

import fedkd
from fedkd import ConfigError

LABELS = torch.tensor([0, 1])
A, B = [[0.8, 0.2], [0.3, 0.7]], [[0.8, 0.2], [0.7, 0.3]]


def test_weights_by_hand() -> None:
    """A is right twice, B once; <a, b> = .68 + .42, |a|^2 = .68 + .58 = |b|^2."""
    weights = KTA().weights(stack_of(torch.tensor([A, B]), labels=LABELS))
    likeness = 1.10 / 1.26
    first, second = 1 / (1 + likeness / 2), 0.5 / (0.5 + likeness)
    expected = torch.tensor([[first, 1 - first], [1 - second, second]])
    torch.testing.assert_close(weights, expected)


def test_equal_predictions_weigh_by_accuracy_and_none_right_by_likeness() -> None:
    same = torch.tensor([A, A])
    torch.testing.assert_close(
        KTA().weights(stack_of(same, labels=LABELS)), torch.full((2, 2), 0.5)
    )
    wrong = KTA().weights(stack_of(torch.tensor([A, B]), labels=torch.tensor([1, 0])))
    assert wrong[0, 0] == 0  # only B is right of a sample
    none = KTA().weights(stack_of(same, labels=1 - LABELS))
    torch.testing.assert_close(none, torch.full((2, 2), 0.5))


def test_what_clients_say_of_other_samples_keeps_its_own_knowledge() -> None:
    """Accuracies alike and likeness the identity: each its own teacher."""
    sure = torch.eye(2).unsqueeze(1).expand(2, 1, 2)
    weights = KTA().weights(stack_of(torch.stack([sure[0], sure[1]]), labels=torch.tensor([0])))
    torch.testing.assert_close(weights[0], torch.tensor([1.0, 0.0]))


def test_it_needs_labels_and_resumes(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"transfer\.labelled.*kta needs"):
        fedkd.simulate("kta", **TINY)
    settings = TINY | {"transfer.labelled": True, "fraction": 0.6, "model": ["mlp", "lenet5"]}
    whole = fedkd.simulate("kta", **settings | {"rounds": 4}).summary["digest"]
    fedkd.simulate("kta", run_dir=str(tmp_path / "run"), **settings)
    assert fedkd.resume(tmp_path / "run", rounds=4).summary["digest"] == whole
