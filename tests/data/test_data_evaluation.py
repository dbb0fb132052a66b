import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import recall_score

from fedkd.data import local_accuracy, recall


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


def test_workers_open_federations_without_heavy_imports():
    code = "import sys; from fedkd.data import Federation; print('datasets' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
