"""The virtual clock: seconds by hand, the same everywhere, and nothing else changes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support import TINY, fedkd
from torch import nn

from fedkd import ConfigError, resume, simulate
from fedkd.config import SystemConfig
from fedkd.engine.system import Device, devices
from fedkd.models.counting import operations, products
from fedkd.report import render

MLP = 2 * (64 * 200 + 200 * 10)
"""Operations of a forward pass of the `mlp` on digits, 64 -> 200 -> 10."""

HEADER = "client,speed,bandwidth_up,bandwidth_down"
VIRTUAL = ("virtual_seconds", "virtual_time")
ENDLESS = "1e300"
"""A speed or bandwidth at which things take no time."""


def table(folder: Path, rows: list[str], header: str = HEADER) -> str:
    """Return the path of a table of devices with these rows."""
    path = folder / "devices.csv"
    path.write_text("\n".join([header, *rows, ""]))
    return str(path)


def alike(folder: Path, speed: str, bandwidth: str, clients: int = 5) -> str:
    """Return a table in which all devices are alike."""
    return table(folder, [f"{k},{speed},{bandwidth},{bandwidth}" for k in range(clients)])


def per_client(result: Any, metric: str = "virtual_seconds") -> dict[tuple[int, int], float]:
    """Return a metric by round and client."""
    rows = result.clients.to_pylist()
    return {(r["round"], r["client"]): r["value"] for r in rows if r["metric"] == metric}


def columns(result: Any, *names: str) -> list[list[Any]]:
    return [result.rounds[name].to_pylist() for name in names]


def comparable(result: Any) -> Any:
    """Return the tables without wall-clock seconds."""
    kept = [name for name in result.rounds.column_names if not name.startswith("seconds")]
    return result.rounds.select(kept).to_pylist(), result.clients.to_pylist()


# -- by hand ---------------------------------------------------------------------------------------

SPEEDS, UP, DOWN = (1e6, 4e6, 2e6), (1000.0, 200.0, 4000.0), (2000.0, 800.0, 1600.0)


def test_seconds_are_those_of_the_formula(tmp_path: Path) -> None:
    rows = [
        f"{k},{speed},{up},{down}"
        for k, (speed, up, down) in enumerate(zip(SPEEDS, UP, DOWN, strict=True))
    ]
    some = {**TINY, "clients": 3, "fit.epochs": 2, "distil.epochs": 3}
    result = simulate("fedmd", **some, system=table(tmp_path, rows[::-1]))
    up, down = (result.rounds[name][0].as_py() / 3 for name in ("bytes_up", "bytes_down"))
    assert up > 60 * 10 * 4
    fit, label, distil = 2 * 20 * 3 * MLP, 60 * MLP, 3 * 60 * 3 * MLP
    fits = [(fit + label) / SPEEDS[k] + up / UP[k] for k in range(3)]
    distils = [down / DOWN[k] + distil / SPEEDS[k] for k in range(3)]
    one = max(fits) + max(distils)
    assert fits.index(max(fits)) != distils.index(max(distils)), "a round is no client's own time"
    assert columns(result, *VIRTUAL) == [pytest.approx([one, one]), pytest.approx([one, 2 * one])]
    own = {(n, k): fits[k] + distils[k] for n in (1, 2) for k in range(3)}
    assert per_client(result) == pytest.approx(own)
    assert result.summary["virtual_seconds"] == pytest.approx(2 * one)


MASKED = {"secure.aggregation": True, "clients": 5}
CASES: dict[str, dict[str, Any]] = {
    "knfu": {"model": ["mlp", "lenet5"]},
    "fedavg": {"fraction": 0.6},
    "fedmd": {"compress": "topk", "transfer.per_round": 30},
    "dsfl": MASKED | {"faults.dropout": 0.2},
    "fedprox": MASKED,
    "scarlet": {"rounds": 3},
    "fml": {"faults.crash": 0.3, "faults.straggler": 0.3},
    "kafal": {"strategy.rounds_per_cycle": 1},
    "local": {},
}


@pytest.mark.parametrize("strategy", CASES)
def test_at_a_byte_a_second_seconds_are_the_bytes(strategy: str, tmp_path: Path) -> None:
    """Whatever travels, and however: encoded, masked, in stages, to some of the clients."""
    some = {**TINY, **CASES[strategy], "system": alike(tmp_path, ENDLESS, "1")}
    result = simulate(strategy, **some)
    for row in result.rounds.to_pylist():
        own = [v for (n, _), v in per_client(result).items() if n == row["round"]]
        assert sum(own) == pytest.approx(row["bytes_up"] + row["bytes_down"])
        assert row["virtual_seconds"] <= sum(own)
        assert row["virtual_seconds"] >= max(own) - 1e-6
        assert len(own) <= row["participants"]


STEP = 3 * MLP
COMPUTED: dict[str, tuple[dict[str, Any], float]] = {
    "fedmd": ({}, 2 * 20 * STEP + 60 * MLP + 60 * STEP),
    "fedproto": ({}, 2 * 20 * STEP),
    "fedavg": ({}, 2 * 20 * STEP),
    "fml": ({"strategy.mentee": "mlp"}, 2 * 20 * 2 * STEP),
    "kafal": ({"strategy.initial": 0.25}, 2 * 5 * STEP),
    "knfu": ({"privacy": {"name": "nfdp", "k": 10}}, 2 * 10 * STEP + 60 * MLP + 60 * STEP),
    "feddf": ({}, 2 * 20 * STEP),  # it is the server that distils
    "dsfl": ({"transfer.per_round": 30}, 2 * 20 * STEP + 30 * MLP + 30 * STEP),
    "local": ({}, 2 * 20 * STEP),
}


@pytest.mark.parametrize("strategy", COMPUTED)
def test_operations_are_those_that_clients_compute(strategy: str, tmp_path: Path) -> None:
    more, wanted = COMPUTED[strategy]
    some = {**TINY, "rounds": 1, **more, "system": alike(tmp_path, "1", ENDLESS)}
    result = simulate(strategy, **some)
    assert per_client(result) == pytest.approx({(1, k): wanted for k in range(5)})
    assert columns(result, "virtual_seconds") == [pytest.approx([wanted])]


def test_models_differ_in_what_they_take(tmp_path: Path) -> None:
    some = {**TINY, "clients": 2, "rounds": 1, "model": ["mlp", "lenet5"]}
    result = simulate("local", **some, system=alike(tmp_path, "1", ENDLESS, 2))
    small, large = per_client(result).values()
    assert small == 40 * STEP
    assert large > 4 * small  # though it has fewer parameters


class Fused(nn.Module):
    """A recurrent layer, attention, and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.LSTM(8, 16, batch_first=True)
        self.attention = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.outer = nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        values, _ = self.inner(x.reshape(len(x), 8, 8))
        return self.outer(self.attention(values)[:, -1])


