"""Hostile clients in a claim: what they do to parameters, who is counted, what decides."""

from pathlib import Path

import pytest
import torch
from fedkd.clients.attacks import View
from fedkd.experiments.reproduce import byzantine, byzantine_page
from fedkd.experiments.reproduce.byzantine_attacks import ByChance, Reversed
from fedkd.experiments.reproduce.cells import ends, saved
from fedkd.experiments.reproduce.claims import listed

from fedkd import simulate
from fedkd.config.overrides import compose
from fedkd.rng import torch_generator

ROOT = Path(__file__).parents[1]
TINY = {"clients": 5, "rounds": 1, "engine": "inline", "data": "digits"}


def row(method, seed, value, lie="none", share=0.0):
    """Clients 0 and 1 have the value; the third is hostile if somebody is, and has 0.9."""
    each = listed([value, value, 0.9])
    hostile = listed([0, 0, 1] if share else [])
    cell = {"method": method, "lie": lie, "share": share, "seed": seed}
    numbers = {"local": 0.9, "overall": 0.9, "clients_local": each, "clients_overall": each}
    return cell | numbers | {"hostile": hostile, "cpu_seconds": 2.0}


def test_every_run_is_a_configuration_with_an_attack_on_what_is_exchanged():
    cells = byzantine.cells()
    assert len({str(cell) for cell in cells}) == len(cells) < 200
    for cell in cells[:: len(cells) // 10]:
        config = compose(byzantine.overrides(cell))
        assert config.attack.get("fraction") == cell["share"]
        assert (config.strategy["name"] == "fedavg") == (cell["method"] == "fedavg")
    assert len(byzantine.few()) < len(cells) / 10
    assert all(cell in cells for cell in byzantine.few())


def test_lies_about_parameters_are_as_large_as_they_say():
    received, trained = torch.ones(50, 40), 3 * torch.randn(50, 40) + 1
    view = View("parameters", trained, received, torch_generator(1))
    drawn = ByChance().poison(view)
    assert drawn.std().item() == pytest.approx(trained.std().item(), rel=0.1)
    assert abs(torch.corrcoef(torch.stack([drawn.flatten(), trained.flatten()]))[0, 1]) < 0.1
    for scale in (1.0, 10.0):
        moved = Reversed(scale=scale).poison(view) - received
        assert torch.allclose(moved, -scale * (trained - received), atol=1e-4)
    with pytest.raises(ValueError, match="scale=0"):
        Reversed(scale=0)


def test_hostile_clients_reach_the_average_and_are_named():
    attack = f"{byzantine.OWN}:Reversed"
    plain = simulate("fedavg", **TINY)
    lied = simulate("fedavg", **TINY, **{"attack": attack, "attack.fraction": 0.4})
    assert plain.summary["digest"] != lied.summary["digest"]
    assert sum(ends(lied)["hostile"]) == 2
    assert ends(plain)["hostile"] == []


def test_costs_are_of_the_same_honest_clients_and_seed():
    rows = [row("mean", 0, 0.6), row("mean", 0, 0.5, "against", 0.3)]
    runs = byzantine_page.Runs([*rows, row("mean", 1, 0.5, "against", 0.3)])
    assert runs.honest("mean", "against", 0.3, "overall") == pytest.approx({0: 50.0, 1: 50.0})
    assert runs.cost("mean", "against", 0.3, "overall") == pytest.approx({0: 10.0})


@pytest.mark.parametrize(
    ("after", "word"), [((0.55, 0.3), "ordering reproduced"), ((0.3, 0.55), "not reproduced")]
)
def test_the_verdict_comes_out_either_way(after, word):
    rows = [
        row(method, seed, before + seed / 100, *attack)
        for method, end in zip(("mean", "fedavg"), after, strict=True)
        for before, attack in ((0.6, ()), (end, ("flipped labels", 0.3)))
        for seed in range(3)
    ]
    said = byzantine_page.verdicts(byzantine_page.Runs(rows))
    what = "Hostile clients (flipped labels) cost the mean of soft labels less than FedAvg"
    assert said[what][0] == word
    assert said["Under attack `median` is better than the mean of soft labels"][0] == "not tried"
    two = [one for one in rows if one["seed"] < 2]
    said = byzantine_page.verdicts(byzantine_page.Runs(two))
    assert {word for word, _ in said.values()} == {"not tried"}


def test_the_page_is_made_of_the_rows_that_are_kept():
    assert (ROOT / byzantine_page.PAGE).read_text() == byzantine_page.page(
        saved(ROOT / byzantine.ROWS)
    )
