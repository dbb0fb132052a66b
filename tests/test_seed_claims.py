"""Claims of the seed papers: one thing is changed at a time, and what decides is in the rows."""

from pathlib import Path

import pytest
from fedkd.experiments.reproduce import knfu_phase, seed_claims, seed_claims_page
from fedkd.experiments.reproduce import knfu_phase_plan as plan
from fedkd.experiments.reproduce.cells import saved

from fedkd.config.overrides import compose

ROOT = Path(__file__).parents[1]


def row(way, value, seed, alpha=0.1):
    """Return a run: here, or of the phase diagram's."""
    numbers = {"local": value, "overall": value, "cpu_seconds": 3.0}
    if way in (seed_claims.BASE, seed_claims.ALONE):
        return plan.cell("mnist", 200, alpha, way, plan.AS_IS, seed) | numbers
    return {"way": way, "alpha": alpha, "seed": seed} | numbers


def said(ours, theirs, what):
    """Return the verdict's word on a part, of each way's accuracies by seed."""
    rows, others = (
        [row(way, v, seed) for way, values in some.items() for seed, v in enumerate(values)]
        for some in (ours, theirs)
    )
    part = next(one for one in seed_claims.PARTS if one.what.startswith(what))
    return seed_claims_page.verdict(seed_claims_page.Ways(rows, others), part)[0]


def test_what_is_compared_is_run_the_same_way_in_the_phase_diagram():
    for way in (seed_claims.BASE, seed_claims.ALONE):
        there = compose([*plan.overrides(plan.cell("mnist", 200, 0.1, way, "-", 1)), "device=cpu"])
        ours = seed_claims.overrides({"way": way, "alpha": 0.1, "seed": 1})
        if way == seed_claims.ALONE:
            ours[1] = "strategy=local"
        assert compose(ours) == there


def test_every_way_is_a_configuration_and_part_of_a_claim():
    cells = seed_claims.cells()
    assert len({str(cell) for cell in cells}) == len(cells) < 120
    configs = {str(compose(seed_claims.overrides(cell))) for cell in cells[:: seed_claims.SEEDS]}
    assert len(configs) == len(cells[:: seed_claims.SEEDS])
    known = {*seed_claims.WAYS, seed_claims.BASE, seed_claims.ALONE}
    compared = {way for part in seed_claims.PARTS for way in (part.one, part.other)}
    assert compared == known
    assert all(cell in cells for cell in seed_claims.few())


@pytest.mark.parametrize(
    ("ours", "word"),
    [
        ((0.7, 0.71, 0.72), "ordering reproduced"),
        ((0.5, 0.51, 0.52), "not reproduced"),
        ((0.6, 0.65, 0.55), "undecided"),
        ((0.7, 0.71), "not tried"),
    ],
)
def test_a_change_is_compared_with_fedmd_seed_by_seed(ours, word):
    base = {"fedmd": (0.6, 0.612, 0.621)}
    assert said({"reverse KL": ours}, base, "Reverse KL") == word


def test_noise_is_compared_with_pictures_and_with_nothing_to_learn_from():
    noise = {"noise, clusters": (0.595, 0.606, 0.614), "noise, one cluster": (0.5, 0.5, 0.5)}
    others = {"fedmd": (0.6, 0.612, 0.621), "local": (0.3, 0.31, 0.32)}
    for what in ("Clients are better over noise", "Such noise", "Noise that"):
        assert said(noise, others, what) == "ordering reproduced"
    worse = {"noise, clusters": (0.57, 0.582, 0.59)}
    assert said(worse, others, "Such noise") == "not reproduced"


def test_the_page_is_made_of_the_rows_that_are_kept():
    both = [saved(ROOT / module.ROWS) for module in (seed_claims, knfu_phase)]
    assert (ROOT / seed_claims_page.PAGE).read_text() == seed_claims_page.page(*both)