def test_what_torch_fuses_is_counted() -> None:
    recurrent = 8 * 4 * 16 * (8 + 16)
    attention = 8 * (3 * 16 * 16 + 16 * 16 + 2 * 16 * 32) + 2 * 8 * 8 * 16
    assert operations(Fused(), (64,)) == 2 * (recurrent + attention + 160)


class Scaled(nn.Module):
    """Has nothing in it that torch counts."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :10] * self.weight


def test_where_torch_counts_nothing_parameters_do_and_it_is_said(tmp_path: Path) -> None:
    some = {**TINY, "rounds": 1, "system": alike(tmp_path, "1", ENDLESS)}
    result = simulate("local", model=Scaled, **some)
    assert set(per_client(result).values()) == {40 * 3 * 2 * 10}
    assert "model=Scaled: torch counts no operations" in (result.run_dir / "log.txt").read_text()


def test_counting_leaves_a_model_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    state = torch.get_rng_state()
    for count in (operations, products):
        assert count(model.train(), (1, 8, 8)) > 0
        assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.backends.mkldnn.enabled


class Scripted(nn.Module):
    """Its layers take no hooks."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is")
def test_scripted_models_beside_others_are_dealt_to_actors_and_counted() -> None:
    some = {**TINY, "clients": 2, "rounds": 1, "model": [Scripted, "mlp"]}
    assert len(per_client(simulate("local", **some, system="uniform"))) == 2


