"""Published tables: who holds what, what is counted, and pages that say what the rows say."""

import csv
import re
import statistics
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fedkd.clients.base import Client
from fedkd.experiments.reproduce import (
    fedgen_protocol,
    fedgen_table1,
    fedgen_table1_page,
    fedproto_parts,
    fedproto_protocol,
    fedproto_table1,
    fedproto_table1_page,
)
from fedkd.experiments.reproduce.cells import saved
from fedkd.experiments.reproduce.claims import listed
from fedkd.experiments.reproduce.fedgen_parts import OwnParameters, Steps
from torch import nn

ROOT = Path(__file__).parents[1]
PAGES = (fedproto_table1_page, fedgen_table1_page)


def test_fedproto_clients_hold_positions_of_their_own():
    labels = np.arange(40_000) % 10  # the p-th picture of class c is row 10 p + c
    found = fedproto_protocol.rows(labels, [2, 7], first=110 * 3, count=99)
    assert found[[0, 98, 99, 197]].tolist() == [3302, 4282, 3307, 4287]
    for ways in fedproto_table1.WAYS:
        held = fedproto_protocol.held(ways)
        each = [
            fedproto_protocol.rows(labels, classes, fedproto_protocol.APART * k, shots)
            for k, (classes, shots) in enumerate(held)
        ]
        every = np.concatenate(each)
        assert len(held) == 20
        assert len(np.unique(every)) == len(every)
        assert [len(own) for own in each] == [len(c) * shots for c, shots in held]
        assert all(max(2, ways - 2) <= len(c) <= ways + 2 for c, _ in held)
        assert {one for c, _ in held for one in c} == set(range(10))  # else numbers would shift


def test_networks_have_as_many_parameters_as_the_published_ones():
    count = lambda model: sum(p.numel() for p in model.parameters())  # noqa: E731
    proto, gen = fedproto_protocol.Net(), fedgen_protocol.Net()
    assert (count(proto), count(gen)) == (21_840, 26_434)
    assert proto(torch.zeros(2, 1, 28, 28)).shape == gen(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    shared = fedproto_parts.convolutions(proto)
    assert sum(value.numel() for value in shared.values()) == 5_280


def test_running_means_hide_how_clients_differ():
    heads, nearest, tested = [1.0, 0.0, 1.0], [1.0, 0.0, 1.0], [10, 10, 20]
    head, prototype = fedproto_protocol.running(heads, nearest, tested)
    assert head == [10 / 10, 20 / 30, 40 / 60]
    assert prototype == [20 / 20, 20 / 40, 60 / 80]
    assert np.std(prototype) < np.std(nearest) / 2


def test_a_prototype_of_a_class_that_the_client_lacks_is_not_chosen():
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 3))
    x, prototypes = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 0.0], [3.0, 0.0], [9.0, 0.0]])
    nearest = lambda own: fedproto_protocol.by_prototype(model, x, prototypes, own).item()  # noqa: E731
    assert (nearest([0, 1, 2]), nearest([1, 2])) == (0, 1)


@pytest.mark.parametrize("alpha", [0.05, 1.0])
def test_fedgen_users_share_a_quarter_of_the_pictures_class_after_class(alpha):
    labels = np.repeat(np.arange(10), 600)
    held = fedgen_protocol.dealt(labels, alpha)
    every = np.concatenate([part for own in held for part in own])
    assert len(np.unique(every)) == len(every) == 1500  # 10 x min(0.5 * 6000 / 20, 0.5 * 600)
    assert min(sum(map(len, own)) for own in held) >= 10
    classes = [[labels[part[0]] for part in own] for own in held]
    assert all(len(set(own)) == len(own) for own in classes)
    assert all((labels[part] == labels[part[0]]).all() for own in held for part in own)


def test_fedgen_users_are_tested_on_pictures_of_their_own_of_classes_that_they_have():
    labels = np.repeat(np.arange(3), [8, 9, 6])
    first, second, nobody = fedgen_protocol.tests(labels, [[2, 0], [0], []])
    assert first.tolist() == [17, 18, 0, 1]
    assert (second.tolist(), nobody.tolist()) == ([2, 3], [])


