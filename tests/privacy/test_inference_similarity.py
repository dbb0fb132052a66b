"""Estimates of label distributions and likeness of pictures, by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedkd.privacy.inference import debiased, errors, mean_soft_label
from fedkd.privacy.similarity import ssim, total_variation


def test_errors_by_hand():
    inferred, true = torch.tensor([[0.75, 0.25], [0.5, 0.5]]), torch.full((2, 2), 0.5)
    kl, l1 = errors(inferred, true)
    assert kl == pytest.approx([0.75 * np.log(1.5) + 0.25 * np.log(0.5), 0.0])
    assert l1 == pytest.approx([0.5, 0.0])


def test_a_class_that_a_client_lacks_costs_a_finite_amount():
    kl, l1 = errors(torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]]), floor=0.01)
    assert kl[0] == pytest.approx(0.5 * np.log(0.5 / 0.99) + 0.5 * np.log(0.5 / 0.01))
    assert l1[0] == 1.0


def test_debiasing_takes_out_what_is_common():
    means = torch.tensor([[0.8, 0.2], [0.4, 0.6]])  # mean 0.6, 0.4
    found = debiased(means, torch.tensor([0.5, 0.5]))
    assert found[0].tolist() == pytest.approx([(4 / 3) / (4 / 3 + 0.5), 0.5 / (4 / 3 + 0.5)])
    alike = debiased(means[:1].expand(3, 2), torch.tensor([0.3, 0.7]))
    assert torch.allclose(alike, torch.tensor([0.3, 0.7]).expand(3, 2))  # only the prior is left


def test_mean_soft_label():
    assert mean_soft_label(torch.eye(4).expand(2, 4, 4)).tolist() == [[0.25] * 4] * 2


pictures = st.integers(0, 99).map(lambda s: np.random.default_rng(s).random((9, 8, 1)))


@given(pictures, pictures)
@settings(deadline=None, max_examples=20)
def test_ssim_is_symmetric_bounded_and_one_for_the_same(a, b):
    assert ssim(a, a) == pytest.approx(1)
    assert ssim(a, b) == pytest.approx(ssim(b, a))
    assert -1 <= ssim(a, b) <= 1 + 1e-12


def test_ssim_of_even_pictures_by_hand():
    a, b = np.full((8, 8, 1), 0.2), np.full((8, 8, 1), 0.6)
    assert ssim(a, b) == pytest.approx((2 * 0.12 + 1e-4) / (0.04 + 0.36 + 1e-4))


def test_total_variation_by_hand():
    assert total_variation(np.array([[0.0, 1.0], [0.0, 1.0]])[..., None]) == 1.0