# -- nothing else changes --------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["knfu", "fedavg", "kafal"])
def test_a_clock_adds_columns_and_changes_nothing(strategy: str) -> None:
    plain = simulate(strategy, **TINY)
    timed = simulate(strategy, **TINY, system="lognormal", **{"system.deadline": 1e9})
    assert timed.summary["digest"] == plain.summary["digest"]
    assert set(timed.rounds.column_names) - set(plain.rounds.column_names) == set(VIRTUAL)
    assert plain.rounds.drop_columns([n for n in plain.rounds.column_names if "seconds" in n]) == (
        timed.rounds.select([n for n in plain.rounds.column_names if "seconds" not in n])
    )
    assert not per_client(plain)
    assert "virtual_seconds" not in plain.summary
    assert not (plain.run_dir / "system.csv").exists()


SLOW = {"system": "lognormal", "system.deadline": 0.004, "system.availability": 0.8}
SOME = {**TINY, "clients": 8, "rounds": 4, "fraction": 0.75, **SLOW}


def test_actors_agree_on_who_is_late() -> None:
    """Flower's, too: `test_engines_agree`."""
    engine = "ray"
    here, there = simulate("fedmd", **SOME), simulate("fedmd", **SOME | {"engine": engine})
    late, lost = per_client(here, "late"), per_client(here, "dropped_out")
    assert late
    assert lost
    assert comparable(there) == comparable(here)
    assert there.summary["digest"] == here.summary["digest"]


def test_resuming_ends_where_the_whole_run_does(tmp_path: Path) -> None:
    whole = simulate("fedmd", **SOME)
    simulate("fedmd", **SOME | {"rounds": 2}, run_dir=str(tmp_path / "run"))
    longer = resume(tmp_path / "run", rounds=4)
    assert comparable(longer) == comparable(whole)
    assert longer.summary["digest"] == whole.summary["digest"]
    assert longer.summary["virtual_seconds"] == whole.summary["virtual_seconds"]


def test_a_table_that_changed_is_not_resumed(tmp_path: Path) -> None:
    path = alike(tmp_path, "1e9", "1e6")
    simulate("local", **TINY, system=path, run_dir=str(tmp_path / "run"))
    alike(tmp_path, "2e9", "1e6")
    with pytest.raises(ConfigError, match=r"^resume=.*devices \(system\) changed.*force=true"):
        resume(tmp_path / "run", rounds=3)
    forced = resume(tmp_path / "run", rounds=3, force=True)
    first, _, last = forced.rounds["virtual_seconds"].to_pylist()
    assert first == pytest.approx(2 * last)
    again = simulate("local", **TINY, system=str(tmp_path / "run" / "system.csv"))
    assert columns(again, "virtual_seconds")[0][0] == last


# -- late, and not there ---------------------------------------------------------------------------


def test_who_misses_the_deadline_is_late_and_keeps_what_it_has_trained(tmp_path: Path) -> None:
    rows = [f"{k},{speed},1e300,1e300" for k, speed in enumerate((2e6, 1e5, 1e6, 2e6, 2e6))]
    some = {**TINY, "rounds": 1, "distil.epochs": 2, "system": table(tmp_path, rows)}
    fit, distil = 40 * STEP + 60 * MLP, 2 * 60 * STEP
    late = simulate("knfu", **some, **{"system.deadline": 8.0})
    assert fit / 1e5 > 8.0  # client 1 is late when it has fitted
    assert fit / 1e6 < 8.0 < distil / 1e6  # and 2 when it has distilled
    assert set(per_client(late, "late")) == {(1, 1), (1, 2)}
    assert late.summary["rejected"] == 2
    assert columns(late, "virtual_seconds") == [[16.0]]
    own = {(1, k): (fit + distil) / 2e6 for k in (0, 3, 4)}
    own |= {(1, 1): fit / 1e5, (1, 2): (fit + distil) / 1e6}
    assert per_client(late) == pytest.approx(own)
    reason = f"late (simulated): {fit / 1e5:.4g} virtual s, system.deadline=8"
    assert reason in (late.run_dir / "log.txt").read_text()
    fitted = simulate("local", **TINY | {"rounds": 1})
    for client in range(5):
        one, two = (
            nn.utils.parameters_to_vector(run.model(client).parameters()) for run in (late, fitted)
        )
        assert torch.equal(one, two) == (client == 1)