def rows_of(steps, client, fits, size):
    return [[rows.tolist() for rows in steps.batches(client, size)] for _ in range(fits)]


def test_a_loader_goes_on_where_the_last_fit_stopped():
    client = Client(0, nn.Linear(1, 2), torch.zeros(7, 1), torch.zeros(7).long(), torch.Generator())
    about = {"fit": {"batch_size": 3}, "distil": {}, "device": "cpu"}
    in_order = Steps(steps=3, shuffle=False, **about)
    assert rows_of(in_order, client, 2, 3) == [
        [[0, 1, 2], [3, 4, 5], [0, 1, 2]],
        [[3, 4, 5], [0, 1, 2], [3, 4, 5]],
    ]
    client.tensors.clear()
    (first, second, third), *_ = rows_of(Steps(steps=3, **about), client, 1, 3)
    assert not set(first) & set(second)
    assert third != first
    few = Client(0, client.model, client.x[:2], client.y[:2], torch.Generator())
    assert [sorted(rows) for rows in rows_of(in_order, few, 1, 3)[0]] == [[0, 1]] * 3


def test_statistics_of_batchnorm_stay_with_the_client():
    model = nn.BatchNorm1d(2)
    phase = SimpleNamespace(client=SimpleNamespace(model=model))
    OwnParameters().receive(phase, SimpleNamespace(values=torch.full((8,), 5.0)))
    assert (model.weight.tolist(), model.bias.tolist()) == ([5, 5], [5, 5])
    assert (model.running_mean.tolist(), model.running_var.tolist()) == ([0, 0], [1, 1])


@pytest.mark.parametrize("study", [fedproto_table1, fedgen_table1])
def test_every_method_is_run_in_every_setting(study):
    cells = study.cells(3)
    assert len({str(cell) for cell in cells}) == len(cells)
    assert {cell["method"] for cell in cells} == set(study.METHODS) == set(study.CLAIM.published)
    assert all(cell["rounds"] < study.FULL for cell in study.cells(3, quick=True))
    first = study.cells(1)[0]
    setting = first.get("ways", first.get("alpha"))
    assert all(setting in figures for figures in study.CLAIM.published.values())


def proto_rows(method, heads, nearest=(), seeds=3):
    cell = {"ways": 3, "rounds": fedproto_table1.FULL, "method": method}
    about = {"heads": listed(heads), "nearest": listed(nearest), "tested": "100 100"}
    return [cell | {"seed": seed} | about | {"cpu_seconds": 60.0} for seed in range(seeds)]


def test_fedprotos_page_is_made_of_rows_and_has_no_verdict_without_all_methods():
    alone, proto = ("local", [0.9, 0.8]), ("fedproto", [0.5, 0.7], [0.92, 0.84])
    rows = [*proto_rows(*alone), *proto_rows(*proto)]
    text = fedproto_table1_page.page(rows)
    assert "- n = 3, accuracies: **not tried** (fedavg, fedper, fedrep have not been run)" in text
    assert "- n = 3, gain over clients alone: **reproduced** (3.00 points, by" in text
    assert "- n = 3, spread of clients: **not reproduced** (5.66 with prototypes, 7.07" in text
    line = "| 3 | `fedproto` | prototypes | 97.13 ± 0.30 | 88.00 ± 5.66 | 88.00 ± 0.00 (3) | 60 |"
    assert line in text
    assert "| 3 | `fedproto` | head | - | 60.00 ± 14.14 |" in text
    # (92) / 100, (92 + 50 + 92 ...): 0.5; 1.42 / 2; then (0.5 + 0.92 + 0.7) / 3; 2.96 / 4
    assert "| 3 | prototypes | 88.00 ± 5.66 | 72.50 ± 2.12 | 97.13 ± 0.30 |" in text
    few = fedproto_table1_page.page([*proto_rows(*alone, seeds=2), *proto_rows(*proto)])
    assert "- n = 3, gain over clients alone: **not tried** (fewer than 3 seeds: 3.00" in few
    others = [proto_rows(name, [0.1, 0.2]) for name in ("fedavg", "fedper", "fedrep")]
    whole = fedproto_table1_page.page([*rows, *chain(*others)])
    assert "- n = 3, accuracies: **ordering reproduced**" in whole
    worse = [*rows, *others[1], *others[2], *proto_rows("fedavg", [0.95, 0.95])]
    text = fedproto_table1_page.page(worse)
    assert "fedproto (88.00) is not better than fedavg (95.00)" in text


