import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import recall_score
from support import LIMIT
from torchmetrics.functional.classification import multiclass_calibration_error

from fedkd.tasks.evaluation import calibration_error, local_accuracy, recall


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_recall_agrees_with_sklearn(pairs):
    predicted, labels = torch.tensor(pairs).T
    got = recall(predicted, labels, 4)
    expected = recall_score(labels, predicted, labels=range(4), average=None, zero_division=np.nan)
    assert np.allclose(got.numpy(), expected, equal_nan=True)


def test_recall_takes_logits():
    logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [5.0, 1.0]])
    assert recall(logits, torch.tensor([0, 1, 1]), 2).tolist() == [1.0, 0.5]


def test_local_accuracy_weighs_by_the_clients_labels():
    values = torch.tensor([1.0, 0.5, float("nan")])
    assert local_accuracy(values, np.array([1, 3, 0])) == pytest.approx(0.625)
    assert local_accuracy(values, torch.tensor([1, 1, 50])) == pytest.approx(0.75)
    assert np.isnan(local_accuracy(values, [0, 0, 4]))


def test_calibration_error_by_hand():
    # confidences 0.8, 0.8, 0.6, 0.52: bins 12, 12, 9 and 7 of 15
    p = torch.tensor([[0.8, 0.2], [0.2, 0.8], [0.6, 0.4], [0.48, 0.52]])
    labels = torch.tensor([0, 0, 1, 1])
    # |1/2 - 0.8| * 2/4 + |0 - 0.6| / 4 + |1 - 0.52| / 4
    assert calibration_error(p.log(), labels) == pytest.approx(0.15 + 0.15 + 0.12)
    # in one bin, too much and too little confidence make up for each other
    assert calibration_error(p.log(), labels, bins=1) == pytest.approx(0.68 - 0.5)


def test_calibration_error_of_the_certain():
    certain = torch.tensor([[200.0, 0.0, 0.0]] * 4)
    assert calibration_error(certain, torch.zeros(4).long()) == 0
    assert calibration_error(certain, torch.tensor([0, 0, 0, 1])) == 0.25
    broken = torch.full((4, 3), torch.nan)
    assert 0 <= calibration_error(broken, torch.ones(4).long()) <= 1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("bins", [3, 15])
def test_calibration_error_agrees_with_torchmetrics(seed, bins):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(500, 7, generator=generator)
    labels = torch.randint(7, (500,), generator=generator)
    expected = multiclass_calibration_error(logits.softmax(1), labels, 7, bins)
    assert calibration_error(logits, labels, bins) == pytest.approx(expected.item(), abs=1e-6)


def test_workers_open_federations_without_heavy_imports():
    code = "import sys; from fedkd.data import Federation; print('datasets' in sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT)
    assert done.stdout.strip() == "False"


def test_samples_are_dealt_without_figures():
    code = """
import sys
from fedkd.data.partition import partition
print([name for name in ("matplotlib", "scipy", "seaborn") if name in sys.modules])
from flwr_datasets import visualization
print(visualization.plot_label_distributions.__module__, "seaborn" in sys.modules)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT)
    drawing = "flwr_datasets.visualization.label_distribution True"
    assert done.stdout.splitlines() == ["[]", drawing]