@pytest.mark.parametrize("strategy", ["knfu", "fedavg", "fml", "kafal"])
def test_where_all_are_late_rounds_are_skipped(strategy: str) -> None:
    some = {**TINY, "system": "uniform", "system.deadline": 1e-9}
    result = simulate(strategy, **some)
    assert columns(result, "skipped", "rejected") == [[1, 1], [5, 5]]
    assert columns(result, "virtual_seconds") == [[1e-9, 1e-9]]


def test_a_sum_is_unmasked_without_who_is_late(tmp_path: Path) -> None:
    rows = [f"{k},{1e-3 if k == 2 else 1e300},1e6,1e6" for k in range(5)]
    some = {**TINY, **MASKED, "system": table(tmp_path, rows), "system.deadline": 1.0}
    result = simulate("fedavg", **some)
    assert set(per_client(result, "late")) == {(1, 2), (2, 2)}
    assert columns(result, "unmasked_dropouts", "skipped") == [[1, 1], [0, 0]]


def test_who_is_not_available_is_not_contacted(tmp_path: Path) -> None:
    rows = [f"{k},1e9,1e6,1e6,{there}" for k, there in enumerate((1, 0, 1, 0.5, 1))]
    path = table(tmp_path, rows, f"{HEADER},availability")
    result = simulate("fedmd", **TINY | {"rounds": 12}, system=path)
    lost = set(per_client(result, "dropped_out"))
    assert {n for n, k in lost if k == 1} == set(range(1, 13))
    assert 0 < len([n for n, k in lost if k == 3]) < 12
    assert {k for _, k in lost} == {1, 3}
    assert not lost & set(per_client(result))


# -- devices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "mean"), [("uniform", 1.0), ("lognormal", 1.1331)])
def test_drawn_devices_are_distributed_as_named(name: str, mean: float) -> None:
    found = devices(SystemConfig(name, speed=1.0, bandwidth_up=1.0, bandwidth_down=4.0), 4000, 3)
    speeds = torch.tensor([device.speed for device in found])
    links = torch.tensor([device.bandwidth_up for device in found])
    assert speeds.mean().item() == pytest.approx(mean, abs=0.04)
    assert abs(torch.corrcoef(torch.stack([speeds, links]))[0, 1].item()) < 0.06
    assert all(device.bandwidth_down == 4 * device.bandwidth_up for device in found)
    if name == "uniform":
        assert 0.5 < speeds.min() < 0.51 < 1.49 < speeds.max() < 1.5
    else:
        assert speeds.median().item() == pytest.approx(1.0, abs=0.04)
    assert devices(SystemConfig(name, speed=1.0), 7, 3)[2].speed == found[2].speed
    assert devices(SystemConfig(name, speed=1.0), 7, 4)[2].speed != found[2].speed


@pytest.mark.parametrize(("speed", "spread"), [(1e10, 1e4), (1e-300, 200.0), (1e300, 200.0)])
def test_a_spread_beyond_all_floats_is_refused(speed: float, spread: float) -> None:
    with pytest.raises(ConfigError, match=r"system.spread=.*a speed or bandwidth of 0 or infinity"):
        devices(SystemConfig("lognormal", speed=speed, spread=spread), 20, seed=0)


