"""Weight aligning: the head's rows of frequent classes get the norm of the others."""

import json

import numpy as np
import pytest
import torch
from fedkd.clients.aligning import aligned, frequent
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import fedkd
from fedkd.errors import ConfigError
from tests.support import MIXED, TINY
from tests.support import fedkd as command

ALIGNED = {**TINY, "fit.align": True}


def test_the_reference_value():
    rows = torch.tensor([[3.0, 4.0], [0.0, 5.0], [6.0, 8.0]])
    found = aligned(rows, torch.tensor([False, False, True]))
    assert torch.allclose(found, torch.tensor([[3.0, 4.0], [0.0, 5.0], [3.0, 4.0]]))


@given(st.integers(0, 99), st.integers(2, 8))
def test_mean_norms_agree_and_rare_rows_stay(seed, classes):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(classes, 5, generator=generator)
    often = torch.rand(classes, generator=generator) < 0.5
    found = aligned(rows, often)
    assert torch.equal(found[~often], rows[~often])
    if often.any() and not often.all():
        norms = found.norm(dim=1)
        assert torch.isclose(norms[often].mean(), norms[~often].mean(), rtol=1e-4)
        assert torch.allclose(aligned(found, often), found, rtol=1e-4)
    else:
        assert torch.equal(found, rows)


def test_rows_of_zeros_take_nobody_with_them():
    rows = torch.tensor([[0.0, 0.0], [6.0, 8.0]])
    for often in ([False, True], [True, False]):
        assert torch.equal(aligned(rows, torch.tensor(often)), rows)


def test_frequent_is_more_than_its_share():
    assert frequent(torch.tensor([0, 1, 2]), 3).tolist() == [False] * 3
    assert frequent(torch.tensor([0, 0, 2]), 4).tolist() == [True, False, True, False]


def uploads(how):
    seen = []

    class Watch(fedkd.callbacks.Callback):
        def on_round(self, record):
            seen.append(record.knowledge.soft_labels)

    settings = {**TINY, "rounds": 1, "fit.align": how, "distil.epochs": 0}
    result = fedkd.simulate("knfu", callbacks=[Watch()], **settings)
    return seen[0], [result.model(k).state_dict() for k in range(TINY["clients"])]


def test_both_ways_upload_the_same_and_only_one_keeps_it():
    plain, kept, lent = (uploads(how) for how in (False, True, "upload"))
    assert torch.equal(kept[0], lent[0])
    assert not torch.equal(kept[0], plain[0])
    for was, stays, back in zip(plain[1], kept[1], lent[1], strict=True):
        changed = [name for name in was if not torch.equal(was[name], stays[name])]
        assert len(changed) == 1  # the head's weight, and no bias
        assert all(torch.equal(was[name], back[name]) for name in was)


class Headless(nn.Module):
    """A model without a linear layer."""

    def __init__(self):
        super().__init__()
        self.last = nn.Conv2d(1, 10, 8)

    def forward(self, x):
        """Return logits."""
        return self.last(x).flatten(1)


class Odd(nn.Module):
    """A model whose last linear layer is not its last."""

    def __init__(self):
        super().__init__()
        self.last, self.first = nn.Conv1d(1, 10, 16), nn.Linear(64, 16)

    def forward(self, x):
        """Return logits."""
        return self.last(self.first(x.flatten(1))[:, None]).flatten(1)


@pytest.mark.parametrize(
    ("strategy", "settings", "problem"),
    [
        ("local", {}, "label transfer samples"),
        ("fedavg", {}, "label transfer samples"),
        ("lg_fedavg", {}, "label transfer samples"),
        ("fd", {}, "label transfer samples"),
        ("kafal_soft", {"rounds": 2}, "knows some of them"),
        ("knfu", {"privacy": "gaussian", "privacy.noise_multiplier": 1.0}, "must not tell"),
        ("knfu", {"privacy": "dp_sgd", "privacy.noise_multiplier": 1.0}, "must not tell"),
        ("knfu", {"model": Headless}, "has no linear layer"),
        ("knfu", {"model": Odd}, "no row for each class"),
        ("knfu", {"fit.align": "keep"}, "must be"),
        ("fedmd", {"data": "numbers"}, "about classes"),
    ],
)
def test_where_it_makes_no_sense_it_is_refused(strategy, settings, problem):
    if settings.get("data") == "numbers":
        x = np.random.default_rng(0).normal(size=(120, 3)).astype("float32")
        settings = {"data": (x, x[:, 0]), "data.samples_per_client": None}
    with pytest.raises(ConfigError, match=problem) as caught:
        fedkd.simulate(strategy, **ALIGNED | settings)
    assert caught.value.key == "fit.align"


@pytest.mark.parametrize("how", [True, "upload"])
def test_mixed_models_absent_clients_and_resume(how):
    some = {**TINY, "fit.align": how, "model": MIXED, "fraction": 0.6, "checkpoint.every": 1}
    whole = fedkd.simulate("knfu", **some)
    first = fedkd.simulate("knfu", **some | {"rounds": 1})
    assert command("run", f"resume={first.run_dir}", "rounds=2").exit_code == 0
    rest = json.loads((first.run_dir / "summary.json").read_text())
    assert rest["digest"] == whole.summary["digest"]


def test_command_takes_all_three():
    for how in ("true", "false", "upload"):
        done = command("run", f"fit.align={how}", "clients=3", "transfer.size=20", "--dry-run")
        assert done.exit_code == 0, done.output


@pytest.mark.slow
def test_ray_agrees():
    some = {**ALIGNED, "fit.align": "upload"}
    pair = [fedkd.simulate("knfu", **some | {"engine": one}) for one in ("ray", "inline")]
    assert pair[0].summary["digest"] == pair[1].summary["digest"]


def test_side_by_side_uploads_are_the_same_but_for_rounding():
    pair = [fedkd.simulate("knfu", **ALIGNED | {"engine.stack": one}) for one in (5, "off")]
    numbers = [one.summary["alma_local"] for one in pair]
    assert numbers[0] == pytest.approx(numbers[1], abs=0.02)