def gen_row(method, best, last, whole, seed=0):
    cell = {"alpha": 0.1, "loader": "shuffled", "rounds": fedgen_table1.FULL, "method": method}
    found = {"best": listed(best), "last": last, "whole": whole, "worst_whole": 0.25}
    return cell | {"seed": seed} | found | {"cpu_seconds": 60.0}


def test_fedgens_page_is_made_of_rows_and_judges_by_each_measure():
    best = {
        "fedgen": 0.93,
        "fedavg": 0.9,
        "fedprox": 0.9,
        "feddistill_plus": 0.9,
        "feddistill": 0.64,
    }
    rows = [
        gen_row(name, [value] * 5, 0.5 if name == "fedgen" else value, value, seed)
        for seed in range(3)
        for name, value in best.items()
    ]
    text = fedgen_table1_page.page(rows)
    assert "- alpha 0.1, loader shuffled, best five rounds: **reproduced**" in text
    assert (
        "last round: **not reproduced** (fedgen (50.00) is not better than fedavg (90.00)" in text
    )
    assert "last round, whole test split: **reproduced**" in text
    assert "- alpha 0.05, loader in order: **not tried** (0 of 3 seeds" in text
    assert "loader shuffled: **not tried** (2 of 3" in fedgen_table1_page.page(rows[:-1])
    two = fedgen_table1_page.lines([rows[0], gen_row("fedgen", [0.95] * 5, 0.7, 0.95, seed=1)])[1]
    assert two[4:8] == ("94.00 ± 1.05", "60.00 ± 14.14", "94.00 ± 1.41", "25.00 ± 0.00")


@pytest.mark.parametrize("made", PAGES)
def test_the_page_is_made_of_the_rows_that_are_kept(made):
    assert (ROOT / made.PAGE).read_text() == made.page(saved(ROOT / made.ROWS))


def test_fedgens_numbers_are_those_of_the_rows_worked_out_another_way():
    with (ROOT / fedgen_table1.ROWS).open() as file:
        kept = list(csv.DictReader(file))
    parts = re.split(
        r"^## .*: (\d+) rounds$", (ROOT / fedgen_table1_page.PAGE).read_text(), flags=re.M
    )
    cited = 0
    for rounds, part in zip(parts[1::2], parts[2::2], strict=True):
        for alpha, loader, method, last in re.findall(
            r"^\| ([\d.]+) \| ([\w ]+) \| `(\w+)` \| [^|]+ \| [^|]+ \| ([\d.]+)", part, re.M
        ):
            about = rounds, float(alpha), loader, method
            own = [
                float(r["last"])
                for r in kept
                if (r["rounds"], float(r["alpha"]), r["loader"], r["method"]) == about
            ]
            assert float(last) == pytest.approx(100 * sum(own) / len(own), abs=0.006)
            cited += len(own)
    assert cited == len(kept) > 0


def test_fedprotos_numbers_are_those_of_the_rows_worked_out_another_way():
    with (ROOT / fedproto_table1.ROWS).open() as file:
        kept = list(csv.DictReader(file))
    text = (ROOT / fedproto_table1_page.PAGE).read_text()
    parts, cited = re.split(r"^## .*: (\d+) rounds$", text, flags=re.M), 0
    for rounds, part in zip(parts[1::2], parts[2::2], strict=True):
        for ways, method, how, ours in re.findall(
            r"^\| (\d) \| `(\w+)` \| (\w+) \| [^|]+ \| ([\d.]+) ±", part, re.M
        ):
            column = "nearest" if how == "prototypes" else "heads"
            own = [
                statistics.fmean(map(float, r[column].split()))
                for r in kept
                if (r["rounds"], r["ways"], r["method"]) == (rounds, ways, method)
            ]
            assert float(ours) == pytest.approx(100 * statistics.fmean(own), abs=0.006)
            cited += len(own) * (column == "heads")
    assert cited == len(kept) > 0