GOOD = ["0,1e9,1e6,1e6", "1,2e9,1e6,1e6"]
BAD: dict[str, tuple[str, str]] = {
    "no file": ("", "cannot be read: No such file or directory"),
    "empty": ("\n", "row 1 lacks the column client (it has none)"),
    "column missing": ("client,speed,bandwidth_up\n", "row 1 lacks the column bandwidth_down"),
    "column unknown": (f"{HEADER},availabilty\n", "row 1, column availabilty: is none of client"),
    "column twice": (f"{HEADER},speed\n", "row 1, column speed: is there twice"),
    "cell missing": (f"{HEADER}\n0,1,1\n", "row 2 has 3 columns, and the header 4"),
    "negative": (f"{HEADER}\n{GOOD[0]}\n1,-2,1,1\n", "row 3, speed: got '-2', must be a number of"),
    "zero": (f"{HEADER}\n0,1,0,1\n", "row 2, bandwidth_up: got '0', must be a number of at leas"),
    "nan": (f"{HEADER}\n0,1,1,nan\n", "row 2, bandwidth_down: got 'nan', must be a number"),
    "infinite": (f"{HEADER}\n0,inf,1,1\n", "row 2, speed: got 'inf', must be a number of at l"),
    "tiny": (f"{HEADER}\n0,1e-320,1,1\n", "row 2, speed: got '1e-320', must be a number of at"),
    "word": (f"{HEADER}\n0,fast,1,1\n", "row 2, speed: got 'fast', must be a number"),
    "share": (f"{HEADER},availability\n0,1,1,1,2\n", "row 2, availability: got '2', must be a nu"),
    "digits": (f"{HEADER}\n{'9' * 5000},1,1,1\n", "row 2, client: got '9999999999"),
    "client": (f"{HEADER}\n0.5,1,1,1\n", "row 2, client: got '0.5', must be a whole number from 0"),
    "twice": (f"{HEADER}\n{GOOD[0]}\n\n{GOOD[0]}\n", "row 4, client: 0 is there twice"),
    "missing": (f"{HEADER}\n{GOOD[1]}\n", "column client: 0 of 2 missing; add a row for each"),
    "others": (f"{HEADER}\n", "column client: 0 and 1 others of 2 missing"),
    "quote": (f'{HEADER}\n0,"1,1,1\n', "is no CSV in UTF-8"),
}


@pytest.mark.parametrize("fault", BAD)
def test_each_fault_of_a_table_is_one_line(fault: str, tmp_path: Path) -> None:
    text, wanted = BAD[fault]
    path = tmp_path / "devices.csv"
    if text:
        path.write_text(text)
    done = fedkd("run", f"system={path}", "clients=2", f"run_dir={tmp_path / 'run'}")
    (line,) = done.output.strip().splitlines()
    assert done.exit_code == 2
    assert f"system={path}: {wanted}" in line


def test_columns_go_by_name_and_further_clients_are_left_out(tmp_path: Path) -> None:
    header = "availability, bandwidth_down,client,speed,bandwidth_up"
    path = table(tmp_path, ["0.5,3,1,1,2", "1,30,0,10,20", "1,1,7,1,1"], header)
    found = devices(SystemConfig(path), 2, seed=0)
    assert found == [Device(10, 20, 30, 1.0), Device(1, 2, 3, 0.5)]


REFUSED = {
    "system=normal": "system=normal: neither a distribution nor FILE.csv",
    "system.deadline=3": "system.deadline=3.0: has no effect without a virtual clock; add system=",
    "system=uniform system.spread=1": "system.spread=1.0: must be below 1",
    "system=devices.csv system.speed=9": "system.speed=9.0: has no effect, devices.csv says it",
    "system=uniform system.deadline=0": "system.deadline=0.0: must be greater than 0 and finite",
    "system=uniform system.availability=0": "system.availability=0.0: must be in (0, 1]",
    "system=uniform system.speed=-1": "system.speed=-1.0: must be greater than 0 and finite",
    "system=uniform system.deadline=1 faults.straggler=0.1": "faults.straggler=0.1: replies are la",
}


@pytest.mark.parametrize("given", REFUSED)
def test_keys_that_cannot_be_used_are_refused(given: str) -> None:
    done = fedkd("run", *given.split())
    (line,) = done.output.strip().splitlines()
    assert done.exit_code == 2
    assert REFUSED[given] in line


# -- reports ---------------------------------------------------------------------------------------


def test_reports_draw_accuracy_against_virtual_time(tmp_path: Path) -> None:
    for seed in (0, 1):
        folder = str(tmp_path / f"timed-{seed}")
        simulate("fedmd", **TINY, seed=seed, run_dir=folder, **{"system": "uniform"})
    simulate("fedmd", **TINY, run_dir=str(tmp_path / "plain"))
    runs = sorted(tmp_path.iterdir())
    page = render(runs, tmp_path / "all.html").read_text()
    assert "on the clients&#39; devices" in page
    assert "virtual s" in page
    single = render(runs[1], tmp_path / "one.html").read_text()
    total = json.loads((runs[1] / "summary.json").read_text())["virtual_seconds"]
    assert f"{total:.4g}" in single
    assert "virtual" not in render(runs[0], tmp_path / "none.html").read_text().lower()
    done = fedkd("compare", tmp_path)
    assert "virtual s" in done.output
